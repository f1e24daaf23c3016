/** `kubectl explain`: the fields of a kind, from the server's OpenAPI v3. */
import { isObject, type JsonObject, sortedKeys } from "#machinery/object.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { apiVersionOf, noSuchResource, type Resource } from "./discovery.ts";
import { CommandError, ExitError } from "./errors.ts";
import { integer, text, toggle } from "./flags.ts";
import { objectAt, objectsAt, textAt, textsAt } from "./objects.ts";

export const explainCommand: KubectlCommand = {
  name: "explain",
  summary: "Get documentation for a resource",
  usage:
    "TYPE [--recursive=FALSE|TRUE] [--api-version=api-version-group] [-o|--output=plaintext|plaintext-openapiv2]",
  flags: [
    text("api-version", "Use this API version of the resource (group/version)"),
    integer("max-depth", "Maximum depth of --recursive; 0 is unlimited"),
    text("output", "Format in which to render the schema: plaintext", {
      short: "o",
      default: "plaintext",
    }),
    toggle("recursive", "Display the fields of fields too"),
  ],
  run: explain,
};

const referencePrefix = "#/components/schemas/";
const depthMax = 100;

class Explainer {
  readonly #document: JsonObject;
  readonly #recursive: boolean;
  readonly #depthMax: number;
  out = "";
  constructor(document: JsonObject, recursive: boolean, depthMax: number) {
    this.#document = document;
    this.#recursive = recursive;
    this.#depthMax = depthMax;
  }

  #resolve(schema: JsonObject): JsonObject {
    const reference = textAt(schema, "$ref");
    if (reference === "") return schema;
    const found = objectAt(this.#document, "components", "schemas")[
      reference.slice(referencePrefix.length)
    ];
    return isObject(found) ? found : schema;
  }
  schemaOf(resource: Resource): JsonObject | undefined {
    const schemas = objectAt(this.#document, "components", "schemas");
    return Object.values(schemas)
      .filter(isObject)
      .find((schema) =>
        objectsAt(schema, "x-kubernetes-group-version-kind").some(
          (one) =>
            one["group"] === resource.group &&
            one["version"] === resource.version &&
            one["kind"] === resource.kind,
        ),
      );
  }

  /** False if the path leads nowhere. */
  follow(
    schema: JsonObject,
    path: readonly string[],
    seen: ReadonlySet<string> = new Set(),
  ): boolean {
    const reference = textAt(schema, "$ref");
    const resolved = this.#resolve(schema);
    const [name, ...rest] = path;
    if (name === undefined) {
      this.#describe(resolved);
      return true;
    }
    if (reference !== "" && seen.has(reference)) return false;
    const inside = new Set([...seen, ...(reference === "" ? [] : [reference])]);
    const property = objectAt(resolved, "properties")[name];
    if (isObject(property)) {
      if (rest.length === 0) {
        this.out += `FIELD: ${name} <${this.#type(property)}>\n${this.#enumeration(property)}\n\n`;
      }
      return this.follow(property, rest);
    }
    for (const key of ["items", "additionalProperties"]) {
      if (isObject(resolved[key])) return this.follow(resolved[key], path, inside);
    }
    return objectsAt(resolved, "allOf").some((one) => this.follow(one, path, inside));
  }

  #description(schema: JsonObject, depth = 0): string {
    if (depth > depthMax) return "";
    const resolved = this.#resolve(schema);
    const own = textAt(resolved, "description");
    const inner = [
      ...objectsAt(resolved, "allOf"),
      ...["items", "additionalProperties"].map((key) => resolved[key]).filter(isObject),
    ];
    return (
      (own === "" ? "" : `${own}\n`) +
      inner.map((one) => this.#description(one, depth + 1)).join("")
    );
  }
  #describe(schema: JsonObject): void {
    this.out += "DESCRIPTION:\n";
    this.out += `${indent(wrap(this.#description(schema) || "<empty>", 76), 4)}\n`;
    const before = this.out.length;
    this.#fields(schema, 1, new Set());
    if (this.out.length > before) {
      const fields = this.out.slice(before);
      this.out = `${this.out.slice(0, before)}FIELDS:\n${fields}`;
    }
  }
  #fields(schema: JsonObject, level: number, seen: ReadonlySet<string>): void {
    const reference = textAt(schema, "$ref");
    if ((reference !== "" && seen.has(reference)) || level > depthMax) return;
    const inside = reference === "" ? seen : new Set([...seen, reference]);
    const resolved = this.#resolve(schema);
    const properties = objectAt(resolved, "properties");
    for (const name of sortedKeys(properties)) {
      const property = properties[name];
      if (!isObject(property)) continue;
      this.#field(resolved, name, property, level);
      if (this.#recursive && (this.#depthMax === 0 || level < this.#depthMax)) {
        this.#fields(property, level + 1, inside);
      }
    }
    for (const one of objectsAt(resolved, "allOf")) this.#fields(one, level, inside);
    for (const key of ["items", "additionalProperties"]) {
      if (isObject(resolved[key])) this.#fields(resolved[key], level, inside);
    }
  }
  #field(owner: JsonObject, name: string, schema: JsonObject, level: number): void {
    const margin = level * 2;
    const required = textsAt(owner, "required").includes(name) ? " -required-" : "";
    this.out += `${" ".repeat(margin)}${name}\t<${this.#type(schema)}>${required}`;
    const values = textsAt(schema, "enum");
    if (values.length > 0) {
      const shown = values
        .slice(0, 4)
        .map((value) => value || '""')
        .join(", ");
      this.out += `\n${" ".repeat(margin)}enum: ${shown}${values.length > 4 ? ", ...." : ""}`;
    }
    this.out += "\n";
    if (this.#recursive) return;
    const description = textAt(schema, "description") || "<no description>";
    this.out += `${indent(wrap(description, 78 - margin), margin + 2)}\n\n`;
  }
  #enumeration(schema: JsonObject): string {
    const values = textsAt(schema, "enum");
    return values.length === 0
      ? ""
      : `ENUM:${values.map((value) => `\n    ${value || '""'}`).join("")}`;
  }
  #type(schema: JsonObject): string {
    const { items, additionalProperties, properties } = schema;
    if (isObject(items)) return `[]${this.#type(items)}`;
    if (isObject(additionalProperties)) return `map[string]${this.#type(additionalProperties)}`;
    const all = objectsAt(schema, "allOf");
    const [only] = all;
    if (only !== undefined && all.length === 1 && properties === undefined) return this.#type(only);
    const reference = textAt(schema, "$ref");
    const type = textAt(schema, "type");
    if (reference === "") return type === "object" || type === "" ? "Object" : type;
    const resolved = textAt(this.#resolve(schema), "type");
    if (resolved !== "" && resolved !== "object") return resolved;
    return reference.split("/").at(-1)?.split(".").at(-1) || "Object";
  }
}

