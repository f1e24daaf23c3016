/** `kubectl get`: tables from the server, or objects in another form; and what changes in them. */

import { humanDuration } from "#machinery/human-duration.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { parseTime } from "#machinery/time.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { nameInResults, type Resource, resourcePath, tableMedia } from "./discovery.ts";
import { asError, CommandError, throwAll } from "./errors.ts";
import { integer, list, text, toggle } from "./flags.ts";
import { fileFlags, hasFiles } from "./manifests.ts";
import { type AnyObject, objectsAt, textAt } from "./objects.ts";
import { type Printer, printerOf, printFlags } from "./printers.ts";
import type { Query } from "./rest.ts";
import { fetchPlan, type Plan, pages, planSelection } from "./selection.ts";
import { sortByPath } from "./sort.ts";
import { alignTabs, tableStops } from "./tab-writer.ts";
import {
  headerLine,
  isTable,
  plainTable,
  readTable,
  rowLine,
  type Table,
  type TableOptions,
} from "./table.ts";
import { watchEvents } from "./watch.ts";

export const getCommand: KubectlCommand = {
  name: "get",
  summary: "Display one or many resources",
  usage:
    "[(-o|--output=)json|yaml|name|wide|jsonpath|custom-columns|go-template] (TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags]",
  flags: [
    ...printFlags,
    ...fileFlags("identifying the resource to get from a server"),
    toggle("all-namespaces", "List the requested object(s) across all namespaces", { short: "A" }),
    integer("chunk-size", "Return large lists in chunks rather than all at once", {
      default: "500",
    }),
    text("field-selector", "Selector (field query) to filter on"),
    toggle("ignore-not-found", "Suppress NotFound errors for specific objects"),
    list("label-columns", "Labels that are shown as columns", { short: "L" }),
    toggle("no-headers", "Don't print headers"),
    toggle("output-watch-events", "Output watch event objects with --watch or --watch-only"),
    text("raw", "Raw URI to request from the server"),
    text("selector", "Selector (label query) to filter on", { short: "l" }),
    toggle("server-print", "Have the server return the table", { default: "true" }),
    toggle("show-kind", "List the resource type of the requested objects"),
    toggle("show-labels", "Show all labels as the last column"),
    text("sort-by", "Sort by this field, a JSONPath expression"),
    text("subresource", "Get this subresource of the requested object"),
    toggle("watch", "After listing the requested objects, watch for changes", { short: "w" }),
    toggle("watch-only", "Watch for changes without listing first"),
  ],
  run: get,
};

async function get(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const raw = flags.text("raw");
  if (raw !== "") {
    if (args.length > 0)
      throw new CommandError("arguments may not be passed when --raw is specified");
    const rest = await session.rest();
    session.around.terminal.out(await rest.bytes("GET", raw, { accept: "*/*" }));
    return;
  }
  const watches = flags.switch("watch") || flags.switch("watch-only");
  if (flags.switch("output-watch-events") && !watches) {
    throw new CommandError(
      "--output-watch-events option can only be used with --watch or --watch-only",
    );
  }
  if (args.length === 0 && !hasFiles(flags)) {
    session.error(
      'You must specify the type of resource to get. Use "kubectl api-resources" for a complete list of supported resources.\n\n',
    );
    throw usageFailure(
      given,
      'Required resource not specified.\nUse "kubectl explain <resource>" for a detailed description of that resource (e.g. kubectl explain pods).',
    );
  }
  const printer = printerOf(flags, session.around, {
    tables: true,
    noHeaders: flags.switch("no-headers"),
  });
  const output = flags.text("output");
  if (printer !== undefined && flags.switch("show-labels")) {
    throw new CommandError(`--show-labels option cannot be used with ${output} printer`);
  }
  if (printer !== undefined && flags.given("label-columns")) {
    throw new CommandError(`--label-columns option cannot be used with ${output} printer`);
  }
  const plan = await planSelection(given, args, {
    typeAlone: true,
    selector: flags.text("selector"),
    fieldSelector: flags.text("field-selector"),
    allNamespaces: flags.switch("all-namespaces"),
  });
  if (watches) return follow(given, plan, printer);
  return printer === undefined ? getTables(given, plan) : getObjects(given, plan, printer);
}

const ignoring = (given: Invocation, errors: readonly Error[]): Error[] =>
  errors.filter((one) => !(given.flags.switch("ignore-not-found") && isStatus(one, "NotFound")));

