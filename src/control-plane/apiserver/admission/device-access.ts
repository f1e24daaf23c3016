/**
 * Claims to devices: administrator's access only in namespaces that are labelled for it; who gives devices to a claim, and who reports on
 * them, must hold that right besides the one to write the status. Upstream has this in the kinds themselves, so that whatever else is
 * wrong with the object is told with it.
 */
import type {
  AllocatedDeviceStatus,
  AllocationResult,
  DeviceRequest,
  ResourceClaimStatus,
} from "#api/generated/resource/v1.ts";
import { deviceKey, validateClaimStatus } from "#api/resource/v1/claim-status.ts";
import { validateClaimSpec } from "#api/resource/v1/claim-validation.ts";
import { ResourceClaim } from "#api/resource/v1/resourceclaim.ts";
import { ResourceClaimTemplate, validateTemplate } from "#api/resource/v1/resourceclaimtemplate.ts";
import { type FieldError, forbidden } from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import { invalidObject } from "#machinery/status-error.ts";
import { forbiddenBy } from "../authz/authorizer.ts";
import {
  type AdmissionPlugin,
  type AdmissionRequest,
  type AdmissionWorld,
  isAbout,
} from "./admission.ts";

const group = "resource.k8s.io";
const namespaces = { group: "", plural: "namespaces" };
const adminLabel = "resource.kubernetes.io/admin-access";
const nodeNameExtra = "authentication.kubernetes.io/node-name";

async function adminProblems(
  { namespace }: AdmissionRequest,
  { reader }: AdmissionWorld,
  path: string | undefined,
): Promise<FieldError[]> {
  if (path === undefined) return [];
  await reader.fresh();
  const labels = reader.get(namespaces, "", namespace)?.metadata.labels ?? {};
  if (labels[adminLabel] === "true") return [];
  const why = `admin access to devices requires the \`${adminLabel}: true\` label on the containing namespace`;
  return [forbidden(path, why)];
}

/** Upstream: the path lacks `exactly`, and a template's `spec`. */
function adminRequest(requests: readonly DeviceRequest[] | undefined): string | undefined {
  const index = (requests ?? []).findIndex(({ exactly }) => exactly?.adminAccess === true);
  return index < 0 ? undefined : `spec.devices.requests[${index}].adminAccess`;
}
function adminResult(allocation: AllocationResult | undefined): string | undefined {
  const results = allocation?.devices?.results ?? [];
  const index = results.findIndex(({ adminAccess }) => adminAccess === true);
  return index < 0 ? undefined : `status.allocation.devices.results[${index}].adminAccess`;
}

/** Why the user may not do this to a part of claims that is no real subresource; undefined: they may. */
function refusal(
  { user }: AdmissionRequest,
  { authorizer }: AdmissionWorld,
  what: { subresource: string; verb: string; namespace: string; name: string },
): string | undefined {
  const attributes = {
    ...what,
    user,
    isResource: true,
    group,
    version: "v1",
    resource: "resourceclaims",
    path: "",
  };
  const { decision, reason } = authorizer.authorize(attributes);
  return decision === "allow" ? undefined : forbiddenBy(attributes, reason).message;
}

function bindingProblems(
  request: AdmissionRequest,
  world: AdmissionWorld,
  next: ResourceClaimStatus,
  old: ResourceClaimStatus,
): FieldError[] {
  const same =
    equalObjects(next.allocation, old.allocation) &&
    equalObjects(next.reservedFor ?? [], old.reservedFor ?? []);
  if (same) return [];
  const verb = request.verb ?? "update";
  const what = { subresource: "binding", verb, namespace: "", name: "" };
  const why = refusal(request, world, what);
  if (why === undefined) return [];
  const message = `changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="${verb}" permission: ${why}`;
  return [forbidden("status.allocation", message)];
}

