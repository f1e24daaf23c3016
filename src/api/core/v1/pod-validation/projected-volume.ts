/**
 * Projected volumes and files of the downward API: many sources in one directory, whose paths must
 * not collide.
 */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { validateLabelSelector } from "#machinery/selector.ts";
import { isDns1123Subdomain } from "#machinery/validation.ts";
import {
  expirationSecondsMax,
  expirationSecondsMin,
  validateSignerName,
} from "../../../certificates/v1/signer-name.ts";
import { validateUserAnnotations } from "../../../certificates/v1/user-annotations.ts";
import type {
  ClusterTrustBundleProjection,
  DownwardAPIVolumeFile,
  PodCertificateProjection,
  ProjectedVolumeSource,
  ServiceAccountTokenProjection,
  VolumeProjection,
} from "../../../generated/core/v1.ts";
import { validateFieldRef, validateResourceFieldRef, volumeFieldPaths } from "./env.ts";
import {
  each,
  fileMode,
  localNonReservedPath,
  notEmpty,
  userId,
  validateKeyToPath,
} from "./fields.ts";
import type { PodRules } from "./rules.ts";

const tokenSecondsMin = 600;
const tokenSecondsMax = 2 ** 32;
const keyTypes = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

function validateDownwardFile(file: DownwardAPIVolumeFile, path: string): FieldError[] {
  const errors = [
    ...notEmpty(`${path}.path`, file.path),
    ...localNonReservedPath(`${path}.path`, file.path),
  ];
  const { fieldRef, resourceFieldRef } = file;
  if (fieldRef !== undefined) {
    errors.push(...validateFieldRef(fieldRef, volumeFieldPaths, `${path}.fieldRef`));
    if (resourceFieldRef !== undefined) {
      const detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
      errors.push(invalid(path, "resource", detail));
    }
  } else if (resourceFieldRef !== undefined) {
    errors.push(...validateResourceFieldRef(resourceFieldRef, `${path}.resourceFieldRef`, true));
  } else errors.push(required(path, "one of fieldRef and resourceFieldRef is required"));
  return [...errors, ...fileMode(`${path}.mode`, file.mode), ...userId(`${path}.user`, file.user)];
}
/** Upstream: errors of any file are told at the list's own path. */
export const validateDownwardFiles = (
  files: readonly DownwardAPIVolumeFile[] | undefined,
  path: string,
): FieldError[] => (files ?? []).flatMap((file) => validateDownwardFile(file, path));

function validateToken(
  token: ServiceAccountTokenProjection,
  path: string,
  volumePath: string,
  rules: PodRules,
): FieldError[] {
  const errors: FieldError[] = [];
  const { expirationSeconds } = token;
  const at = `${path}.expirationSeconds`;
  if (expirationSeconds === undefined) errors.push(required(at));
  else if (expirationSeconds < tokenSecondsMin) {
    const detail = "may not specify a duration less than 10 minutes";
    errors.push(invalid(at, expirationSeconds, detail));
  } else if (expirationSeconds > tokenSecondsMax) {
    const detail = "may not specify a duration larger than 2^32 seconds";
    errors.push(invalid(at, expirationSeconds, detail));
  }
  // Upstream: the path is said to be the volume's.
  if (token.path === "") errors.push(required(`${volumePath}.path`));
  else if (!rules.allowNonLocalTokenPath) {
    errors.push(...localNonReservedPath(`${volumePath}.path`, token.path));
  }
  return [...errors, ...userId(`${path}.user`, token.user)];
}

function trustBundleNameProblems(name: string): string[] {
  const colon = name.lastIndexOf(":");
  return isDns1123Subdomain(colon < 0 ? name : name.slice(colon + 1));
}

function validateTrustBundle(bundle: ClusterTrustBundleProjection, path: string): FieldError[] {
  const { name, signerName, labelSelector } = bundle;
  const errors: FieldError[] = [];
  if (name !== undefined && signerName !== undefined) {
    errors.push(invalid(path, bundle, "only one of name and signerName may be used"));
  } else if (name !== undefined) {
    errors.push(...notEmpty(`${path}.name`, name, "must be a valid object name"));
    for (const message of trustBundleNameProblems(name)) {
      const detail = `not a valid clustertrustbundlename: ${message}`;
      errors.push(invalid(`${path}.name`, name, detail));
    }
    if (labelSelector !== undefined) {
      const detail = "labelSelector must be unset if name is specified";
      errors.push(invalid(`${path}.labelSelector`, labelSelector, detail));
    }
  } else if (signerName !== undefined) {
    errors.push(...notEmpty(`${path}.signerName`, signerName, "must be a valid signer name"));
    errors.push(...validateSignerName(signerName, `${path}.signerName`));
    errors.push(...validateLabelSelector(labelSelector, `${path}.labelSelector`));
  } else errors.push(required(path, "either name or signerName must be specified"));
  return [
    ...errors,
    ...notEmpty(`${path}.path`, bundle.path),
    ...userId(`${path}.user`, bundle.user),
    ...localNonReservedPath(`${path}.path`, bundle.path),
  ];
}

