/** Reads of a kind: get, list and watch with upstream's rules of resourceVersion, selectors and continue tokens. */

import type { Resource } from "#api/resource.ts";
import { decodeBase64, encodeBase64 } from "#machinery/base64.ts";
import { type FieldError, forbidden, invalid, notSupported } from "#machinery/field-error.ts";
import { parseJson } from "#machinery/json.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { isObject } from "#machinery/object.ts";
import {
  compileFieldSelector,
  type FieldRequirement,
  parseFieldSelectorText,
  parseLabelSelectorText,
} from "#machinery/selector.ts";
import {
  badRequest,
  expired,
  invalidObject,
  notFound,
  StatusError,
  tooLargeResourceVersion,
} from "#machinery/status-error.ts";
import type { Registry } from "./registry.ts";
import type { StoredObject } from "./stored-object.ts";
import { WatchStream } from "./watch-stream.ts";

/** How long a read waits for a revision that the cache has not seen. */
const freshWaitMs = 3000;
const historyPageKeys = 500;

export interface ListQuery {
  readonly namespace: string;
  readonly labelSelector: string;
  readonly fieldSelector: string;
  readonly limit: number;
  readonly continue: string;
  readonly resourceVersion: string;
  readonly resourceVersionMatch: string;
  readonly sendInitialEvents?: boolean | undefined;
  /** The version in which the request speaks, where it is not the stored one: its fields select. */
  readonly view?: {
    readonly resource: Resource;
    readonly show: (stored: ApiObject) => ApiObject;
  };
}
export interface WatchQuery extends ListQuery {
  readonly allowBookmarks: boolean;
  readonly timeoutMs: number;
  readonly direct: boolean;
  readonly gone: AbortSignal;
}

export interface ListResult {
  readonly items: readonly StoredObject[];
  readonly revision: number;
  readonly continue?: string;
  readonly remaining?: number;
}

/** A compiled pair of selectors, and the keys that can match at all. */
interface Selection {
  readonly matches: ((object: ApiObject) => boolean) | undefined;
  readonly from: string;
  readonly to: string;
}

function readField(resource: Resource, object: ApiObject, field: string): string {
  if (field === "metadata.name") return object.metadata.name ?? "";
  if (field === "metadata.namespace") return object.metadata.namespace ?? "";
  return resource.selectableFields[field]?.(object) ?? "";
}

function fieldRequirements(resource: Resource, text: string): readonly FieldRequirement[] {
  const parsed = parseFieldSelectorText(text);
  if ("problem" in parsed) throw badRequest(parsed.problem);
  for (const { field } of parsed.requirements) {
    if (field === "metadata.name" || field === "metadata.namespace") continue;
    if (Object.hasOwn(resource.selectableFields, field)) continue;
    throw badRequest(
      Object.keys(resource.selectableFields).length > 0
        ? (resource.unknownFieldSelector?.(field) ?? `field label not supported: ${field}`)
        : `${JSON.stringify(field)} is not a known field selector: only "metadata.name", "metadata.namespace"`,
    );
  }
  return parsed.requirements;
}

const only = (requirements: readonly FieldRequirement[], field: string): string | undefined =>
  requirements.find((one) => one.field === field && one.operator === "=")?.value;

function select(registry: Registry, query: ListQuery): Selection {
  const { resource, show } = query.view ?? { resource: registry.resource, show: undefined };
  const labels = parseLabelSelectorText(query.labelSelector);
  if ("problem" in labels) throw badRequest(labels.problem);
  const fields = fieldRequirements(resource, query.fieldSelector);
  const wantsLabels = labels.query.requirements.length > 0;
  const byFields = compileFieldSelector<ApiObject>(fields, (object, field) =>
    readField(resource, show === undefined ? object : show(object), field),
  );
  const matches =
    !wantsLabels && fields.length === 0
      ? undefined
      : (object: ApiObject) => labels.query.matches(object.metadata.labels) && byFields(object);
  const namespace = query.namespace || (only(fields, "metadata.namespace") ?? "");
  const name = only(fields, "metadata.name");
  if (name !== undefined && name !== "" && (namespace !== "" || !resource.namespaced)) {
    const key = registry.key(namespace, name);
    return { matches, from: key, to: `${key}\0` };
  }
  return { matches, ...registry.range(namespace) };
}

