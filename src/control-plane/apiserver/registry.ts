/**
 * Registry: one kind's objects: the laws of create, update and delete around what its strategy says. Reads are in
 * registry-read.ts. It writes the store with compare-and-put and answers only when its watch cache has seen the write.
 */
import type { User } from "#api/request.ts";
import type { Resource, StrategyContext } from "#api/resource.ts";
import { cloneJson, DecodeError, decodeObject, strictDecodingMessage } from "#machinery/decode.ts";
import { type FieldError, inOrder } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import {
  validateObjectMeta,
  validateObjectMetaUpdate,
  validateOwnFinalizers,
} from "#machinery/meta-validation.ts";
import type { HistogramSeries } from "#machinery/metrics.ts";
import { generateName, uuid } from "#machinery/names.ts";
import { isObject } from "#machinery/object.ts";
import {
  alreadyExists,
  conflict,
  invalidObject,
  notFound,
  StatusError,
  staleVersion,
} from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import type { KeyValue, Store } from "#ports/store.ts";
import type { Admission, AdmissionRequest, Operation } from "./admission/admission.ts";
import { applyDefaults, canonical, encodeForStore, storedShape } from "./object-codec.ts";
import type { ObjectLease } from "./object-lease.ts";
import { dedupeOwners, ensureNamespace, isNoChange, wipeSystemFields } from "./object-rules.ts";
import type { StoreMirror } from "./store-mirror.ts";
import { StoredObject } from "./stored-object.ts";
import type { UpdateRules } from "./update-rules.ts";
import type { VersionLink } from "./version-links.ts";
import { WatchCache } from "./watch-cache.ts";

const extensionGroups = new Set(["apiextensions.k8s.io", "apiregistration.k8s.io"]);
/** One attempt in a million collides by chance; eight attempts make that practically none. */
const nameAttemptsMax = 8;
/** A write that keeps losing against others gives up. */
const writeAttemptsMax = 64;

/** What a write may reserve outside the object (cluster IPs, node ports): `done` keeps it or gives it back. */
export interface RegistryHooks {
  readonly beginCreate?: (object: ApiObject, isDry: boolean) => (done: boolean) => void;
  readonly beginUpdate?: (
    object: ApiObject,
    old: ApiObject,
    isDry: boolean,
  ) => (done: boolean) => void;
}

/** How long the store takes, in seconds. */
export type StoreTimes = (operation: "create" | "update" | "delete") => HistogramSeries;

export interface RegistryParts {
  readonly store: Store;
  readonly mirror: StoreMirror;
  readonly clock: Clock;
  readonly random: Random;
  readonly admission: Admission;
  readonly hooks?: RegistryHooks;
  readonly times?: StoreTimes;
  /** Objects of this kind vanish by themselves. */
  readonly lease?: ObjectLease;
}

/** Who writes, how. `served` is the version in which the request speaks. */
export interface WriteScope {
  readonly user: User;
  /** As it was authorized. */
  readonly verb?: string;
  readonly namespace: string;
  readonly subresource: string;
  readonly dryRun: boolean;
  readonly warnings: string[];
  readonly served: Resource;
  /** Set where `served` is not the storage version. */
  readonly link: VersionLink | undefined;
}

/** As it is stored; or, of a dry run, as it would be. */
export type Written = { readonly stored: StoredObject } | { readonly wouldBe: ApiObject };

export interface UpdateAsk {
  readonly name: string;
  /** The new object in the served version, made from a copy of the old one (undefined: there is none). May be asked again. */
  readonly make: (old: ApiObject | undefined) => Promise<ApiObject>;
  readonly rules: UpdateRules;
  /** Creating it is fine where it is not there. Throws if the user may not. */
  readonly allowCreate: ((object: ApiObject) => void) | undefined;
}

export class Registry {
  readonly resource: Resource;
  readonly parts: RegistryParts;
  readonly cache: WatchCache;

  constructor(resource: Resource, parts: RegistryParts) {
    this.resource = resource;
    this.parts = parts;
    this.cache = new WatchCache(`${resource.storagePrefix}/`, storedShape(resource));
  }

  key(namespace: string, name: string): string {
    const { storagePrefix, namespaced } = this.resource;
    return namespaced ? `${storagePrefix}/${namespace}/${name}` : `${storagePrefix}/${name}`;
  }

