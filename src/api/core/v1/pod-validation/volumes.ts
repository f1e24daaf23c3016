/**
 * Volumes: exactly one source each, and what the sources of today ask for. Those of old are in
 * storage-volumes.ts.
 */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  required,
  tooLong,
} from "#machinery/field-error.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { isDns1123Subdomain } from "#machinery/validation.ts";
import type {
  CSIVolumeSource,
  EmptyDirVolumeSource,
  HostPathVolumeSource,
  ImageVolumeSource,
  KeyToPath,
  Volume,
} from "../../../generated/core/v1.ts";
import { validateClaimTemplate } from "./claim-template.ts";
import {
  dnsLabel,
  dnsSubdomain,
  each,
  fileMode,
  noBacksteps,
  notEmpty,
  oneOf,
  requiredOneOf,
  userId,
  validateKeyToPath,
} from "./fields.ts";
import { validateDownwardFiles, validateProjected } from "./projected-volume.ts";
import type { PodRules } from "./rules.ts";
import { storageSources } from "./storage-volumes.ts";

const emptyDirModeMax = 0o1777;
const csiDriverBytesMax = 63;
export const pullPolicies = ["Always", "IfNotPresent", "Never"];
const hostPathTypes = [
  "",
  "BlockDevice",
  "CharDevice",
  "Directory",
  "DirectoryOrCreate",
  "File",
  "FileOrCreate",
  "Socket",
];

/** What a check may look at besides the source. */
export interface VolumeContext {
  readonly volume: Volume;
  /** "" in templates: then names of claims are not known. */
  readonly podName: string;
  readonly rules: PodRules;
}
type Check<S> = (source: S, path: string, context: VolumeContext) => FieldError[];
/** [field, path of its checks where upstream spells it otherwise, check] */
export type SourceRow = readonly [keyof Volume, string, Check<never>];

function validateEmptyDir({ sizeLimit, mode }: EmptyDirVolumeSource, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (sizeLimit !== undefined && quantityOf(sizeLimit).nanos < 0n) {
    const detail = "SizeLimit field must be a valid resource quantity";
    errors.push(forbidden(`${path}.sizeLimit`, detail));
  }
  if (mode !== undefined && (mode > emptyDirModeMax || mode < 0)) {
    const detail = "must be a number between 0 and 01777 (octal), both inclusive";
    errors.push(invalid(`${path}.mode`, mode, detail));
  }
  return errors;
}

export function validateHostPath(source: HostPathVolumeSource, path: string): FieldError[] {
  if (source.path === "") return [required(`${path}.path`)];
  const errors = noBacksteps(`${path}.path`, source.path);
  if (source.type !== undefined) errors.push(...oneOf(`${path}.type`, source.type, hostPathTypes));
  return errors;
}

interface KeyedSource {
  readonly items?: KeyToPath[];
  readonly defaultMode?: number;
  readonly defaultUser?: number;
}
const validateKeyed = (source: KeyedSource, path: string): FieldError[] => [
  ...fileMode(`${path}.defaultMode`, source.defaultMode),
  ...userId(`${path}.defaultUser`, source.defaultUser),
  ...(source.items ?? []).flatMap((item, index) =>
    validateKeyToPath(item, `${path}.items[${index}]`),
  ),
];

export function validateCsiDriverName(driver: string, path: string): FieldError[] {
  if (driver === "") return [required(path)];
  return [
    ...(driver.length > csiDriverBytesMax ? [tooLong(path, csiDriverBytesMax)] : []),
    ...each(path, driver, isDns1123Subdomain(driver.toLowerCase())),
  ];
}

function validateCsi(
  { driver, nodePublishSecretRef }: CSIVolumeSource,
  path: string,
): FieldError[] {
  const errors = validateCsiDriverName(driver, `${path}.driver`);
  if (nodePublishSecretRef === undefined) return errors;
  const { name = "" } = nodePublishSecretRef;
  if (name === "") errors.push(required(`${path}.nodePublishSecretRef.name`));
  else errors.push(...dnsSubdomain(`${path}.name`, name));
  return errors;
}

const validateImage = (
  { reference, pullPolicy }: ImageVolumeSource,
  path: string,
  { rules }: VolumeContext,
): FieldError[] => [
  ...(rules.allowEmptyImageVolume ? [] : notEmpty(`${path}.reference`, reference)),
  ...requiredOneOf(`${path}.pullPolicy`, pullPolicy, pullPolicies),
];

