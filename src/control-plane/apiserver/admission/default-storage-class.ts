/** DefaultStorageClass: a claim that names no class gets the default one, where there is one. */
import { storageClassAnnotation } from "#api/core/v1/storage-names.ts";
import type { PersistentVolumeClaim } from "#api/generated/core/v1.ts";
import type { StorageClass } from "#api/generated/storage/v1.ts";
import { defaultStorageClassOf } from "#api/storage/v1/storageclass.ts";
import { type AdmissionPlugin, isAbout } from "./admission.ts";

const storageClasses = { group: "storage.k8s.io", plural: "storageclasses" };

export const defaultStorageClass: AdmissionPlugin = {
  name: "DefaultStorageClass",
  handles: (request) =>
    request.operation === "CREATE" && isAbout(request, "", "persistentvolumeclaims"),
  admit({ object }, { reader }) {
    const { metadata, spec } = object as PersistentVolumeClaim;
    // "" asks for a volume of no class, which is a choice too.
    const isNamed = metadata.annotations?.[storageClassAnnotation] !== undefined;
    if (isNamed || spec.storageClassName !== undefined) return;
    const classes = [...reader.list(storageClasses)] as StorageClass[];
    const found = defaultStorageClassOf(classes)?.metadata.name;
    if (found !== undefined) spec.storageClassName = found;
  },
};
