/**
 * What the oracle and we are asked: for each kind with a file in corpus/ (its documents: the smallest object, then fuller ones) the life of
 * each document, and one request for every field made wrong, taken out or changed. Made anew each time, always the same.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { builtInResources } from "#api/index.ts";
import { apiVersionOf, type Resource } from "#api/resource.ts";
import { readYamlDocuments } from "#machinery/yaml.ts";
import { changed, type Path, pointerOf, valueAt } from "./change.ts";
import { type Coverage, coverageOf, placesIn } from "./coverage.ts";
import type { Delta, Json } from "./mask.ts";
import { protocolAsks } from "./protocol.ts";
import { systemAsks } from "./system.ts";
import {
  changeTo,
  placeOf,
  secondMember,
  templates,
  type Variant,
  variantsOf,
  withVariant,
} from "./variants.ts";

export interface Ask {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Instead of a body: the answer to that request, changed so: what a client sends that read the object first. */
  readonly from?: string;
  readonly change?: Delta;
  /** The id of the request whose answer this one's is kept as a difference to. */
  readonly like?: string;
}
export interface KindCorpus {
  /** As its file: "core-pod". */
  readonly name: string;
  readonly asks: readonly Ask[];
  /** Absent of what is asked before all kinds. */
  readonly coverage?: Coverage;
}

type Value = { [key: string]: Json };

export const namespace = "oracle";
/** New ones come through this subresource only. */
const ephemeral = "/ephemeralcontainers";
const tableType = "application/json;as=Table;v=v1;g=meta.k8s.io";
const patchTypes = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

/** Before everything else. */
export const setUp: readonly Ask[] = [
  post("namespace", "/api/v1/namespaces", { metadata: { name: namespace } }),
  post("account", `/api/v1/namespaces/${namespace}/serviceaccounts`, {
    metadata: { name: "default" },
  }),
];

function post(id: string, path: string, body: unknown, like?: string): Ask {
  const ask = { id, method: "POST", path, body: JSON.stringify(body) };
  return like === undefined ? ask : { ...ask, like };
}

/** All fields with a value of its own, lists and objects too. */
function* fields(value: Json, path: Path = []): Generator<readonly [Path, Json]> {
  if (path.length > 0) yield [path, value];
  if (Array.isArray(value)) {
    for (const [at, one] of value.entries()) yield* fields(one as Json, [...path, at]);
  } else if (value !== null && typeof value === "object") {
    for (const [key, one] of Object.entries(value)) yield* fields(one, [...path, key]);
  }
}

const tooLong = "a".repeat(260);
/** Values that a validated field of this type may refuse. */
function wrongValues(value: Json): Record<string, Json | undefined> {
  if (typeof value === "string")
    return { bad: "-Bad value!", empty: "", none: undefined, long: tooLong, type: 7 };
  if (typeof value === "number")
    return { negative: -1, zero: 0, huge: 2_000_000_000, none: undefined, type: "text" };
  if (typeof value === "boolean") return { flipped: !value, type: "text" };
  if (Array.isArray(value))
    return { none: undefined, twice: [...value, ...value] as Json, type: {} };
  const texts = Object.values(value ?? {}).every((member) => typeof member === "string");
  const odd = texts ? { "odd key": { ...(value as Value), "-Bad key!": "x" } } : {};
  return { none: undefined, bare: {}, type: "text", ...odd };
}
function otherValue(value: Json): Json | undefined {
  if (typeof value === "string") return `${value}x`;
  if (typeof value === "number") return value + 1;
  if (typeof value === "boolean") return !value;
  return undefined;
}

const textOf = (path: Path): string => path.join(".");
/** The rules for metadata are every kind's; ConfigMap's requests ask about them. */
const isOwn = (path: Path, resource: Resource): boolean =>
  path[0] !== "apiVersion" &&
  path[0] !== "kind" &&
  (path[0] !== "metadata" || (resource.kind === "ConfigMap" && path.length > 1));

const rootOf = (resource: Resource): string =>
  resource.group === "" ? `/api/${resource.version}` : `/apis/${apiVersionOf(resource)}`;

function collectionOf(resource: Resource): string {
  const root = rootOf(resource);
  const scope = resource.namespaced ? `/namespaces/${namespace}` : "";
  return `${root}${scope}/${resource.plural}`;
}

