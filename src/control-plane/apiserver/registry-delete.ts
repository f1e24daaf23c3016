/**
 * Deletion: at once, after a grace period, or when the last finalizer has gone; with preconditions; one object or a collection.
 * What happens is upstream's, down to the two writes of a graceful deletion that ends now.
 */

import { type FieldError, invalid, notSupported } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import {
  conflict,
  internalError,
  invalidObject,
  notFound,
  StatusError,
} from "#machinery/status-error.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import type { Registry, WriteScope, Written } from "./registry.ts";
import type { StoredObject } from "./stored-object.ts";

const writeAttemptsMax = 64;
const orphan = "orphan";
const foreground = "foregroundDeletion";

/** DeleteOptions of meta/v1. */
export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly orphanDependents?: boolean;
  readonly propagationPolicy?: string;
  readonly dryRun?: readonly string[];
}

/** The object, where it lives on or its kind is answered with; else the Status of success. */
export type Deleted = { readonly shown: Written; readonly ended: boolean };

export function validateDeleteOptions(options: DeleteOptions): void {
  const errors: FieldError[] = [];
  const { propagationPolicy, orphanDependents, dryRun } = options;
  if (propagationPolicy !== undefined && orphanDependents !== undefined) {
    errors.push(
      invalid(
        "propagationPolicy",
        propagationPolicy,
        "orphanDependents and deletionPropagation cannot be both set",
      ),
    );
  }
  const policies = ["Foreground", "Background", "Orphan", "nil"];
  if (propagationPolicy !== undefined && !policies.slice(0, 3).includes(propagationPolicy))
    errors.push(notSupported("propagationPolicy", propagationPolicy, policies));
  errors.push(...validateDryRun(dryRun ?? []));
  if (errors.length > 0)
    throw invalidObject({ group: "meta.k8s.io", kind: "DeleteOptions" }, "", errors);
}

export const validateDryRun = (dryRun: readonly string[]): FieldError[] =>
  dryRun.every((one) => one === "All") ? [] : [notSupported("dryRun", dryRun, ["All"])];

