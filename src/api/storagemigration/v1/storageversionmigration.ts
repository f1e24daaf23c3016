/** StorageVersionMigration: an order to write every object of a resource anew, in today's storage version. */
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import { immutableMessage, validateConditions } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { isDns1035Label, isDns1123Subdomain } from "#machinery/validation.ts";
import type * as g from "../../generated/storagemigration/v1.ts";
import { defineResource } from "../../resource.ts";

export type StorageVersionMigration = g.StorageVersionMigration;

const outcomes = ["Running", "Failed", "Succeeded"];

export const hasCome = ({ status }: StorageVersionMigration, type: string): boolean =>
  status?.conditions?.find((condition) => condition.type === type)?.status === "True";

function validateMigration({ spec }: StorageVersionMigration): FieldError[] {
  const { group, resource } = spec.resource;
  const errors: FieldError[] = [];
  const at = "spec.resource.resource";
  if (resource === "") errors.push(required(at, "resource is required to be set"));
  else {
    const problems = isDns1035Label(resource);
    if (problems.length > 0) errors.push(invalid(at, resource, problems.join(",")));
  }
  const problems = group === "" ? [] : isDns1123Subdomain(group);
  if (problems.length > 0) errors.push(invalid("spec.resource.group", group, problems.join(",")));
  return errors;
}

function versionProblem(version: string): string | undefined {
  if (/^[1-9][0-9]*$/.test(version)) return undefined;
  return `resource version is not well formed: ${version}`;
}

function validateStatus(
  object: StorageVersionMigration,
  old: StorageVersionMigration,
): FieldError[] {
  const errors: FieldError[] = [];
  const { resourceVersion = "", conditions = [] } = object.status ?? {};
  const before = old.status?.resourceVersion ?? "";
  const path = "status.resourceVersion";
  const problem = resourceVersion === "" ? undefined : versionProblem(resourceVersion);
  if (problem !== undefined) errors.push(invalid(path, resourceVersion, problem));
  errors.push(...validateConditions(conditions, "status.conditions"));
  if (before !== "" && before !== resourceVersion)
    errors.push(invalid(path, resourceVersion, immutableMessage));
  const say = (detail: string): void =>
    void errors.push(invalid("status.conditions", conditions, detail));
  if (hasCome(object, "Succeeded") && hasCome(object, "Failed"))
    say("Both success and failed conditions cannot be true at the same time");
  for (const [type, word] of [
    ["Succeeded", "Success"],
    ["Failed", "Failed"],
  ] as const) {
    if (hasCome(old, type) && !hasCome(object, type))
      say(`${word} condition cannot be set to false once it is true`);
  }
  return errors;
}

export const StorageVersionMigration = defineResource<StorageVersionMigration>({
  group: "storagemigration.k8s.io",
  version: "v1",
  plural: "storageversionmigrations",
  printerColumns: [
    // Upstream: the name's column has no format.
    { name: "Name", value: ({ metadata }) => metadata.name ?? "" },
    {
      name: "Resource",
      value: ({ spec: { resource } }) =>
        [resource.resource, resource.group].filter((one) => one !== "").join("."),
    },
    {
      name: "Status",
      value: ({ status }) =>
        (status?.conditions ?? []).findLast(
          (condition) => condition.status === "True" && outcomes.includes(condition.type),
        )?.type ?? "Unknown",
    },
  ],
  strategy: {
    allowUnconditionalUpdate: false,
    validate: validateMigration,
    validateUpdate(object, old) {
      const errors = validateMigration(object);
      if (!equalObjects({ ...object.spec }, { ...old.spec }))
        errors.push(invalid("spec", object.spec, immutableMessage));
      return errors;
    },
    prepareForStatusUpdate({ metadata }, { metadata: old }) {
      if (old.labels === undefined) delete metadata.labels;
      else metadata.labels = { ...old.labels };
      if (old.annotations === undefined) delete metadata.annotations;
      else metadata.annotations = { ...old.annotations };
    },
    validateStatusUpdate: validateStatus,
    statusResetFields: ["metadata"],
  },
});