async function getObjects(given: Invocation, plan: Plan, printer: Printer): Promise<void> {
  const { session, flags } = given;
  const subresource = flags.text("subresource");
  const { found, errors } =
    subresource === ""
      ? await fetchPlan(session, plan, flags.integer("chunk-size"))
      : await fetchSubresources(given, plan, subresource);
  const wrong = ignoring(given, errors);
  if (found.length === 0 && wrong.length > 0) throwAll(wrong);
  let objects = found.map(({ object }) => object);
  const sortBy = flags.text("sort-by");
  if (sortBy !== "") objects = sortByPath(objects, (object) => object, sortBy);
  const single = plan.type === "targets" && plan.single;
  const [only] = objects;
  if (single && only === undefined) return;
  const whole: JsonObject =
    single && only !== undefined
      ? only
      : { apiVersion: "v1", items: objects, kind: "List", metadata: { resourceVersion: "" } };
  session.out(printer(whole, true));
  throwAll(wrong);
}

async function fetchSubresources(
  given: Invocation,
  plan: Plan,
  subresource: string,
): Promise<{ found: { object: AnyObject }[]; errors: Error[] }> {
  if (plan.type !== "targets") {
    throw new CommandError("subresource cannot be used when bulk resources are specified");
  }
  const rest = await given.session.rest();
  const found: { object: AnyObject }[] = [];
  const errors: Error[] = [...plan.errors];
  for (const { resource, namespace, name } of plan.targets) {
    try {
      const path = resourcePath(resource, namespace, name, subresource);
      found.push({ object: await rest.json<AnyObject>("GET", path) });
    } catch (error) {
      errors.push(asError(error));
    }
  }
  return { found, errors };
}

interface Section {
  readonly resource: Resource;
  readonly namespaced: boolean;
  readonly tables: Table[];
}

const ageOf =
  (given: Invocation) =>
  (created: string): string => {
    const at = parseTime(created);
    return at === undefined ? "<unknown>" : humanDuration(given.session.around.clock.now() - at);
  };
function asTable(given: Invocation, answer: JsonObject): Table {
  if (isTable(answer)) return readTable(answer);
  const { items } = answer;
  const objects = Array.isArray(items) ? items.filter(isObject) : [answer];
  return plainTable(objects, ageOf(given));
}

const tableQuery = (given: Invocation): Query =>
  given.flags.text("sort-by") === "" ? [] : [["includeObject", "Object"]];

/** One section for each run of the same resource. */
async function fetchSections(
  given: Invocation,
  plan: Plan,
): Promise<{ sections: Section[]; errors: Error[] }> {
  const { session, flags } = given;
  const sections: Section[] = [];
  const errors: Error[] = [];
  const sectionFor = (resource: Resource): Section => {
    const last = sections.at(-1);
    if (last?.resource === resource) return last;
    const fresh = { resource, namespaced: resource.namespaced, tables: [] };
    sections.push(fresh);
    return fresh;
  };
  const accept = flags.switch("server-print") ? tableMedia : "application/json";
  if (plan.type === "collections") {
    for (const { resource, namespace } of plan.collections) {
      const section = sectionFor(resource);
      try {
        const path = resourcePath(resource, namespace);
        const query = [...plan.query, ...tableQuery(given)];
        for await (const page of pages(session, path, query, flags.integer("chunk-size"), accept)) {
          section.tables.push(asTable(given, page));
        }
      } catch (error) {
        errors.push(asError(error));
      }
    }
    return { sections, errors };
  }
  errors.push(...plan.errors);
  const rest = await session.rest();
  for (const { resource, namespace, name } of plan.targets) {
    try {
      const path = resourcePath(resource, namespace, name, flags.text("subresource"));
      const answer = await rest.json("GET", path, { accept, query: tableQuery(given) });
      sectionFor(resource).tables.push(asTable(given, answer));
    } catch (error) {
      errors.push(asError(error));
    }
  }
  return { sections, errors };
}

function optionsFor(given: Invocation, resource: Resource, withKind: boolean): TableOptions {
  const { flags } = given;
  return {
    wide: flags.text("output") === "wide",
    withNamespace: flags.switch("all-namespaces") && resource.namespaced,
    kindPrefix: withKind || flags.switch("show-kind") ? `${nameInResults(resource)}/` : "",
    showLabels: flags.switch("show-labels"),
    labelColumns: flags.list("label-columns"),
  };
}

async function getTables(given: Invocation, plan: Plan): Promise<void> {
  const { session, flags } = given;
  const { sections, errors } = await fetchSections(given, plan);
  const kinds = new Set(
    plan.type === "collections"
      ? plan.collections.map(({ resource }) => resource)
      : sections.map(({ resource }) => resource),
  );
  const texts = sections.flatMap((section) => {
    const lines = sectionLines(given, section, kinds.size > 1);
    return lines.length === 0
      ? []
      : [alignTabs(lines.map((line) => `${line}\n`).join(""), tableStops)];
  });
  session.out(texts.join(flags.switch("no-headers") ? "" : "\n"));
  const wrong = ignoring(given, errors);
  if (texts.length === 0 && wrong.length === 0 && !flags.switch("ignore-not-found")) {
    const isLocal =
      sections.every(({ namespaced }) => namespaced) && !flags.switch("all-namespaces");
    session.error(
      isLocal
        ? `No resources found in ${await session.namespace()} namespace.\n`
        : "No resources found\n",
    );
  }
  throwAll(wrong);
}

