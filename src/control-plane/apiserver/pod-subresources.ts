/** What one can do with a pod besides writing it: bind it to a node. */

import { kindSchema } from "#api/facts.ts";
import type { Binding, Pod, PodCondition } from "#api/generated/core/v1.ts";
import type { ApiResponse } from "#api/request.ts";
import { invalid, notSupported, required } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { badRequest, conflict, invalidObject } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import { answerPlain, formOf } from "./answer.ts";
import { readBody, writeOptions } from "./body.ts";
import type { ChainContext } from "./chain.ts";
import { notAllowed, type VerbWorld } from "./resource-verbs.ts";
import type { ServedResource } from "./served-resource.ts";

export const success = {
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Success",
  code: 201,
};

export function readKind(context: ChainContext, group: string, kind: string): ApiObject {
  const version = "v1";
  const schema = kindSchema(group, version, kind);
  if (schema === undefined) throw new Error(`no facts about ${kind}`);
  const { fieldValidation } = writeOptions(context.request);
  const expected = { group, version, kind, schema };
  return readBody(context.request, expected, fieldValidation, context.warnings);
}

function validateBinding({ target, metadata }: Binding): void {
  const errors = [];
  const { kind = "", name = "" } = target;
  if (kind !== "" && kind !== "Node" && kind !== "Minion")
    errors.push(notSupported("target.kind", kind, ["Node", "<empty>"]));
  if (name === "") errors.push(required("target.name"));
  else if (/[/%]/.test(name))
    errors.push(invalid("target.name", name, "may not contain '/' or '%'"));
  if (errors.length > 0)
    throw invalidObject({ group: "", kind: "Binding" }, metadata.name ?? "", errors);
}

function bind(pod: Pod, binding: Binding, now: number): void {
  const { metadata, spec } = pod;
  const name = metadata.name ?? "";
  const refuse = (why: string) => conflict({ group: "", plural: "pods/binding" }, name, why);
  const { uid, resourceVersion } = binding.metadata;
  if (uid !== undefined && uid !== metadata.uid)
    throw refuse(
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid ?? ""}`,
    );
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion)
    throw refuse(
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion ?? ""}`,
    );
  if (metadata.deletionTimestamp !== undefined)
    throw refuse(`pod ${name} is being deleted, cannot be assigned to a host`);
  if (spec.nodeName !== undefined && spec.nodeName !== "")
    throw refuse(`pod ${name} is already assigned to node ${JSON.stringify(spec.nodeName)}`);
  if ((spec.schedulingGates ?? []).length > 0)
    throw refuse(`pod ${name} has non-empty .spec.schedulingGates`);
  spec.nodeName = binding.target.name ?? "";
  delete pod.status.nominatedNodeName;
  const { annotations, labels } = binding.metadata;
  if (annotations !== undefined) metadata.annotations = { ...metadata.annotations, ...annotations };
  if (labels !== undefined) metadata.labels = { ...metadata.labels, ...labels };
  markScheduled(pod, now);
}

function markScheduled(pod: Pod, now: number): void {
  const conditions = pod.status.conditions ?? [];
  const old = conditions.find(({ type }) => type === "PodScheduled");
  const since = old?.status === "True" ? old.lastTransitionTime : undefined;
  const next = {
    type: "PodScheduled",
    status: "True",
    lastTransitionTime: since ?? formatTime(now),
  };
  // What is missing is spelled out when the object is brought into its canonical form.
  pod.status.conditions = [...conditions.filter((one) => one !== old), next as PodCondition];
}

/** pods/NAME/binding, and the older bindings. */
export async function handleBinding(
  context: ChainContext,
  pods: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  if (context.info.verb !== "create" || context.info.namespace === "") throw notAllowed();
  const form = formOf(context, world.now());
  const options = writeOptions(context.request);
  const binding = readKind(context, "", "Binding") as Binding;
  const name = binding.metadata.name ?? "";
  if (context.info.subresource === "binding" && name !== context.info.name)
    throw badRequest("name in URL does not match name in Binding object");
  validateBinding(binding);
  await pods.registry.modify(context.info.namespace, name, options.dryRun, (object) =>
    bind(object as Pod, binding, world.now()),
  );
  return answerPlain(201, success, form);
}
