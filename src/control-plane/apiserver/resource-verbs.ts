/** The verbs on API objects: get, list, watch, create, update, patch, delete, deletecollection, and the status subresource. */
import { typeSchema } from "#api/facts.ts";
import type { ApiResponse } from "#api/request.ts";
import { resetsManagers } from "#machinery/apply/managed-fields.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson, isObject } from "#machinery/object.ts";
import { badRequest, StatusError } from "#machinery/status-error.ts";
import { answerList, answerObject, answerPlain, answerWatch, formOf } from "./answer.ts";
import { type Authorizer, attributesOf, forbiddenBy } from "./authz/authorizer.ts";
import {
  expectedOf,
  readBodyAndValue,
  readPlainBody,
  type WriteOptions,
  writeOptions,
} from "./body.ts";
import type { ChainContext } from "./chain.ts";
import { applyManager, recordManager } from "./field-manager.ts";
import { applyDefaults } from "./object-codec.ts";
import { checkName, dedupeOwners, ensureNamespace, wipeSystemFields } from "./object-rules.ts";
import { applyPatchTo, patchTypeOf, readPatch } from "./patch.ts";
import type { WriteScope } from "./registry.ts";
import {
  type DeleteOptions,
  deleteAll,
  deleteObject,
  validateDeleteOptions,
} from "./registry-delete.ts";
import { getObject, type ListQuery, listObjects, watchObjects } from "./registry-read.ts";
import { queryFlag, queryValue } from "./request-info.ts";
import type { ServedResource } from "./served-resource.ts";
import { objectRules, statusRules, type UpdateRules, windowRules } from "./update-rules.ts";
import { windowOf } from "./windows.ts";

/** What verbs need besides the resource. */
export interface VerbWorld {
  readonly now: () => number;
  readonly authorizer: Authorizer;
  /** A watch without a timeout of its own ends after this. */
  readonly watchTimeoutMs: () => number;
}

export function scopeOf(
  context: ChainContext,
  served: ServedResource,
  dryRun: boolean,
): WriteScope {
  const { namespace, subresource, verb } = context.info;
  return {
    user: context.user,
    verb,
    namespace: served.resource.namespaced ? namespace : "",
    subresource,
    dryRun,
    warnings: context.warnings,
    served: served.resource,
    link: served.link,
  };
}

/** A namespaced resource without a namespace in the path can only be read. */
export function needNamespace(context: ChainContext, served: ServedResource): void {
  if (!served.resource.namespaced || context.info.namespace !== "") return;
  throw notAllowed();
}

export const notAllowed = (): StatusError =>
  new StatusError(
    405,
    "MethodNotAllowed",
    "the server does not allow this method on the requested resource",
    {},
  );

const namespaceOf = (context: ChainContext, served: ServedResource): string =>
  served.resource.namespaced ? context.info.namespace : "";

export async function handleGet(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  needNamespace(context, served);
  const form = formOf(context, world.now());
  const version = queryValue(context.request, "resourceVersion") ?? "";
  const namespace = namespaceOf(context, served);
  const stored = await getObject(
    served.registry,
    namespace,
    context.info.name,
    version,
    served.resource,
  );
  return answerObject(200, served, { stored }, form);
}

function integerOf(context: ChainContext, name: string): number {
  const text = queryValue(context.request, name) ?? "";
  if (text === "") return 0;
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value))
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return value;
}

function listQuery(context: ChainContext, served: ServedResource): ListQuery {
  const { request } = context;
  const { resource, link } = served;
  const text = (name: string): string => queryValue(request, name) ?? "";
  const initial = queryValue(request, "sendInitialEvents");
  return {
    namespace: namespaceOf(context, served),
    labelSelector: text("labelSelector"),
    fieldSelector: text("fieldSelector"),
    limit: Math.max(0, integerOf(context, "limit")),
    continue: text("continue"),
    resourceVersion: text("resourceVersion"),
    resourceVersionMatch: text("resourceVersionMatch"),
    sendInitialEvents: initial === undefined ? undefined : queryFlag(request, "sendInitialEvents"),
    ...(link === undefined ? {} : { view: { resource, show: link.fromStored } }),
  };
}

export async function handleList(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  const form = formOf(context, world.now());
  const result = await listObjects(served.registry, listQuery(context, served));
  return answerList(served, result, form);
}