function parseRevision(text: string, verb: "list" | "watch" = "list"): number {
  if (text === "") return 0;
  const revision = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(revision)) return revision;
  const error = invalid(
    "resourceVersion",
    text,
    `strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
  );
  const said = `${error.path}: ${error.message}`;
  // Upstream: a watch answers this as an error of the server's, without a reason.
  if (verb === "watch") throw new StatusError(500, "", said);
  throw badRequest(`invalid resource version: ${said}`);
}

const matchValues = ["Exact", "NotOlderThan", ""];

function validateList(query: ListQuery): void {
  const errors: FieldError[] = [];
  const { resourceVersion, resourceVersionMatch: match } = query;
  const path = "resourceVersionMatch";
  if (query.sendInitialEvents !== undefined)
    errors.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
  if (match === "") return refuse(errors);
  if (resourceVersion === "") {
    errors.push(
      forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
    );
  }
  if (query.continue !== "")
    errors.push(forbidden(path, "resourceVersionMatch is forbidden when continue is provided"));
  if (!matchValues.includes(match)) errors.push(notSupported(path, match, matchValues));
  if (match === "Exact" && resourceVersion === "0") {
    errors.push(
      forbidden(path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'),
    );
  }
  refuse(errors);
}

function validateWatch(query: WatchQuery): void {
  const errors: FieldError[] = [];
  const { resourceVersionMatch: match, sendInitialEvents } = query;
  const path = "resourceVersionMatch";
  if (sendInitialEvents !== undefined && match !== "NotOlderThan") {
    errors.push(
      forbidden(path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
    );
  }
  if (match !== "") {
    if (sendInitialEvents === undefined) {
      errors.push(
        forbidden(
          path,
          "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
      );
    }
    if (match !== "NotOlderThan") errors.push(notSupported(path, match, ["NotOlderThan"]));
    if (query.continue !== "")
      errors.push(forbidden(path, "resourceVersionMatch is forbidden when continue is provided"));
  }
  refuse(errors);
}

function refuse(errors: readonly FieldError[]): void {
  if (errors.length > 0)
    throw invalidObject({ group: "meta.k8s.io", kind: "ListOptions" }, "", errors);
}

interface ContinueToken {
  readonly from: string;
  /** Negative: whatever is newest. */
  readonly revision: number;
}

const encoder = new TextEncoder();

function encodeContinue(registry: Registry, key: string, revision: number): string {
  const root = `${registry.resource.storagePrefix}/`;
  const token = { v: "meta.k8s.io/v1", rv: revision, start: `${key.slice(root.length)}\0` };
  return encodeBase64(encoder.encode(JSON.stringify(token)))
    .replace(/=+$/, "")
    .replace(/\+/g, "-")
    .replace(/\//g, "_");
}

function decodeContinue(registry: Registry, text: string): ContinueToken {
  const bad = (why: string) => badRequest(`invalid continue token: ${why}`);
  const padded = text.replace(/-/g, "+").replace(/_/g, "/");
  const decoded = decodeBase64(padded + "=".repeat((4 - (padded.length % 4)) % 4));
  if ("problem" in decoded) throw bad(`continue key is not valid: ${decoded.problem}`);
  let token: unknown;
  try {
    token = parseJson(decoded.bytes);
  } catch (error) {
    throw bad(`continue key is not valid: ${error instanceof Error ? error.message : ""}`);
  }
  if (!isObject(token)) throw bad("continue key is not valid");
  const { v, rv, start } = token;
  if (v !== "meta.k8s.io/v1")
    throw bad(
      `continue key is not valid: server does not recognize this encoded version ${String(v)}`,
    );
  if (typeof rv !== "number" || rv === 0)
    throw bad(
      "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
    );
  if (typeof start !== "string" || start === "")
    throw bad("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)");
  const segments = start.split("/");
  if (segments.includes("..") || segments.includes(".") || start.includes("//"))
    throw bad(`continue key is not valid: ${start}`);
  return { from: `${registry.resource.storagePrefix}/${start}`, revision: rv };
}

async function waitFor(registry: Registry, revision: number): Promise<void> {
  const { mirror } = registry.parts;
  if (mirror.revision >= revision) return;
  if (await mirror.reachedWithin(revision, freshWaitMs)) return;
  throw tooLargeResourceVersion(revision, mirror.revision);
}

export async function getObject(
  registry: Registry,
  namespace: string,
  name: string,
  resourceVersion: string,
  named: Resource = registry.resource,
): Promise<StoredObject> {
  const { mirror } = registry.parts;
  if (resourceVersion === "") await mirror.fresh();
  else await waitFor(registry, parseRevision(resourceVersion));
  const found = registry.cache.get(registry.key(namespace, name));
  if (found === undefined) throw notFound(named, name);
  return found;
}

export async function listObjects(registry: Registry, query: ListQuery): Promise<ListResult> {
  validateList(query);
  const selection = select(registry, query);
  const { mirror } = registry.parts;
  if (query.continue !== "") {
    if (query.resourceVersion !== "" && query.resourceVersion !== "0")
      throw badRequest("specifying resource version is not allowed when using continue");
    const token = decodeContinue(registry, query.continue);
    if (token.from < selection.from)
      throw badRequest("invalid continue token: continue key is not valid");
    const narrowed = { ...selection, from: token.from };
    if (token.revision < 0) {
      await mirror.fresh();
      return listNow(registry, narrowed, query.limit);
    }
    return listAt(registry, narrowed, query.limit, token.revision, true);
  }
  const revision = parseRevision(query.resourceVersion);
  // Upstream: a limited list at a version without a match means that very version.
  const exact =
    query.resourceVersionMatch === "Exact" ||
    (query.resourceVersionMatch === "" && query.limit > 0 && revision > 0);
  if (exact) return listAt(registry, selection, query.limit, revision, false);
  if (query.resourceVersion === "") await mirror.fresh();
  else await waitFor(registry, revision);
  // Upstream: at version "0" the limit is not looked at.
  return listNow(registry, selection, query.resourceVersion === "0" ? 0 : query.limit);
}

/** From the cache, as of its revision. */
function listNow(registry: Registry, selection: Selection, limit: number): ListResult {
  const { cache, parts } = registry;
  const { from, to, matches } = selection;
  const revision = parts.mirror.revision;
  const items: StoredObject[] = [];
  let last = "";
  for (const stored of cache.range(from, to)) {
    if (limit > 0 && items.length === limit) {
      const remaining = cache.count(`${last}\0`, to);
      return page(registry, items, revision, last, matches === undefined ? remaining : undefined);
    }
    last = stored.key;
    if (matches === undefined || matches(stored.object)) items.push(stored);
  }
  return { items, revision };
}

function page(
  registry: Registry,
  items: readonly StoredObject[],
  revision: number,
  last: string,
  remaining: number | undefined,
): ListResult {
  const token = encodeContinue(registry, last, revision);
  const result = { items, revision, continue: token };
  return remaining === undefined ? result : { ...result, remaining };
}

const compactedToken =
  "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/** From the store's history. */
async function listAt(
  registry: Registry,
  selection: Selection,
  limit: number,
  revision: number,
  continued: boolean,
): Promise<ListResult> {
  const { store, mirror } = registry.parts;
  const { to, matches } = selection;
  let { from } = selection;
  if (!continued) await waitFor(registry, revision);
  const items: StoredObject[] = [];
  for (;;) {
    const wanted = limit > 0 && matches === undefined ? limit - items.length : historyPageKeys;
    const range = await store.range(from, to, { at: revision, limit: wanted });
    if (range === "future") throw tooLargeResourceVersion(revision, mirror.revision);
    if (range === "compacted") throw tooOld(registry, from, continued);
    for (const [index, kv] of range.items.entries()) {
      const stored = registry.cache.adopt(kv);
      if (matches !== undefined && !matches(stored.object)) continue;
      items.push(stored);
      const behind = range.items.length - index - 1 + range.remaining;
      if (limit > 0 && items.length === limit && behind > 0)
        return page(registry, items, revision, kv.key, matches === undefined ? behind : undefined);
    }
    const last = range.items.at(-1);
    if (range.remaining === 0 || last === undefined) return { items, revision };
    from = `${last.key}\0`;
  }
}

function tooOld(registry: Registry, from: string, continued: boolean) {
  if (!continued) return expired("The resourceVersion for the provided list is too old.");
  const error = expired(compactedToken);
  const token = encodeContinue(registry, from.replace(/\0$/, ""), -1);
  error.status.metadata = { continue: token };
  return error;
}

export async function watchObjects(registry: Registry, query: WatchQuery): Promise<WatchStream> {
  validateWatch(query);
  const { matches, from, to } = select(registry, query);
  const { mirror, store, clock } = registry.parts;
  const { cache } = registry;
  const asked = parseRevision(query.resourceVersion, "watch");
  const unset = query.resourceVersion === "";
  const wantsInitial =
    query.sendInitialEvents ?? (query.resourceVersion === "" || query.resourceVersion === "0");
  let after = asked;
  let initial: StoredObject[] | undefined;
  if (wantsInitial || asked === 0) {
    if (unset) await mirror.fresh();
    else await waitFor(registry, asked);
    after = mirror.revision;
    if (wantsInitial) {
      initial = [];
      for (const stored of cache.range(from, to))
        if (matches === undefined || matches(stored.object)) initial.push(stored);
    }
  }
  return new WatchStream({
    store,
    mirror,
    cache,
    clock,
    from,
    to,
    matches,
    direct: query.direct,
    initial,
    after,
    bookmarks: query.allowBookmarks,
    initialEnd: query.sendInitialEvents === true && query.allowBookmarks,
    timeoutMs: query.timeoutMs,
    gone: query.gone,
  });
}
