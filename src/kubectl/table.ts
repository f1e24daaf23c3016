/** Tables as the server prints them, turned into lines: which columns, what is put before and behind them. */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { at, metaOf, objectsAt, plainText, textAt } from "./objects.ts";

export interface TableColumn {
  readonly name: string;
  readonly format: string;
  readonly priority: number;
}
export interface TableRow {
  readonly cells: readonly unknown[];
  readonly object: JsonObject;
}
export interface Table {
  readonly columns: readonly TableColumn[];
  readonly rows: readonly TableRow[];
  readonly resourceVersion: string;
}
export interface TableOptions {
  readonly wide: boolean;
  readonly withNamespace: boolean;
  /** Before names: "pod/". */
  readonly kindPrefix: string;
  readonly showLabels: boolean;
  readonly labelColumns: readonly string[];
}

export const isTable = (object: JsonObject): boolean => object["kind"] === "Table";

export function readTable(object: JsonObject): Table {
  return {
    columns: objectsAt(object, "columnDefinitions").map((column) => ({
      name: textAt(column, "name"),
      format: textAt(column, "format"),
      priority: Number(column["priority"] ?? 0),
    })),
    rows: objectsAt(object, "rows").map((row) => {
      const { cells, object: inner } = row;
      return {
        cells: Array.isArray(cells) ? cells : [],
        object: isObject(inner) ? inner : {},
      };
    }),
    resourceVersion: textAt(object, "metadata", "resourceVersion"),
  };
}

/** What cannot be had as a table: name and age of each object. */
export function plainTable(
  objects: readonly JsonObject[],
  age: (created: string) => string,
): Table {
  return {
    columns: [
      { name: "Name", format: "name", priority: 0 },
      { name: "Age", format: "", priority: 0 },
    ],
    rows: objects.map((object) => ({
      cells: [metaOf(object).name ?? "", age(metaOf(object).creationTimestamp ?? "")],
      object,
    })),
    resourceVersion: "",
  };
}

/** One line of a cell: what follows a line break is cut off. */
function cellText(cell: unknown): string {
  if (cell === null || cell === undefined) return "<none>";
  if (typeof cell !== "string") return plainText(cell);
  const end = cell.search(/[\f\n\r]/);
  return end < 0 ? cell : `${cell.slice(0, end)}...`;
}

export function labelsText(labels: Readonly<Record<string, string>> | undefined): string {
  const entries = Object.entries(labels ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0
    ? "<none>"
    : entries.map(([key, value]) => `${key}=${value}`).join(",");
}

const isShown = (column: TableColumn, { wide }: TableOptions): boolean =>
  wide || column.priority === 0;

export function headerLine(table: Table, options: TableOptions): string {
  const names = table.columns
    .filter((column) => isShown(column, options))
    .map((column) => column.name.toUpperCase());
  return [
    ...(options.withNamespace ? ["NAMESPACE"] : []),
    ...names,
    ...options.labelColumns.map((label) => label.slice(label.lastIndexOf("/") + 1).toUpperCase()),
    ...(options.showLabels ? ["LABELS"] : []),
  ].join("\t");
}

export function rowLine(table: Table, row: TableRow, options: TableOptions): string {
  const { labels, namespace = "" } = metaOf(row.object);
  const cells = table.columns.flatMap((column, i) => {
    if (!isShown(column, options)) return [];
    const text = cellText(row.cells[i]);
    return [column.format === "name" ? options.kindPrefix + text : text];
  });
  return [
    ...(options.withNamespace ? [namespace] : []),
    ...cells,
    ...options.labelColumns.map((label) => {
      const value = at(labels, label);
      return typeof value === "string" ? value : "";
    }),
    ...(options.showLabels ? [labelsText(labels)] : []),
  ].join("\t");
}
