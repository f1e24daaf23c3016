/** Priority: turns a pod's priority class name into its priority and preemption policy; at most one class is the default. */
import type { Pod } from "#api/generated/core/v1.ts";
import type { PriorityClass } from "#api/generated/scheduling/v1.ts";
import type { Reader } from "../reader.ts";
import { type AdmissionPlugin, type AdmissionRequest, isAbout, refuse } from "./admission.ts";

const priorityClasses = { group: "scheduling.k8s.io", plural: "priorityclasses" };

function defaultClass(reader: Reader): PriorityClass | undefined {
  let best: PriorityClass | undefined;
  for (const object of reader.list(priorityClasses)) {
    const one = object as PriorityClass;
    // Two may have been made at the same moment: the lowest value counts.
    if (one.globalDefault === true && (best === undefined || one.value < best.value)) best = one;
  }
  return best;
}

function classOf(
  request: AdmissionRequest,
  reader: Reader,
  name: string,
): PriorityClass | undefined {
  if (name === "") return defaultClass(reader);
  const found = reader.get(priorityClasses, "", name);
  if (found === undefined) throw refuse(request, `no PriorityClass with name ${name} was found`);
  return found as PriorityClass;
}

function admitPod(request: AdmissionRequest, reader: Reader): void {
  const { spec } = request.object as Pod;
  if (request.operation === "UPDATE") {
    const old = (request.oldObject as Pod).spec;
    if (spec.priority === undefined && old.priority !== undefined) spec.priority = old.priority;
    if (spec.preemptionPolicy === undefined && old.preemptionPolicy !== undefined)
      spec.preemptionPolicy = old.preemptionPolicy;
    return;
  }
  const found = classOf(request, reader, spec.priorityClassName ?? "");
  const priority = found?.value ?? 0;
  const policy = found?.preemptionPolicy ?? "PreemptLowerPriority";
  if (found !== undefined) spec.priorityClassName = found.metadata.name ?? "";
  if (spec.priority !== undefined && spec.priority !== priority) {
    throw refuse(
      request,
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`,
    );
  }
  spec.priority = priority;
  if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy) {
    throw refuse(
      request,
      `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
    );
  }
  spec.preemptionPolicy = policy;
}

export const priority: AdmissionPlugin = {
  name: "Priority",
  handles: (request) =>
    (request.operation === "CREATE" || request.operation === "UPDATE") &&
    (isAbout(request, "", "pods") || isAbout(request, "scheduling.k8s.io", "priorityclasses")),
  admit(request, { reader }) {
    if (request.plural === "pods") admitPod(request, reader);
  },
  validate(request, { reader }) {
    if (request.plural !== "priorityclasses") return;
    const one = request.object as PriorityClass;
    if (one.globalDefault !== true) return;
    const other = defaultClass(reader);
    if (other === undefined) return;
    if (request.operation === "UPDATE" && other.metadata.name === one.metadata.name) return;
    throw refuse(
      request,
      `PriorityClass ${other.metadata.name} is already marked as default. Only one default can exist`,
    );
  },
};
