/** The scale subresource: how many replicas a workload shall have and has, as one kind for all workloads (autoscaling/v1 Scale). */

import { kindSchema } from "#api/facts.ts";
import type { ApiResponse } from "#api/request.ts";
import type { Resource, ScalePaths } from "#api/resource.ts";
import { invalid } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import {
  cloneJson,
  deepFreeze,
  getKey,
  isObject,
  type JsonObject,
  setKey,
} from "#machinery/object.ts";
import { formatRequirements, type LabelSelector, requirementsOf } from "#machinery/selector.ts";
import { internalError, invalidObject, StatusError } from "#machinery/status-error.ts";
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

interface Figures {
  readonly replicas: number | undefined;
  readonly observed: number;
  readonly selector: string;
}

function readAt(object: ApiObject, steps: readonly string[]): unknown {
  let at: unknown = object;
  for (const step of steps) at = isObject(at) ? getKey(at, step) : undefined;
  return at;
}

/** Of a custom resource, whose definition says where they stand. */
function figuresAt(object: ApiObject, paths: ScalePaths): Figures {
  const { specReplicas, statusReplicas, labelSelector } = paths;
  const replicas = readAt(object, specReplicas);
  if (typeof replicas !== "number") {
    const path = JSON.stringify(`.${specReplicas.join(".")}`);
    throw internalError(`the spec replicas field ${path} does not exist`);
  }
  const observed = readAt(object, statusReplicas);
  const selector = labelSelector === undefined ? undefined : readAt(object, labelSelector);
  return {
    replicas,
    observed: typeof observed === "number" ? observed : 0,
    selector: typeof selector === "string" ? selector : "",
  };
}

function figuresOf(object: ApiObject, { scale }: Resource): Figures {
  if (scale !== undefined) return figuresAt(object, scale);
  const { spec, status } = object as Scalable;
  const selector = selectorText(spec.selector);
  return { replicas: spec.replicas, observed: status?.replicas ?? 0, selector };
}

/** In place. */
function setReplicas(object: ApiObject, resource: Resource, replicas: number): void {
  const steps = resource.scale?.specReplicas ?? ["spec", "replicas"];
  let at = object as unknown as JsonObject;
  for (const step of steps.slice(0, -1)) {
    const next = getKey(at, step);
    if (isObject(next)) at = next;
    else {
      const made: JsonObject = {};
      setKey(at, step, made);
      at = made;
    }
  }
  setKey(at, steps.at(-1) ?? "", replicas);
}

function scaleOf(object: ApiObject, resource: Resource): Scale {
  const { metadata } = object;
  const { replicas, observed, selector } = figuresOf(object, resource);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata;
  const defined = { name, namespace, uid, resourceVersion, creationTimestamp };
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: JSON.parse(JSON.stringify(defined)) as ApiObject["metadata"],
    spec: replicas === undefined ? {} : { replicas },
    status: { replicas: observed, ...(selector === "" ? {} : { selector }) },
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
      return answerPlain(200, scaleOf(served.objectOf(stored), served.resource), form);
    }
    case "update":
    case "patch": {
      const written = await rescale(context, served, world);
      const scale = scaleOf(served.objectOfWritten(written), served.resource);
      return answerPlain(200, deepFreeze(scale), form);
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
  const type = patchTypeOf(request, undefined);
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
  const { resource } = served.registry;
  const { written } = await served.registry.update(scope, {
    name,
    allowCreate: undefined,
    rules: windowRules(resource, (into, from) => {
      setReplicas(into, resource, figuresOf(from, resource).replicas ?? 0);
    }),
    make: (old) => {
      if (old === undefined) throw new Error("a scale is never created");
      const scale = ask(scaleOf(old, served.resource));
      const replicas = scale.spec.replicas ?? 0;
      if (replicas < 0) {
        const error = invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        throw invalidObject(kind, name, [error]);
      }
      const next = cloneJson(old);
      setReplicas(next, served.resource, replicas);
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