class Asks {
  readonly list: Ask[] = [];
  readonly resource: Resource;
  readonly collection: string;
  constructor(resource: Resource) {
    this.resource = resource;
    this.collection = collectionOf(resource);
  }
  add(id: string, method: string, path: string, more: Partial<Ask> = {}): void {
    this.list.push({ id, method, path: `${this.collection}${path}`, ...more });
  }
  put(id: string, path: string, object: Json, like?: string): void {
    const body = JSON.stringify(object);
    this.add(id, "PUT", path, like === undefined ? { body } : { body, like });
  }
  patch(
    id: string,
    path: string,
    type: keyof typeof patchTypes,
    body: unknown,
    like: string,
  ): void {
    const headers = { "Content-Type": patchTypes[type] };
    this.add(id, "PATCH", path, { headers, body: JSON.stringify(body), like });
  }

  life(name: string, object: Json): void {
    const at = `/${name}`;
    const made = `${name} create`;
    this.list.push(post(made, this.collection, object));
    this.list.push(post(`${name} create again`, this.collection, object));
    this.add(`${name} get`, "GET", at, { like: made });
    this.add(`${name} table`, "GET", at, { headers: { Accept: tableType } });
    this.put(`${name} put unchanged`, at, object, made);
    const labels = { metadata: { labels: { changed: "yes" } } };
    this.patch(`${name} merge patch`, at, "merge", labels, made);
    const add = [{ op: "add", path: "/metadata/annotations", value: { a: "b" } }];
    this.patch(`${name} json patch`, at, "json", add, made);
    const remove = { metadata: { annotations: null, labels: { more: "1" } } };
    this.patch(`${name} strategic patch`, at, "strategic", remove, made);
    const { apiVersion, kind } = object as Value;
    const applied = (value: string) => ({
      apiVersion,
      kind,
      metadata: { name, labels: { applied: value } },
    });
    this.patch(`${name} apply by one`, `${at}?fieldManager=one`, "apply", applied("1"), made);
    this.patch(`${name} apply by two`, `${at}?fieldManager=two`, "apply", applied("2"), made);
    const force = `${at}?fieldManager=two&force=true`;
    this.patch(`${name} apply by two, forced`, force, "apply", applied("2"), made);
  }

  wrongs(id: string, base: string, object: Json, path: Path, value: Json): void {
    const dry = `${this.collection}?dryRun=All`;
    const wrongs = { ...wrongValues(value) };
    const two = secondMember(this.resource.schema, object, path);
    if (two !== undefined) wrongs["two"] = two;
    for (const [how, wrong] of Object.entries(wrongs)) {
      const body = changed(object, path, wrong);
      this.list.push(post(`${id} ${textOf(path)} ${how}`, dry, body, base));
    }
  }

  /** Before it exists: one field after the other made wrong. */
  creates(name: string, object: Json): void {
    const base = `${name} dry create`;
    this.list.push(post(base, `${this.collection}?dryRun=All`, object));
    for (const [path, value] of fields(object)) {
      if (!isOwn(path, this.resource)) continue;
      this.wrongs(`${name} create`, base, object, path, value);
    }
  }

  /** Once it exists: one field after the other changed, as a client does that read it first. */
  puts(name: string, object: Json): void {
    const at = `/${name}?dryRun=All`;
    const [unchanged, from] = [`${name} dry put`, `${name} get before puts`];
    this.put(unchanged, at, object);
    this.add(from, "GET", `/${name}`);
    for (const [path, value] of fields(object)) {
      if (!isOwn(path, this.resource)) continue;
      const id = `${name} put ${textOf(path)}`;
      const other = otherValue(value);
      if (other !== undefined) this.change(`${id} other`, at, from, [[pointerOf(path), other]]);
      this.change(`${id} none`, at, from, [[pointerOf(path)]]);
    }
  }

  /** PUT of what `from` was answered, changed. */
  change(id: string, path: string, from: string, change: Delta): void {
    this.add(id, "PUT", path, { from, change, like: from });
  }

