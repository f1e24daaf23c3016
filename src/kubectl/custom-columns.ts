/** `-o custom-columns`: a header and a JSONPath for each column. */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { CommandError } from "./errors.ts";
import { type JsonPath, parseJsonPath, relaxedPath, valueText } from "./jsonpath.ts";
import { isList } from "./objects.ts";

export interface Column {
  readonly header: string;
  readonly path: JsonPath;
}

export function parseColumns(spec: string): Column[] {
  if (spec === "")
    throw new CommandError("custom-columns format specified but no custom columns given");
  return spec.split(",").map((part) => {
    const colon = part.indexOf(":");
    if (colon < 0) {
      throw new CommandError(
        `unexpected custom-columns spec: ${part}, expected <header>:<json-path-expr>`,
      );
    }
    return {
      header: part.slice(0, colon),
      path: parseJsonPath(relaxedPath(part.slice(colon + 1))),
    };
  });
}

/** A file's first line are headers, its second the paths under them. */
export function parseColumnsFile(text: string): Column[] {
  const [headers = "", paths = ""] = text.split("\n");
  const names = headers.trim().split(/\s+/);
  const specs = paths.trim().split(/\s+/);
  if (names.length !== specs.length) {
    throw new CommandError(
      `number of headers (${names.length}) and field specifications (${specs.length}) don't match`,
    );
  }
  return names.map((header, i) => ({
    header,
    path: parseJsonPath(relaxedPath(specs[i] ?? "")),
  }));
}

/** A value inside a list or map as Go prints it. */
function goText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(goText).join(" ")}]`;
  if (isObject(value)) {
    const keys = Object.keys(value).toSorted((a, b) => (a < b ? -1 : 1));
    return `map[${keys.map((key) => `${key}:${goText(value[key])}`).join(" ")}]`;
  }
  return value === null || value === undefined ? "<nil>" : valueText(value);
}

/** Lines with tabs between the cells. */
export function columnsText(
  columns: readonly Column[],
  object: JsonObject,
  withHeaders: boolean,
): string {
  const items = object["items"];
  const rows = isList(object) && Array.isArray(items) ? (items as JsonObject[]) : [object];
  const lines = rows.map((row) =>
    columns
      .map(({ path }) => {
        const found = path.find(row).flat();
        return found.length === 0
          ? "<none>"
          : found.map((one) => (one === null ? "<none>" : goText(one))).join(",");
      })
      .join("\t"),
  );
  const header = columns.map((column) => column.header).join("\t");
  return [...(withHeaders ? [header] : []), ...lines].map((line) => `${line}\n`).join("");
}
