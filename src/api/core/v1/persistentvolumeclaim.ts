/** PersistentVolumeClaim: a wish for storage, and the volume that grants it. */
import { quantityOf } from "#machinery/quantity.ts";
import type * as g from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import {
  validatePersistentVolumeClaim,
  validatePersistentVolumeClaimStatus,
  validatePersistentVolumeClaimUpdate,
} from "./persistentvolumeclaim-validation.ts";
import { roundAmounts, roundRequirements } from "./pod-defaults.ts";
import {
  accessModesText,
  phaseCell,
  storageClassAnnotation,
  storageClassOf,
} from "./storage-names.ts";

export type PersistentVolumeClaim = g.PersistentVolumeClaim;

const nanosPerOne = 1_000_000_000n;

/** What StatefulSets default in their templates, too. */
export function setClaimDefaults({ spec, status }: PersistentVolumeClaim): void {
  status.phase ||= "Pending";
  spec.volumeMode ??= "Filesystem";
  roundRequirements(spec.resources);
  roundAmounts(status.capacity);
  roundAmounts(status.allocatedResources);
}

/** The two fields say the same; who knows only one of them finds it filled. */
function normalizeDataSources(spec: g.PersistentVolumeClaimSpec): void {
  const { dataSource, dataSourceRef } = spec;
  if (dataSource !== undefined && dataSourceRef === undefined) {
    spec.dataSourceRef = { ...dataSource };
  } else if (dataSourceRef !== undefined && dataSource === undefined) {
    const { namespace = "", ...rest } = dataSourceRef;
    if (namespace === "") spec.dataSource = rest;
  }
}

/** Upstream: before dataSourceRef, anything but claims and snapshots was silently dropped. */
function dropUnknownDataSource(
  spec: g.PersistentVolumeClaimSpec,
  old: g.PersistentVolumeClaimSpec | undefined,
): void {
  if (old?.dataSource !== undefined || old?.dataSourceRef !== undefined) return;
  if (spec.dataSource === undefined || spec.dataSourceRef !== undefined) return;
  const { kind } = spec.dataSource;
  const apiGroup = spec.dataSource.apiGroup ?? "";
  const isClaim = kind === "PersistentVolumeClaim" && apiGroup === "";
  const isSnapshot = kind === "VolumeSnapshot" && apiGroup === "snapshot.storage.k8s.io";
  if (!isClaim && !isSnapshot) delete spec.dataSource;
}

function prepareSources(
  { spec }: PersistentVolumeClaim,
  old: PersistentVolumeClaim | undefined,
): void {
  dropUnknownDataSource(spec, old?.spec);
  normalizeDataSources(spec);
}

export function claimSpecWarnings(spec: g.PersistentVolumeClaimSpec, path: string): string[] {
  return (["requests", "limits"] as const).flatMap((field) => {
    const amount = spec.resources?.[field]?.["storage"];
    if (amount === undefined || quantityOf(amount).nanos % nanosPerOne === 0n) return [];
    return [
      `${path}.resources.${field}[storage]: fractional byte value ${JSON.stringify(amount)} is invalid, must be an integer`,
    ];
  });
}

function warnings({ metadata, spec }: PersistentVolumeClaim): string[] {
  const key = storageClassAnnotation;
  const annotated =
    metadata.annotations?.[key] === undefined
      ? []
      : [
          `metadata.annotations[${key}]: deprecated since v1.8; use "storageClassName" attribute instead`,
        ];
  return [...annotated, ...claimSpecWarnings(spec, "spec")];
}

const isBoundCell =
  (cell: (claim: PersistentVolumeClaim) => string) =>
  (claim: PersistentVolumeClaim): string =>
    (claim.spec.volumeName ?? "") === "" ? "" : cell(claim);

export const PersistentVolumeClaim = defineResource<PersistentVolumeClaim>({
  group: "",
  version: "v1",
  plural: "persistentvolumeclaims",
  // Upstream: the plain "name" was a mistake, kept for those who use it.
  printerColumns: [
    { name: "Status", value: phaseCell },
    { name: "Volume", value: ({ spec }) => spec.volumeName ?? "" },
    { name: "Capacity", value: isBoundCell(({ status }) => status.capacity?.["storage"] ?? "0") },
    {
      name: "Access Modes",
      value: isBoundCell(({ status }) => accessModesText(status.accessModes)),
    },
    { name: "StorageClass", value: storageClassOf },
    {
      name: "VolumeAttributesClass",
      value: ({ spec }) => spec.volumeAttributesClassName ?? "<unset>",
    },
    ageColumn,
    { name: "VolumeMode", priority: 1, value: ({ spec }) => spec.volumeMode ?? "<unset>" },
  ],
  strategy: {
    defaults: setClaimDefaults,
    prepareForCreate(claim) {
      claim.status = { phase: "Pending" };
      prepareSources(claim, undefined);
    },
    prepareForUpdate: prepareSources,
    prepareForStatusUpdate({ status }, old) {
      // The feature is off: it stays only where it stood.
      if (old.status.healthStatus === undefined) delete status.healthStatus;
    },
    validate: validatePersistentVolumeClaim,
    validateUpdate: validatePersistentVolumeClaimUpdate,
    validateStatusUpdate: validatePersistentVolumeClaimStatus,
    warnings,
  },
});
