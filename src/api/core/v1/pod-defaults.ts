/**
 * Defaults of pods and pod templates that the schema's markers do not say. They run on every
 * decoded object, also on what comes from the store, and change nothing the second time.
 */
import { imageTag } from "#machinery/image-reference.ts";
import { makeQuantity, quantityOf } from "#machinery/quantity.ts";
import type {
  Container,
  ContainerStatus,
  Pod,
  PodSpec,
  PodStatus,
  Probe,
  ResourceRequirements,
  Volume,
  VolumeProjection,
} from "../../generated/core/v1.ts";
import { allContainersOf, handlersOf, probesOf } from "./pod-containers.ts";

const nanosPerMilli = 1_000_000n;
const fileModeDefault = 0o644;
const tokenSecondsDefault = 3600;
const gracePeriodSecondsDefault = 30;
/** Texts that surely mean whole milli-units: nearly all that occur. */
const coarse = /^\d+(m|k|[KMGTPE]i?)?$/;

/** Upstream: amounts finer than a thousandth are rounded up. */
/** Upstream: amounts are kept to the thousandth, rounded up. */
export function roundAmounts(list: Record<string, string> | undefined): void {
  if (list === undefined) return;
  for (const [name, text] of Object.entries(list)) {
    if (coarse.test(text)) continue;
    const { nanos, format } = quantityOf(text);
    const rest = ((nanos % nanosPerMilli) + nanosPerMilli) % nanosPerMilli;
    if (rest !== 0n) list[name] = makeQuantity(nanos - rest + nanosPerMilli, format).text;
  }
}
export function roundRequirements(resources: ResourceRequirements | undefined): void {
  roundAmounts(resources?.limits);
  roundAmounts(resources?.requests);
}

const pullPolicyFor = (image: string | undefined): "Always" | "IfNotPresent" =>
  imageTag(image ?? "") === "latest" ? "Always" : "IfNotPresent";

function defaultProbe(probe: Probe): void {
  // Zero means "not said" in all of these.
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
}

function defaultContainer(container: Container): void {
  container.imagePullPolicy ||= pullPolicyFor(container.image);
  container.terminationMessagePath ||= "/dev/termination-log";
  container.terminationMessagePolicy ||= "File";
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom?.fieldRef !== undefined) valueFrom.fieldRef.apiVersion ||= "v1";
  }
  roundRequirements(container.resources);
  const probes = probesOf(container);
  probes.forEach(defaultProbe);
  for (const { httpGet } of [...probes, ...handlersOf(container)]) {
    if (httpGet === undefined) continue;
    httpGet.path ||= "/";
    httpGet.scheme ||= "HTTP";
  }
}

function defaultFieldRefs(projection: VolumeProjection["downwardAPI"]): void {
  for (const { fieldRef } of projection?.items ?? []) {
    if (fieldRef !== undefined) fieldRef.apiVersion ||= "v1";
  }
}

function defaultVolume(volume: Volume): void {
  if (Object.keys(volume).every((key) => key === "name")) volume.emptyDir = {};
  const { image, hostPath, projected, ephemeral } = volume;
  if (image !== undefined) image.pullPolicy ||= pullPolicyFor(image.reference);
  if (hostPath !== undefined) hostPath.type ??= "";
  for (const source of [volume.secret, volume.configMap, volume.downwardAPI, projected]) {
    if (source !== undefined) source.defaultMode ??= fileModeDefault;
  }
  defaultFieldRefs(volume.downwardAPI);
  for (const { downwardAPI, serviceAccountToken } of projected?.sources ?? []) {
    defaultFieldRefs(downwardAPI);
    if (serviceAccountToken !== undefined) {
      serviceAccountToken.expirationSeconds ??= tokenSecondsDefault;
    }
  }
  const claim = ephemeral?.volumeClaimTemplate?.spec;
  if (claim !== undefined) {
    claim.volumeMode ??= "Filesystem";
    roundRequirements(claim.resources);
  }
}

/** What pods and pod templates share. */
function defaultPodSpec(spec: PodSpec): void {
  // Upstream: serviceAccount is the old name of serviceAccountName, kept in step for old clients.
  const account = spec.serviceAccountName || spec.serviceAccount;
  if (account !== undefined && account !== "") {
    spec.serviceAccountName = account;
    spec.serviceAccount = account;
  }
  spec.dnsPolicy ||= "ClusterFirst";
  spec.restartPolicy ||= "Always";
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= gracePeriodSecondsDefault;
  spec.schedulerName ||= "default-scheduler";
  spec.volumes?.forEach(defaultVolume);
  allContainersOf(spec).forEach(defaultContainer);
  roundAmounts(spec.overhead);
  roundRequirements(spec.resources);
}

/** The pod template of a workload. */
export function setPodTemplateDefaults(template: { readonly spec: PodSpec }): void {
  defaultPodSpec(template.spec);
}

/** Limits without requests mean requests of the same size: in pods, not in templates. */
function requestLimits({ resources }: Container): void {
  if (resources?.limits === undefined) return;
  const requests: Record<string, string> = { ...resources.requests };
  for (const [name, amount] of Object.entries(resources.limits)) requests[name] ??= amount;
  resources.requests = requests;
}

function defaultHostPorts({ ports }: Container): void {
  for (const port of ports ?? []) port.hostPort ||= port.containerPort;
}

/** podIP and podIPs say the same; podIP wins. */
function defaultStatus(status: PodStatus): void {
  const { podIP = "", podIPs = [] } = status;
  const first = podIPs[0]?.ip ?? "";
  if (podIP !== "" && first !== podIP) status.podIPs = [{ ip: podIP }];
  else if (podIP === "" && first !== "") status.podIP = first;
  roundRequirements(status.resources);
  roundAmounts(status.allocatedResources);
  const statuses: (ContainerStatus[] | undefined)[] = [
    status.initContainerStatuses,
    status.containerStatuses,
    status.ephemeralContainerStatuses,
  ];
  for (const one of statuses.flatMap((list) => list ?? [])) {
    roundAmounts(one.allocatedResources);
    roundRequirements(one.resources);
  }
}

export function setPodDefaults(pod: Pod): void {
  const { spec } = pod;
  const grace = spec.terminationGracePeriodSeconds;
  if (grace !== undefined && grace < 0) spec.terminationGracePeriodSeconds = 1;
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  containers.forEach(requestLimits);
  spec.enableServiceLinks ??= true;
  if (spec.hostNetwork === true) containers.forEach(defaultHostPorts);
  defaultPodSpec(spec);
  defaultStatus(pod.status);
}