function checkPreconditions(registry: Registry, object: ApiObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { metadata } = object;
  const { strategy } = registry.resource;
  if (strategy.prepareForDelete !== undefined)
    return checkOwnPreconditions(registry, object, options);
  // Upstream names the kind here, not the resource.
  const named = { group: registry.resource.group, plural: registry.resource.kind };
  if (uid !== undefined && uid !== metadata.uid) {
    throw conflict(
      named,
      metadata.name ?? "",
      `the UID in the precondition (${uid}) does not match the UID in record (${metadata.uid ?? ""}). The object might have been deleted and then recreated`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
    throw conflict(
      named,
      metadata.name ?? "",
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${metadata.resourceVersion ?? ""}). The object might have been modified`,
    );
  }
}

/** Upstream: kinds with a way of their own to be deleted have their own words, and name the resource. */
function checkOwnPreconditions(
  { resource }: Registry,
  { metadata }: ApiObject,
  options: DeleteOptions,
): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const head = resource.strategy.specFinalizers === true ? "Precondition" : "precondition";
  const check = (what: string, asked: string | undefined, is: string | undefined): void => {
    if (asked === undefined || asked === is) return;
    const why = `${head} failed: ${what} in precondition: ${asked}, ${what} in object meta: ${is ?? ""}`;
    throw conflict(resource, metadata.name ?? "", why);
  };
  check("UID", uid, metadata.uid);
  check("ResourceVersion", resourceVersion, metadata.resourceVersion);
}

/** Which of the garbage collector's finalizers the object shall carry. */
function collectorFinalizers(
  registry: Registry,
  object: ApiObject,
  options: DeleteOptions,
): string[] {
  const present = object.metadata.finalizers ?? [];
  const { group, plural } = registry.resource;
  // Events have no dependents.
  if (plural === "events" && (group === "" || group === "events.k8s.io")) return present;
  const others = present.filter((one) => one !== orphan && one !== foreground);
  const { orphanDependents, propagationPolicy } = options;
  let policy: string | undefined;
  if (orphanDependents !== undefined) policy = orphanDependents ? "Orphan" : "Background";
  else if (propagationPolicy !== undefined) policy = propagationPolicy;
  else if (present.includes(orphan)) policy = "Orphan";
  else if (present.includes(foreground)) policy = "Foreground";
  else if (registry.resource.strategy.orphansByDefault === true) policy = "Orphan";
  if (policy === "Orphan") return [...others, orphan];
  if (policy === "Foreground") return [...others, foreground];
  return others;
}

const sameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((one) => b.includes(one));

type Grace =
  | { readonly graceful: false }
  /** The object is changed: its deletion is under way until then. */
  | { readonly graceful: true; readonly seconds: number }
  /** Nothing to do: a deletion is under way that this one does not shorten. */
  | "pending";

/** Sets when the object has to be gone, where its kind knows grace. */
function beginGrace(registry: Registry, object: ApiObject, options: DeleteOptions): Grace {
  const { strategy } = registry.resource;
  const now = registry.parts.clock.now();
  const asked =
    options.gracePeriodSeconds === undefined || options.gracePeriodSeconds >= 0
      ? options.gracePeriodSeconds
      : 1;
  if (strategy.gracePeriodSeconds === undefined) return { graceful: false };
  const { metadata } = object;
  if (metadata.deletionTimestamp !== undefined) return shortenGrace(object, asked, now);
  const seconds = strategy.gracePeriodSeconds(object, asked);
  if (seconds === undefined) return { graceful: false };
  metadata.deletionTimestamp = formatTime(now + seconds * 1000);
  metadata.deletionGracePeriodSeconds = seconds;
  if ((metadata.generation ?? 0) > 0) metadata.generation = (metadata.generation ?? 0) + 1;
  return { graceful: true, seconds };
}

function shortenGrace(object: ApiObject, asked: number | undefined, now: number): Grace {
  const { metadata } = object;
  const current = metadata.deletionGracePeriodSeconds ?? 0;
  if (current === 0) return { graceful: false };
  if (asked === undefined || asked >= current) return "pending";
  const deadline = parseTime(metadata.deletionTimestamp ?? "") ?? now;
  let seconds = asked;
  let until = deadline - current * 1000 + asked * 1000;
  if (until < now) {
    until = now;
    if (seconds !== 0) seconds = 1;
  }
  metadata.deletionTimestamp = formatTime(until);
  metadata.deletionGracePeriodSeconds = seconds;
  return { graceful: true, seconds };
}

/** Without grace, but held by finalizers. */
function markAsDeleting(object: ApiObject, now: number): void {
  const { metadata } = object;
  const until = parseTime(metadata.deletionTimestamp ?? "");
  if (until === undefined && (metadata.generation ?? 0) > 0)
    metadata.generation = (metadata.generation ?? 0) + 1;
  if (until === undefined || until > now) metadata.deletionTimestamp = formatTime(now);
  metadata.deletionGracePeriodSeconds = 0;
}

export async function deleteObject(
  registry: Registry,
  scope: WriteScope,
  name: string,
  options: DeleteOptions,
): Promise<Deleted> {
  const { unsaidPropagationWarning: unsaid } = registry.resource.strategy;
  const said = options.propagationPolicy ?? options.orphanDependents;
  if (unsaid !== undefined && said === undefined && !scope.warnings.includes(unsaid)) {
    scope.warnings.push(unsaid);
  }
  for (let attempt = 1; attempt <= writeAttemptsMax; attempt++) {
    const old = await registry.current(scope.namespace, name);
    if (old === undefined) throw notFound(scope.served, name);
    checkPreconditions(registry, old.object, options);
    await registry.admitDelete(scope, old.object);
    const result =
      registry.resource.strategy.prepareForDelete !== undefined
        ? await endInSteps(registry, scope, old, options)
        : await deleteOnce(registry, scope, old, options);
    if (result !== undefined) return result;
  }
  throw internalError(`deleting "${name}" lost against other writes too often`);
}

/** Undefined: the object changed meanwhile. */
async function deleteOnce(
  registry: Registry,
  scope: WriteScope,
  old: StoredObject,
  options: DeleteOptions,
): Promise<Deleted | undefined> {
  const object = old.thaw();
  const grace = beginGrace(registry, object, options);
  if (grace === "pending") return { shown: { stored: old }, ended: false };
  const { clock } = registry.parts;
  const present = object.metadata.finalizers ?? [];
  const finalizers = collectorFinalizers(registry, object, options);
  const held = finalizers.length > 0;
  if (!sameSet(present, finalizers)) object.metadata.finalizers = finalizers;
  if (grace.graceful || held || !sameSet(present, finalizers)) {
    if (!grace.graceful && held) markAsDeleting(object, clock.now());
    if (grace.graceful || held) {
      if (scope.dryRun) return { shown: { wouldBe: object }, ended: !held };
      // Asked again for what its finalizers still hold: no write, or whoever sees it changed would ask for ever.
      if (held && equalObjects(old.object, object)) return { shown: { stored: old }, ended: false };
      const stored = await registry.replace(old, object);
      if (stored === undefined) return undefined;
      if (held || (grace.graceful && grace.seconds > 0)) return { shown: { stored }, ended: false };
      return await endNow(registry, stored);
    }
  }
  if (scope.dryRun) return { shown: { stored: old }, ended: true };
  return await removeNow(registry, old);
}

/** After the write that set the grace period to zero, whoever removes the object first is right. */
async function endNow(registry: Registry, last: StoredObject): Promise<Deleted> {
  const gone = await registry.remove(last);
  if (gone !== undefined) return { shown: { stored: gone }, ended: true };
  const now = registry.cache.get(last.key);
  if (now === undefined || now.object.metadata.uid !== last.object.metadata.uid)
    return { shown: { stored: last }, ended: true };
  // It was changed between the two writes: the change is void, as it is being deleted now.
  return (await removeNow(registry, now)) ?? { shown: { stored: last }, ended: true };
}

async function removeNow(registry: Registry, old: StoredObject): Promise<Deleted | undefined> {
  const gone = await registry.remove(old);
  return gone === undefined ? undefined : { shown: { stored: gone }, ended: true };
}

/** A namespace, a definition: it is first marked; it goes when its contents, and then its finalizers, have gone. */
async function endInSteps(
  registry: Registry,
  scope: WriteScope,
  old: StoredObject,
  options: DeleteOptions,
): Promise<Deleted | undefined> {
  const object = old.thaw() as ApiObject & { spec?: { finalizers?: readonly string[] } };
  const { strategy } = registry.resource;
  if (object.metadata.deletionTimestamp !== undefined) {
    const held = strategy.specFinalizers === true && (object.spec?.finalizers ?? []).length > 0;
    if (held) return { shown: { stored: old }, ended: false };
    return await deleteOnce(registry, scope, old, options);
  }
  const now = registry.parts.clock.now();
  object.metadata.deletionTimestamp = formatTime(now);
  strategy.prepareForDelete?.(object, { now });
  const finalizers = collectorFinalizers(registry, object, options);
  if (!sameSet(object.metadata.finalizers ?? [], finalizers))
    object.metadata.finalizers = finalizers;
  if (scope.dryRun) return { shown: { wouldBe: object }, ended: false };
  const stored = await registry.replace(old, object);
  return stored === undefined ? undefined : { shown: { stored }, ended: false };
}

/** Deletes what matched when the list was made; what is gone already is fine. */
export async function deleteAll(
  registry: Registry,
  scope: WriteScope,
  objects: readonly StoredObject[],
  options: DeleteOptions,
): Promise<void> {
  for (const { object } of objects) {
    const { name = "", namespace = "" } = object.metadata;
    try {
      await deleteObject(registry, { ...scope, namespace }, name, options);
    } catch (error) {
      if (!(error instanceof StatusError) || error.reason !== "NotFound") throw error;
    }
  }
}