export async function handleWatch(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  const form = formOf(context, world.now(), true);
  const seconds = integerOf(context, "timeoutSeconds");
  const { request } = context;
  const stream = await watchObjects(served.registry, {
    ...listQuery(context, served),
    allowBookmarks: queryFlag(request, "allowWatchBookmarks"),
    timeoutMs: seconds > 0 ? seconds * 1000 : world.watchTimeoutMs(),
    direct: request.direct,
    gone: request.gone,
  });
  return answerWatch(served, stream, form);
}

/** The body as an object of the resource, defaults applied, in its place. */
function readObject(
  context: ChainContext,
  served: ServedResource,
  options: WriteOptions,
  namespace: string,
  now: number,
): { readonly object: ApiObject; readonly reset: boolean } {
  const { resource } = served;
  const { object: said, value } = readBodyAndValue(
    context.request,
    expectedOf(resource),
    options.fieldValidation,
    context.warnings,
  );
  applyDefaults(resource, said, now);
  const object = served.heard(said);
  ensureNamespace(object.metadata, namespace);
  return { object, reset: resetsManagers(value) };
}

export async function handleCreate(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  needNamespace(context, served);
  const form = formOf(context, world.now());
  const options = writeOptions(context.request);
  const scope = scopeOf(context, served, options.dryRun);
  const { object, reset } = readObject(context, served, options, scope.namespace, world.now());
  if ((object.metadata.resourceVersion ?? "") !== "")
    throw new StatusError(500, "", "resourceVersion should not be set on objects to be created");
  wipeSystemFields(object.metadata);
  dedupeOwners(object.metadata, context.warnings, false);
  const { manager } = options;
  recordManager(
    { served, old: undefined, manager, subresource: "", now: world.now() },
    object,
    reset,
  );
  const written = await served.registry.create(scope, object);
  return answerObject(201, served, written, form);
}

function rulesOf(served: ServedResource, subresource: string, retries: boolean): UpdateRules {
  const { resource } = served.registry;
  const window = windowOf(resource, subresource);
  if (window !== undefined && window.copy !== "status") return windowRules(resource, window.copy);
  return subresource === "status" || window !== undefined
    ? statusRules(resource, retries)
    : objectRules(resource, retries);
}

/** Whether creating by this request is allowed to the user as well. */
function mayCreate(context: ChainContext, world: VerbWorld): (object: ApiObject) => void {
  return () => {
    const attributes = { ...attributesOf(context), verb: "create" };
    const { decision, reason } = world.authorizer.authorize(attributes);
    if (decision !== "allow") throw forbiddenBy(attributes, reason);
  };
}

export async function handleUpdate(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  needNamespace(context, served);
  const form = formOf(context, world.now());
  const options = writeOptions(context.request);
  const { name, subresource } = context.info;
  const scope = scopeOf(context, served, options.dryRun);
  const { object, reset } = readObject(context, served, options, scope.namespace, world.now());
  checkName(object, name);
  dedupeOwners(object.metadata, context.warnings, false);
  const create = served.registry.resource.strategy.allowCreateOnUpdate === true;
  const { written, created } = await served.registry.update(scope, {
    name,
    rules: rulesOf(served, subresource, false),
    allowCreate: create && subresource === "" ? mayCreate(context, world) : undefined,
    make: (old) => {
      const next = cloneJson(object);
      const { manager } = options;
      recordManager({ served, old, manager, subresource, now: world.now() }, next, reset);
      return Promise.resolve(next);
    },
  });
  return answerObject(created ? 201 : 200, served, written, form);
}

export async function handlePatch(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  needNamespace(context, served);
  const { request, info, warnings } = context;
  const type = patchTypeOf(request, served.resource.schema);
  const form = formOf(context, world.now());
  const options = writeOptions(request, type === "apply");
  const patch = readPatch(request, type, options.fieldValidation);
  const scope = scopeOf(context, served, options.dryRun);
  const { name, subresource } = info;
  const make = (old: ApiObject | undefined): ApiObject => {
    const write = { served, old, manager: options.manager, subresource, now: world.now() };
    if (type === "apply") return applyManager(write, patch, options, warnings);
    if (old === undefined) throw new Error("only an apply patch may create");
    const { object, reset } = applyPatchTo(patch, served, old, options.fieldValidation, warnings);
    recordManager(write, object, reset);
    return object;
  };
  const { written, created } = await served.registry.update(scope, {
    name,
    rules: rulesOf(served, subresource, true),
    allowCreate: type === "apply" && subresource === "" ? mayCreate(context, world) : undefined,
    make: (old) => {
      const next = make(old);
      ensureNamespace(next.metadata, scope.namespace);
      checkName(next, name);
      return Promise.resolve(next);
    },
  });
  return answerObject(created ? 201 : 200, served, written, form);
}

