/** The scale subresource: how many replicas a workload shall have and has, as one kind for all workloads (autoscaling/v1 Scale). */

import { kindSchema } from "#api/facts.ts";
import type { ApiResponse } from "#api/request.ts";
import { invalid } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson, deepFreeze } from "#machinery/object.ts";
import { formatRequirements, type LabelSelector, requirementsOf } from "#machinery/selector.ts";
import { invalidObject, StatusError } from "#machinery/status-error.ts";
import { answerPlain, formOf } from "./answer.ts";
import { readBody, writeOptions } from "./body.ts";
import type { ChainContext } from "./chain.ts";
import { recordManager } from "./field-manager.ts";
import { patchTypeOf, patchValue, readPatch } from "./patch.ts";
import { getObject } from "./registry-read.ts";
import { queryValue } from "./request-info.ts";
import { needNamespace, notAllowed, scopeOf, type VerbWorld } from "./resource-verbs.ts";
import type { ServedResource } from "./served-resource.ts";
import { windowRules } from "./update-rules.ts";

/** A kind that has replicas. */
interface Scalable extends ApiObject {
  spec: { replicas?: number; selector?: LabelSelector | Record<string, string> };
  status?: { replicas?: number };
}
interface Scale extends ApiObject {
  spec: { replicas?: number };
  status: { replicas: number; selector?: string };
}

const kind = { group: "autoscaling", version: "v1", kind: "Scale" };

function schema() {
  const found = kindSchema(kind.group, kind.version, kind.kind);
  if (found === undefined) throw new Error("no facts about Scale");
  return found;
}

function selectorText(selector: Scalable["spec"]["selector"]): string {
  if (selector === undefined) return "";
  const isMap = Object.values(selector).every((value) => typeof value === "string");
  const asSelector = isMap ? { matchLabels: selector as Record<string, string> } : selector;
  return formatRequirements(requirementsOf(asSelector) ?? []);
}

function scaleOf(object: ApiObject): Scale {
  const { metadata, spec, status } = object as Scalable;
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata;
  const defined = { name, namespace, uid, resourceVersion, creationTimestamp };
  const selector = selectorText(spec.selector);
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: JSON.parse(JSON.stringify(defined)) as ApiObject["metadata"],
    spec: spec.replicas === undefined ? {} : { replicas: spec.replicas },
    status: { replicas: status?.replicas ?? 0, ...(selector === "" ? {} : { selector }) },
  };
}

export async function handleScale(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  needNamespace(context, served);
  const form = formOf(context, world.now());
  const { request, info } = context;
  switch (info.verb) {
    case "get": {
      const version = queryValue(request, "resourceVersion") ?? "";
      const stored = await getObject(served.registry, info.namespace, info.name, version);
      return answerPlain(200, scaleOf(stored.object), form);
    }
    case "update":
    case "patch": {
      const written = await rescale(context, served, world);
      return answerPlain(200, deepFreeze(scaleOf(served.objectOfWritten(written))), form);
    }
    default:
      throw notAllowed();
  }
}

/** The scale that a PUT or PATCH asks for, given the one that is. */
function asker(context: ChainContext): (current: Scale) => Scale {
  const { request, info, warnings } = context;
  const expected = { ...kind, schema: schema() };
  if (info.verb === "update") {
    const { fieldValidation } = writeOptions(request);
    const scale = readBody(request, expected, fieldValidation, warnings) as Scale;
    return () => scale;
  }
  const type = patchTypeOf(request);
  const { fieldValidation } = writeOptions(request, type === "apply");
  const patch = readPatch(request, type, fieldValidation);
  if (type === "apply")
    throw new StatusError(
      415,
      "UnsupportedMediaType",
      "apply is not supported on the scale subresource",
    );
  return (current) =>
    patchValue(patch, expected, current, fieldValidation, warnings).object as Scale;
}

async function rescale(context: ChainContext, served: ServedResource, world: VerbWorld) {
  const { name } = context.info;
  const options = writeOptions(context.request);
  const ask = asker(context);
  const scope = scopeOf(context, served, options.dryRun);
  const { written } = await served.registry.update(scope, {
    name,
    allowCreate: undefined,
    rules: windowRules(served.registry.resource, (into, from) => {
      const { replicas } = (from as Scalable).spec;
      (into as Scalable).spec.replicas = replicas ?? 0;
    }),
    make: (old) => {
      if (old === undefined) throw new Error("a scale is never created");
      const scale = ask(scaleOf(old));
      const replicas = scale.spec.replicas ?? 0;
      if (replicas < 0) {
        const error = invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        throw invalidObject(kind, name, [error]);
      }
      const next = cloneJson(old) as Scalable;
      next.spec.replicas = replicas;
      const { uid, resourceVersion } = scale.metadata;
      if (uid !== undefined) next.metadata.uid = uid;
      if ((resourceVersion ?? "") === "") delete next.metadata.resourceVersion;
      else if (resourceVersion !== undefined) next.metadata.resourceVersion = resourceVersion;
      const { manager } = options;
      recordManager({ served, old, manager, subresource: "scale", now: world.now() }, next);
      return Promise.resolve(next);
    },
  });
  return written;
}
