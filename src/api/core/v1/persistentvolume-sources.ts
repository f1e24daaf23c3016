/**
 * What a PersistentVolume is made of: exactly one source, and what each asks for, in upstream's
 * words and order. Most are checked as a pod's own volume is; the rest name secrets of other
 * namespaces. Pure.
 */
import { type FieldError, forbidden, invalid, required } from "#machinery/field-error.ts";
import { isDns1123Label } from "#machinery/validation.ts";
import type * as g from "../../generated/core/v1.ts";
import { dnsLabel, dnsSubdomain, each, noBacksteps, notEmpty } from "./pod-validation/fields.ts";
import { storageChecks, validateIscsi } from "./pod-validation/storage-volumes.ts";
import { validateCsiDriverName, validateHostPath } from "./pod-validation/volumes.ts";

type Spec = g.PersistentVolumeSpec;
type Check<S> = (source: S, path: string, name: string, spec: Spec) => FieldError[];
/** [field, how upstream spells it when it is one too many, how in its own checks, check] */
type Row = readonly [keyof Spec, string, string, Check<never>];

const tooManySources = "may not specify more than 1 volume type";
const portalBytesMax = 64;

const secretReference = (
  secret: g.SecretReference | g.ObjectReference | undefined,
  path: string,
): FieldError[] =>
  secret === undefined
    ? []
    : [
        ...notEmpty(`${path}.name`, secret.name),
        ...notEmpty(`${path}.namespace`, secret.namespace),
      ];

function namedSecret(secret: g.SecretReference | undefined, path: string): FieldError[] {
  if (secret === undefined) return [];
  const { name = "", namespace = "" } = secret;
  return [
    ...(name === "" ? [required(`${path}.name`)] : dnsSubdomain(`${path}.name`, name)),
    ...(namespace === ""
      ? [required(`${path}.namespace`)]
      : dnsLabel(`${path}.namespace`, namespace)),
  ];
}

function checkGlusterfs(source: g.GlusterfsPersistentVolumeSource, path: string): FieldError[] {
  const errors = [
    ...notEmpty(`${path}.endpoints`, source.endpoints),
    ...notEmpty(`${path}.path`, source.path),
  ];
  const { endpointsNamespace: namespace } = source;
  if (namespace === undefined) return errors;
  const at = `${path}.endpointsNamespace`;
  const empty = "if the endpointnamespace is set, it must be a valid namespace name";
  if (namespace === "") return [...errors, invalid(at, namespace, empty)];
  return [...errors, ...each(at, namespace, isDns1123Label(namespace))];
}

function checkIscsi(source: g.ISCSIPersistentVolumeSource, path: string, name: string) {
  const errors = validateIscsi(source, path);
  if (source.initiatorName !== undefined && `${name}:${source.targetPortal}`.length > 64) {
    const detail = `Total length of <volume name>:<iscsi.targetPortal> must be under ${portalBytesMax} characters if iscsi.initiatorName is specified.`;
    errors.push(invalid(`${path}.targetportal`, source.targetPortal, detail));
  }
  if (source.secretRef !== undefined) {
    errors.push(...notEmpty(`${path}.secretRef.name`, source.secretRef.name));
  }
  return errors;
}

function checkAzureFile(source: g.AzureFilePersistentVolumeSource, path: string): FieldError[] {
  const errors = [
    ...notEmpty(`${path}.secretName`, source.secretName),
    ...notEmpty(`${path}.shareName`, source.shareName),
  ];
  if (source.secretNamespace === "") errors.push(required(`${path}.secretNamespace`));
  return errors;
}

function checkLocal(source: g.LocalVolumeSource, path: string, _name: string, spec: Spec) {
  const errors =
    source.path === "" ? [required(`${path}.path`)] : noBacksteps(`${path}.path`, source.path);
  if (spec.nodeAffinity !== undefined) return errors;
  // Upstream: the path is that of the volume's spec, not of the source.
  const at = `${path.slice(0, path.lastIndexOf("."))}.nodeAffinity`;
  return [...errors, required(at, "Local volume requires node affinity")];
}