  /** One object for each field that no document has; with `told` those that are spoken of already. */
  variants(name: string, object: Json, told: Set<string>): Variant[] {
    const { schema } = this.resource;
    const kept: Variant[] = [];
    const seen = new Map<string, number>();
    for (const variant of variantsOf(schema, object, [])) {
      const seeded =
        variant.seed === undefined ? [] : [...fields(variant.seed.value, variant.seed.path)];
      const fresh = [...fields(variant.value, variant.path), ...seeded]
        .map(([path, value]) => [path, value, placeOf(schema, path)] as const)
        .filter(([, , place]) => !told.has(place));
      if (fresh.length === 0) continue;
      for (const [, , place] of fresh) told.add(place);
      kept.push(variant);
      const at = seen.get(textOf(variant.path)) ?? 0;
      seen.set(textOf(variant.path), at + 1);
      const id = `${name} with ${textOf(variant.path)}${at === 0 ? "" : ` ${at}`}`;
      const whole = withVariant(object, variant);
      this.list.push(post(id, `${this.collection}?dryRun=All`, whole, `${name} dry create`));
      if (variant.isTemplate || variant.path.includes("ephemeralContainers")) continue;
      const once = new Set<string>();
      for (const [path, value, place] of fresh) {
        if (once.has(place)) continue;
        once.add(place);
        this.wrongs(id, id, whole, path, value);
      }
    }
    return kept;
  }

  /** Fields that the object lacks, added by update. */
  additions(name: string, variants: readonly Variant[]): void {
    const from = `${name} get before puts`;
    for (const [at, variant] of variants.entries()) {
      const { path } = variant;
      const sub = path.includes("ephemeralContainers") && path.length === 4 ? ephemeral : "";
      const id = `${name} put with ${textOf(path)} ${at}`;
      this.change(id, `/${name}${sub}?dryRun=All`, from, changeTo(variant));
    }
  }

  /** Each field of the status, set and made wrong through /status. */
  statuses(name: string, told: Set<string>): void {
    const { schema, facts } = this.resource;
    const status = schema.fields.get("status")?.schema;
    if (status?.type !== "object") return;
    if (!facts.subresources.some((one) => one.name === "status")) return;
    const [at, from] = [`/${name}/status?dryRun=All`, `${name} get before puts`];
    for (const [number, variant] of [...variantsOf(status, {}, ["status"])].entries()) {
      const { path, value } = variant;
      const id = `${name} status with ${textOf(path)} ${number}`;
      this.change(id, at, from, changeTo(variant));
      if (variant.seed !== undefined) told.add(placeOf(schema, variant.seed.path));
      for (const [inner, one] of fields(value, path)) {
        const place = placeOf(schema, inner);
        if (told.has(place)) continue;
        told.add(place);
        for (const [how, wrong] of Object.entries(wrongValues(one))) {
          const whole = changed({ held: value }, ["held", ...inner.slice(path.length)], wrong);
          const { held } = whole as Value;
          this.change(`${id} ${textOf(inner)} ${how}`, at, from, changeTo(variant, held));
        }
      }
    }
  }

  unknownFields(name: string, object: Json): void {
    const odd = changed(changed(object, ["oddField"], 1), ["metadata", "name"], `${name}-odd`);
    for (const how of ["Strict", "Warn", "Ignore"]) {
      const query = `?dryRun=All&fieldValidation=${how}`;
      this.list.push(post(`${name} unknown field, ${how}`, `${this.collection}${query}`, odd));
    }
    const wrongKind = { ...(object as Value), kind: "Other" };
    this.list.push(post(`${name} another kind`, `${this.collection}?dryRun=All`, wrongKind));
  }

  end(name: string): void {
    const at = `/${name}`;
    const body = (options: object) => ({ body: JSON.stringify(options) });
    this.add(`${name} delete, dry`, "DELETE", `${at}?dryRun=All`);
    const other = { preconditions: { uid: "00000000-0000-0000-0000-000000000000" } };
    this.add(`${name} delete another uid`, "DELETE", at, body(other));
    const both = { propagationPolicy: "Foreground", orphanDependents: true };
    this.add(`${name} delete, policies contradict`, "DELETE", at, body(both));
    this.add(`${name} delete, no such policy`, "DELETE", at, body({ propagationPolicy: "Odd" }));
    this.add(`${name} delete`, "DELETE", `${at}?gracePeriodSeconds=0`);
    this.add(`${name} get what is gone`, "GET", at);
    this.add(`${name} delete what is gone`, "DELETE", at);
  }

