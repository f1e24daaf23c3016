/** ServedResource: a resource as one served version offers it: its registry, and how that version shows what is stored. */
import { apiVersionOf, type Resource } from "#api/resource.ts";
import { deepFreeze } from "#machinery/decode.ts";
import type { ApiObject } from "#machinery/meta.ts";
import type { Bytes } from "#ports/stream.ts";
import { encodeJson } from "./object-codec.ts";
import type { Registry, Written } from "./registry.ts";
import type { StoredObject } from "./stored-object.ts";
import type { VersionLink } from "./version-links.ts";

const encoder = new TextEncoder();
const brace = encoder.encode("{");

export class ServedResource {
  readonly resource: Resource;
  readonly registry: Registry;
  readonly link: VersionLink | undefined;
  /** Names the version in caches. */
  readonly id: string;
  /** Of a custom resource: its definition's versions, by apiVersion. */
  readonly siblings: ReadonlyMap<string, Resource> | undefined;
  /** The definition is being deleted: nothing new is created. */
  isEnding = false;
  /** What the JSON of an object begins with and that of an item lacks; undefined: items are whole. */
  readonly #itemHead: Bytes | undefined;

  constructor(
    resource: Resource,
    registry: Registry,
    link: VersionLink | undefined,
    siblings?: ReadonlyMap<string, Resource>,
  ) {
    this.siblings = siblings;
    this.resource = resource;
    this.registry = registry;
    this.link = link;
    const { kind, schema } = resource;
    const types = JSON.stringify({ kind, apiVersion: apiVersionOf(resource) });
    this.#itemHead =
      schema.custom === undefined ? encoder.encode(types.replace(/.$/, ",")) : undefined;
    this.id = `${resource.group}/${resource.version}/${resource.plural}`;
  }

  get apiVersion(): string {
    const { group, version } = this.resource;
    return group === "" ? version : `${group}/${version}`;
  }

  /** What a request says, decoded and with its version's defaults, as it is worked on. */
  heard(object: ApiObject): ApiObject {
    const { link } = this;
    return link?.retells === true ? link.fromStored(link.toStored(object)) : object;
  }

  /** Frozen. */
  objectOf(stored: StoredObject): ApiObject {
    const { link } = this;
    return link === undefined ? stored.object : this.#view(stored, link).object;
  }

  jsonOf(stored: StoredObject): readonly Bytes[] {
    const { link } = this;
    return link === undefined ? stored.json : this.#view(stored, link).json;
  }

  /**
   * The JSON of an item of a list. Upstream: items of built-in kinds don't say what they are, custom resources do; clients fill it in
   * from the list.
   */
  itemJsonOf(stored: StoredObject): readonly Bytes[] {
    const [first, ...rest] = this.jsonOf(stored);
    const head = this.#itemHead;
    if (head === undefined || first === undefined) return this.jsonOf(stored);
    return [brace, first.subarray(head.length), ...rest];
  }

  itemOf(stored: StoredObject): object {
    const object = this.objectOf(stored);
    if (this.#itemHead === undefined) return object;
    const { kind: _kind, apiVersion: _apiVersion, ...item } = object;
    return item;
  }

  #view(stored: StoredObject, link: VersionLink) {
    return stored.view(this.id, (object) => {
      const shown = deepFreeze(link.fromStored(object));
      return { object: shown, json: [encodeJson(shown)] };
    });
  }

  objectOfWritten(written: Written): ApiObject {
    return "stored" in written ? this.objectOf(written.stored) : deepFreeze(written.wouldBe);
  }
}
