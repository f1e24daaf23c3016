/**
 * ResourceQuota: charges a write to the quotas of its namespace before it happens, each by compare-and-put, so that writes that race
 * never use more than is allowed; refuses what would. What a failed write was charged for, the controller gives back.
 */
import {
  addAmounts,
  amountsText,
  concerns,
  exceeding,
  isInScopes,
  isTerminating,
  missingOf,
  onlyNames,
  surplus,
  usageOf,
} from "#api/core/v1/quota-usage.ts";
import type { PersistentVolumeClaim, Pod, ResourceQuota } from "#api/generated/core/v1.ts";
import { sortedKeys } from "#machinery/object.ts";
import {
  type AdmissionPlugin,
  type AdmissionRequest,
  type AdmissionWorld,
  refuse,
} from "./admission.ts";

const quotas = { group: "", plural: "resourcequotas" };
type Amounts = Readonly<Record<string, string>>;

function handles(request: AdmissionRequest): boolean {
  const { operation, group, plural, subresource, namespace, object, oldObject } = request;
  if (namespace === "" || (operation !== "CREATE" && operation !== "UPDATE")) return false;
  if (group === "" && plural === "pods") {
    if (subresource === "resize") return operation === "UPDATE";
    if (subresource !== "") return false;
    return (
      operation === "CREATE" || isTerminating(object as Pod) !== isTerminating(oldObject as Pod)
    );
  }
  if (group === "" && plural === "persistentvolumeclaims" && subresource === "status") {
    const stored = (one: unknown): unknown =>
      (one as PersistentVolumeClaim).status?.allocatedResources?.storage;
    return stored(object) !== stored(oldObject);
  }
  if (subresource !== "") return false;
  if (operation === "CREATE") return true;
  return group === "" && (plural === "services" || plural === "persistentvolumeclaims");
}

/** What the write would add to the quota; undefined: the quota does not look at it. */
function chargeOf(
  request: AdmissionRequest,
  quota: ResourceQuota,
  now: number,
): Amounts | undefined {
  const { object, oldObject } = request;
  if (object === undefined) return undefined;
  const hard = quota.status.hard ?? {};
  const names = sortedKeys(hard).filter((name) => concerns(request, name));
  if (names.length === 0 || !isInScopes(quota, request, object)) return undefined;
  const missing = missingOf(request, object, names);
  const name = quota.metadata.name ?? "";
  if (missing !== undefined) throw refuse(request, `failed quota: ${name}: ${missing}`);
  if (names.some((one) => quota.status.used?.[one] === undefined))
    throw refuse(request, `status unknown for quota: ${name}, resources: ${names.join(",")}`);
  const usage = usageOf(request, object, now);
  const charged = oldObject !== undefined && isInScopes(quota, request, oldObject);
  const before = charged && oldObject !== undefined ? usageOf(request, oldObject, now) : {};
  const delta = onlyNames(surplus(usage, before), new Set(names));
  return Object.keys(delta).length === 0 ? undefined : delta;
}

/** The usage after the write. Throws where that is more than allowed. */
function charged(request: AdmissionRequest, quota: ResourceQuota, delta: Amounts): Amounts {
  const { hard = {}, used = {} } = quota.status;
  const next = addAmounts(used, delta);
  if (request.subresource === "status") return next;
  const over = new Set(exceeding(onlyNames(next, new Set(Object.keys(delta))), hard));
  if (over.size === 0) return next;
  const text = (amounts: Amounts): string => amountsText(onlyNames(amounts, over));
  throw refuse(
    request,
    `exceeded quota: ${quota.metadata.name ?? ""}, requested: ${text(delta)}, used: ${text(used)}, limited: ${text(hard)}`,
  );
}

function listed(request: AdmissionRequest, { reader }: AdmissionWorld): ResourceQuota[] {
  return [...reader.list(quotas, request.namespace)] as ResourceQuota[];
}

export const resourceQuota: AdmissionPlugin = {
  name: "ResourceQuota",
  handles,
  async validate(request, world) {
    if (listed(request, world).length === 0) return;
    await world.reader.fresh();
    const now = world.clock.now();
    const concerned: string[] = [];
    // First all are asked, so that what one refuses is not charged to another.
    for (const quota of listed(request, world)) {
      const delta = chargeOf(request, quota, now);
      if (delta === undefined) continue;
      charged(request, quota, delta);
      concerned.push(quota.metadata.name ?? "");
    }
    if (request.dryRun) return;
    for (const name of concerned) {
      await world.change(quotas, request.namespace, name, (object) => {
        const quota = object as ResourceQuota;
        const delta = chargeOf(request, quota, now);
        if (delta !== undefined) quota.status.used = { ...charged(request, quota, delta) };
      });
    }
  },
};
