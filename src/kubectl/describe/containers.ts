/** Containers, their environment, mounts and volumes, as descriptions of pods and of pod templates show them. */
import type {
  Container,
  ContainerState,
  ContainerStatus,
  EnvVar,
  Pod,
  PodTemplateSpec,
  Probe,
  TopologySpreadConstraint,
} from "#api/generated/core/v1.ts";
import { compareQuantities, formatQuantity, quantityOf, toWhole } from "#machinery/quantity.ts";
import { textAt } from "../objects.ts";
import {
  type Page,
  selectorOrNone,
  writeAnnotations,
  writeLabels,
  writeTolerations,
} from "./page.ts";
import { writeVolumes } from "./volumes.ts";

const none = (text: string): string => text || "<none>";
const truth = (value: boolean | undefined): string => (value === true ? "True" : "False");

export function writeResourceList(
  page: Page,
  level: number,
  title: string,
  resources: Readonly<Record<string, string>> | undefined,
): void {
  const entries = Object.entries(resources ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length > 0) page.line(level, `${title}:`);
  for (const [name, quantity] of entries) {
    page.line(level + 1, `${name}:\t${formatQuantity(quantityOf(quantity))}`);
  }
}

function portsText(container: Container, host: boolean): string {
  const ports = container.ports ?? [];
  return ports
    .map((port) => {
      const number = host ? (port.hostPort ?? 0) : port.containerPort;
      return `${number}/${port.protocol ?? ""}${port.name ? ` (${port.name})` : ""}`;
    })
    .join(", ");
}

function writeBasics(
  page: Page,
  container: Container,
  status: ContainerStatus | undefined,
  indent: string,
): void {
  page.line(1, `${indent === "" ? "" : " "}${container.name}:`);
  if (status !== undefined) page.line(2, `Container ID:\t${status.containerID ?? ""}`);
  page.line(2, `Image:\t${container.image ?? ""}`);
  if (status !== undefined) page.line(2, `Image ID:\t${status.imageID}`);
  const ports = portsText(container, false);
  page.line(2, ports.includes(",") ? `Ports:\t${ports}` : `Port:\t${none(ports)}`);
  const hostPorts = portsText(container, true);
  page.line(
    2,
    hostPorts.includes(",") ? `Host Ports:\t${hostPorts}` : `Host Port:\t${none(hostPorts)}`,
  );
  const seccomp = container.securityContext?.seccompProfile;
  if (seccomp !== undefined) {
    page.line(2, `SeccompProfile:\t${seccomp.type}`);
    if (seccomp.type === "Localhost")
      page.line(3, `LocalhostProfile:\t${seccomp.localhostProfile ?? ""}`);
  }
  for (const [title, list] of [
    ["Command", container.command],
    ["Args", container.args],
  ] as const) {
    if (list === undefined || list.length === 0) continue;
    page.line(2, `${title}:`);
    for (const line of list.flatMap((one) => one.split("\n"))) page.line(3, line);
  }
}

function writeState(page: Page, title: string, state: ContainerState): void {
  if (state.running !== undefined) {
    page.line(2, `${title}:\tRunning`);
    page.line(3, `Started:\t${page.time(state.running.startedAt)}`);
    return;
  }
  const { terminated } = state;
  if (terminated === undefined) {
    page.line(2, `${title}:\tWaiting`);
    if (state.waiting?.reason) page.line(3, `Reason:\t${state.waiting.reason}`);
    return;
  }
  page.line(2, `${title}:\tTerminated`);
  if (terminated.reason) page.line(3, `Reason:\t${terminated.reason}`);
  if (terminated.message) page.line(3, `Message:\t${terminated.message}`);
  page.line(3, `Exit Code:\t${terminated.exitCode}`);
  if ((terminated.signal ?? 0) > 0) page.line(3, `Signal:\t${terminated.signal}`);
  page.line(3, `Started:\t${page.time(terminated.startedAt)}`);
  page.line(3, `Finished:\t${page.time(terminated.finishedAt)}`);
}

