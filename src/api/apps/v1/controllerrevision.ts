/** ControllerRevision: a past template of a StatefulSet or DaemonSet, kept for rollback. */
import { type FieldError, required } from "#machinery/field-error.ts";
import { controllerOf } from "#machinery/meta.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { isObject } from "#machinery/object.ts";
import { nonNegative } from "../../core/v1/pod-validation/fields.ts";
import type * as g from "../../generated/apps/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type ControllerRevision = g.ControllerRevision;

function validateData({ data }: ControllerRevision): FieldError[] {
  if (data === undefined || data === null) return [required("data", "data is mandatory")];
  return isObject(data) ? [] : [required("data", "data must be a valid JSON object")];
}

/** "statefulset.apps/web" */
function controllerCell(revision: ControllerRevision): string {
  const owner = controllerOf(revision);
  if (owner === undefined) return "<none>";
  const slash = owner.apiVersion.indexOf("/");
  const group = slash < 0 ? "" : `.${owner.apiVersion.slice(0, slash)}`;
  return `${`${owner.kind}${group}`.toLowerCase()}/${owner.name}`;
}

export const ControllerRevision = defineResource<ControllerRevision>({
  group: "apps",
  version: "v1",
  plural: "controllerrevisions",
  printerColumns: [
    { name: "Controller", value: controllerCell },
    { name: "Revision", value: ({ revision }) => revision },
    ageColumn,
  ],
  strategy: {
    validate: (revision) => [
      ...nonNegative("revision", revision.revision),
      ...validateData(revision),
    ],
    validateUpdate: (revision, old) => [
      ...nonNegative("revision", revision.revision),
      ...validateImmutable(revision.data, old.data, "data"),
    ],
  },
});