function changedDrivers(next: ResourceClaimStatus, old: ResourceClaimStatus): string[] {
  const left = new Map((old.devices ?? []).map((device) => [deviceKey(device), device]));
  const changed = (device: AllocatedDeviceStatus): boolean => {
    const before = left.get(deviceKey(device));
    left.delete(deviceKey(device));
    return !equalObjects(before, device);
  };
  const drivers = (next.devices ?? []).filter(changed).map(({ driver }) => driver);
  return [...new Set([...drivers, ...[...left.values()].map(({ driver }) => driver)])].sort();
}

/** The one node on which devices of an allocation are. */
function nodeOf(allocation: AllocationResult | undefined): string | undefined {
  const terms = allocation?.nodeSelector?.nodeSelectorTerms ?? [];
  const { matchExpressions = [], matchFields = [] } = terms[0] ?? {};
  const [field] = matchFields;
  if (terms.length !== 1 || matchExpressions.length > 0 || matchFields.length !== 1)
    return undefined;
  if (field?.key !== "metadata.name" || field.operator !== "In") return undefined;
  return field.values?.length === 1 ? field.values[0] : undefined;
}

/** A driver on the claim's node needs less than one that is anywhere. */
function driverProblems(
  request: AdmissionRequest,
  world: AdmissionWorld,
  next: ResourceClaimStatus,
  old: ResourceClaimStatus,
): FieldError[] {
  if (next.allocation === undefined) return [];
  const { name, extra = {} } = request.user;
  const nodes = extra[nodeNameExtra] ?? [];
  const isThere =
    name.startsWith("system:serviceaccount:") &&
    nodes.length === 1 &&
    nodes[0] === nodeOf(next.allocation);
  const written = request.verb ?? "update";
  const verbs = [...(isThere ? [`associated-node:${written}`] : []), `arbitrary-node:${written}`];
  return changedDrivers(next, old).flatMap((driver) => {
    const reasons = verbs.map((verb) =>
      refusal(request, world, {
        subresource: "driver",
        verb,
        namespace: request.namespace,
        name: driver,
      }),
    );
    if (reasons.includes(undefined)) return [];
    const message = `changing status.devices requires resource="resourceclaims/driver", verb="[${verbs.join(" ")}]" permission: ${reasons[0]}`;
    return [forbidden("status.devices", message)];
  });
}

async function judgeStatus(request: AdmissionRequest, world: AdmissionWorld): Promise<void> {
  const claim = request.object as ResourceClaim;
  const old = request.oldObject as ResourceClaim;
  const before = adminResult(old.status.allocation);
  const admin = before === undefined ? adminResult(claim.status.allocation) : undefined;
  const problems = [
    ...(await adminProblems(request, world, admin)),
    ...bindingProblems(request, world, claim.status, old.status),
    ...driverProblems(request, world, claim.status, old.status),
  ];
  if (problems.length === 0) return;
  const others = validateClaimStatus(claim, old);
  throw invalidObject(ResourceClaim, request.name, [...problems, ...others]);
}

export const deviceAccess: AdmissionPlugin = {
  name: "DeviceAccess",
  handles: (request) =>
    (request.operation === "CREATE" &&
      (isAbout(request, group, "resourceclaims") ||
        isAbout(request, group, "resourceclaimtemplates"))) ||
    (request.operation === "UPDATE" && isAbout(request, group, "resourceclaims", "status")),
  async admit(request, world) {
    if (request.operation === "UPDATE") {
      await judgeStatus(request, world);
      return;
    }
    const isTemplate = request.plural === "resourceclaimtemplates";
    const kind = isTemplate ? ResourceClaimTemplate : ResourceClaim;
    const template = request.object as ResourceClaimTemplate;
    const claim = request.object as ResourceClaim;
    const { devices } = isTemplate ? template.spec.spec : claim.spec;
    const problems = await adminProblems(request, world, adminRequest(devices.requests));
    if (problems.length === 0) return;
    const others = isTemplate ? validateTemplate(template) : validateClaimSpec(claim.spec, "spec");
    throw invalidObject(kind, request.name, [...problems, ...others]);
  },
};
