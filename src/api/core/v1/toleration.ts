/** Taints and tolerations: who may stay away, who may come. Pure. */
import type { Pod, Taint, Toleration } from "../../generated/core/v1.ts";

const integer = /^[+-]?\d{1,18}$/;

function matchesValue(toleration: Toleration, taint: Taint): boolean {
  const wanted = toleration.value ?? "";
  const value = taint.value ?? "";
  switch (toleration.operator ?? "Equal") {
    case "Exists":
      return true;
    case "Equal":
      return wanted === value;
    case "Lt":
      return integer.test(wanted) && integer.test(value) && Number(value) < Number(wanted);
    case "Gt":
      return integer.test(wanted) && integer.test(value) && Number(value) > Number(wanted);
    default:
      return false;
  }
}

/** An empty effect means all effects; an empty key, with Exists, all keys. */
export function isTolerated(taint: Taint, tolerations: readonly Toleration[] | undefined): boolean {
  return (tolerations ?? []).some((toleration) => {
    if (toleration.effect && toleration.effect !== taint.effect) return false;
    if (toleration.key && toleration.key !== taint.key) return false;
    return matchesValue(toleration, taint);
  });
}

export const hasUntolerated = (taints: readonly Taint[], pod: Pod): boolean =>
  taints.some((taint) => !isTolerated(taint, pod.spec.tolerations));