export function probeText(probe: Probe): string {
  const {
    initialDelaySeconds = 0,
    timeoutSeconds = 0,
    periodSeconds = 0,
    successThreshold = 0,
    failureThreshold = 0,
  } = probe;
  const attributes = `delay=${initialDelaySeconds}s timeout=${timeoutSeconds}s period=${periodSeconds}s successThreshold=${successThreshold} failureThreshold=${failureThreshold}`;
  if (probe.exec !== undefined)
    return `exec [${(probe.exec.command ?? []).join(" ")}] ${attributes}`;
  if (probe.httpGet !== undefined) {
    const { scheme = "", host = "", port, path = "" } = probe.httpGet;
    const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    return `http-get ${scheme.toLowerCase()}://${authority}${path.startsWith("/") || path === "" ? path : `/${path}`} ${attributes}`;
  }
  if (probe.tcpSocket !== undefined) {
    return `tcp-socket ${probe.tcpSocket.host ?? ""}:${probe.tcpSocket.port} ${attributes}`;
  }
  if (probe.grpc !== undefined) {
    return `grpc <pod>:${probe.grpc.port} ${probe.grpc.service ?? ""} ${attributes}`;
  }
  return `unknown ${attributes}`;
}

/** What a field reference comes to in this pod. */
function fieldValue(pod: Pod | undefined, path: string): string {
  if (pod === undefined) return "";
  const inMap = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (inMap !== null) return textAt(pod.metadata, inMap[1] ?? "", inMap[2] ?? "");
  const known = ["metadata.name", "metadata.namespace", "metadata.uid"];
  if (known.includes(path)) return textAt(pod, ...path.split("."));
  // Upstream: the rest of a pod is not read here; the container has it all the same.
  return "";
}

function resourceValue(
  container: Container,
  resource: string,
  divisor: string | undefined,
): string {
  const [kind = "", name = ""] = resource.split(/\.(.*)/s);
  const from = kind === "limits" ? container.resources?.limits : container.resources?.requests;
  const quantity = quantityOf(from?.[name] ?? "0");
  const unit = quantityOf(divisor && divisor !== "0" ? divisor : "1");
  if (compareQuantities(quantity, quantityOf("0")) === 0) return "0";
  if (name === "cpu") return String(Math.ceil(Number(quantity.nanos) / Number(unit.nanos)));
  return String(Math.ceil(toWhole(quantity) / Math.max(1, toWhole(unit))));
}

function writeVariable(page: Page, env: EnvVar, container: Container, pod: Pod | undefined): void {
  const { name, valueFrom } = env;
  if (valueFrom === undefined) {
    for (const [i, line] of (env.value ?? "").split("\n").entries()) {
      page.line(3, i === 0 ? `${name}:\t${line}` : `\t${line}`);
    }
    return;
  }
  const { fieldRef, resourceFieldRef, secretKeyRef, configMapKeyRef } = valueFrom;
  if (fieldRef !== undefined) {
    const value = fieldValue(pod, fieldRef.fieldPath);
    page.line(3, `${name}:\t${value} (${fieldRef.apiVersion ?? ""}:${fieldRef.fieldPath})`);
  } else if (resourceFieldRef !== undefined) {
    const { resource, divisor } = resourceFieldRef;
    let value = resourceValue(container, resource, divisor);
    if (value === "0" && ["limits.cpu", "limits.memory"].includes(resource))
      value = "node allocatable";
    page.line(3, `${name}:\t${value} (${resource})`);
  } else if (secretKeyRef !== undefined) {
    const optional = secretKeyRef.optional === true;
    page.line(
      3,
      `${name}:\t<set to the key '${secretKeyRef.key}' in secret '${secretKeyRef.name ?? ""}'>\tOptional: ${optional}`,
    );
  } else if (configMapKeyRef !== undefined) {
    const optional = configMapKeyRef.optional === true;
    page.line(
      3,
      `${name}:\t<set to the key '${configMapKeyRef.key}' of config map '${configMapKeyRef.name ?? ""}'>\tOptional: ${optional}`,
    );
  }
}

function writeEnvironment(page: Page, container: Container, pod: Pod | undefined): void {
  const sources = container.envFrom ?? [];
  if (sources.length > 0) page.line(2, "Environment Variables from:");
  for (const { configMapRef, secretRef, prefix = "" } of sources) {
    const kind = configMapRef !== undefined ? "ConfigMap" : secretRef !== undefined ? "Secret" : "";
    const reference = configMapRef ?? secretRef;
    const with_ = prefix === "" ? "" : ` with prefix '${prefix}'`;
    page.line(
      3,
      `${reference?.name ?? ""}\t${kind}${with_}\tOptional: ${reference?.optional === true}`,
    );
  }
  const variables = container.env ?? [];
  page.line(2, `Environment:${variables.length === 0 ? "\t<none>" : ""}`);
  for (const env of variables) writeVariable(page, env, container, pod);
}

