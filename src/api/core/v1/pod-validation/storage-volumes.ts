/**
 * Volume sources of old: storage systems that were built in. Their fields are still checked, also
 * where nothing mounts them.
 */
import { type FieldError, invalid, notSupported, required } from "#machinery/field-error.ts";
import { sortedKeys } from "#machinery/object.ts";
import { rangeMessage } from "#machinery/validation.ts";
import type * as g from "../../../generated/core/v1.ts";
import { dnsLabel, localDescendingPath, notEmpty, oneOf } from "./fields.ts";
import type { SourceRow } from "./volumes.ts";

type StorageField =
  | "gitRepo"
  | "gcePersistentDisk"
  | "awsElasticBlockStore"
  | "nfs"
  | "iscsi"
  | "glusterfs"
  | "flocker"
  | "rbd"
  | "cinder"
  | "cephfs"
  | "quobyte"
  | "fc"
  | "flexVolume"
  | "azureFile"
  | "vsphereVolume"
  | "photonPersistentDisk"
  | "portworxVolume"
  | "azureDisk"
  | "storageos"
  | "scaleIO";
type Checks = {
  readonly [F in StorageField]: (source: NonNullable<g.Volume[F]>, path: string) => FieldError[];
};

const inRange = (
  path: string,
  value: number | undefined,
  low: number,
  shownLow = low,
): FieldError[] =>
  value !== undefined && (value < low || value > 255)
    ? [invalid(path, value, rangeMessage(shownLow, 255))]
    : [];

const iqn = /iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$/;
const eui = /^eui.[A-Za-z0-9]{16}$/;
const naa = /^naa.[A-Za-z0-9]{32}$/;

const badForm = "must be valid format";

function iscsiName(path: string, name: string, unknownForm: string): FieldError[] {
  const form = [iqn, eui, naa][["iqn", "eui", "naa"].findIndex((start) => name.startsWith(start))];
  if (form === undefined) return [invalid(path, name, unknownForm)];
  return form.test(name) ? [] : [invalid(path, name, badForm)];
}

/** What a pod's volume and a PersistentVolume check alike. */
export function validateIscsi(
  source: Omit<g.ISCSIVolumeSource, "secretRef"> & { readonly secretRef?: object },
  path: string,
  unknownForm = badForm,
): FieldError[] {
  const errors = notEmpty(`${path}.targetPortal`, source.targetPortal);
  if (source.iqn === "") errors.push(required(`${path}.iqn`));
  else errors.push(...iscsiName(`${path}.iqn`, source.iqn, unknownForm));
  errors.push(...inRange(`${path}.lun`, source.lun, 0));
  const chap = source.chapAuthDiscovery === true || source.chapAuthSession === true;
  if (chap && source.secretRef === undefined) errors.push(required(`${path}.secretRef`));
  const { initiatorName } = source;
  if (initiatorName !== undefined)
    errors.push(...iscsiName(`${path}.initiatorname`, initiatorName, unknownForm));
  return errors;
}

function validateFlocker(
  { datasetName = "", datasetUUID = "" }: g.FlockerVolumeSource,
  path: string,
) {
  const errors: FieldError[] = [];
  if (datasetName === "" && datasetUUID === "") {
    errors.push(required(path, "one of datasetName and datasetUUID is required"));
  }
  if (datasetName !== "" && datasetUUID !== "") {
    const detail = "datasetName and datasetUUID can not be specified simultaneously";
    errors.push(invalid(path, "resource", detail));
  }
  if (datasetName.includes("/")) {
    errors.push(invalid(`${path}.datasetName`, datasetName, "must not contain '/'"));
  }
  return errors;
}

function validateQuobyte({ registry, tenant = "", volume }: g.QuobyteVolumeSource, path: string) {
  const errors: FieldError[] = [];
  const detail = "must be a host:port pair or multiple pairs separated by commas";
  if (registry === "") errors.push(required(`${path}.registry`, detail));
  else if (tenant.length >= 65) {
    const long = "must be a UUID and may not exceed a length of 64 characters";
    errors.push(required(`${path}.tenant`, long));
  } else {
    for (const pair of registry.split(",")) {
      const isPair = /^([^:[\]]*|\[[^[\]]*\]):[^:[\]]*$/.test(pair);
      if (!isPair) errors.push(invalid(`${path}.registry`, registry, detail));
    }
  }
  return [...errors, ...notEmpty(`${path}.volume`, volume)];
}

function validateFc({ targetWWNs = [], wwids = [], lun }: g.FCVolumeSource, path: string) {
  const errors: FieldError[] = [];
  const at = `${path}.targetWWNs`;
  if (targetWWNs.length === 0 && wwids.length === 0) {
    errors.push(required(at, "must specify either targetWWNs or wwids, but not both"));
  }
  if (targetWWNs.length > 0 && wwids.length > 0) {
    const detail = "targetWWNs and wwids can not be specified simultaneously";
    errors.push(invalid(at, targetWWNs, detail));
  }
  if (targetWWNs.length === 0) return errors;
  if (lun !== undefined) return [...errors, ...inRange(`${path}.lun`, lun, 0)];
  return [...errors, required(`${path}.lun`, "lun is required if targetWWNs is specified")];
}

