/** What PersistentVolumes and their claims share: modes, classes and how they are shown. Pure. */
import { type FieldError, forbidden, invalid } from "#machinery/field-error.ts";
import type { ObjectMeta } from "#machinery/meta.ts";
import { quantityOf } from "#machinery/quantity.ts";
import type { PersistentVolume, PersistentVolumeClaim } from "../../generated/core/v1.ts";
import { oneOf } from "./pod-validation/fields.ts";

/** Before storageClassName there was an annotation; where it stands, it still counts. */
export const storageClassAnnotation = "volume.beta.kubernetes.io/storage-class";
export const mountOptionsAnnotation = "volume.beta.kubernetes.io/mount-options";

export const accessModes = [
  "ReadOnlyMany",
  "ReadWriteMany",
  "ReadWriteOnce",
  "ReadWriteOncePod",
] as const;
export const volumeModes = ["Block", "Filesystem"] as const;

const shortModes = [
  ["ReadWriteOnce", "RWO"],
  ["ReadOnlyMany", "ROX"],
  ["ReadWriteMany", "RWX"],
  ["ReadWriteOncePod", "RWOP"],
] as const;

export const accessModesText = (modes: readonly string[] | undefined): string =>
  shortModes
    .filter(([mode]) => (modes ?? []).includes(mode))
    .map(([, short]) => short)
    .join(",");

export function validateAccessModes(modes: readonly string[], path: string): FieldError[] {
  const errors = modes.flatMap((mode) => oneOf(path, mode, accessModes));
  const known = modes.filter((mode) => (accessModes as readonly string[]).includes(mode));
  const once = "ReadWriteOncePod";
  if (known.includes(once) && known.some((mode) => mode !== once)) {
    errors.push(forbidden(path, "may not use ReadWriteOncePod with other access modes"));
  }
  return errors;
}

/** An amount of something that is there: not negative. */
export function validateBasicAmount(text: string, path: string): FieldError[] {
  if (quantityOf(text).nanos >= 0n) return [];
  // Upstream: the value is printed as a whole number of bytes.
  const whole = -Number((-quantityOf(text).nanos + 999_999_999n) / 1_000_000_000n);
  return [invalid(path, whole, "must be a valid resource quantity")];
}

interface OfClass {
  readonly metadata: ObjectMeta;
  readonly spec: { readonly storageClassName?: string };
}
export const storageClassOf = ({ metadata, spec }: OfClass): string =>
  metadata.annotations?.[storageClassAnnotation] ?? spec.storageClassName ?? "";

export const isTerminating = ({ metadata }: { readonly metadata: ObjectMeta }): boolean =>
  metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null;

export const phaseCell = (object: PersistentVolume | PersistentVolumeClaim): string =>
  isTerminating(object) ? "Terminating" : (object.status?.phase ?? "");
