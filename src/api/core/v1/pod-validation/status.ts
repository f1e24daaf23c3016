/**
 * The status that a kubelet reports: containers do not come back from the dead, addresses are
 * addresses.
 */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { parseIpSloppy } from "#machinery/ip.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { isGroupId } from "#machinery/validation.ts";
import type {
  Container,
  ContainerStatus,
  Pod,
  PodExtendedResourceClaimStatus,
  PodSpec,
  PodStatus,
} from "../../../generated/core/v1.ts";
import { validatePodAnnotationUpdates } from "./annotations.ts";
import { dnsLabel, dnsSubdomain, each, ipAddress, qualifiedName } from "./fields.ts";
import { rulesFor } from "./relaxed-rules.ts";

const uidMax = 2 ** 32 - 1;
const healthMessageLengthMax = 1024;
const healths = ["Healthy", "Unhealthy", "Unknown"];
const systemConditions = ["PodScheduled", "Ready", "Initialized"];

type ListField = "containerStatuses" | "initContainerStatuses" | "ephemeralContainerStatuses";

/** Whether a container that ended with this code is started again. */
export function shouldRestart(container: Container, spec: PodSpec, exitCode: number): boolean {
  const { restartPolicy, restartPolicyRules = [] } = container;
  if (restartPolicy !== undefined) {
    const rule = restartPolicyRules.find(({ exitCodes }) => {
      const listed = (exitCodes?.values ?? []).includes(exitCode);
      return exitCodes?.operator === "In" ? listed : exitCodes?.operator === "NotIn" && !listed;
    });
    if (rule?.action === "Restart" || rule?.action === "RestartAllContainers") return true;
  }
  const known = ["Always", "OnFailure", "Never"];
  const policy = known.includes(restartPolicy ?? "") ? restartPolicy : spec.restartPolicy;
  if (policy === "OnFailure") return exitCode !== 0;
  return policy !== "Never";
}

const mayRestartAll = (spec: PodSpec): boolean =>
  [...(spec.initContainers ?? []), ...(spec.containers ?? [])].some(({ restartPolicyRules }) =>
    (restartPolicyRules ?? []).some(({ action }) => action === "RestartAllContainers"),
  );

/**
 * An ended container lives again only if its restart policy says so. `containers` undefined: never.
 */
function validateRevivals(
  next: readonly ContainerStatus[],
  old: readonly ContainerStatus[],
  spec: PodSpec,
  containers: readonly Container[] | undefined,
  path: string,
): FieldError[] {
  if (containers !== undefined && mayRestartAll(spec)) return [];
  return old.flatMap(({ name, state }, index) => {
    const ended = state?.terminated;
    if (ended === undefined) return [];
    const status = next.find((one) => one.name === name);
    if (status === undefined || status.state?.terminated !== undefined) return [];
    const container = containers?.find((one) => one.name === name);
    if (container !== undefined && shouldRestart(container, spec, ended.exitCode)) return [];
    return [
      forbidden(`${path}[${index}].state`, "may not be transitioned to non-terminated state"),
    ];
  });
}

function validateAddresses(
  list: readonly { readonly ip: string }[],
  old: readonly { readonly ip: string }[],
  path: string,
): FieldError[] {
  const known = old.map(({ ip }) => ip);
  const errors = list.flatMap(({ ip }, index) => ipAddress(`${path}[${index}]`, ip, known));
  if (list.length < 2) return errors;
  const families = list.map(({ ip }) => parseIpSloppy(ip)?.family);
  if (new Set(families).size === 2 && list.length === 2) return errors;
  const detail = "may specify no more than one IP for each IP family";
  return [...errors, invalid(path, list, detail)];
}

function validatePodIps(status: PodStatus, old: PodStatus): FieldError[] {
  const { podIP = "", podIPs = [], hostIP = "", hostIPs = [] } = status;
  const errors = validateAddresses(podIPs, old.podIPs ?? [], "status.podIPs");
  const first = podIPs[0]?.ip ?? "";
  if ((podIP !== "") !== podIPs.length > 0) {
    const detail = "podIP and podIPs must either both be set or both be unset";
    errors.push(invalid("status.podIPs", podIPs, detail));
  } else if (podIPs.length > 0 && podIP !== first) {
    errors.push(invalid("status.podIPs[0].ip", first, "must be equal to `podIP`"));
  }
  const firstHost = hostIPs[0]?.ip;
  if (firstHost === undefined) return errors;
  if (hostIP !== firstHost) {
    errors.push(invalid("status.hostIPs[0].ip", firstHost, "must be equal to `hostIP`"));
  }
  return [...errors, ...validateAddresses(hostIPs, old.hostIPs ?? [], "status.hostIPs")];
}