const row = <K extends keyof Volume>(
  field: K,
  check: Check<NonNullable<Volume[K]>>,
  path: string = field,
): SourceRow => [field, path, check];

/** In upstream's order: of two sources the later one is the one too many. */
const sources: readonly SourceRow[] = [
  row("emptyDir", validateEmptyDir),
  row("hostPath", validateHostPath),
  ...storageSources(["gitRepo", "gcePersistentDisk", "awsElasticBlockStore"]),
  row("secret", (source, path) => [
    ...notEmpty(`${path}.secretName`, source.secretName),
    ...validateKeyed(source, path),
  ]),
  ...storageSources(["nfs", "iscsi", "glusterfs", "flocker"]),
  row("persistentVolumeClaim", ({ claimName }, path) => notEmpty(`${path}.claimName`, claimName)),
  ...storageSources(["rbd", "cinder", "cephfs", "quobyte"]),
  row("downwardAPI", (source, path) => [
    ...fileMode(`${path}.defaultMode`, source.defaultMode),
    ...validateDownwardFiles(source.items, path),
  ]),
  ...storageSources(["fc", "flexVolume"]),
  row("configMap", (source, path) => [
    ...notEmpty(`${path}.name`, source.name),
    ...validateKeyed(source, path),
  ]),
  ...storageSources([
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
  ]),
  row("projected", (source, path, { rules }) => validateProjected(source, path, rules)),
  ...storageSources(["scaleIO"]),
  row("csi", validateCsi),
  row("ephemeral", ({ volumeClaimTemplate }, path) =>
    volumeClaimTemplate === undefined
      ? [required(`${path}.volumeClaimTemplate`)]
      : validateClaimTemplate(volumeClaimTemplate, `${path}.volumeClaimTemplate`),
  ),
  row("image", validateImage),
];

/** The path of the complaint where upstream spells it otherwise than the field. */
const tooManyPath: Readonly<Record<string, string>> = {
  cephfs: "cephFS",
  downwardAPI: "downwarAPI",
};

function validateSource(context: VolumeContext, path: string): FieldError[] {
  const { volume, podName } = context;
  const errors: FieldError[] = [];
  let count = 0;
  for (const [field, at, check] of sources) {
    const source = volume[field];
    if (source === undefined) continue;
    if (count > 0) {
      const where = `${path}.${tooManyPath[field] ?? field}`;
      errors.push(forbidden(where, "may not specify more than 1 volume type"));
    } else errors.push(...check(source as never, `${path}.${at}`, context));
    count += 1;
  }
  if (count === 0) errors.push(required(path, "must specify a volume type"));
  const { iscsi, ephemeral, name } = volume;
  if (iscsi?.initiatorName !== undefined && `${name}:${iscsi.targetPortal}`.length > 64) {
    const detail =
      "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
    errors.push(invalid(`${path}.name`, name, detail));
  }
  if (ephemeral !== undefined && podName !== "" && name !== "") {
    const claim = `${podName}-${name}`;
    for (const message of isDns1123Subdomain(claim)) {
      errors.push(invalid(`${path}.name`, name, `PVC name ${JSON.stringify(claim)}: ${message}`));
    }
  }
  return errors;
}

/** The valid volumes by name: what containers may mount. */
export interface CheckedVolumes {
  readonly errors: FieldError[];
  readonly volumes: ReadonlyMap<string, Volume>;
}

export function validateVolumes(
  list: readonly Volume[],
  podName: string,
  path: string,
  rules: PodRules,
): CheckedVolumes {
  const errors: FieldError[] = [];
  const volumes = new Map<string, Volume>();
  const created = new Set(
    list.filter(({ ephemeral }) => ephemeral !== undefined).map(({ name }) => `${podName}-${name}`),
  );
  for (const [index, volume] of list.entries()) {
    const at = `${path}[${index}]`;
    const { name } = volume;
    const own = validateSource({ volume, podName, rules }, at);
    own.push(...(name === "" ? [required(`${at}.name`)] : dnsLabel(`${at}.name`, name)));
    if (volumes.has(name)) own.push(duplicate(`${at}.name`, name));
    if (own.length === 0) volumes.set(name, volume);
    errors.push(...own);
    const claim = volume.persistentVolumeClaim?.claimName;
    if (claim !== undefined && podName !== "" && created.has(claim)) {
      const detail = "must not reference a PVC that gets created for an ephemeral volume";
      errors.push(invalid(`${at}.persistentVolumeClaim.claimName`, claim, detail));
    }
  }
  return { errors, volumes };
}
