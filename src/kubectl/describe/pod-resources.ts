/** What a pod asks for in all: requests and limits of its containers, init containers and overhead; and its QoS class. */
import type { Container, Pod } from "#api/generated/core/v1.ts";
import {
  addQuantities,
  compareQuantities,
  type Quantity,
  quantityOf,
  zeroQuantity,
} from "#machinery/quantity.ts";

export type Amounts = Map<string, Quantity>;
type Which = "requests" | "limits";

export function addAmounts(into: Amounts, more: Amounts): void {
  for (const [name, quantity] of more) {
    const known = into.get(name);
    into.set(name, known === undefined ? quantity : addQuantities(known, quantity));
  }
}
function raise(into: Amounts, other: Amounts): void {
  for (const [name, quantity] of other) {
    if (compareQuantities(into.get(name) ?? zeroQuantity, quantity) < 0) into.set(name, quantity);
  }
}
const listOf = (resources: Readonly<Record<string, string>> | undefined): Amounts =>
  new Map(Object.entries(resources ?? {}).map(([name, text]) => [name, quantityOf(text)]));

export function podAmounts(pod: Pod, which: Which): Amounts {
  const total: Amounts = new Map();
  for (const container of pod.spec.containers)
    addAmounts(total, listOf(container.resources?.[which]));
  const sidecars: Amounts = new Map();
  const highest: Amounts = new Map();
  for (const container of pod.spec.initContainers ?? []) {
    const own = listOf(container.resources?.[which]);
    if (container.restartPolicy === "Always") {
      addAmounts(sidecars, own);
      addAmounts(total, own);
      raise(highest, sidecars);
    } else {
      const during: Amounts = new Map(sidecars);
      addAmounts(during, own);
      raise(highest, during);
    }
  }
  raise(total, highest);
  for (const [name, quantity] of listOf(pod.spec.resources?.[which])) total.set(name, quantity);
  const overhead = listOf(pod.spec.overhead);
  if (which === "requests") addAmounts(total, overhead);
  else {
    for (const [name, quantity] of overhead) {
      const known = total.get(name);
      if (known !== undefined) total.set(name, addQuantities(known, quantity));
    }
  }
  return total;
}

export function qosClass(pod: Pod): string {
  const containers: readonly Container[] = [
    ...(pod.spec.initContainers ?? []),
    ...pod.spec.containers,
  ];
  const names = ["cpu", "memory"];
  const has = (which: Which): boolean =>
    containers.some(({ resources }) =>
      names.some((name) => resources?.[which]?.[name] !== undefined),
    );
  if (!has("requests") && !has("limits")) return "BestEffort";
  const isGuaranteed = containers.every(({ resources }) =>
    names.every((name) => {
      const limit = resources?.limits?.[name];
      const request = resources?.requests?.[name] ?? limit;
      if (limit === undefined || request === undefined) return false;
      return compareQuantities(quantityOf(limit), quantityOf(request)) === 0;
    }),
  );
  return isGuaranteed ? "Guaranteed" : "Burstable";
}
