/** What is wrong with a PersistentVolume, in upstream's words and order. Pure. */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { cloneJson, equalObjects, sortedKeys } from "#machinery/object.ts";
import { quantityOf } from "#machinery/quantity.ts";
import type {
  PersistentVolume,
  PersistentVolumeSpec,
  VolumeNodeAffinity,
} from "../../generated/core/v1.ts";
import { differenceOf } from "./difference.ts";
import {
  persistentVolumeSourceFields,
  validatePersistentVolumeSource,
} from "./persistentvolume-sources.ts";
import { dnsSubdomain, oneOf } from "./pod-validation/fields.ts";
import { validateNodeSelector } from "./pod-validation/scheduling.ts";
import {
  mountOptionsAnnotation,
  validateAccessModes,
  validateBasicAmount,
  volumeModes,
} from "./storage-names.ts";

const reclaimPolicies = ["Delete", "Recycle", "Retain"];
const inline = "in the context of inline volumes";

function validateCapacity(given: PersistentVolumeSpec["capacity"], path: string): FieldError[] {
  const errors: FieldError[] = [];
  const capacity: Readonly<Record<string, string>> = given ?? {};
  const names = sortedKeys(capacity);
  if (names.length === 0) errors.push(required(path));
  if (capacity["storage"] === undefined || names.length > 1) {
    errors.push(notSupported(path, given, ["storage"]));
  }
  for (const name of names) {
    const amount = capacity[name] ?? "0";
    errors.push(...validateBasicAmount(amount, `${path}[${name}]`));
    if (quantityOf(amount).nanos <= 0n) {
      errors.push(invalid(`${path}[${name}]`, amount, "must be greater than zero"));
    }
  }
  return errors;
}

function validateNodeAffinity(
  { required: selector }: VolumeNodeAffinity,
  path: string,
  anyValue: boolean,
): FieldError[] {
  if (selector !== undefined) return validateNodeSelector(selector, `${path}.required`, anyValue);
  return [required(`${path}.required`, "must specify required node constraints")];
}

/** Whether "recycling" would wipe the whole machine. */
function isRoot(path: string): boolean {
  return path.startsWith("/") && path.split("/").every((part) => part === "" || part === ".");
}

function validateClassAndMode(spec: PersistentVolumeSpec, path: string): FieldError[] {
  const { storageClassName = "", volumeMode, volumeAttributesClassName: attributes } = spec;
  const errors =
    storageClassName === "" ? [] : dnsSubdomain(`${path}.storageClassName`, storageClassName);
  if (volumeMode !== undefined) {
    errors.push(...oneOf(`${path}.volumeMode`, volumeMode, volumeModes));
  }
  if (attributes === undefined) return errors;
  const at = `${path}.volumeAttributesClassName`;
  if (attributes === "") errors.push(required(at, "an empty string is disallowed"));
  else errors.push(...dnsSubdomain(at, attributes));
  if (spec.csi === undefined) {
    const detail = "has to be specified when using volumeAttributesClassName";
    errors.push(required(`${path}.csi`, detail));
  }
  return errors;
}

function validateRecycling(spec: PersistentVolumeSpec, path: string): FieldError[] {
  const { hostPath, persistentVolumeReclaimPolicy: policy } = spec;
  if (hostPath === undefined || policy !== "Recycle" || !isRoot(hostPath.path)) return [];
  const detail = "may not be 'recycle' for a hostPath mount of '/'";
  return [forbidden(`${path}.persistentVolumeReclaimPolicy`, detail)];
}

function validateModes(spec: PersistentVolumeSpec, path: string): FieldError[] {
  const modes = spec.accessModes ?? [];
  const at = `${path}.accessModes`;
  return modes.length === 0 ? [required(at)] : validateAccessModes(modes, at);
}

function validateSpec(
  spec: PersistentVolumeSpec,
  name: string,
  anyAffinityValue: boolean,
): FieldError[] {
  const path = "spec";
  const { persistentVolumeReclaimPolicy: policy = "", nodeAffinity } = spec;
  const errors = [
    ...validateModes(spec, path),
    ...validateCapacity(spec.capacity, `${path}.capacity`),
  ];
  if (policy !== "") {
    errors.push(...oneOf(`${path}.persistentVolumeReclaimPolicy`, policy, reclaimPolicies));
  }
  if (nodeAffinity !== undefined) {
    const at = `${path}.nodeAffinity`;
    errors.push(...validateNodeAffinity(nodeAffinity, at, anyAffinityValue));
  }
  return [
    ...errors,
    ...validatePersistentVolumeSource(spec, name, path),
    ...validateRecycling(spec, path),
    ...validateClassAndMode(spec, path),
  ];
}

