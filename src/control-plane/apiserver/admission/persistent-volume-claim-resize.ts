/** PersistentVolumeClaimResize: a claim grows only when it is bound and its class can grow volumes. */
import { storageClassOf } from "#api/core/v1/storage-names.ts";
import type { PersistentVolumeClaim } from "#api/generated/core/v1.ts";
import type { StorageClass } from "#api/generated/storage/v1.ts";
import { compareQuantities, quantityOf } from "#machinery/quantity.ts";
import type { Reader } from "../reader.ts";
import { type AdmissionPlugin, isAbout, refuse } from "./admission.ts";

const storageClasses = { group: "storage.k8s.io", plural: "storageclasses" };

const sizeOf = ({ spec }: PersistentVolumeClaim) =>
  quantityOf(spec.resources.requests?.["storage"] ?? "0");

function canGrow(claim: PersistentVolumeClaim, old: PersistentVolumeClaim, reader: Reader) {
  const name = storageClassOf(claim);
  if (name === "" || name !== storageClassOf(old)) return false;
  const found = reader.get(storageClasses, "", name) as StorageClass | undefined;
  return found?.allowVolumeExpansion === true;
}

export const persistentVolumeClaimResize: AdmissionPlugin = {
  name: "PersistentVolumeClaimResize",
  handles: (request) =>
    request.operation === "UPDATE" && isAbout(request, "", "persistentvolumeclaims"),
  validate(request, { reader }) {
    const claim = request.object as PersistentVolumeClaim;
    const old = request.oldObject as PersistentVolumeClaim;
    if (compareQuantities(sizeOf(claim), sizeOf(old)) <= 0) return;
    if (old.status.phase !== "Bound") {
      throw refuse(request, "Only bound persistent volume claims can be expanded");
    }
    if (canGrow(claim, old, reader)) return;
    throw refuse(
      request,
      "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    );
  },
};
