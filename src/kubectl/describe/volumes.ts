/** Volumes in descriptions: what each is, in a phrase, and its fields. */
import type { Volume } from "#api/generated/core/v1.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { formatQuantity, quantityOf } from "#machinery/quantity.ts";
import { plainText } from "../objects.ts";
import { labelsOrNone, type Page } from "./page.ts";

/** Of the plain sources: a phrase, and the fields that are shown with their JSON names. */
interface Plain {
  readonly title: string;
  readonly fields: readonly (readonly [label: string, field: string])[];
}
const plainSources: Readonly<Record<string, Plain>> = {
  nfs: {
    title: "NFS (an NFS mount that lasts the lifetime of a pod)",
    fields: [
      ["Server", "server"],
      ["Path", "path"],
      ["ReadOnly", "readOnly"],
    ],
  },
  persistentVolumeClaim: {
    title: "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
    fields: [
      ["ClaimName", "claimName"],
      ["ReadOnly", "readOnly"],
    ],
  },
  local: {
    title: "LocalVolume (a persistent volume backed by local storage on a node)",
    fields: [["Path", "path"]],
  },
  gitRepo: {
    title: "GitRepo (a volume that is pulled from git when the pod is created)",
    fields: [
      ["Repository", "repository"],
      ["Revision", "revision"],
    ],
  },
  image: {
    title: "Image (a container image or OCI artifact)",
    fields: [
      ["Reference", "reference"],
      ["PullPolicy", "pullPolicy"],
    ],
  },
  csi: {
    title: "CSI (a Container Storage Interface (CSI) volume source)",
    fields: [
      ["Driver", "driver"],
      ["FSType", "fsType"],
      ["ReadOnly", "readOnly"],
    ],
  },
};
const booleans = new Set(["readOnly"]);
const shown = (source: JsonObject, field: string): string => {
  const value = source[field];
  if (value === undefined || value === null) return booleans.has(field) ? "false" : "";
  return plainText(value);
};

function writePlain(page: Page, { title, fields }: Plain, source: JsonObject): void {
  page.line(2, `Type:\t${title}`);
  for (const [label, field] of fields) page.line(2, `${label}:\t${shown(source, field)}`);
}

export function writeHostPath(page: Page, source: JsonObject): void {
  page.line(2, "Type:\tHostPath (bare host directory volume)");
  page.line(2, `Path:\t${shown(source, "path")}`);
  page.line(2, `HostPathType:\t${"type" in source ? shown(source, "type") : "<none>"}`);
}

function writeProjected(page: Page, volume: NonNullable<Volume["projected"]>): void {
  page.line(2, "Type:\tProjected (a volume that contains injected data from multiple sources)");
  for (const source of volume.sources ?? []) {
    if (source.secret !== undefined) {
      page.line(2, `SecretName:\t${source.secret.name ?? ""}`);
      page.line(2, `Optional:\t${source.secret.optional === true}`);
    } else if (source.downwardAPI !== undefined) page.line(2, "DownwardAPI:\ttrue");
    else if (source.configMap !== undefined) {
      page.line(2, `ConfigMapName:\t${source.configMap.name ?? ""}`);
      page.line(2, `Optional:\t${source.configMap.optional === true}`);
    } else if (source.serviceAccountToken !== undefined) {
      page.line(2, `TokenExpirationSeconds:\t${source.serviceAccountToken.expirationSeconds ?? 0}`);
    }
  }
}