  lists(): void {
    const list = (id: string, query: string): void => this.add(`list ${id}`, "GET", query);
    list("all", "?labelSelector=changed%3Dyes");
    this.add("list table", "GET", "", { headers: { Accept: tableType } });
    list("limit", "?labelSelector=changed%3Dyes&limit=1");
    list("bad label selector", "?labelSelector=a%3D%3D%3Db");
    list("unknown field selector", "?fieldSelector=spec.odd%3D1");
    list("by name", "?fieldSelector=metadata.name%3Dnone-such");
    list("match without version", "?resourceVersionMatch=Exact");
    list("exact zero", "?resourceVersion=0&resourceVersionMatch=Exact");
    list("bad version", "?resourceVersion=abc");
    list("bad continue", "?continue=abc");
    list("negative limit", "?limit=-1");
    list("initial events without a watch", "?sendInitialEvents=true");
    list("watch, bad version", "?watch=true&resourceVersion=abc&timeoutSeconds=1");
  }
}

const documentsOf = (file: string, folder: string): Value[] =>
  readYamlDocuments(readFileSync(join(folder, file), "utf8")).map(({ value }) => value as Value);

/** What a kind that makes Pods is asked to make: the Pods' own documents, as far as such a kind may have them. */
function* asTemplates(resource: Resource, smallest: Value, pods: readonly Value[]) {
  const [path] = [...templates(resource.schema, smallest, [])];
  if (path === undefined) return;
  const { restartPolicy } = valueAt(smallest, [...path, "spec"]) as Value;
  for (const { metadata, spec } of pods) {
    const { activeDeadlineSeconds: _, ...rest } = spec as Value;
    const own =
      restartPolicy === undefined ? without(rest, "restartPolicy") : { ...rest, restartPolicy };
    const { name } = metadata as { readonly name: string };
    yield [name, changed(smallest, [...path, "spec"], own)] as const;
  }
}
function without(object: Value, name: string): Value {
  const { [name]: _, ...rest } = object;
  return rest;
}

function kindCorpus(file: string, folder: string): KindCorpus {
  const name = file.replace(".yaml", "");
  const documents = documentsOf(file, folder);
  const [first] = documents;
  const resource = builtInResources.find(
    (one) => one.kind === first?.["kind"] && apiVersionOf(one) === first["apiVersion"],
  );
  if (resource === undefined) throw new Error(`${file} is about a kind that is not served`);
  const asks = new Asks(resource);
  const named = documents.map((document, at) => {
    const { metadata, ...rest } = document;
    const given = (metadata as Value | undefined)?.["name"];
    const own = typeof given === "string" ? given : `${resource.plural}-${at}`;
    const object = { ...rest, metadata: { ...(metadata as Value), name: own } } as unknown as Value;
    return [own, object] as const;
  });
  const told = new Set(placesIn(resource.schema, documents));
  const [smallest] = named;
  for (const [own, object] of named) asks.creates(own, object);
  if (smallest !== undefined) {
    const [own, object] = smallest;
    for (const [pod, whole] of asTemplates(
      resource,
      object,
      documentsOf("core-pod.yaml", folder),
    )) {
      const dry = `${asks.collection}?dryRun=All`;
      asks.list.push(post(`${own} of ${pod}`, dry, whole, `${own} dry create`));
      for (const place of placesIn(resource.schema, [whole])) told.add(place);
    }
  }
  const variants = smallest === undefined ? [] : asks.variants(...smallest, told);
  for (const [own, object] of named) asks.life(own, object);
  asks.lists();
  for (const [own, object] of named) asks.puts(own, object);
  if (smallest !== undefined) {
    asks.additions(smallest[0], variants);
    asks.statuses(smallest[0], told);
    asks.unknownFields(...smallest);
  }
  for (const [own] of named) asks.end(own);
  return { name, asks: asks.list, coverage: coverageOf(resource, told) };
}

/** In the order in which they are asked. */
export function corpus(folder: string): readonly KindCorpus[] {
  const files = readdirSync(folder).filter((file) => file.endsWith(".yaml"));
  return [
    { name: "set-up", asks: setUp },
    { name: "system", asks: systemAsks() },
    { name: "protocol", asks: protocolAsks() },
    ...files.sort().map((file) => kindCorpus(file, folder)),
  ];
}
