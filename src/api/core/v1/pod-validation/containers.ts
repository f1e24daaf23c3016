/** Containers of all three kinds: what they share, and what each may have. */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notFoundField,
  required,
  tooMany,
} from "#machinery/field-error.ts";
import { isPortName, isPortNumber } from "#machinery/validation.ts";
import type {
  Container,
  ContainerPort,
  EphemeralContainer,
  PodSpec,
  Volume,
} from "../../../generated/core/v1.ts";
import { isSidecar } from "../pod-containers.ts";
import { validateEnv, validateEnvFrom } from "./env.ts";
import { dnsLabel, each, oneOf, requiredOneOf } from "./fields.ts";
import { validateVolumeDevices, validateVolumeMounts } from "./mounts.ts";
import { validateProbesAndHooks } from "./probes.ts";
import { validateContainerResources } from "./resources.ts";
import type { PodRules } from "./rules.ts";
import { validateSecurityContext } from "./security.ts";
import { pullPolicies } from "./volumes.ts";

/** What containers are checked against. */
export interface ContainerContext {
  readonly spec: PodSpec;
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly claims: ReadonlySet<string>;
  readonly rules: PodRules;
}

const restartRulesMax = 20;
const exitCodesMax = 255;

function validatePorts(ports: readonly ContainerPort[], path: string): FieldError[] {
  const names = new Set<string>();
  return ports.flatMap(({ name = "", containerPort, hostPort = 0, protocol }, index) => {
    const at = `${path}[${index}]`;
    const errors: FieldError[] = [];
    if (name !== "") {
      const messages = isPortName(name);
      errors.push(...each(`${at}.name`, name, messages));
      if (messages.length === 0 && names.has(name)) errors.push(duplicate(`${at}.name`, name));
      if (messages.length === 0) names.add(name);
    }
    if (containerPort === 0) errors.push(required(`${at}.containerPort`));
    else errors.push(...each(`${at}.containerPort`, containerPort, isPortNumber(containerPort)));
    if (hostPort !== 0) {
      errors.push(...each(`${at}.hostPort`, hostPort, isPortNumber(hostPort)));
    }
    return [...errors, ...requiredOneOf(`${at}.protocol`, protocol, ["SCTP", "TCP", "UDP"])];
  });
}

function validateHostPorts(containers: readonly Container[], path: string): FieldError[] {
  const taken = new Set<string>();
  return containers.flatMap(({ ports }, index) =>
    (ports ?? []).flatMap(({ protocol = "", hostIP = "", hostPort = 0 }, portIndex) => {
      if (hostPort === 0) return [];
      const key = `${protocol}/${hostIP}/${hostPort}`;
      const clash = taken.has(key);
      taken.add(key);
      return clash ? [duplicate(`${path}[${index}].ports[${portIndex}].hostPort`, key)] : [];
    }),
  );
}

function validateResizePolicy({ resizePolicy = [] }: Container, path: string, spec: PodSpec) {
  const seen = new Set<string>();
  return resizePolicy.flatMap(({ resourceName, restartPolicy }, index) => {
    const errors: FieldError[] = [];
    if (seen.has(resourceName)) errors.push(duplicate(`${path}[${index}]`, resourceName));
    seen.add(resourceName);
    errors.push(...requiredOneOf(path, resourceName, ["cpu", "memory"]));
    errors.push(...requiredOneOf(path, restartPolicy, ["NotRequired", "RestartContainer"]));
    if (spec.restartPolicy === "Never" && restartPolicy !== "NotRequired") {
      const detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
      errors.push(invalid(path, restartPolicy, detail));
    }
    return errors;
  });
}

function validateCommon(
  container: Container,
  path: string,
  { spec, volumes, claims, rules }: ContainerContext,
): FieldError[] {
  const { name, image = "", terminationMessagePolicy } = container;
  const hostUsers = spec.hostUsers !== false;
  return [
    ...(name === "" ? [required(`${path}.name`)] : dnsLabel(`${path}.name`, name)),
    ...(image === "" ? [required(`${path}.image`)] : []),
    ...requiredOneOf(`${path}.terminationMessagePolicy`, terminationMessagePolicy, [
      "File",
      "FallbackToLogsOnError",
    ]),
    ...validatePorts(container.ports ?? [], `${path}.ports`),
    ...validateEnv(container.env, `${path}.env`),
    ...validateEnvFrom(container.envFrom, `${path}.envFrom`),
    ...validateVolumeMounts(container, volumes, `${path}.volumeMounts`),
    ...validateVolumeDevices(container, volumes, `${path}.volumeDevices`),
    ...requiredOneOf(`${path}.imagePullPolicy`, container.imagePullPolicy, pullPolicies),
    ...validateContainerResources(container.resources, claims, `${path}.resources`, rules),
    ...validateResizePolicy(container, `${path}.resizePolicy`, spec),
    ...validateSecurityContext(
      container.securityContext,
      hostUsers,
      `${path}.securityContext`,
      rules,
    ),
  ];
}