function writeVolume(page: Page, volume: Volume): void {
  const { emptyDir, secret, configMap, projected, downwardAPI, hostPath, ephemeral } = volume;
  if (hostPath !== undefined) writeHostPath(page, { ...hostPath });
  else if (emptyDir !== undefined) {
    const limit = emptyDir.sizeLimit === undefined ? undefined : quantityOf(emptyDir.sizeLimit);
    page.line(2, "Type:\tEmptyDir (a temporary directory that shares a pod's lifetime)");
    page.line(2, `Medium:\t${emptyDir.medium ?? ""}`);
    page.line(
      2,
      `SizeLimit:\t${limit === undefined || limit.nanos <= 0n ? "<unset>" : formatQuantity(limit)}`,
    );
  } else if (secret !== undefined) {
    page.line(2, "Type:\tSecret (a volume populated by a Secret)");
    page.line(2, `SecretName:\t${secret.secretName ?? ""}`);
    page.line(2, `Optional:\t${secret.optional === true}`);
  } else if (configMap !== undefined) {
    page.line(2, "Type:\tConfigMap (a volume populated by a ConfigMap)");
    page.line(2, `Name:\t${configMap.name ?? ""}`);
    page.line(2, `Optional:\t${configMap.optional === true}`);
  } else if (projected !== undefined) writeProjected(page, projected);
  else if (downwardAPI !== undefined) {
    page.line(
      2,
      "Type:\tDownwardAPI (a volume populated by information about the pod)\n    Items:",
    );
    for (const { fieldRef, resourceFieldRef, path } of downwardAPI.items ?? []) {
      if (fieldRef !== undefined) page.line(3, `${fieldRef.fieldPath} -> ${path}`);
      if (resourceFieldRef !== undefined) page.line(3, `${resourceFieldRef.resource} -> ${path}`);
    }
  } else if (ephemeral !== undefined) {
    page.line(
      2,
      "Type:\tEphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
    );
    const template = ephemeral.volumeClaimTemplate;
    if (template === undefined) return;
    page.line(2, `StorageClass:\t${template.spec.storageClassName ?? ""}`);
    page.line(2, `Volume:\t${template.spec.volumeName ?? ""}`);
    page.line(2, `Labels:\t${labelsOrNone(template.metadata?.labels)}`);
    page.line(2, `Annotations:\t${labelsOrNone(template.metadata?.annotations)}`);
    page.line(2, "Capacity:\t\n    Access Modes:\t");
    if (template.spec.volumeMode !== undefined)
      page.line(2, `VolumeMode:\t${template.spec.volumeMode}`);
  } else if (!writeSource(page, volume as unknown as JsonObject)) page.line(1, "<unknown>");
}

/** A source of the plain kinds, of a volume or of a persistent volume; false if there is none. */
export function writeSource(page: Page, holder: JsonObject): boolean {
  for (const [field, plain] of Object.entries(plainSources)) {
    const source = holder[field];
    if (!isObject(source)) continue;
    if (field === "csi" && "volumeHandle" in source) {
      const [driver, fsType, readOnly] = plain.fields;
      const handle = ["VolumeHandle", "volumeHandle"] as const;
      const fields = [driver, fsType, handle, readOnly].filter((one) => one !== undefined);
      writePlain(page, { ...plain, fields }, source);
    } else writePlain(page, plain, source);
    if (field === "csi") writeAttributes(page, source["volumeAttributes"]);
    return true;
  }
  return false;
}
function writeAttributes(page: Page, attributes: unknown): void {
  page.write(2, "VolumeAttributes:\t");
  const entries = isObject(attributes)
    ? Object.entries(attributes).toSorted(([a], [b]) => (a < b ? -1 : 1))
    : [];
  if (entries.length === 0) page.line(0, "<none>");
  for (const [i, [key, value]] of entries.entries())
    page.line(i === 0 ? 0 : 2, `${i === 0 ? "" : "\t"}${key}=${String(value)}`);
}

export function writeVolumes(
  page: Page,
  volumes: readonly Volume[] | undefined,
  indent = "",
): void {
  if (volumes === undefined || volumes.length === 0) {
    page.line(0, `${indent}Volumes:\t<none>`);
    return;
  }
  page.line(0, `${indent}Volumes:`);
  for (const volume of volumes) {
    page.line(1, `${indent === "" ? "" : " "}${volume.name}:`);
    writeVolume(page, volume);
  }
}