/** The spec of a volume that a VolumeAttachment describes in place. */
export function validateInlineVolumeSpec(spec: PersistentVolumeSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const refused = `may not be specified ${inline}`;
  const { persistentVolumeReclaimPolicy: policy = "", volumeMode } = spec;
  if (spec.claimRef !== undefined) errors.push(forbidden(`${path}.claimRef`, refused));
  if (Object.keys(spec.capacity ?? {}).length > 0) {
    errors.push(forbidden(`${path}.capacity`, refused));
  }
  if (spec.csi === undefined) {
    errors.push(required(`${path}.csi`, `has to be specified ${inline}`));
  }
  errors.push(...validateModes(spec, path));
  if (policy !== "" && policy !== "Retain") {
    const at = `${path}.persistentVolumeReclaimPolicy`;
    errors.push(forbidden(at, `may only be Retain ${inline}`));
  }
  if (spec.nodeAffinity !== undefined) errors.push(forbidden(`${path}.nodeAffinity`, refused));
  errors.push(...validatePersistentVolumeSource(spec, "", path), ...validateRecycling(spec, path));
  if ((spec.storageClassName ?? "") !== "") {
    errors.push(forbidden(`${path}.storageClassName`, refused));
  }
  if (volumeMode !== undefined && volumeMode !== "Filesystem") {
    const detail = `may not specify volumeMode other than Filesystem ${inline}`;
    errors.push(forbidden(`${path}.volumeMode`, detail));
  }
  return errors;
}

const takesMountOptions: readonly (keyof PersistentVolumeSpec)[] = [
  "gcePersistentDisk",
  "awsElasticBlockStore",
  "glusterfs",
  "nfs",
  "rbd",
  "quobyte",
  "iscsi",
  "cinder",
  "cephfs",
  "azureFile",
  "vsphereVolume",
  "azureDisk",
  "photonPersistentDisk",
];

function validateMountOptions({ metadata, spec }: PersistentVolume): FieldError[] {
  if (takesMountOptions.some((field) => spec[field] !== undefined)) return [];
  if (metadata.annotations?.[mountOptionsAnnotation] === undefined) return [];
  const detail = "may not specify mount options for this volume type";
  return [forbidden(`metadata.annotations.${mountOptionsAnnotation}`, detail)];
}

export const validatePersistentVolume = (volume: PersistentVolume): FieldError[] => [
  ...validateSpec(volume.spec, volume.metadata.name ?? "", false),
  ...validateMountOptions(volume),
];

function sourceOf(spec: PersistentVolumeSpec): Partial<PersistentVolumeSpec> {
  const fields = persistentVolumeSourceFields.filter((field) => spec[field] !== undefined);
  return Object.fromEntries(fields.map((field) => [field, spec[field]]));
}

function validateSourceChange(spec: PersistentVolumeSpec, old: PersistentVolumeSpec): FieldError[] {
  const next = cloneJson(spec);
  // A secret for growing the volume may be named later.
  if (old.csi !== undefined && old.csi.controllerExpandSecretRef === undefined) {
    delete next.csi?.controllerExpandSecretRef;
  }
  const before = sourceOf(old);
  const after = sourceOf(next);
  if (equalObjects(before, after)) return [];
  const difference = differenceOf("PersistentVolumeSource", before, after);
  const detail = `spec.persistentvolumesource is immutable after creation\n${difference}`;
  return [forbidden("spec.persistentvolumesource", detail)];
}

const newerLabels: Readonly<Record<string, string>> = {
  "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
  "beta.kubernetes.io/os": "kubernetes.io/os",
  "beta.kubernetes.io/arch": "kubernetes.io/arch",
  "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
};

type Affinity = NonNullable<PersistentVolumeSpec["nodeAffinity"]>;

/** As it was, with those labels' newer names that it has now. */
function withNewerLabels(old: Affinity, now: Affinity | undefined): Affinity {
  const next = cloneJson(old);
  for (const [index, term] of (next.required?.nodeSelectorTerms ?? []).entries()) {
    const terms = now?.required?.nodeSelectorTerms ?? [];
    for (const [position, requirement] of (term.matchExpressions ?? []).entries()) {
      const key = terms[index]?.matchExpressions?.[position]?.key;
      // Upstream: where there is no newer name it is the empty one.
      if (key !== undefined && (newerLabels[requirement.key] ?? "") === key) requirement.key = key;
    }
  }
  return next;
}

export function validatePersistentVolumeUpdate(
  volume: PersistentVolume,
  old: PersistentVolume,
): FieldError[] {
  const { spec } = volume;
  const name = volume.metadata.name ?? "";
  const affinity = old.spec.nodeAffinity;
  const anyValue = affinity !== undefined && validateNodeAffinity(affinity, "", false).length > 0;
  const errors = [
    ...validateSpec(spec, name, anyValue),
    ...validateMountOptions(volume),
    ...validateSourceChange(spec, old.spec),
    ...validateImmutable(spec.volumeMode, old.spec.volumeMode, "volumeMode"),
  ];
  const affected = affinity !== undefined && withNewerLabels(affinity, spec.nodeAffinity);
  if (affected !== false && !equalObjects(spec.nodeAffinity, affected)) {
    const detail = "field is immutable, except for updating from beta label to GA";
    errors.push(invalid("nodeAffinity", spec.nodeAffinity, detail));
  }
  const removed =
    old.spec.volumeAttributesClassName !== undefined &&
    spec.volumeAttributesClassName === undefined;
  if (removed) {
    const detail = "update from non-nil value to nil is forbidden";
    errors.push(forbidden("spec.volumeAttributesClassName", detail));
  }
  return errors;
}