function validateRestartPolicy(container: Container, path: string): FieldError[] {
  const { restartPolicy, restartPolicyRules = [] } = container;
  const at = `${path}.restartPolicy`;
  const errors: FieldError[] = [];
  if (restartPolicy !== undefined) {
    errors.push(...oneOf(at, restartPolicy, ["Always", "Never", "OnFailure"]));
  } else if (restartPolicyRules.length > 0) {
    errors.push(required(at, "must specify restartPolicy when restart rules are used"));
  }
  if (restartPolicyRules.length > restartRulesMax) {
    const count = restartPolicyRules.length;
    errors.push(tooMany(`${path}.restartPolicyRules`, count, restartRulesMax));
  }
  for (const [index, { action, exitCodes }] of restartPolicyRules.entries()) {
    const ruleAt = `${path}.restartPolicyRules[${index}]`;
    errors.push(...oneOf(`${ruleAt}.action`, action, ["Restart", "RestartAllContainers"]));
    if (exitCodes === undefined) {
      errors.push(required(`${ruleAt}.exitCodes`, "must be specified"));
      continue;
    }
    const { operator, values = [] } = exitCodes;
    errors.push(...oneOf(`${ruleAt}.exitCodes.operator`, operator, ["In", "NotIn"]));
    if (values.length > exitCodesMax) {
      errors.push(tooMany(`${ruleAt}.exitCodes.values`, values.length, exitCodesMax));
    }
  }
  return errors;
}

export function validateContainers(context: ContainerContext, path: string): FieldError[] {
  const { spec } = context;
  const containers = spec.containers ?? [];
  if (containers.length === 0) return [required(path)];
  const names = new Set<string>();
  const errors = containers.flatMap((container, index) => {
    const at = `${path}[${index}]`;
    const { name } = container;
    const own = validateCommon(container, at, context);
    if (names.has(name)) own.push(duplicate(`${at}.name`, name));
    names.add(name);
    own.push(...validateProbesAndHooks(container, spec.terminationGracePeriodSeconds, at));
    return [...own, ...validateRestartPolicy(container, at)];
  });
  return [...errors, ...validateHostPorts(containers, path)];
}

const onlySidecars = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] as const;

function validateInitContainer(
  container: Container,
  path: string,
  listPath: string,
  { spec, rules }: ContainerContext,
): FieldError[] {
  // Upstream: ports of the one container are told as those of the list's first.
  const errors = validateHostPorts([container], listPath);
  if (isSidecar(container)) {
    return [
      ...errors,
      ...validateProbesAndHooks(container, spec.terminationGracePeriodSeconds, path),
    ];
  }
  for (const field of onlySidecars) {
    if (container[field] === undefined) continue;
    const detail = "may not be set for init containers without restartPolicy=Always";
    errors.push(forbidden(`${path}.${field}`, detail));
  }
  if (rules.allowInitContainerRestarts) return errors;
  for (const [index, { restartPolicy }] of (container.resizePolicy ?? []).entries()) {
    if (restartPolicy !== "RestartContainer") continue;
    const detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
    errors.push(invalid(`${path}.resizePolicy[${index}].restartPolicy`, restartPolicy, detail));
  }
  return errors;
}

export function validateInitContainers(context: ContainerContext, path: string): FieldError[] {
  const { spec } = context;
  const names = new Set((spec.containers ?? []).map(({ name }) => name));
  return (spec.initContainers ?? []).flatMap((container, index) => {
    const at = `${path}[${index}]`;
    const { name } = container;
    const errors = [
      ...validateCommon(container, at, context),
      ...validateRestartPolicy(container, at),
    ];
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    else if (name !== "") names.add(name);
    return [...errors, ...validateInitContainer(container, at, path, context)];
  });
}

/** Those that a debugging container may not have: it must not become part of the service. */
const notEphemeral: readonly (keyof EphemeralContainer)[] = [
  "ports",
  "resizePolicy",
  "restartPolicy",
  "restartPolicyRules",
  "livenessProbe",
  "readinessProbe",
  "startupProbe",
  "lifecycle",
];

function validateEphemeralFields(container: EphemeralContainer, path: string): FieldError[] {
  const detail = "cannot be set for an Ephemeral Container";
  const errors = notEphemeral
    .filter((field) => container[field] !== undefined)
    .map((field) => forbidden(`${path}.${field}`, detail));
  if (Object.keys(container.resources ?? {}).length > 0) {
    errors.push(forbidden(`${path}.resources`, detail));
  }
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    for (const field of ["subPath", "subPathExpr"] as const) {
      if ((mount[field] ?? "") === "") continue;
      errors.push(forbidden(`${path}.volumeMounts[${index}].${field}`, detail));
    }
  }
  return errors;
}

export function validateEphemeralContainers(context: ContainerContext, path: string): FieldError[] {
  const { spec } = context;
  const others = new Set(
    [...(spec.containers ?? []), ...(spec.initContainers ?? [])].map(({ name }) => name),
  );
  const names = new Set(others);
  return (spec.ephemeralContainers ?? []).flatMap((container, index) => {
    const at = `${path}[${index}]`;
    const { name, targetContainerName = "" } = container;
    const errors = [
      ...validateCommon(container, at, context),
      ...validateImageSpace(container, at),
    ];
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    if (targetContainerName !== "" && !others.has(targetContainerName)) {
      errors.push(notFoundField(`${at}.targetContainerName`, targetContainerName));
    }
    return [...errors, ...validateEphemeralFields(container, at)];
  });
}

/** Upstream: templates may have images with spaces around, pods not. */
export function validateImageSpace({ image = "" }: Container, path: string): FieldError[] {
  if (image.trim() === image) return [];
  return [invalid(`${path}.image`, image, "must not have leading or trailing whitespace")];
}