const checkStorageOs: Check<g.StorageOSPersistentVolumeSource> = (source, path) => {
  const { secretRef, ...rest } = source;
  return [
    ...storageChecks.storageos(rest, path),
    ...secretReference(secretRef, `${path}.secretRef`),
  ];
};

const checkCsi: Check<g.CSIPersistentVolumeSource> = (source, path) => [
  ...validateCsiDriverName(source.driver, `${path}.driver`),
  ...notEmpty(`${path}.volumeHandle`, source.volumeHandle),
  ...(
    [
      "controllerPublishSecretRef",
      "controllerExpandSecretRef",
      "nodePublishSecretRef",
      "nodeExpandSecretRef",
    ] as const
  ).flatMap((field) => namedSecret(source[field], `${path}.${field}`)),
];

const row = <K extends keyof Spec>(
  field: K,
  check: Check<NonNullable<Spec[K]>>,
  refusedPath: string = field,
  path: string = field,
): Row => [field, refusedPath, path, check];

/** In upstream's order: of two sources the later one is the one too many. */
const sources: readonly Row[] = [
  row("hostPath", validateHostPath),
  row(
    "gcePersistentDisk",
    storageChecks.gcePersistentDisk,
    "gcePersistentDisk",
    // Upstream: the disk's fields are said to stand below "persistentDisk".
    "persistentDisk",
  ),
  row("awsElasticBlockStore", storageChecks.awsElasticBlockStore),
  row("glusterfs", checkGlusterfs),
  row("flocker", storageChecks.flocker),
  row("nfs", storageChecks.nfs),
  row("rbd", ({ monitors, image }, path) => storageChecks.rbd({ monitors, image }, path)),
  row("quobyte", storageChecks.quobyte),
  row("cephfs", ({ monitors }, path) => storageChecks.cephfs({ monitors }, path), "cephFS"),
  row("iscsi", checkIscsi),
  row("cinder", ({ volumeID, secretRef }, path) => [
    ...notEmpty(`${path}.volumeID`, volumeID),
    ...secretReference(secretRef, `${path}.secretRef`),
  ]),
  row("fc", storageChecks.fc),
  row("flexVolume", ({ driver, options = {} }, path) =>
    storageChecks.flexVolume({ driver, options }, path),
  ),
  row("azureFile", checkAzureFile),
  row("vsphereVolume", storageChecks.vsphereVolume),
  row("photonPersistentDisk", storageChecks.photonPersistentDisk),
  row("portworxVolume", storageChecks.portworxVolume),
  row("azureDisk", storageChecks.azureDisk),
  row("scaleIO", ({ gateway, system, volumeName = "" }, path) => [
    ...notEmpty(`${path}.gateway`, gateway),
    ...notEmpty(`${path}.system`, system),
    ...notEmpty(`${path}.volumeName`, volumeName),
  ]),
  row("local", checkLocal),
  row("storageos", checkStorageOs),
  row("csi", checkCsi),
];

/** The field of the one source that a valid PersistentVolume has. */
export const persistentVolumeSourceFields: readonly (keyof Spec)[] = sources.map(
  ([field]) => field,
);

export function validatePersistentVolumeSource(
  spec: Spec,
  name: string,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  let count = 0;
  for (const [field, refusedPath, ownPath, check] of sources) {
    const source = spec[field];
    if (source === undefined) continue;
    count += 1;
    // Upstream: a flexVolume is never the one too many.
    if (count > 1 && field !== "flexVolume") {
      errors.push(forbidden(`${path}.${refusedPath}`, tooManySources));
    } else {
      errors.push(...check(source as never, `${path}.${ownPath}`, name, spec));
    }
  }
  if (count === 0) errors.push(required(path, "must specify a volume type"));
  return errors;
}