  /** The keys of a namespace, or of all. */
  range(namespace: string): { readonly from: string; readonly to: string } {
    const { storagePrefix, namespaced } = this.resource;
    const root = namespaced && namespace !== "" ? `${storagePrefix}/${namespace}` : storagePrefix;
    return { from: `${root}/`, to: `${root}0` };
  }

  /** As it is now: no write acknowledged before this call is missed. */
  async current(namespace: string, name: string): Promise<StoredObject | undefined> {
    await this.parts.mirror.fresh();
    return this.cache.get(this.key(namespace, name));
  }

  async create(scope: WriteScope, object: ApiObject): Promise<Written> {
    const { metadata } = object;
    await this.#admit(scope, "CREATE", object, undefined);
    dedupeOwners(metadata, scope.warnings, true);
    const generated = (metadata.name ?? "") === "" && (metadata.generateName ?? "") !== "";
    if (!generated) return await this.#create(scope, object);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#create(scope, cloneJson(object));
      } catch (error) {
        const collided = error instanceof StatusError && error.reason === "AlreadyExists";
        if (!collided || attempt === nameAttemptsMax) throw error;
      }
    }
  }

  async #create(scope: WriteScope, asked: ApiObject): Promise<Written> {
    const { parts, resource } = this;
    const object = scope.link === undefined ? asked : scope.link.toStored(asked);
    const { metadata } = object;
    const generateBase = metadata.generateName ?? "";
    metadata.creationTimestamp = formatTime(parts.clock.now());
    metadata.uid = uuid(parts.random);
    if ((metadata.name ?? "") === "" && generateBase !== "")
      metadata.name = generateName(generateBase, parts.random);
    ensureNamespace(metadata, resource.namespaced ? scope.namespace : "");
    const finish = parts.hooks?.beginCreate?.(object, scope.dryRun);
    let done = false;
    try {
      this.#prepareForCreate(scope, object);
      await this.#validate(scope, "CREATE", this.#show(scope, object), undefined);
      const name = metadata.name ?? "";
      const key = this.key(scope.namespace, name);
      if (scope.dryRun) {
        if ((await this.current(scope.namespace, name)) !== undefined)
          throw this.#exists(scope, name);
        return { wouldBe: this.#show(scope, this.#storedForm(scope, object)) };
      }
      const result = await this.#put(key, this.#storedForm(scope, object), 0);
      if ("conflict" in result) throw this.#exists(scope, name, generateBase, result.current);
      done = true;
      return { stored: result };
    } finally {
      finish?.(done);
    }
  }

  /** What another version said is judged as it came; with the store's version's defaults it is kept. */
  #storedForm(scope: WriteScope, object: ApiObject): ApiObject {
    const form = canonical(this.resource, object);
    if (scope.link !== undefined) applyDefaults(this.resource, form);
    return form;
  }

  #prepareForCreate(scope: WriteScope, object: ApiObject): void {
    const { strategy, facts } = this.resource;
    const context = this.#strategyContext(scope);
    const hasStatus = facts.subresources.some(({ name }) => name === "status");
    if (hasStatus && strategy.keepsStatusOnCreate !== true)
      delete (object as { status?: unknown }).status;
    if (strategy.tracksGeneration === true) object.metadata.generation = 1;
    strategy.prepareForCreate?.(object, context);
    const errors = [
      ...this.#validateMeta(object),
      ...this.#validateFinalizers(object),
      ...(strategy.validate?.(object, context) ?? []),
    ];
    this.refuseIf(errors, object.metadata.name ?? "");
    scope.warnings.push(...(strategy.warnings?.(object, undefined) ?? []));
  }

  #strategyContext({ user, subresource, served, warnings }: WriteScope): StrategyContext {
    const { group, version } = served;
    const requestVersion = { group, version };
    const warn = (message: string): void => void warnings.push(message);
    const { clock } = this.parts;
    const now = clock.now();
    const isTimeZone = (name: string): boolean => clock.offsetMs(name, now) !== undefined;
    return { now, user: user.name, requester: user, subresource, requestVersion, isTimeZone, warn };
  }

  #validateMeta(object: ApiObject): FieldError[] {
    const { namespaced, strategy } = this.resource;
    const { nameFormat = "subdomain", nameProblems } = strategy;
    const own =
      nameProblems === undefined
        ? {}
        : {
            nameProblems: (name: string, prefix: boolean) => nameProblems(name, prefix, object),
          };
    return validateObjectMeta(object.metadata, { namespaced, nameFormat, ...own });
  }

  /** Upstream: kinds of its own core are pickier about finalizers than those that the extensions brought. */
  #validateFinalizers({ metadata }: ApiObject): FieldError[] {
    const { group, schema } = this.resource;
    if (schema.custom !== undefined || extensionGroups.has(group)) return [];
    return validateOwnFinalizers(metadata.finalizers ?? [], "metadata.finalizers");
  }

  refuseIf(errors: readonly FieldError[], name: string): void {
    if (errors.length > 0) throw invalidObject(this.resource, name, inOrder(errors));
  }

  #exists(scope: WriteScope, name: string, generateBase = "", current?: KeyValue): StatusError {
    const error = alreadyExists(scope.served, name);
    if (generateBase !== "") {
      error.status.message = `${error.status.message ?? ""}, the server was not able to generate a unique name for the object`;
      error.status.details = { ...error.status.details, retryAfterSeconds: 1 };
    }
    const stands = current === undefined ? undefined : this.cache.adopt(current).object;
    if (stands?.metadata.deletionTimestamp !== undefined)
      error.status.message = `object is being deleted: ${error.status.message ?? ""}`;
    return error;
  }

  /** In the served version. */
  #show(scope: WriteScope, stored: ApiObject): ApiObject {
    return scope.link === undefined ? stored : scope.link.fromStored(stored);
  }

  #request(
    scope: WriteScope,
    operation: Operation,
    name: string,
    object: ApiObject | undefined,
    oldObject: ApiObject | undefined,
  ): AdmissionRequest {
    const { group, version, kind, plural } = scope.served;
    const { subresource, namespace, user, verb, dryRun, warnings } = scope;
    return {
      operation,
      group,
      version,
      kind,
      plural,
      subresource,
      namespace,
      name,
      changes: {
        revise: (changed, strict) => revised(scope.served, changed, strict),
        schema: scope.served.schema,
      },
      object,
      oldObject,
      user,
      ...(verb === undefined ? {} : { verb }),
      dryRun,
      warnings,
    };
  }

  async #admit(
    scope: WriteScope,
    operation: Operation,
    object: ApiObject,
    old: ApiObject | undefined,
  ): Promise<void> {
    const name = object.metadata.name ?? "";
    await this.parts.admission.admit(this.#request(scope, operation, name, object, old));
  }

  async #validate(
    scope: WriteScope,
    operation: Operation,
    object: ApiObject,
    old: ApiObject | undefined,
  ): Promise<void> {
    const name = object.metadata.name ?? "";
    await this.parts.admission.validate(this.#request(scope, operation, name, object, old));
  }

  /** Asks the plugins about a deletion; they see the object that goes. */
  async admitDelete(scope: WriteScope, old: ApiObject): Promise<void> {
    const request = this.#request(scope, "DELETE", old.metadata.name ?? "", undefined, old);
    await this.parts.admission.admit(request);
    await this.parts.admission.validate(request);
  }

  /** Writes if the key's revision is `ifModified`. `form` is canonical and becomes the cached object. */
  async #put(
    key: string,
    form: ApiObject,
    ifModified: number,
  ): Promise<StoredObject | { readonly conflict: true; readonly current?: KeyValue }> {
    const { store, mirror, lease, clock, times } = this.parts;
    delete form.metadata.resourceVersion;
    const value = encodeForStore(form);
    const leaseId = await lease?.current();
    this.cache.draft(value, form);
    try {
      const options = leaseId === undefined ? { ifModified } : { ifModified, lease: leaseId };
      const started = clock.monotonicMs();
      const result = await store.put(key, value, options);
      const operation = ifModified === 0 ? "create" : "update";
      times?.(operation).observe((clock.monotonicMs() - started) / 1000);
      if ("conflict" in result) return result;
      const { revision } = result;
      await mirror.reached(revision);
      const created = result.previous?.created ?? revision;
      const stored = this.cache.settle(value, { key, value, created, modified: revision });
      if (stored === undefined) throw new Error(`${key}: the write was not announced`);
      return stored;
    } finally {
      this.cache.settle(value);
    }
  }

  /** Writes a state of an existing object; undefined: somebody else was faster, look again. */
  async replace(old: StoredObject, object: ApiObject): Promise<StoredObject | undefined> {
    return await this.#replaceBy(old, canonical(this.resource, object));
  }
  async #replaceBy(old: StoredObject, form: ApiObject): Promise<StoredObject | undefined> {
    const result = await this.#put(old.key, form, old.revision);
    return "conflict" in result ? undefined : result;
  }

  /** Removes an object. Undefined: it has changed or gone meanwhile. Gives its last state, with the revision of its end. */
  async remove(old: StoredObject): Promise<StoredObject | undefined> {
    const { store, mirror, clock, times } = this.parts;
    const started = clock.monotonicMs();
    const result = await store.put(old.key, undefined, { ifModified: old.revision });
    times?.("delete").observe((clock.monotonicMs() - started) / 1000);
    if ("conflict" in result) return undefined;
    await mirror.reached(result.revision);
    return old.at(result.revision);
  }

  async update(
    scope: WriteScope,
    ask: UpdateAsk,
  ): Promise<{ readonly written: Written; readonly created: boolean }> {
    for (let attempt = 1; ; attempt++) {
      const old = await this.current(scope.namespace, ask.name);
      if (old === undefined) {
        if (ask.allowCreate === undefined) throw notFound(scope.served, ask.name);
        const object = await ask.make(undefined);
        ask.allowCreate(object);
        wipeSystemFields(object.metadata);
        delete object.metadata.resourceVersion;
        await this.#admit(scope, "CREATE", object, undefined);
        try {
          return { written: await this.#create(scope, object), created: true };
        } catch (error) {
          const raced = error instanceof StatusError && error.reason === "AlreadyExists";
          if (!raced || attempt === writeAttemptsMax) throw error;
          continue;
        }
      }
      const written = await this.#updateOnce(scope, ask, old);
      if (written !== undefined) return { written, created: false };
      if (attempt === writeAttemptsMax) throw staleVersion(this.resource, ask.name);
    }
  }

  /** Undefined: the object changed under our hands, and the request does not insist on a version. */
  async #updateOnce(
    scope: WriteScope,
    ask: UpdateAsk,
    old: StoredObject,
  ): Promise<Written | undefined> {
    const { resource } = this;
    const before = old.object;
    const seen = this.#show(scope, before);
    const made = await ask.make(seen);
    this.#checkPreconditions(made, before, ask);
    await this.#admit(scope, "UPDATE", made, seen);
    dedupeOwners(made.metadata, scope.warnings, true);
    const object = scope.link === undefined ? made : scope.link.toStored(made);
    const pinned = (object.metadata.resourceVersion ?? "") !== "";
    ensureNamespace(object.metadata, resource.namespaced ? scope.namespace : "");
    this.#prepareForUpdate(scope, ask, object, before);
    const finish = this.parts.hooks?.beginUpdate?.(object, before, scope.dryRun);
    let done = false;
    try {
      this.#refuseUpdate(scope, ask, object, before);
      if (scope.subresource === "")
        scope.warnings.push(...(resource.strategy.warnings?.(object, before) ?? []));
      if (scope.subresource === "status")
        scope.warnings.push(...(resource.strategy.statusWarnings?.(object) ?? []));
      await this.#validate(scope, "UPDATE", made, seen);
      const next = this.#storedForm(scope, object);
      next.metadata.resourceVersion = String(old.revision);
      if (scope.dryRun) return { wouldBe: this.#show(scope, next) };
      if (ends(resource, next, before)) {
        if ((await this.remove(old)) === undefined) return this.#lost(ask, pinned);
        done = true;
        return { wouldBe: this.#show(scope, next) };
      }
      if (isNoChange(next, before, this.resource.schema.custom === undefined))
        return { stored: old };
      const stored = await this.#replaceBy(old, next);
      if (stored === undefined) return this.#lost(ask, pinned);
      done = true;
      return { stored };
    } finally {
      finish?.(done);
    }
  }

  /** A change by the server itself, past strategy and validation. `change` may refuse by throwing. */
  async modify(
    namespace: string,
    name: string,
    dryRun: boolean,
    change: (object: ApiObject) => void,
  ): Promise<Written> {
    for (let attempt = 1; attempt <= writeAttemptsMax; attempt++) {
      const old = await this.current(namespace, name);
      if (old === undefined) throw notFound(this.resource, name);
      const object = old.thaw();
      change(object);
      if (dryRun) return { wouldBe: canonical(this.resource, object) };
      if (isNoChange(object, old.object, this.resource.schema.custom === undefined))
        return { stored: old };
      const stored = await this.replace(old, object);
      if (stored !== undefined) return { stored };
    }
    throw staleVersion(this.resource, name);
  }

  #lost(ask: UpdateAsk, pinned: boolean): undefined {
    if (pinned && !ask.rules.retries) throw staleVersion(this.resource, ask.name);
    return undefined;
  }

  #checkPreconditions(made: ApiObject, old: ApiObject, ask: UpdateAsk): void {
    const { uid = "", resourceVersion = "" } = made.metadata;
    if (uid !== "" && uid !== old.metadata.uid) {
      const key = this.key(old.metadata.namespace ?? "", ask.name);
      throw conflict(
        this.resource,
        ask.name,
        `StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid ?? ""}`,
      );
    }
    if (resourceVersion === "" || resourceVersion === "0") {
      if (this.resource.strategy.allowUnconditionalUpdate !== false) return;
      const error: FieldError = {
        path: "metadata.resourceVersion",
        type: "FieldValueInvalid",
        message: "Invalid value: 0: must be specified for an update",
      };
      // Upstream: this one error names the plural where a kind belongs.
      const { group, plural } = this.resource;
      throw invalidObject({ group, kind: plural }, ask.name, [error]);
    }
    if (resourceVersion !== old.metadata.resourceVersion)
      throw staleVersion(this.resource, ask.name);
  }

  #prepareForUpdate(scope: WriteScope, ask: UpdateAsk, object: ApiObject, old: ApiObject): void {
    const { metadata } = object;
    const was = old.metadata;
    if (was.resourceVersion !== undefined) metadata.resourceVersion = was.resourceVersion;
    if (was.generation === undefined) delete metadata.generation;
    else metadata.generation = was.generation;
    delete metadata.selfLink;
    ask.rules.prepare(object, old, this.#strategyContext(scope));
    if ((metadata.uid ?? "") === "" && was.uid !== undefined) metadata.uid = was.uid;
    if (was.creationTimestamp !== undefined) metadata.creationTimestamp = was.creationTimestamp;
    if (was.deletionTimestamp === undefined) delete metadata.deletionTimestamp;
    else metadata.deletionTimestamp = was.deletionTimestamp;
    if (was.deletionGracePeriodSeconds === undefined) delete metadata.deletionGracePeriodSeconds;
    else metadata.deletionGracePeriodSeconds = was.deletionGracePeriodSeconds;
  }

  #refuseUpdate(scope: WriteScope, ask: UpdateAsk, object: ApiObject, old: ApiObject): void {
    const errors = [
      ...this.#validateMeta(object),
      ...validateObjectMetaUpdate(object.metadata, old.metadata),
      ...ask.rules.validate(object, old, this.#strategyContext(scope)),
    ];
    this.refuseIf(errors, object.metadata.name ?? "");
  }
}

function revised(resource: Resource, changed: unknown, strict = false): ApiObject {
  if (!isObject(changed)) throw new DecodeError("the object is no object any more");
  const { schema } = resource;
  if (strict && schema.custom === undefined) {
    const { strictErrors } = decodeObject(schema, changed, { strict: true });
    if (strictErrors.length > 0) throw new DecodeError(strictDecodingMessage(strictErrors));
  }
  const object = canonical(resource, changed);
  applyDefaults(resource, object);
  return object;
}

/** Whether this update lets the object go: it is being deleted, and nothing holds it any more. */
function ends(resource: Resource, next: ApiObject, old: ApiObject): boolean {
  if ((next.metadata.finalizers ?? []).length > 0) return false;
  const was = old.metadata;
  if (was.deletionTimestamp === undefined) return false;
  if (was.deletionGracePeriodSeconds !== undefined && was.deletionGracePeriodSeconds !== 0)
    return false;
  if (resource.strategy.specFinalizers !== true) return true;
  const { spec } = next as { spec?: { finalizers?: readonly string[] } };
  return (spec?.finalizers ?? []).length === 0;
}
