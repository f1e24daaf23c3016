/** StorageObjectInUseProtection: what holds data is not removed while something uses it; its controllers take the mark away. */
import { type AdmissionPlugin, isAbout } from "./admission.ts";

const finalizers = [
  ["", "persistentvolumes", "kubernetes.io/pv-protection"],
  ["", "persistentvolumeclaims", "kubernetes.io/pvc-protection"],
  ["storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"],
] as const;

export const storageObjectInUseProtection: AdmissionPlugin = {
  name: "StorageObjectInUseProtection",
  handles: (request) =>
    request.operation === "CREATE" &&
    finalizers.some(([group, plural]) => isAbout(request, group, plural)),
  admit({ group, plural, object }) {
    const row = finalizers.find((one) => one[0] === group && one[1] === plural);
    if (row === undefined || object === undefined) return;
    const present = object.metadata.finalizers ?? [];
    if (!present.includes(row[2])) object.metadata.finalizers = [...present, row[2]];
  },
};