function validateCertificate(source: PodCertificateProjection, path: string): FieldError[] {
  const { signerName = "", keyType = "", maxExpirationSeconds } = source;
  const errors = validateSignerName(signerName, `${path}.signerName`);
  if (source.userAnnotations !== undefined) {
    errors.push(...validateUserAnnotations(source.userAnnotations, `${path}.userAnnotations`));
  }
  errors.push(...userId(`${path}.user`, source.user));
  if (!keyTypes.includes(keyType)) errors.push(notSupported(`${path}.keyType`, keyType, keyTypes));
  if (maxExpirationSeconds !== undefined) {
    const at = `${path}.maxExpirationSeconds`;
    const max = expirationSecondsMax(signerName);
    if (maxExpirationSeconds < expirationSecondsMin) {
      const detail = `if provided, maxExpirationSeconds must be >= ${expirationSecondsMin}`;
      errors.push(invalid(at, maxExpirationSeconds, detail));
    }
    if (maxExpirationSeconds > max) {
      const detail = `if provided, maxExpirationSeconds must be <= ${max}`;
      errors.push(invalid(at, maxExpirationSeconds, detail));
    }
  }
  for (const field of ["credentialBundlePath", "keyPath", "certificateChainPath"] as const) {
    const target = source[field] ?? "";
    if (target !== "") errors.push(...localNonReservedPath(`${path}.${field}`, target));
  }
  if (certificatePaths(source).length > 0) return errors;
  const detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
  return [...errors, required(path, detail)];
}
const certificatePaths = (source: PodCertificateProjection): string[] =>
  [source.credentialBundlePath, source.keyPath, source.certificateChainPath].filter(
    (one): one is string => one !== undefined && one !== "",
  );

/** The files that a source makes: [path, what a collision is told of]. */
function filesOf(source: VolumeProjection): [string, string][] {
  const { secret, configMap, downwardAPI, clusterTrustBundle, podCertificate } = source;
  const own = (paths: readonly string[]): [string, string][] => paths.map((one) => [one, one]);
  const items = (named: typeof secret): [string, string][] =>
    (named?.items ?? []).map((item) => [item.path, named?.name ?? ""]);
  const listed = [
    ...items(secret),
    ...items(configMap),
    ...own((downwardAPI?.items ?? []).map((item) => item.path)),
  ].filter(([path]) => path !== "");
  return [
    ...listed,
    ...own(clusterTrustBundle === undefined ? [] : [clusterTrustBundle.path]),
    ...own(podCertificate === undefined ? [] : certificatePaths(podCertificate)),
  ];
}

function validateOneSource(
  source: VolumeProjection,
  path: string,
  volumePath: string,
  rules: PodRules,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ["secret", "configMap"] as const) {
    const named = source[field];
    if (named === undefined) continue;
    errors.push(...notEmpty(`${path}.${field}.name`, named.name));
    for (const [index, item] of (named.items ?? []).entries()) {
      errors.push(...validateKeyToPath(item, `${path}.${field}.items[${index}]`));
    }
  }
  const { downwardAPI, serviceAccountToken, clusterTrustBundle, podCertificate } = source;
  errors.push(...validateDownwardFiles(downwardAPI?.items, `${path}.downwardAPI`));
  if (serviceAccountToken !== undefined) {
    const at = `${path}.serviceAccountToken`;
    errors.push(...validateToken(serviceAccountToken, at, volumePath, rules));
  }
  if (clusterTrustBundle !== undefined) {
    errors.push(...validateTrustBundle(clusterTrustBundle, `${path}.clusterTrustBundle`));
  }
  if (podCertificate !== undefined) {
    errors.push(...validateCertificate(podCertificate, `${path}.podCertificate`));
  }
  return errors;
}

export function validateProjected(
  volume: ProjectedVolumeSource,
  path: string,
  rules: PodRules,
): FieldError[] {
  const errors = [
    ...fileMode(`${path}.defaultMode`, volume.defaultMode),
    ...userId(`${path}.defaultUser`, volume.defaultUser),
  ];
  const taken = new Set<string>();
  for (const [index, source] of (volume.sources ?? []).entries()) {
    const at = `${path}.sources[${index}]`;
    errors.push(...validateOneSource(source, at, path, rules));
    for (const [file, shown] of filesOf(source)) {
      if (taken.has(file)) errors.push(...each(path, shown, ["conflicting duplicate paths"]));
      taken.add(file);
    }
    if (Object.keys(source).length > 1) {
      errors.push(forbidden(at, "may not specify more than 1 volume type per source"));
    }
  }
  return errors;
}
