/**
 * MutatingAdmissionWebhook and ValidatingAdmissionWebhook: ask the webhooks that configurations name about a write: the first kind one
 * after the other, each seeing what the ones before made of the object; the second all at once, after everything else.
 */

import { reviewVersions, type Webhook } from "#api/admissionregistration/v1/webhook-validation.ts";
import type {
  MutatingWebhookConfiguration,
  ValidatingWebhookConfiguration,
} from "#api/generated/admissionregistration/v1.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { DecodeError, parseJson } from "#machinery/decode.ts";
import { uuid } from "#machinery/names.ts";
import { cloneJson, isObject, type JsonObject } from "#machinery/object.ts";
import { jsonPatch, PatchError } from "#machinery/patch.ts";
import { internalError, type Status, StatusError } from "#machinery/status-error.ts";
import type { Reader } from "../reader.ts";
import {
  type AdmissionPlugin,
  type AdmissionRequest,
  type AdmissionWorld,
  replaceObject,
} from "./admission.ts";
import { hookConditionsHold } from "./expressions.ts";
import { matchesRule, matchesSelectors } from "./matching.ts";

const group = "admissionregistration.k8s.io";

/** Nobody may lock himself out of the configurations themselves. */
const isExempt = (request: AdmissionRequest): boolean => request.group === group;

const isMeant = (hook: Webhook, request: AdmissionRequest, reader: Reader): boolean =>
  (hook.rules ?? []).some((rule) => matchesRule(rule, request)) &&
  matchesSelectors(hook, request, reader);

interface NamedHook {
  readonly key: string;
  readonly hook: Webhook;
}

/** The webhooks of all configurations of a kind, in the order of the configurations' names. */
function* allHooks(plural: string, reader: Reader): Generator<NamedHook> {
  // What comes or goes while webhooks are asked does not concern this write.
  const objects = [...reader.list({ group, plural })];
  for (const object of objects) {
    const { webhooks } = object as MutatingWebhookConfiguration & ValidatingWebhookConfiguration;
    for (const hook of webhooks ?? [])
      yield { key: `${object.metadata.name ?? ""}/${hook.name}`, hook };
  }
}

const optionsKinds = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" };

function reviewOf(hook: Webhook, request: AdmissionRequest, uid: string): JsonObject {
  const version = hook.admissionReviewVersions.find((one) => reviewVersions.includes(one)) ?? "v1";
  const { operation, plural, subresource, name, namespace, user, dryRun } = request;
  const kind = { group: request.group, version: request.version, kind: request.kind };
  const resource = { group: request.group, version: request.version, resource: plural };
  const sub =
    subresource === "" ? {} : { subResource: subresource, requestSubResource: subresource };
  const optionsKind = optionsKinds[operation as keyof typeof optionsKinds];
  return {
    kind: "AdmissionReview",
    apiVersion: `admission.k8s.io/${version}`,
    request: {
      uid,
      kind,
      resource,
      ...sub,
      requestKind: kind,
      requestResource: resource,
      ...(name === "" ? {} : { name }),
      ...(namespace === "" ? {} : { namespace }),
      operation,
      userInfo: {
        username: user.name,
        ...(user.uid === undefined ? {} : { uid: user.uid }),
        groups: user.groups,
        ...(user.extra === undefined ? {} : { extra: user.extra }),
      },
      object: request.object ?? null,
      oldObject: request.oldObject ?? null,
      dryRun,
      options:
        optionsKind === undefined ? null : { kind: optionsKind, apiVersion: "meta.k8s.io/v1" },
    },
  };
}

/** What a webhook answered. Rejects where it cannot be asked, or does not answer the question. */
async function ask(
  hook: Webhook,
  request: AdmissionRequest,
  world: AdmissionWorld,
): Promise<JsonObject> {
  const uid = uuid(world.random);
  const review = reviewOf(hook, request, uid);
  const answer = await world.callWebhook(hook.clientConfig, review, hook.timeoutSeconds ?? 10);
  if (!isObject(answer) || !isObject(answer.response))
    throw new Error("webhook response was absent");
  if (answer.apiVersion !== review.apiVersion || answer.kind !== "AdmissionReview") {
    throw new Error(
      `expected webhook response of ${String(review.apiVersion)}, Kind=AdmissionReview, got ${JSON.stringify(answer.apiVersion ?? "")}, Kind=${JSON.stringify(answer.kind ?? "")}`,
    );
  }
  const { response } = answer;
  if (response.uid !== uid)
    throw new Error(
      `expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response.uid ?? "")}`,
    );
  const { warnings } = response;
  if (Array.isArray(warnings))
    request.warnings.push(...warnings.filter((one): one is string => typeof one === "string"));
  return response;
}