function validateConditions({ conditions = [] }: PodStatus): FieldError[] {
  return conditions.flatMap(({ type, observedGeneration = 0 }, index) => {
    const at = `status.conditions[${index}]`;
    const errors: FieldError[] = [];
    if (observedGeneration < 0) {
      const detail = "must be a non-negative integer";
      errors.push(invalid(`${at}.observedGeneration`, observedGeneration, detail));
    }
    if (systemConditions.includes(type)) return errors;
    return [...errors, ...qualifiedName(`${at}.Type`, type)];
  });
}

function validateClaims(status: PodStatus, spec: PodSpec): FieldError[] {
  const names = new Set<string>();
  return (status.resourceClaimStatuses ?? []).flatMap(({ name, resourceClaimName }, index) => {
    const at = `status.resourceClaimStatuses[${index}]`;
    const errors: FieldError[] = [];
    if (!(spec.resourceClaims ?? []).some((claim) => claim.name === name)) {
      const detail = "must match the name of an entry in `spec.resourceClaims`";
      errors.push(invalid(`${at}.name`, name, detail));
    }
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    if (resourceClaimName === undefined) return errors;
    return [...errors, ...dnsSubdomain(`${at}.resourceClaimName`, resourceClaimName)];
  });
}

function validateExtendedClaim(
  claim: PodExtendedResourceClaimStatus | undefined,
  spec: PodSpec,
): FieldError[] {
  if (claim === undefined) return [];
  const path = "status.extendedResourceClaimStatus";
  const containers = new Map(
    [...(spec.initContainers ?? []), ...(spec.containers ?? [])].map((one) => [one.name, one]),
  );
  const errors: FieldError[] = [];
  const mappings = claim.requestMappings ?? [];
  if (mappings.length === 0) {
    const detail = "at least one request mapping is required";
    errors.push(required(`${path}.requestMappings`, detail));
  }
  const seen = new Set<string>();
  for (const [index, mapping] of mappings.entries()) {
    const at = `${path}.requestMappings[${index}]`;
    const { containerName, resourceName, requestName } = mapping;
    const container = containers.get(containerName);
    if (container === undefined) {
      const detail =
        "must match the name of an entry in spec.initContainers.name or spec.containers.name";
      errors.push(invalid(`${at}.containerName`, containerName, detail));
    } else if (container.resources?.requests?.[resourceName] === undefined) {
      const detail =
        "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests";
      errors.push(invalid(`${at}.resourceName`, resourceName, detail));
    }
    errors.push(...dnsLabel(`${path}.requestName`, requestName));
    const key = JSON.stringify([containerName, resourceName, requestName]);
    if (seen.has(key)) {
      for (const field of ["containerName", "resourceName", "requestName"] as const) {
        errors.push(duplicate(`${at}.${field}`, mapping[field]));
      }
    }
    seen.add(key);
  }
  const { resourceClaimName } = claim;
  if (resourceClaimName === "") return [...errors, required(`${path}.resourceClaimName`)];
  return [...errors, ...dnsSubdomain(`${path}.resourceClaimName`, resourceClaimName)];
}

function validateUsers(statuses: readonly ContainerStatus[], spec: PodSpec, path: string) {
  return statuses.flatMap(({ user }, index) => {
    const linux = user?.linux;
    if (linux === undefined) return [];
    const at = `${path}[${index}].user.linux`;
    const os = spec.os?.name ?? "linux";
    if (os === "windows") return [forbidden(at, "cannot be set for a windows pod")];
    if (os !== "linux") return [];
    const { uid, gid, supplementalGroups = [] } = linux;
    const errors: FieldError[] = [];
    if (uid < 0 || uid > uidMax) {
      errors.push(invalid(`${at}.uid`, uid, `must be between 0 and ${uidMax}, inclusive`));
    }
    return [
      ...errors,
      ...each(`${at}.gid`, gid, isGroupId(gid)),
      ...supplementalGroups.flatMap((id, groupIndex) =>
        each(`${at}.supplementalGroups[${groupIndex}]`, id, isGroupId(id)),
      ),
    ];
  });
}

/** Whether a container has the resource, or the device claim, of that name. */
function hasAllocated(container: Container, name: string, status: PodStatus): boolean {
  const { claims = [], requests = {} } = container.resources ?? {};
  if (!name.startsWith("claim:")) return requests[name] !== undefined;
  const claimed = claims.map((one) =>
    (one.request ?? "") === "" ? `claim:${one.name}` : `claim:${one.name}/${one.request}`,
  );
  if (claimed.includes(name)) return true;
  const extended = status.extendedResourceClaimStatus;
  const [claimName = "", requestName = ""] = name.slice("claim:".length).split("/", 2);
  if (claimName === "" || requestName === "" || claimName !== extended?.resourceClaimName) {
    return false;
  }
  return extended.requestMappings.some(
    (one) =>
      one.containerName === container.name &&
      one.requestName === requestName &&
      quantityOf(requests[one.resourceName] ?? "0").nanos !== 0n,
  );
}

