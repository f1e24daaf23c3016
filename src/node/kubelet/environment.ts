/** A container's environment variables, from its spec and what that refers to. Reads ConfigMaps, Secrets and Services. */
import type {
  Container,
  EnvFromSource,
  EnvVar,
  EnvVarSource,
  Service,
} from "#api/generated/core/v1.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { fieldValue, type NodeFigures, resourceFieldValue } from "./downward.ts";
import { expand } from "./expansion.ts";
import type { NodePod } from "./pod-spec.ts";
import { serviceVariables } from "./service-env.ts";

/** What a pod's ConfigMaps and Secrets hold. Undefined: there is none of that name. */
export interface Keys {
  /** By key; binary data of ConfigMaps is left out: variables are text. */
  readonly text: ReadonlyMap<string, string>;
}
export interface References {
  configMap(namespace: string, name: string): Promise<Keys | undefined>;
  secret(namespace: string, name: string): Promise<Keys | undefined>;
}

/** Something the container's configuration refers to is missing or wrong: the container waits. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ConfigError";
  }
}

export interface EnvironmentInput {
  readonly pod: NodePod;
  readonly container: Container;
  readonly podIps: readonly string[];
  readonly node: NodeFigures;
  readonly references: References;
  readonly services: Iterable<Service>;
}

/** In the order of the spec; later ones win over earlier ones, env over envFrom, both over Services. */
export async function environmentOf(input: EnvironmentInput): Promise<Map<string, string>> {
  const { pod, container } = input;
  const links = serviceVariables(
    input.services,
    pod.metadata.namespace,
    pod.spec.enableServiceLinks ?? true,
  );
  const result = new Map<string, string>();
  for (const from of container.envFrom ?? []) await addAll(input, from, result);
  for (const variable of container.env ?? []) {
    const value = await valueOf(input, variable, (name) => result.get(name) ?? links.get(name));
    if (value !== undefined) result.set(variable.name, value);
  }
  for (const [name, value] of links) if (!result.has(name)) result.set(name, value);
  return result;
}

async function addAll(
  input: EnvironmentInput,
  from: EnvFromSource,
  into: Map<string, string>,
): Promise<void> {
  const keys =
    from.configMapRef !== undefined
      ? await configMap(input, from.configMapRef)
      : from.secretRef !== undefined
        ? await secret(input, from.secretRef)
        : undefined;
  for (const [key, value] of keys?.text ?? []) into.set(`${from.prefix ?? ""}${key}`, value);
}

interface Reference {
  readonly name?: string;
  readonly optional?: boolean;
}

async function configMap(input: EnvironmentInput, to: Reference): Promise<Keys | undefined> {
  const name = to.name ?? "";
  const found = await input.references.configMap(input.pod.metadata.namespace, name);
  if (found === undefined && to.optional !== true) {
    throw new ConfigError(`configmap "${name}" not found`);
  }
  return found;
}
async function secret(input: EnvironmentInput, to: Reference): Promise<Keys | undefined> {
  const name = to.name ?? "";
  const found = await input.references.secret(input.pod.metadata.namespace, name);
  if (found === undefined && to.optional !== true) {
    throw new ConfigError(`secret "${name}" not found`);
  }
  return found;
}

/** Undefined: an optional source that is not there; the variable is left out. */
async function valueOf(
  input: EnvironmentInput,
  variable: EnvVar,
  lookUp: (name: string) => string | undefined,
): Promise<string | undefined> {
  if ((variable.value ?? "") !== "") return expand(variable.value ?? "", lookUp);
  if (variable.valueFrom === undefined) return "";
  return await sourceValue(input, variable.valueFrom);
}

async function sourceValue(
  input: EnvironmentInput,
  source: EnvVarSource,
): Promise<string | undefined> {
  const { pod, container, podIps, node } = input;
  if (source.fieldRef !== undefined) {
    return known(fieldValue(pod, source.fieldRef.fieldPath, podIps, node));
  }
  if (source.resourceFieldRef !== undefined) {
    return known(resourceFieldValue(source.resourceFieldRef, container, pod, node));
  }
  const { configMapKeyRef, secretKeyRef } = source;
  const ref = configMapKeyRef ?? secretKeyRef;
  if (ref === undefined) return "";
  const kind = configMapKeyRef !== undefined ? "ConfigMap" : "Secret";
  const keys =
    configMapKeyRef !== undefined ? await configMap(input, ref) : await secret(input, ref);
  const value = keys?.text.get(ref.key);
  if (value === undefined && ref.optional !== true) {
    const where = `${pod.metadata.namespace}/${ref.name ?? ""}`;
    throw new ConfigError(`couldn't find key ${ref.key} in ${kind} ${where}`);
  }
  return value;
}

function known(found: { readonly value: string } | { readonly problem: string }): string {
  if ("problem" in found) throw new ConfigError(found.problem);
  return found.value;
}

/** A Secret's data as bytes. */
export function decodeData(
  data: Readonly<Record<string, string>> | undefined,
): Map<string, Uint8Array> {
  const decoded = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(data ?? {})) {
    const bytes = decodeBase64(value);
    if ("bytes" in bytes) decoded.set(key, bytes.bytes);
  }
  return decoded;
}
