/** RuntimeClass: a pod that names a class gets its overhead, its node selector and its tolerations; a class that is not there refuses it. */
import type { Pod, Toleration } from "#api/generated/core/v1.ts";
import type { RuntimeClass } from "#api/node/v1/runtimeclass.ts";
import { equalObjects } from "#machinery/object.ts";
import { compareQuantities, quantityOf } from "#machinery/quantity.ts";
import type { Reader } from "../reader.ts";
import { type AdmissionPlugin, type AdmissionRequest, isAbout, refuse } from "./admission.ts";

const runtimeClasses = { group: "node.k8s.io", plural: "runtimeclasses" };

async function classOf(
  request: AdmissionRequest,
  reader: Reader,
): Promise<RuntimeClass | undefined> {
  const name = (request.object as Pod).spec.runtimeClassName;
  if (name === undefined) return undefined;
  let found = reader.get(runtimeClasses, "", name);
  if (found === undefined) {
    await reader.fresh();
    found = reader.get(runtimeClasses, "", name);
  }
  if (found === undefined) {
    throw refuse(request, `pod rejected: RuntimeClass "${name}" not found`);
  }
  return found as RuntimeClass;
}

type Amounts = Readonly<Record<string, string>>;

const sameAmounts = (a: Amounts, b: Amounts): boolean =>
  Object.keys(a).length === Object.keys(b).length &&
  Object.entries(a).every(
    ([name, amount]) =>
      b[name] !== undefined && compareQuantities(quantityOf(amount), quantityOf(b[name])) === 0,
  );

const mismatch = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/** Whether whatever `narrow` tolerates is tolerated by `wide`. */
function covers(wide: Toleration, narrow: Toleration): boolean {
  if (equalObjects(wide, narrow)) return true;
  const { key = "", operator = "", value = "", effect = "", tolerationSeconds } = wide;
  if ((narrow.key ?? "") !== key && (key !== "" || operator !== "Exists")) return false;
  if ((narrow.effect ?? "") !== effect && effect !== "") return false;
  if (effect === "NoExecute" && tolerationSeconds !== undefined) {
    const seconds = narrow.tolerationSeconds;
    if (seconds === undefined || seconds > tolerationSeconds) return false;
  }
  if (operator === "Exists") return true;
  if (operator !== "" && operator !== "Equal") return false;
  return narrow.operator === "Equal" && (narrow.value ?? "") === value;
}

/** Both lists, without what another of them covers; of equal ones the first stays. */
export function mergeTolerations(
  first: readonly Toleration[],
  second: readonly Toleration[],
): Toleration[] {
  const all = [...first, ...second];
  const merged: Toleration[] = [];
  for (const [index, one] of all.entries()) {
    const covered =
      merged.some((other) => covers(other, one)) ||
      all.slice(index + 1).some((other) => !equalObjects(one, other) && covers(other, one));
    if (!covered) merged.push(one);
  }
  return merged;
}

function applyScheduling(
  request: AdmissionRequest,
  { spec }: Pod,
  { nodeSelector, tolerations }: NonNullable<RuntimeClass["scheduling"]>,
): void {
  const own = spec.nodeSelector ?? {};
  for (const [key, value] of Object.entries(nodeSelector ?? {})) {
    if (own[key] !== undefined && own[key] !== value) {
      const detail = `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${own[key]}`;
      throw refuse(request, detail);
    }
  }
  if (nodeSelector !== undefined) spec.nodeSelector = { ...own, ...nodeSelector };
  const merged = mergeTolerations(spec.tolerations ?? [], tolerations ?? []);
  if (merged.length > 0) spec.tolerations = merged;
}

export const runtimeClass: AdmissionPlugin = {
  name: "RuntimeClass",
  handles: (request) => request.operation === "CREATE" && isAbout(request, "", "pods"),
  async admit(request, { reader }) {
    const pod = request.object as Pod;
    const found = await classOf(request, reader);
    if (found?.overhead !== undefined) {
      const amounts = found.overhead.podFixed ?? {};
      const given = pod.spec.overhead ?? {};
      if (Object.keys(given).length > 0 && !sameAmounts(given, amounts)) {
        throw refuse(request, mismatch);
      }
      pod.spec.overhead = { ...amounts };
    }
    if (found?.scheduling !== undefined) applyScheduling(request, pod, found.scheduling);
  },
  async validate(request, { reader }) {
    const { overhead } = (request.object as Pod).spec;
    const found = await classOf(request, reader);
    if (found?.overhead !== undefined) {
      if (!sameAmounts(found.overhead.podFixed ?? {}, overhead ?? {})) {
        throw refuse(request, mismatch);
      }
    } else if (overhead !== undefined) {
      const detail =
        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
      throw refuse(request, detail);
    }
  },
};
