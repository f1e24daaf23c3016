/** What all writing commands share: dry runs, field managers and validation, and how a result is told. */
import { kindSchema } from "#api/facts.ts";
import { decodeObject } from "#machinery/decode.ts";
import { parseApiVersion } from "#machinery/gvk.ts";
import type { JsonObject } from "#machinery/object.ts";
import type { Invocation } from "./command.ts";
import { CommandError } from "./errors.ts";
import { type Flag, type Flags, optional, text } from "./flags.ts";
import { type AnyObject, apiVersionIn, isList, kindOf } from "./objects.ts";
import { objectName, type Printer, printerOf } from "./printers.ts";
import type { Query } from "./rest.ts";

export type DryRun = "none" | "client" | "server";

export const dryRunFlag: Flag = optional(
  "dry-run",
  'Must be "none", "server", or "client": what would be sent, without doing it',
  { default: "none", bare: "unchanged" },
);
export const managerFlag = (name: string): Flag =>
  text("field-manager", "Name of the manager used to track field ownership", { default: name });
export const validateFlag: Flag = optional(
  "validate",
  "How unknown and duplicate fields are met: strict, warn or ignore",
  {
    default: "strict",
    bare: "strict",
  },
);

export function dryRunOf(flags: Flags): DryRun {
  const value = flags.text("dry-run");
  if (value === "none" || value === "client" || value === "server") return value;
  if (value === "unchanged" || value === "") {
    throw new CommandError(
      '--dry-run flag without a value was specified. A value must be set: "none", "server", or "client".',
    );
  }
  if (["true", "false", "1", "0"].includes(value)) {
    throw new CommandError(
      `Invalid dry-run value (${value}). Must be "none", "server", or "client".`,
    );
  }
  throw new CommandError(
    `Invalid dry-run value (${value}). Must be "none", "server", or "client".`,
  );
}

function validationOf(flags: Flags): string {
  const value = flags.text("validate").toLowerCase();
  if (value === "" || value === "true" || value === "strict") return "Strict";
  if (value === "warn") return "Warn";
  if (value === "false" || value === "ignore") return "Ignore";
  throw new CommandError(
    `invalid - validate option ${JSON.stringify(flags.text("validate"))}; must be one of: strict (or true), warn, ignore (or false)`,
  );
}

/** What a write is sent with. */
export function writeQuery(flags: Flags, manager: string): Query {
  const query: (readonly [string, string])[] = [
    ["fieldManager", flags.text("field-manager") || manager],
  ];
  if (flags.text("validate") !== "") query.push(["fieldValidation", validationOf(flags)]);
  if (flags.text("dry-run") === "server") query.push(["dryRun", "All"]);
  return query;
}

const dryRunSuffix: Readonly<Record<DryRun, string>> = {
  none: "",
  client: " (dry run)",
  server: " (server dry run)",
};

/** Says what was done: "deployment.apps/web configured", or the object in the form of -o. */
export class Results {
  readonly #given: Invocation;
  readonly #printer: Printer | undefined;
  readonly #dryRun: DryRun;
  #count = 0;
  constructor(given: Invocation, options: { readonly inOrder?: boolean } = {}) {
    this.#given = given;
    this.#printer = printerOf(given.flags, given.session.around, options);
    this.#dryRun = dryRunOf(given.flags);
  }
  get hasPrinter(): boolean {
    return this.#printer !== undefined;
  }
  tell(object: JsonObject, operation: string): void {
    const first = this.#count === 0;
    this.#count += 1;
    this.#given.session.out(
      this.#printer === undefined
        ? `${objectName(object)} ${operation}${dryRunSuffix[this.#dryRun]}\n`
        : this.#printer(object, first),
    );
  }
}

/** As Go prints an object of a kind that it knows: fields in its order, `status: {}` and `resources: {}` where they are empty. */
export function asGoPrints(object: AnyObject): AnyObject {
  if (isList(object)) return object;
  const version = parseApiVersion(apiVersionIn(object));
  const schema =
    version === undefined ? undefined : kindSchema(version.group, version.version, kindOf(object));
  if (schema === undefined) return object;
  return decodeObject(schema, object, { strict: false }).object;
}
