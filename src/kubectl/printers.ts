/** `-o`: which form an object is printed in. Tables and what has no form at all are the commands' own business. */
import type { JsonObject } from "#machinery/object.ts";
import { printYaml } from "#machinery/yaml-print.ts";
import { columnsText, parseColumns, parseColumnsFile } from "./custom-columns.ts";
import { nameInResults } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import { type Flag, type Flags, text, toggle } from "./flags.ts";
import { parseTemplate } from "./go-template.ts";
import { indentedInOrder, indentedJson } from "./json-print.ts";
import { parseJsonPath } from "./jsonpath.ts";
import { apiVersionIn, kindOf, nameOf, withoutManagedFields } from "./objects.ts";
import type { Surroundings } from "./surroundings.ts";
import { alignTabs, tableStops } from "./tab-writer.ts";

export const printFlags: readonly Flag[] = [
  text("output", "Output format", { short: "o" }),
  text("template", "Template string or path to template file to use with go-template, jsonpath"),
  toggle("allow-missing-template-keys", "Ignore errors in templates where a field is missing", {
    default: "true",
  }),
  toggle("show-managed-fields", "Keep the managedFields when printing objects in JSON or YAML"),
];

/** What is printed for one object (or a List). `first`: nothing was printed before it. */
export type Printer = (object: JsonObject, first: boolean) => string;

export interface PrinterOptions {
  /** Offered besides: "wide", "custom-columns". */
  readonly tables?: boolean;
  /** Keys as they stand rather than sorted: objects that we made ourselves. */
  readonly inOrder?: boolean;
  readonly noHeaders?: boolean;
}

const always = [
  "go-template",
  "go-template-file",
  "json",
  "jsonpath",
  "jsonpath-as-json",
  "jsonpath-file",
  "kyaml",
  "name",
  "template",
  "templatefile",
  "yaml",
];
export function unknownFormat(format: string, tables: boolean): CommandError {
  const known = tables
    ? [...always, "custom-columns", "custom-columns-file", "wide"].toSorted()
    : always;
  return new CommandError(
    `unable to match a printer suitable for the output format ${JSON.stringify(format)}, allowed formats are: ${known.join(",")}`,
  );
}

export const objectName = (object: JsonObject): string => {
  const apiVersion = apiVersionIn(object);
  const group = apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "";
  return `${nameInResults({ kind: kindOf(object), group })}/${nameOf(object)}`;
};

const fileText = (around: Surroundings, path: string): string =>
  new TextDecoder().decode(around.files.read(path));

/** Undefined: no format was asked for (or "wide"): the command's own output. */
export function printerOf(
  flags: Flags,
  around: Surroundings,
  options: PrinterOptions = {},
): Printer | undefined {
  const output = flags.text("output");
  const equals = output.indexOf("=");
  const template = flags.text("template");
  let format = equals < 0 ? output : output.slice(0, equals);
  const argument = equals < 0 ? template : output.slice(equals + 1);
  if (format === "" && template !== "") format = "go-template";
  if (format === "" || (format === "wide" && options.tables === true)) return undefined;
  const printer = formatPrinter(format, argument, flags, around, options);
  if (flags.switch("show-managed-fields")) return printer;
  const hides = ["json", "yaml"].includes(format);
  return hides ? (object, first) => printer(withoutManagedFields(object), first) : printer;
}

function formatPrinter(
  format: string,
  argument: string,
  flags: Flags,
  around: Surroundings,
  options: PrinterOptions,
): Printer {
  const allowMissing =
    !flags.given("allow-missing-template-keys") || flags.switch("allow-missing-template-keys");
  const inFile = (): string => fileText(around, argument);
  switch (format) {
    case "json": {
      const print = options.inOrder === true ? indentedInOrder : indentedJson;
      return (object) => `${print(object)}\n`;
    }
    case "yaml":
      return (object, first) => `${first ? "" : "---\n"}${printYaml(object)}`;
    case "name":
      return (object) => namesText(object);
    case "jsonpath":
    case "jsonpath-file":
    case "jsonpath-as-json":
      return pathPrinter(format, format === "jsonpath-file" ? inFile() : argument, allowMissing);
    case "go-template":
    case "go-template-file":
    case "template":
    case "templatefile":
      return templatePrinter(format, argument, inFile, allowMissing);
    case "kyaml":
      throw new CommandError("-o kyaml is not part of wherry kubectl; use -o yaml");
    case "custom-columns":
    case "custom-columns-file": {
      if (options.tables !== true) break;
      const columns =
        format === "custom-columns" ? parseColumns(argument) : parseColumnsFile(inFile());
      return (object, first) =>
        alignTabs(columnsText(columns, object, first && options.noHeaders !== true), tableStops);
    }
  }
  throw unknownFormat(
    argument === "" || format.startsWith("custom") ? format : `${format}=${argument}`,
    options.tables === true,
  );
}

function namesText(object: JsonObject): string {
  const items = object["items"];
  if (Array.isArray(items)) return items.map((item) => namesText(item as JsonObject)).join("");
  return `${objectName(object)}\n`;
}

function pathPrinter(format: string, template: string, allowMissing: boolean): Printer {
  if (template === "") throw new CommandError(`template format specified but no template given`);
  const path = parseJsonPath(template, allowMissing);
  return (object) => {
    try {
      if (format !== "jsonpath-as-json") return path.text(object);
      return `${indentedJson(path.find(object).flat())}\n`;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new CommandError(
        `error executing jsonpath ${JSON.stringify(template)}: Error executing template: ${why}`,
      );
    }
  };
}

function templatePrinter(
  format: string,
  argument: string,
  inFile: () => string,
  allowMissing: boolean,
): Printer {
  if (argument === "") throw new CommandError("template format specified but no template given");
  const run = parseTemplate(format.endsWith("file") ? inFile() : argument, allowMissing);
  return (object) => run(object);
}
