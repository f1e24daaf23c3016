/** Environment variables and where their values come from; references to the pod's own fields. */
import {
  type FieldError,
  invalid,
  notFoundField,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { nameProblems } from "#machinery/meta-validation.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { isConfigMapKey, isRelaxedEnvVarName } from "#machinery/validation.ts";
import type {
  EnvFromSource,
  EnvVar,
  FileKeySelector,
  ObjectFieldSelector,
  PodSpec,
  ResourceFieldSelector,
  SecretKeySelector,
} from "../../../generated/core/v1.ts";
import { visitContainers } from "../pod-containers.ts";
import { dnsLabel, dnsSubdomain, each, noBacksteps, qualifiedName } from "./fields.ts";

const envFieldPaths = [
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.serviceAccountName",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
];
export const volumeFieldPaths = [
  "metadata.annotations",
  "metadata.labels",
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
];
/** Fields of a pod that have a name at all, if not for every use. */
const knownFieldPaths = new Set([
  ...envFieldPaths,
  ...volumeFieldPaths,
  "spec.restartPolicy",
  "spec.schedulerName",
  "status.phase",
]);
const resourceFields = ["limits", "requests"].flatMap((kind) =>
  ["cpu", "ephemeral-storage", "memory"].map((name) => `${kind}.${name}`),
);
const divisors = ["1", "1k", "1M", "1G", "1T", "1P", "1E"].concat([
  "1Ki",
  "1Mi",
  "1Gi",
  "1Ti",
  "1Pi",
  "1Ei",
]);
const divisorList = divisors.join(", ");

/** "metadata.labels['app']": [path, key]; undefined: no key is named. */
function splitSubscript(path: string): readonly [string, string] | undefined {
  const open = path.indexOf("['");
  if (!path.endsWith("']") || open <= 0) return undefined;
  return [path.slice(0, open), path.slice(open + 2, -2)];
}

export function validateFieldRef(
  { apiVersion = "", fieldPath }: ObjectFieldSelector,
  allowed: readonly string[],
  path: string,
): FieldError[] {
  if (apiVersion === "") return [required(`${path}.apiVersion`)];
  if (fieldPath === "") return [required(`${path}.fieldPath`)];
  const unusable = (why: string): FieldError[] => [
    invalid(`${path}.fieldPath`, fieldPath, `error converting fieldPath: ${why}`),
  ];
  if (apiVersion !== "v1") return unusable(`unsupported pod version: ${apiVersion}`);
  const subscript = splitSubscript(fieldPath);
  if (subscript !== undefined) {
    const [field, key] = subscript;
    if (field === "metadata.annotations") return qualifiedName(path, key.toLowerCase());
    if (field === "metadata.labels") return qualifiedName(path, key);
    return unusable(`field label does not support subscript: ${fieldPath}`);
  }
  // Upstream: an old name of the same field.
  const field = fieldPath === "spec.host" ? "spec.nodeName" : fieldPath;
  if (!knownFieldPaths.has(field)) return unusable(`field label not supported: ${fieldPath}`);
  return allowed.includes(field) ? [] : [notSupported(`${path}.fieldPath`, field, allowed)];
}

function validateDivisor({ resource, divisor }: ResourceFieldSelector, path: string): FieldError[] {
  const { nanos, text } = quantityOf(divisor ?? "0");
  if (nanos === 0n) return [];
  const name = resource.replace(/^(limits|requests)\./, "");
  const refuse = (values: string, what: string): FieldError[] => [
    invalid(
      `${path}.divisor`,
      resource,
      `only divisor's values ${values} are supported with the ${what} resource`,
    ),
  ];
  if (name === "cpu") return ["1m", "1"].includes(text) ? [] : refuse("1m and 1", "cpu");
  if (divisors.includes(text)) return [];
  if (name === "memory") return refuse(divisorList, "memory");
  if (name === "ephemeral-storage") return refuse(divisorList, "local ephemeral storage");
  return name.startsWith("hugepages-") ? refuse(divisorList, "hugepages") : [];
}

export function validateResourceFieldRef(
  reference: ResourceFieldSelector,
  path: string,
  inVolume = false,
): FieldError[] {
  const { containerName = "", resource } = reference;
  const errors: FieldError[] = [];
  if (inVolume && containerName === "") errors.push(required(`${path}.containerName`));
  else if (resource === "") errors.push(required(`${path}.resource`));
  else if (!resourceFields.includes(resource) && !/^(limits|requests)\.hugepages-/.test(resource)) {
    errors.push(notSupported(`${path}.resource`, resource, resourceFields));
  }
  return [...errors, ...validateDivisor(reference, path)];
}

function validateKeySelector({ name = "", key }: SecretKeySelector, path: string): FieldError[] {
  const errors = dnsSubdomain(`${path}.name`, name);
  if (key === "") return [...errors, required(`${path}.key`)];
  return [...errors, ...each(`${path}.key`, key, isConfigMapKey(key))];
}

function validateFileKey({ key, volumeName, path: file }: FileKeySelector, path: string) {
  const errors =
    key === "" ? [required(`${path}.key`)] : each(`${path}.key`, key, isRelaxedEnvVarName(key));
  errors.push(
    ...(volumeName === ""
      ? [required(`${path}.volumeName`)]
      : dnsLabel(`${path}.volumeName`, volumeName)),
  );
  return [
    ...errors,
    ...(file === "" ? [required(`${path}.path`)] : noBacksteps(`${path}.path`, file)),
  ];
}

function validateValueFrom({ value = "", valueFrom }: EnvVar, path: string): FieldError[] {
  if (valueFrom === undefined) return [];
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef } = valueFrom;
  const errors: FieldError[] = [];
  if (fieldRef !== undefined) {
    errors.push(...validateFieldRef(fieldRef, envFieldPaths, `${path}.fieldRef`));
  }
  if (resourceFieldRef !== undefined) {
    errors.push(...validateResourceFieldRef(resourceFieldRef, `${path}.resourceFieldRef`));
  }
  for (const [field, source] of Object.entries({ configMapKeyRef, secretKeyRef })) {
    if (source !== undefined) errors.push(...validateKeySelector(source, `${path}.${field}`));
  }
  if (fileKeyRef !== undefined) errors.push(...validateFileKey(fileKeyRef, `${path}.fileKeyRef`));
  const count = Object.keys(valueFrom).length;
  if (count === 0) {
    const detail =
      "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
    errors.push(invalid(path, "", detail));
  } else if (value !== "") {
    errors.push(invalid(path, "", "may not be specified when `value` is not empty"));
  } else if (count > 1) {
    errors.push(invalid(path, "", "may not have more than one field specified at a time"));
  }
  return errors;
}