function sectionLines(given: Invocation, section: Section, withKind: boolean): string[] {
  const { flags } = given;
  const options = optionsFor(given, section.resource, withKind);
  let rows = section.tables.flatMap((table) => table.rows.map((row) => ({ table, row })));
  const sortBy = flags.text("sort-by");
  if (sortBy !== "") rows = sortByPath(rows, ({ row }) => row.object, sortBy);
  const [first] = rows;
  if (first === undefined) return [];
  const lines = rows.map(({ table, row }) => rowLine(table, row, options));
  return flags.switch("no-headers") ? lines : [headerLine(first.table, options), ...lines];
}

/** What is watched: one path with a query, and a resource version to start from. */
async function follow(given: Invocation, plan: Plan, printer: Printer | undefined): Promise<void> {
  const { session, flags } = given;
  const only = plan.type === "collections" ? plan.collections : plan.targets;
  const [one, ...others] = only;
  if (one === undefined || others.length > 0) {
    throw new CommandError(
      `watch is only supported on individual resources and resource collections - ${only.length === 0 ? "no resources were found" : "more than 1 resource type was found"}`,
    );
  }
  if (plan.type === "targets") throwAll(plan.errors);
  const name = plan.type === "targets" ? (plan.targets[0]?.name ?? "") : "";
  const query: Query = [
    ...(plan.type === "collections" ? plan.query : []),
    ...(name === "" ? [] : [["fieldSelector", `metadata.name=${name}`] as const]),
  ];
  const view =
    printer === undefined
      ? new TableView(given, optionsFor(given, one.resource, false))
      : new ObjectView(given, printer);
  const path = resourcePath(one.resource, one.namespace);
  const accept = printer === undefined ? tableMedia : "application/json";
  const rest = await session.rest();
  let version: string;
  if (name === "") {
    const list = await rest.json("GET", path, { query: [...query, ...tableQuery(given)], accept });
    version = textAt(list, "metadata", "resourceVersion");
    if (!flags.switch("watch-only")) view.list(list, one.resource);
  } else {
    const object = await rest.json("GET", resourcePath(one.resource, one.namespace, name), {
      accept,
    });
    const inner = isTable(object) ? objectsAt(object, "rows")[0]?.["object"] : object;
    version = textAt(inner, "metadata", "resourceVersion");
    if (!flags.switch("watch-only")) view.list(object, one.resource);
  }
  const started: Query = [...query, ["resourceVersion", version]];
  for await (const event of watchEvents(rest, path, started, { accept })) {
    if (event.type !== "BOOKMARK") view.event(event.type, event.object);
  }
}

class TableView {
  readonly #given: Invocation;
  readonly #options: TableOptions;
  readonly #widths: number[] = [];
  #columns: Table["columns"] = [];
  #headed: boolean;
  constructor(given: Invocation, options: TableOptions) {
    this.#given = given;
    this.#options = options;
    this.#headed = given.flags.switch("no-headers");
  }
  list(answer: JsonObject): void {
    this.#show("ADDED", answer);
  }
  event(type: string, answer: JsonObject): void {
    this.#show(type, answer);
  }
  #show(type: string, answer: JsonObject): void {
    const read = asTable(this.#given, answer);
    // Only the first event of a watch names its columns.
    if (read.columns.length > 0) this.#columns = read.columns;
    const table = { ...read, columns: this.#columns };
    const withEvents = this.#given.flags.switch("output-watch-events");
    const lines = table.rows.map(
      (row) => (withEvents ? `${type}\t` : "") + rowLine(table, row, this.#options),
    );
    if (lines.length === 0) return;
    if (!this.#headed) {
      lines.unshift((withEvents ? "EVENT\t" : "") + headerLine(table, this.#options));
      this.#headed = true;
    }
    const text = lines.map((line) => `${line}\n`).join("");
    this.#given.session.out(alignTabs(text, tableStops, this.#widths));
  }
}

class ObjectView {
  readonly #given: Invocation;
  readonly #printer: Printer;
  #first = true;
  constructor(given: Invocation, printer: Printer) {
    this.#given = given;
    this.#printer = printer;
  }
  list(answer: JsonObject, resource: Resource): void {
    const items = answer["items"];
    if (!Array.isArray(items)) return this.event("ADDED", answer);
    const apiVersion = answer["apiVersion"];
    for (const item of items.filter(isObject)) {
      this.event("ADDED", { ...item, apiVersion, kind: resource.kind });
    }
  }
  event(type: string, object: JsonObject): void {
    const shown = this.#given.flags.switch("output-watch-events") ? { type, object } : object;
    this.#given.session.out(this.#printer(shown, this.#first));
    this.#first = false;
  }
}