function wrap(text: string, width: number): string {
  const lines: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(/\s+/).filter((one) => one !== "")) {
      if (line !== "" && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else line = line === "" ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines.join("\n");
}
const indent = (text: string, by: number): string =>
  text
    .split("\n")
    .map((line) => " ".repeat(by) + line)
    .join("\n");

/** The group that the dots name may be part of the type: "deployments.apps.spec" has fields behind it. */
async function split(
  given: Invocation,
  typed: string,
): Promise<readonly [Resource, readonly string[]]> {
  const discovery = await given.session.discovery();
  const parts = typed.split(".");
  const version = given.flags.text("api-version");
  const [name = "", ...fields] = parts;
  if (version !== "") {
    const known = discovery.find(name);
    const group = discovery.versions.find((one) => apiVersionOf(one) === version);
    const resource = group?.resources.find(
      (one) =>
        one.plural === (known?.plural ?? name) ||
        one.singular === name ||
        one.shortNames.includes(name),
    );
    if (resource === undefined) {
      if (known === undefined) throw new ExitError(1, noSuchResource(name).message);
      const gvr = `${version.includes("/") ? version : `/${version}`}, Resource=${known.plural}`;
      throw new CommandError(`GVR (${gvr}) not found in OpenAPI schema`);
    }
    return [resource, fields];
  }
  // Longest group first, as for "deployments.apps.spec".
  for (let end = parts.length; end > 1; end--) {
    const group = parts.slice(1, end).join(".");
    const found = discovery.versions.some((one) => one.group === group)
      ? discovery.find(`${name}.${group}`)
      : undefined;
    if (found !== undefined) return [found, parts.slice(end)];
  }
  const resource = discovery.find(name);
  if (resource === undefined) throw new ExitError(1, noSuchResource(name).message);
  return [resource, fields];
}

async function explain(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const [typed, ...more] = args;
  if (typed === undefined) {
    throw new CommandError(
      'You must specify the type of resource to explain. Use "kubectl api-resources" for a complete list of supported resources.\n',
    );
  }
  if (more.length > 0) throw usageFailure(given, "We accept only this format: explain RESOURCE\n");
  const output = flags.text("output");
  if (output !== "plaintext") {
    throw new CommandError(`-o ${output}: wherry kubectl explains as plaintext only`);
  }
  const [resource, path] = await split(given, typed);
  const rest = await session.rest();
  const version = apiVersionOf(resource);
  const document = await rest.json(
    "GET",
    `/openapi/v3/${resource.group === "" ? "api" : "apis"}/${version}`,
  );
  const explainer = new Explainer(document, flags.switch("recursive"), flags.integer("max-depth"));
  const schema = explainer.schemaOf(resource);
  if (schema === undefined) {
    throw new CommandError(`GVK ${resource.kind} of ${version} not found in OpenAPI schema`);
  }
  explainer.out = `${resource.group === "" ? "" : `GROUP:      ${resource.group}\n`}KIND:       ${resource.kind}\nVERSION:    ${resource.version}\n\n`;
  if (!explainer.follow(schema, path)) {
    // Upstream: the heading is out by then.
    session.out(explainer.out);
    throw new CommandError(`field ${JSON.stringify(path.at(-1) ?? "")} does not exist`);
  }
  session.out(`${explainer.out}\n`);
}