function writeMounts(page: Page, container: Container): void {
  const mounts = (container.volumeMounts ?? []).toSorted((a, b) =>
    a.mountPath < b.mountPath ? -1 : 1,
  );
  const nothing = mounts.length === 0 ? "\t<none>" : "";
  page.line(2, `Mounts:${nothing}`);
  for (const { mountPath, name, readOnly, subPath } of mounts) {
    const flags = [
      readOnly === true ? "ro" : "rw",
      ...(subPath ? [`path=${JSON.stringify(subPath)}`] : []),
    ];
    page.line(3, `${mountPath} from ${name} (${flags.join(",")})`);
  }
  const devices = container.volumeDevices ?? [];
  if (devices.length === 0) return;
  page.line(2, `Devices:${nothing}`);
  for (const { devicePath, name } of devices.toSorted((a, b) =>
    a.devicePath < b.devicePath ? -1 : 1,
  )) {
    page.line(3, `${devicePath} from ${name}`);
  }
}

export function writeContainers(
  page: Page,
  label: string,
  containers: readonly Container[],
  statuses: readonly ContainerStatus[] | undefined,
  pod: Pod | undefined,
  indent = "",
): void {
  page.line(0, `${indent}${label}:${containers.length === 0 ? " <none>" : ""}`);
  for (const container of containers) {
    const status = statuses?.find(({ name }) => name === container.name);
    writeBasics(page, container, status, indent);
    if (status !== undefined) {
      writeState(page, "State", status.state);
      if (status.lastState?.terminated !== undefined)
        writeState(page, "Last State", status.lastState);
      page.line(2, `Ready:\t${truth(status.ready)}`);
      page.line(2, `Restart Count:\t${status.restartCount}`);
    }
    writeResourceList(page, 2, "Limits", container.resources?.limits);
    writeResourceList(page, 2, "Requests", container.resources?.requests);
    const { livenessProbe, readinessProbe, startupProbe } = container;
    if (livenessProbe !== undefined) page.line(2, `Liveness:\t${probeText(livenessProbe)}`);
    if (readinessProbe !== undefined) page.line(2, `Readiness:\t${probeText(readinessProbe)}`);
    if (startupProbe !== undefined) page.line(2, `Startup:\t${probeText(startupProbe)}`);
    writeEnvironment(page, container, pod);
    writeMounts(page, container);
  }
}

export function writeSpread(
  page: Page,
  constraints: readonly TopologySpreadConstraint[] | undefined,
  indent: string,
): void {
  if (constraints === undefined || constraints.length === 0) return;
  const list = constraints.toSorted((a, b) => (a.topologyKey < b.topologyKey ? -1 : 1));
  page.write(0, `${indent}Topology Spread Constraints:\t`);
  for (const [i, one] of list.entries()) {
    const selector =
      one.labelSelector === undefined ? "" : ` for selector ${selectorOrNone(one.labelSelector)}`;
    page.line(
      0,
      `${i === 0 ? "" : `${indent}\t`}${one.topologyKey}:${one.whenUnsatisfiable} when max skew ${one.maxSkew} is exceeded${selector}`,
    );
  }
}

export function writePodTemplate(page: Page, template: PodTemplateSpec | undefined): void {
  page.line(0, "Pod Template:");
  if (template === undefined) {
    page.write(1, "<unset>");
    return;
  }
  const { metadata, spec } = template;
  writeLabels(page, "  Labels", metadata?.labels);
  if (Object.keys(metadata?.annotations ?? {}).length > 0) {
    writeAnnotations(page, "  Annotations", metadata.annotations);
  }
  if (spec.serviceAccountName) page.line(1, `Service Account:\t${spec.serviceAccountName}`);
  if ((spec.initContainers ?? []).length > 0) {
    writeContainers(page, "Init Containers", spec.initContainers ?? [], undefined, undefined, "  ");
  }
  writeContainers(page, "Containers", spec.containers, undefined, undefined, "  ");
  writeVolumes(page, spec.volumes, "  ");
  writeSpread(page, spec.topologySpreadConstraints, "  ");
  if (spec.priorityClassName) page.line(1, `Priority Class Name:\t${spec.priorityClassName}`);
  writeLabels(page, "  Node-Selectors", spec.nodeSelector);
  writeTolerations(page, "  Tolerations", spec.tolerations);
}
