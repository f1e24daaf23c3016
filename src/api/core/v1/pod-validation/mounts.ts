/** What of a pod's volumes a container sees, and where. */
import {
  type FieldError,
  forbidden,
  invalid,
  notFoundField,
  required,
} from "#machinery/field-error.ts";
import type { Container, Volume, VolumeMount } from "../../../generated/core/v1.ts";
import { localDescendingPath, noBacksteps, notEmpty, oneOf } from "./fields.ts";

type Volumes = ReadonlyMap<string, Volume>;

function validatePropagation(mount: VolumeMount, container: Container, path: string): FieldError[] {
  const { mountPropagation } = mount;
  if (mountPropagation === undefined) return [];
  const errors = oneOf(path, mountPropagation, ["Bidirectional", "HostToContainer", "None"]);
  const privileged = container.securityContext?.privileged === true;
  if (mountPropagation === "Bidirectional" && !privileged) {
    const detail = "Bidirectional mount propagation is available only to privileged containers";
    errors.push(forbidden(path, detail));
  }
  return errors;
}

function validateRecursiveReadOnly(mount: VolumeMount, path: string): FieldError[] {
  const { recursiveReadOnly, readOnly, mountPropagation = "None" } = mount;
  if (recursiveReadOnly === undefined || recursiveReadOnly === "Disabled") return [];
  if (recursiveReadOnly !== "Enabled" && recursiveReadOnly !== "IfPossible") {
    return oneOf(path, recursiveReadOnly, ["Disabled", "Enabled", "IfPossible"]);
  }
  const errors: FieldError[] = [];
  if (readOnly !== true) {
    errors.push(forbidden(path, "may only be specified when readOnly is true"));
  }
  if (mountPropagation !== "None") {
    const detail = "may only be specified when mountPropagation is None or not specified";
    errors.push(forbidden(path, detail));
  }
  return errors;
}

export function validateVolumeMounts(
  container: Container,
  volumes: Volumes,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const devices = container.volumeDevices ?? [];
  const points = new Set<string>();
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${path}[${index}]`;
    const { name, mountPath, subPath = "", subPathExpr = "" } = mount;
    errors.push(...notEmpty(`${at}.name`, name));
    if (!volumes.has(name)) errors.push(notFoundField(`${at}.name`, name));
    errors.push(...notEmpty(`${at}.mountPath`, mountPath));
    if (points.has(mountPath)) {
      errors.push(invalid(`${at}.mountPath`, mountPath, "must be unique"));
    }
    points.add(mountPath);
    if (devices.some((device) => device.name === name)) {
      errors.push(invalid(`${at}.name`, name, "must not already exist in volumeDevices"));
    }
    if (devices.some(({ devicePath }) => devicePath === mountPath)) {
      const detail = "must not already exist as a path in volumeDevices";
      errors.push(invalid(`${at}.mountPath`, mountPath, detail));
    }
    // Upstream: from here on paths lack the index.
    if (subPath !== "") errors.push(...localDescendingPath(`${path}.subPath`, subPath));
    if (subPathExpr !== "") {
      if (subPath !== "") {
        const detail = "subPathExpr and subPath are mutually exclusive";
        errors.push(invalid(`${at}.subPathExpr`, subPathExpr, detail));
      }
      errors.push(...localDescendingPath(`${path}.subPathExpr`, subPathExpr));
    }
    errors.push(...validatePropagation(mount, container, `${path}.mountPropagation`));
    errors.push(...validateRecursiveReadOnly(mount, `${path}.recursiveReadOnly`));
  }
  return errors;
}

export function validateVolumeDevices(
  container: Container,
  volumes: Volumes,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const mounts = container.volumeMounts ?? [];
  const paths = new Set<string>();
  const names = new Set<string>();
  for (const [index, { name, devicePath }] of (container.volumeDevices ?? []).entries()) {
    const nameAt = `${path}[${index}].name`;
    const pathAt = `${path}[${index}].devicePath`;
    const volume = volumes.get(name);
    if (name === "") errors.push(required(nameAt));
    if (names.has(name)) errors.push(invalid(nameAt, name, "must be unique"));
    if (volume === undefined) errors.push(notFoundField(nameAt, name));
    else if (volume.persistentVolumeClaim === undefined && volume.ephemeral === undefined) {
      const detail =
        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
      errors.push(invalid(nameAt, name, detail));
    }
    if (devicePath === "") errors.push(required(pathAt));
    if (paths.has(devicePath)) errors.push(invalid(pathAt, devicePath, "must be unique"));
    if (devicePath !== "" && noBacksteps(pathAt, devicePath).length > 0) {
      errors.push(invalid(pathAt, devicePath, "can not contain backsteps ('..')"));
    } else paths.add(devicePath);
    if (mounts.some((mount) => mount.name === name)) {
      errors.push(invalid(nameAt, name, "must not already exist in volumeMounts"));
    }
    if (mounts.some(({ mountPath }) => mountPath === devicePath)) {
      const detail = "must not already exist as a path in volumeMounts";
      errors.push(invalid(pathAt, devicePath, detail));
    }
    if (name !== "") names.add(name);
  }
  return errors;
}