function validateAllocated(
  statuses: readonly ContainerStatus[],
  containers: readonly Container[],
  status: PodStatus,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, { name, allocatedResourcesStatus }] of statuses.entries()) {
    const container = containers.find((one) => one.name === name);
    for (const [resourceIndex, resource] of (allocatedResourcesStatus ?? []).entries()) {
      const at = `${path}[${index}].allocatedResourcesStatus[${resourceIndex}]`;
      if (container !== undefined && !hasAllocated(container, resource.name, status)) {
        const detail = resource.name.startsWith("claim:")
          ? "must match one of the container's resource claims as 'claim:<claimName>/<requestName>' when container.resources.claims[*].request is set or 'claim:<claimName>' when it is empty"
          : "must match one of the container's resource requests";
        errors.push(invalid(`${at}.name`, resource.name, detail));
      }
      const ids = new Set<string>();
      for (const [idIndex, one] of (resource.resources ?? []).entries()) {
        const idAt = `${at}.resources[${idIndex}]`;
        const { health = "", message, resourceID } = one;
        if (!healths.includes(health)) {
          errors.push(notSupported(`${idAt}.health`, health, healths));
        }
        if (message === "") {
          errors.push(required(`${idAt}.message`, "must be non-empty if specified"));
        } else if (message !== undefined && message.length > healthMessageLengthMax) {
          const text = `Too long: may not be more than ${healthMessageLengthMax} bytes`;
          errors.push({ path: `${idAt}.message`, type: "FieldValueTooLong", message: text });
        }
        if (ids.has(resourceID)) errors.push(duplicate(`${idAt}.resourceID`, resourceID));
        ids.add(resourceID);
      }
    }
  }
  return errors;
}

function validateNomination({ spec, status }: Pod, old: Pod): FieldError[] {
  const path = "status.nominatedNodeName";
  const name = status.nominatedNodeName ?? "";
  if (name === "" || name === (old.status.nominatedNodeName ?? "")) return [];
  const errors = dnsSubdomain(path, name);
  if ((spec.nodeName ?? "") !== "") {
    errors.push(forbidden(path, "may not be set on pods that are already bound to a node"));
  }
  return errors;
}

function validateContainerStatuses({ spec, status }: Pod, old: Pod): FieldError[] {
  const listOf = (one: PodStatus, field: ListField): ContainerStatus[] => one[field] ?? [];
  const containers: readonly [ListField, readonly Container[] | undefined][] = [
    ["containerStatuses", spec.containers ?? []],
    ["initContainerStatuses", spec.initContainers ?? []],
    ["ephemeralContainerStatuses", undefined],
  ];
  const revived = containers.flatMap(([field, list]) => {
    const path = `status.${field}`;
    return validateRevivals(listOf(status, field), listOf(old.status, field), spec, list, path);
  });
  return [
    ...revived,
    ...validateClaims(status, spec),
    ...validateExtendedClaim(status.extendedResourceClaimStatus, spec),
    ...validatePodIps(status, old.status),
    ...containers.flatMap(([field]) =>
      validateUsers(listOf(status, field), spec, `status.${field}`),
    ),
    ...containers.flatMap(([field, list]) =>
      list === undefined
        ? listOf(status, field).flatMap(({ allocatedResourcesStatus }, index) =>
            (allocatedResourcesStatus ?? []).length === 0
              ? []
              : [
                  forbidden(
                    `status.${field}[${index}].allocatedResourcesStatus`,
                    "must not be specified in container status",
                  ),
                ],
          )
        : validateAllocated(listOf(status, field), list, status, `status.${field}`),
    ),
  ];
}

export function validatePodStatusUpdate(pod: Pod, old: Pod): FieldError[] {
  const { metadata, spec, status } = pod;
  const errors = [
    ...validatePodAnnotationUpdates(
      metadata.annotations,
      old.metadata.annotations,
      spec,
      "metadata.annotations",
      rulesFor(old, true),
    ),
    ...validateConditions(status),
    ...validateNomination(pod, old),
  ];
  const generation = status.observedGeneration ?? 0;
  if (generation < 0) {
    const detail = "must be a non-negative integer";
    errors.push(invalid("status.observedGeneration", generation, detail));
  }
  const { qosClass = "" } = status;
  errors.push(...validateImmutable(qosClass, old.status.qosClass ?? "", "status.qosClass"));
  return [...errors, ...validateContainerStatuses(pod, old)];
}
