/** Who manages which field: keeps metadata.managedFields on every write, in process as over HTTP. */
import { kindSchema } from "#api/facts.ts";
import { apiVersionOf, type Resource } from "#api/resource.ts";
import { type FieldSet, fieldPath, setOfPaths } from "#machinery/apply/field-set.ts";
import { updateManagedFields, type WriteContext } from "#machinery/apply/managed-fields.ts";
import { applyManaged } from "#machinery/apply/server-side-apply.ts";
import { DecodeError, decodeObject, strictDecodingMessage } from "#machinery/decode.ts";
import { parseApiVersion } from "#machinery/gvk.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { badRequest, conflict } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { WriteOptions } from "./body.ts";
import { applyDefaults } from "./object-codec.ts";
import type { Patch } from "./patch.ts";
import type { ServedResource } from "./served-resource.ts";
import { type VersionLink, versionLinks } from "./version-links.ts";
import { windowOf } from "./windows.ts";

const notSpec: ReadonlySet<string> = new Set(["apiVersion", "kind", "metadata", "status"]);

const untouchedSets = new WeakMap<Resource, Map<string, FieldSet | undefined>>();
/** Which fields the way in by which somebody writes does not touch. Undefined: it may touch all. */
function untouched(resource: Resource, subresource: string): FieldSet | undefined {
  let known = untouchedSets.get(resource);
  if (known === undefined) {
    known = new Map();
    untouchedSets.set(resource, known);
  }
  if (!known.has(subresource)) known.set(subresource, findUntouched(resource, subresource));
  return known.get(subresource);
}
function findUntouched(resource: Resource, subresource: string): FieldSet | undefined {
  const window = windowOf(resource, subresource);
  if (window?.copy === "status") return setOfPaths(["spec", "status.certificate"].map(fieldPath));
  if (window !== undefined) {
    const spec = resource.schema.fields.get("spec")?.schema;
    const others = spec?.type === "object" ? [...spec.fields.keys()] : [];
    const kept = others.filter((name) => !window.fields.includes(name));
    return setOfPaths(["metadata", "status", ...kept.map((name) => `spec.${name}`)].map(fieldPath));
  }
  const hasStatus = resource.facts.subresources.some(({ name }) => name === "status");
  if (!hasStatus) return undefined;
  if (subresource === "") return setOfPaths([fieldPath("status")]);
  if (subresource !== "status") return undefined;
  const others = [...resource.schema.fields.keys()].filter((name) => !notSpec.has(name));
  return setOfPaths([...others, ...(resource.strategy.statusResetFields ?? [])].map(fieldPath));
}

export interface ManagerWrite {
  readonly served: {
    readonly resource: Resource;
    readonly link: VersionLink | undefined;
    readonly siblings?: ReadonlyMap<string, Resource> | undefined;
  };
  readonly old: ApiObject | undefined;
  readonly manager: string;
  readonly subresource: string;
  readonly now: number;
}

/** Entries written in the other version of a linked kind are read through the link. */
function otherVersion(served: ManagerWrite["served"], apiVersion: string) {
  const { link, resource, siblings } = served;
  const sibling = siblings?.get(apiVersion);
  if (sibling !== undefined) {
    const named = (name: string) => (object: JsonObject) => ({ ...object, apiVersion: name });
    return {
      schema: sibling.schema,
      fromRequest: named(apiVersion),
      toRequest: named(apiVersionOf(resource)),
    };
  }
  const parsed = parseApiVersion(apiVersion);
  const schema =
    parsed === undefined ? undefined : kindSchema(parsed.group, parsed.version, resource.kind);
  if (schema === undefined) return undefined;
  const turn = (convert: (object: ApiObject) => ApiObject) => (object: JsonObject) =>
    convert(object as unknown as ApiObject) as unknown as JsonObject;
  if (link !== undefined && apiVersion === apiVersionOf(link.stored)) {
    return { schema, fromRequest: turn(link.toStored), toRequest: turn(link.fromStored) };
  }
  // The request speaks in the stored version, the entry in one that is linked to it.
  const linked = versionLinks.find(
    (one) => apiVersion === apiVersionOf(one.served) && isSameKind(one.stored, resource),
  );
  if (linked === undefined) return undefined;
  return { schema, fromRequest: turn(linked.fromStored), toRequest: turn(linked.toStored) };
}

const isSameKind = (a: VersionLink["stored"], b: VersionLink["stored"]): boolean =>
  a.group === b.group && a.version === b.version && a.plural === b.plural;

function contextOf(write: ManagerWrite): WriteContext {
  const { served, manager, subresource, now } = write;
  const { resource } = served;
  const untouchedFields = untouched(resource, subresource);
  return {
    apiVersion: apiVersionOf(resource),
    schema: resource.schema,
    manager,
    subresource,
    now: formatTime(now),
    resetFields: () => untouchedFields,
    version: (apiVersion) => otherVersion(served, apiVersion),
  };
}

const asJson = (object: ApiObject): JsonObject => object as unknown as JsonObject;

/** After an ordinary write. `reset`: the request sent an empty list of managers, which forgets them all. */
export function recordManager(write: ManagerWrite, next: ApiObject, reset = false): void {
  const live = write.old === undefined ? undefined : asJson(write.old);
  const entries = updateManagedFields(live, asJson(next), { ...contextOf(write), reset });
  if (entries === undefined) delete next.metadata.managedFields;
  else next.metadata.managedFields = entries;
}

/** A server-side apply: the object it makes of the old one (undefined: creates it), decoded and with its defaults. */
export function applyManager(
  write: Omit<ManagerWrite, "served"> & { readonly served: ServedResource },
  patch: Patch,
  options: WriteOptions,
  warnings: string[],
): ApiObject {
  const { served, old } = write;
  const { resource } = served;
  if (!isObject(patch.value)) throw badRequest("error decoding patch: the patch is not an object");
  const { metadata } = patch.value;
  if (
    old === undefined &&
    isObject(metadata) &&
    typeof metadata.uid === "string" &&
    metadata.uid !== ""
  ) {
    throw conflict(
      resource,
      typeof metadata.name === "string" ? metadata.name : "",
      `uid mismatch: the provided object specified uid ${metadata.uid}, and no existing object was found`,
    );
  }
  const live = old === undefined ? undefined : asJson(old);
  const applied = applyManaged(live, patch.value, {
    ...contextOf(write),
    kind: resource.kind,
    force: options.force,
  });
  const strict = options.fieldValidation !== "Ignore";
  try {
    const decoded = decodeObject(resource.schema, applied.object, { strict: false });
    if (strict && patch.strictErrors.length > 0) {
      if (options.fieldValidation === "Strict")
        throw badRequest(
          `error strict decoding patch: ${strictDecodingMessage(patch.strictErrors)}`,
        );
      warnings.push(...patch.strictErrors);
    }
    const object = decoded.object as unknown as ApiObject;
    object.kind = resource.kind;
    object.apiVersion = served.apiVersion;
    applyDefaults(resource, object);
    const heard = served.heard(object);
    if (applied.managedFields === undefined) delete heard.metadata.managedFields;
    else heard.metadata.managedFields = applied.managedFields;
    return heard;
  } catch (error) {
    if (error instanceof DecodeError) throw badRequest(`error decoding patch: ${error.message}`);
    throw error;
  }
}
