/** VolumeAttachment: a volume that is, or shall be, attached to a node. */
import {
  declared,
  type FieldError,
  forbidden,
  invalid,
  required,
  tooLong,
} from "#machinery/field-error.ts";
import { declaredImmutable } from "#machinery/meta-validation.ts";
import { isDns1123SubdomainOfAnyCase, rangeMessage } from "#machinery/validation.ts";
import { validateInlineVolumeSpec } from "../../core/v1/persistentvolume-validation.ts";
import { dnsSubdomain } from "../../core/v1/pod-validation/fields.ts";
import type * as g from "../../generated/storage/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateMapSize } from "./parameters.ts";

export type VolumeAttachment = g.VolumeAttachment;

const attacherLengthMax = 63;
const errorBytesMax = 1024;
const int32Max = 2 ** 31 - 1;
const encoder = new TextEncoder();

function validateSource(
  { inlineVolumeSpec, persistentVolumeName }: g.VolumeAttachmentSource,
  path: string,
): FieldError[] {
  const exactlyOne = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
  if (inlineVolumeSpec === undefined && persistentVolumeName === undefined) {
    return [required(path, exactlyOne)];
  }
  if (inlineVolumeSpec !== undefined && persistentVolumeName !== undefined) {
    return [forbidden(path, exactlyOne)];
  }
  if (inlineVolumeSpec !== undefined) {
    return validateInlineVolumeSpec(inlineVolumeSpec, `${path}.inlineVolumeSpec`);
  }
  if (persistentVolumeName !== "") return [];
  return [required(`${path}.persistentVolumeName`, "must specify non empty persistentVolumeName")];
}

function validateVolumeError(error: g.VolumeError | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (encoder.encode(error?.message ?? "").length > errorBytesMax) {
    errors.push(tooLong(`${path}.message`, errorBytesMax));
  }
  const code = error?.errorCode;
  if (code !== undefined && code < 0) {
    errors.push(invalid(`${path}.errorCode`, code, rangeMessage(0, int32Max)));
  }
  return errors;
}

function validateAttacher(attacher: string): FieldError[] {
  const path = "spec.attacher";
  if (attacher === "") return [declared(required(path))];
  const errors = isDns1123SubdomainOfAnyCase(attacher).map((why) =>
    declared(invalid(path, attacher, why)),
  );
  if (attacher.length > attacherLengthMax) errors.push(declared(tooLong(path, attacherLengthMax)));
  return errors;
}

function validateAttachment({ spec, status }: VolumeAttachment): FieldError[] {
  const volumeName = spec.source.persistentVolumeName;
  return [
    ...validateAttacher(spec.attacher),
    ...validateSource(spec.source, "spec.source"),
    ...dnsSubdomain("spec.nodeName", spec.nodeName),
    ...validateMapSize(status?.attachmentMetadata ?? {}, "status.attachmentMetadata"),
    ...validateVolumeError(status?.attachError, "status.attachError"),
    ...validateVolumeError(status?.detachError, "status.detachError"),
    ...(volumeName === undefined
      ? []
      : dnsSubdomain("spec.source.persistentVolumeName", volumeName)),
  ];
}

const validateUpdate = (object: VolumeAttachment, old: VolumeAttachment): FieldError[] => [
  ...validateAttachment(object),
  ...declaredImmutable(object.spec, old.spec, "spec"),
];

export const VolumeAttachment = defineResource<VolumeAttachment>({
  group: "storage.k8s.io",
  version: "v1",
  plural: "volumeattachments",
  printerColumns: [
    { name: "Attacher", format: "name", value: ({ spec }) => spec.attacher },
    { name: "PV", value: ({ spec }) => spec.source.persistentVolumeName ?? "" },
    { name: "Node", value: ({ spec }) => spec.nodeName },
    { name: "Attached", type: "boolean", value: ({ status }) => status.attached },
    ageColumn,
  ],
  strategy: {
    allowUnconditionalUpdate: false,
    prepareForCreate(object) {
      object.status = { attached: false };
    },
    validate: validateAttachment,
    validateUpdate,
    validateStatusUpdate: validateUpdate,
    statusResetFields: ["metadata"],
  },
});