function validateFlexVolume({ driver, options = {} }: g.FlexVolumeSource, path: string) {
  const errors = notEmpty(`${path}.driver`, driver);
  for (const key of sortedKeys(options)) {
    const slash = key.indexOf("/");
    const space = `.${(slash < 0 ? key : key.slice(0, slash)).toLowerCase()}`;
    if (!space.endsWith(".kubernetes.io") && !space.endsWith(".k8s.io")) continue;
    const detail = "kubernetes.io and k8s.io namespaces are reserved";
    errors.push(invalid(`${path}.options[${key}]`, key, detail));
  }
  return errors;
}

const managedDisk =
  "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
const blobDisk = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";

function validateAzureDisk(source: g.AzureDiskVolumeSource, path: string): FieldError[] {
  const { diskName, diskURI, cachingMode, kind } = source;
  const errors = [
    ...notEmpty(`${path}.diskName`, diskName),
    ...notEmpty(`${path}.diskURI`, diskURI),
  ];
  if (cachingMode !== undefined) {
    errors.push(...oneOf(`${path}.cachingMode`, cachingMode, ["None", "ReadOnly", "ReadWrite"]));
  }
  if (kind === undefined) return errors;
  errors.push(...oneOf(`${path}.kind`, kind, ["Dedicated", "Managed", "Shared"]));
  const managed = kind === "Managed";
  if (!diskURI.startsWith(managed ? "/subscriptions/" : "https://")) {
    errors.push(notSupported(`${path}.diskURI`, diskURI, [managed ? managedDisk : blobDisk]));
  }
  return errors;
}

const secretName = (path: string, secret: { readonly name?: string } | undefined): FieldError[] =>
  secret === undefined ? [] : notEmpty(`${path}.secretRef.name`, secret.name);

/** Monitors and image of Ceph; an empty list is null on the wire. */
const monitors = (path: string, list: readonly string[] | null): FieldError[] =>
  (list ?? []).length === 0 ? [required(`${path}.monitors`)] : [];

/** The checks by field; what PersistentVolumes check alike they take from here. */
export const storageChecks: Checks = {
  gitRepo: (source, path) => [
    ...notEmpty(`${path}.repository`, source.repository),
    ...localDescendingPath(`${path}.directory`, source.directory ?? ""),
  ],
  gcePersistentDisk: (source, path) => [
    ...notEmpty(`${path}.pdName`, source.pdName),
    ...inRange(`${path}.partition`, source.partition, 0, 1),
  ],
  awsElasticBlockStore: (source, path) => [
    ...notEmpty(`${path}.volumeID`, source.volumeID),
    ...inRange(`${path}.partition`, source.partition, 0, 1),
  ],
  nfs: (source, path) => [
    ...notEmpty(`${path}.server`, source.server),
    ...notEmpty(`${path}.path`, source.path),
    ...(source.path.startsWith("/")
      ? []
      : [invalid(`${path}.path`, source.path, "must be an absolute path")]),
  ],
  iscsi: (source, path) =>
    validateIscsi(source, path, "must be valid format starting with iqn, eui, or naa"),
  glusterfs: (source, path) => [
    ...notEmpty(`${path}.endpoints`, source.endpoints),
    ...notEmpty(`${path}.path`, source.path),
  ],
  flocker: validateFlocker,
  rbd: (source, path) => [
    ...monitors(path, source.monitors),
    ...notEmpty(`${path}.image`, source.image),
  ],
  cinder: (source, path) => [
    ...notEmpty(`${path}.volumeID`, source.volumeID),
    ...secretName(path, source.secretRef),
  ],
  cephfs: (source, path) => monitors(path, source.monitors),
  quobyte: validateQuobyte,
  fc: validateFc,
  flexVolume: validateFlexVolume,
  azureFile: (source, path) => [
    ...notEmpty(`${path}.secretName`, source.secretName),
    ...notEmpty(`${path}.shareName`, source.shareName),
  ],
  vsphereVolume: (source, path) => notEmpty(`${path}.volumePath`, source.volumePath),
  photonPersistentDisk: (source, path) => notEmpty(`${path}.pdID`, source.pdID),
  portworxVolume: (source, path) => notEmpty(`${path}.volumeID`, source.volumeID),
  azureDisk: validateAzureDisk,
  storageos: ({ volumeName = "", volumeNamespace = "", secretRef }, path) => [
    ...(volumeName === ""
      ? [required(`${path}.volumeName`)]
      : dnsLabel(`${path}.volumeName`, volumeName)),
    ...(volumeNamespace === "" ? [] : dnsLabel(`${path}.volumeNamespace`, volumeNamespace)),
    ...secretName(path, secretRef),
  ],
  scaleIO: (source, path) => [
    ...notEmpty(`${path}.gateway`, source.gateway),
    ...notEmpty(`${path}.system`, source.system),
    ...notEmpty(`${path}.volumeName`, source.volumeName),
  ],
};

/** Rows of the table of sources. */
export const storageSources = (fields: readonly StorageField[]): SourceRow[] =>
  // Upstream: the disk's fields are said to stand below "persistentDisk".
  fields.map((field) => [
    field,
    field === "gcePersistentDisk" ? "persistentDisk" : field,
    storageChecks[field] as SourceRow[2],
  ]);
