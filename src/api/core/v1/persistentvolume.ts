/** PersistentVolume: a piece of storage of the cluster's. */
import { formatTime } from "#machinery/time.ts";
import type * as g from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import {
  validatePersistentVolume,
  validatePersistentVolumeUpdate,
} from "./persistentvolume-validation.ts";
import { roundAmounts } from "./pod-defaults.ts";
import { selectorTermWarnings } from "./pod-warnings.ts";
import {
  accessModesText,
  mountOptionsAnnotation,
  phaseCell,
  storageClassAnnotation,
  storageClassOf,
} from "./storage-names.ts";

export type PersistentVolume = g.PersistentVolume;

function setDefaults({ spec, status }: PersistentVolume): void {
  status.phase ||= "Pending";
  spec.persistentVolumeReclaimPolicy ||= "Retain";
  spec.volumeMode ??= "Filesystem";
  roundAmounts(spec.capacity);
  if (spec.hostPath !== undefined) spec.hostPath.type ??= "";
}

const deprecatedAnnotations = [
  [storageClassAnnotation, 'deprecated since v1.8; use "storageClassName" attribute instead'],
  [mountOptionsAnnotation, 'deprecated since v1.31; use "mountOptions" attribute instead'],
] as const;

/** [field, how upstream spells it, what is said] */
const deprecatedSources = [
  ["cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"],
  ["photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"],
  ["scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"],
  ["storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"],
  ["glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"],
  ["rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"],
] as const;

function warnings({ metadata, spec }: PersistentVolume): string[] {
  const said: string[] = [];
  for (const [key, message] of deprecatedAnnotations) {
    if (metadata.annotations?.[key] === undefined) continue;
    said.push(`metadata.annotations[${key}]: ${message}`);
  }
  if (spec.persistentVolumeReclaimPolicy === "Recycle") {
    said.push(
      "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
    );
  }
  for (const [index, term] of (spec.nodeAffinity?.required?.nodeSelectorTerms ?? []).entries()) {
    const path = `spec.nodeAffinity.required.nodeSelectorTerms[${index}]`;
    said.push(...selectorTermWarnings(term, path, false));
  }
  for (const [field, shown, message] of deprecatedSources) {
    if (spec[field] !== undefined) said.push(`spec.${shown}: ${message}`);
  }
  return said;
}

function claimCell({ spec }: PersistentVolume): string {
  const { claimRef } = spec;
  return claimRef === undefined ? "" : `${claimRef.namespace ?? ""}/${claimRef.name ?? ""}`;
}

/** The moment of the last change of phase, unless who writes knows it better. */
function stampPhase(
  { status }: PersistentVolume,
  { status: old }: PersistentVolume,
  now: number,
): void {
  const kept = old.lastPhaseTransitionTime;
  const given = status.lastPhaseTransitionTime;
  if (status.phase === old.phase) {
    if (given === undefined && kept !== undefined) status.lastPhaseTransitionTime = kept;
  } else if (given === undefined || given === kept) {
    status.lastPhaseTransitionTime = formatTime(now);
  }
}

export const PersistentVolume = defineResource<PersistentVolume>({
  group: "",
  version: "v1",
  plural: "persistentvolumes",
  // Upstream: the plain "name" was a mistake, kept for those who use it.
  printerColumns: [
    { name: "Capacity", value: ({ spec }) => spec.capacity?.["storage"] ?? "0" },
    { name: "Access Modes", value: ({ spec }) => accessModesText(spec.accessModes) },
    { name: "Reclaim Policy", value: ({ spec }) => spec.persistentVolumeReclaimPolicy ?? "" },
    { name: "Status", value: phaseCell },
    { name: "Claim", value: claimCell },
    { name: "StorageClass", value: storageClassOf },
    {
      name: "VolumeAttributesClass",
      value: ({ spec }) => spec.volumeAttributesClassName ?? "<unset>",
    },
    { name: "Reason", value: ({ status }) => status.reason ?? "" },
    ageColumn,
    { name: "VolumeMode", priority: 1, value: ({ spec }) => spec.volumeMode ?? "<unset>" },
  ],
  strategy: {
    defaults: setDefaults,
    prepareForCreate(volume, { now }) {
      volume.status = { phase: "Pending", lastPhaseTransitionTime: formatTime(now) };
    },
    prepareForStatusUpdate: (volume, old, { now }) => stampPhase(volume, old, now),
    validate: validatePersistentVolume,
    validateUpdate: validatePersistentVolumeUpdate,
    warnings,
  },
});