export const validateEnv = (variables: readonly EnvVar[] | undefined, path: string): FieldError[] =>
  (variables ?? []).flatMap((variable, index) => {
    const { name } = variable;
    const at = `${path}[${index}]`;
    const errors =
      name === "" ? [required(`${at}.name`)] : each(`${at}.name`, name, isRelaxedEnvVarName(name));
    return [...errors, ...validateValueFrom(variable, `${at}.valueFrom`)];
  });

export const validateEnvFrom = (
  sources: readonly EnvFromSource[] | undefined,
  path: string,
): FieldError[] =>
  (sources ?? []).flatMap(({ prefix = "", configMapRef, secretRef }, index) => {
    const at = `${path}[${index}]`;
    const errors = prefix === "" ? [] : each(`${at}.prefix`, prefix, isRelaxedEnvVarName(prefix));
    let count = 0;
    for (const [field, source] of Object.entries({ configMapRef, secretRef })) {
      if (source === undefined) continue;
      count += 1;
      const name = source.name ?? "";
      const nameAt = `${at}.${field}.name`;
      // Upstream: checked as a prefix is, so a dash at the end passes.
      if (name === "") errors.push(required(nameAt));
      else errors.push(...each(nameAt, name, nameProblems(name, "subdomain", true)));
    }
    if (count === 0) {
      errors.push(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"));
    } else if (count > 1) {
      errors.push(invalid(path, "", "may not have more than one field specified at a time"));
    }
    return errors;
  });

/** Files that become variables lie in an emptyDir, which an init container fills. */
export function validateFileKeyVolumes(spec: PodSpec, path: string): FieldError[] {
  const volumes = new Map((spec.volumes ?? []).map((volume) => [volume.name, volume]));
  return visitContainers(spec, path).flatMap(({ container, path: at }) =>
    (container.env ?? []).flatMap(({ valueFrom }, index) => {
      const name = valueFrom?.fileKeyRef?.volumeName;
      if (name === undefined) return [];
      const where = `${at}.env[${index}].valueFrom.fileKeyRef.volumeName`;
      const volume = volumes.get(name);
      if (volume === undefined) return [notFoundField(where, name)];
      if (volume.emptyDir !== undefined) return [];
      return [invalid(where, name, "referenced volume must be of type emptyDir")];
    }),
  );
}