const deleteOptionsType = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/** DeleteOptions from the body, or from the query where there is no body. */
export function deleteOptions(context: ChainContext): DeleteOptions {
  const { request } = context;
  const body = readPlainBody(request, typeSchema(deleteOptionsType));
  if (body !== undefined && !isObject(body))
    throw badRequest("decoded object cannot be converted to DeleteOptions");
  const options = (body ?? optionsOfQuery(context)) as DeleteOptions;
  const { gracePeriodSeconds } = options;
  if (gracePeriodSeconds !== undefined && !Number.isSafeInteger(gracePeriodSeconds))
    throw badRequest(
      "json: cannot unmarshal gracePeriodSeconds into Go struct field of type int64",
    );
  validateDeleteOptions(options);
  return options;
}

function optionsOfQuery(context: ChainContext): DeleteOptions {
  const { request } = context;
  const grace = queryValue(request, "gracePeriodSeconds");
  const policy = queryValue(request, "propagationPolicy");
  const orphan = queryValue(request, "orphanDependents");
  const dryRun = request.query.filter(([name]) => name === "dryRun").map(([, value]) => value);
  return {
    ...(grace === undefined
      ? {}
      : { gracePeriodSeconds: integerOf(context, "gracePeriodSeconds") }),
    ...(policy === undefined ? {} : { propagationPolicy: policy }),
    ...(orphan === undefined ? {} : { orphanDependents: queryFlag(request, "orphanDependents") }),
    ...(dryRun.length === 0 ? {} : { dryRun }),
  };
}

/** Kinds whose deletion is answered with the object rather than a Status. */
const answeredWithObject = new Set([
  "/namespaces",
  "/persistentvolumeclaims",
  "/persistentvolumes",
  "/pods",
  "/podtemplates",
  "/resourcequotas",
  "/serviceaccounts",
  "/services",
  "resource.k8s.io/deviceclasses",
  "resource.k8s.io/resourceclaims",
  "resource.k8s.io/resourceclaimtemplates",
  "resource.k8s.io/resourceslices",
  "storage.k8s.io/csidrivers",
  "storage.k8s.io/csinodes",
  "storage.k8s.io/storageclasses",
  "storage.k8s.io/volumeattachments",
  "storage.k8s.io/volumeattributesclasses",
]);

export async function handleDelete(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  needNamespace(context, served);
  const form = formOf(context, world.now());
  const options = deleteOptions(context);
  const scope = scopeOf(context, served, (options.dryRun ?? []).length > 0);
  const { shown, ended } = await deleteObject(served.registry, scope, context.info.name, options);
  const status = !ended && options.orphanDependents === false ? 202 : 200;
  const { group, plural } = served.resource;
  const withObject = !ended || answeredWithObject.has(`${group}/${plural}`);
  if (withObject) return answerObject(status, served, shown, form);
  const { uid } = served.objectOfWritten(shown).metadata;
  return answerPlain(status, successStatus(served, context.info.name, uid), form);
}

/** Upstream: `kind` of the details is the resource. */
const successStatus = (served: ServedResource, name: string, uid: string | undefined): object => ({
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Success",
  details: {
    name,
    ...(served.resource.group === "" ? {} : { group: served.resource.group }),
    kind: served.resource.plural,
    ...(uid === undefined ? {} : { uid }),
  },
});

export async function handleDeleteCollection(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  needNamespace(context, served);
  const form = formOf(context, world.now());
  const options = deleteOptions(context);
  const scope = scopeOf(context, served, (options.dryRun ?? []).length > 0);
  const result = await listObjects(served.registry, listQuery(context, served));
  await deleteAll(served.registry, scope, result.items, options);
  return answerList(served, result, form);
}