/** Upstream: a webhook's own status is the answer, its message behind its name. */
function denied(hook: Webhook, response: JsonObject): StatusError {
  const given = isObject(response.status) ? response.status : {};
  const text = (name: string): string => {
    const value = given[name];
    return typeof value === "string" ? value : "";
  };
  const head = `admission webhook ${JSON.stringify(hook.name)} denied the request`;
  const why = text("message") || text("reason");
  const code = typeof given.code === "number" && given.code >= 400 ? given.code : 400;
  const message = why === "" ? `${head} without explanation` : `${head}: ${why}`;
  const details = isObject(given.details) ? { details: given.details as Status["details"] } : {};
  const error = new StatusError(code, text("reason"), message);
  Object.assign(error.status, details);
  return error;
}

/** Asks; undefined where the webhook is out of reach and that does not matter. */
async function answerOf(
  hook: Webhook,
  request: AdmissionRequest,
  world: AdmissionWorld,
): Promise<JsonObject | undefined> {
  if (!hookConditionsHold(hook, request, world)) return undefined;
  let response: JsonObject;
  try {
    response = await ask(hook, request, world);
  } catch (error) {
    if (hook.failurePolicy === "Ignore") return undefined;
    const why = error instanceof Error ? error.message : String(error);
    throw internalError(
      `failed calling webhook ${JSON.stringify(hook.name)}: failed to call webhook: ${why}`,
    );
  }
  if (response.allowed !== true) throw denied(hook, response);
  return response;
}

/** Brings the patched object into the request's. */
function patchObject(hook: Webhook, request: AdmissionRequest, response: JsonObject): boolean {
  const { patch, patchType } = response;
  const { object, changes } = request;
  if (typeof patch !== "string" || patch === "" || object === undefined) return false;
  const bad = (why: string): StatusError =>
    internalError(`webhook ${JSON.stringify(hook.name)} attempted an invalid change: ${why}`);
  if (changes === undefined) throw bad(`${request.kind} can not be changed`);
  if (patchType !== "JSONPatch") throw bad(`unsupported patch type ${JSON.stringify(patchType)}`);
  const decoded = decodeBase64(patch);
  if ("problem" in decoded) throw bad(decoded.problem);
  try {
    const changed = jsonPatch(cloneJson(object), parseJson(decoded.bytes));
    return replaceObject(request, changes.revise(changed));
  } catch (error) {
    if (error instanceof PatchError || error instanceof DecodeError) throw bad(error.message);
    throw error;
  }
}

export const mutatingWebhooks: AdmissionPlugin = {
  name: "MutatingAdmissionWebhook",
  handles: (request) => !isExempt(request),
  async admit(request, world, rounds) {
    const asked = rounds.of("MutatingAdmissionWebhook");
    asked.begin(request.object);
    // Whether a webhook is meant may hang on what those before it changed.
    for (const { key, hook } of allHooks("mutatingwebhookconfigurations", world.reader)) {
      if (!isMeant(hook, request, world.reader) || !asked.isDue(key)) continue;
      const response = await answerOf(hook, request, world);
      if (response === undefined) continue;
      const changed = patchObject(hook, request, response);
      asked.done(key, changed, hook.reinvocationPolicy === "IfNeeded");
    }
    asked.end(request.object);
  },
};

export const validatingWebhooks: AdmissionPlugin = {
  name: "ValidatingAdmissionWebhook",
  handles: (request) => !isExempt(request),
  async validate(request, world) {
    const { reader } = world;
    const hooks = [...allHooks("validatingwebhookconfigurations", reader)]
      .map(({ hook }) => hook)
      .filter((hook) => isMeant(hook, request, reader));
    await Promise.all(hooks.map((hook) => answerOf(hook, request, world)));
  },
};
