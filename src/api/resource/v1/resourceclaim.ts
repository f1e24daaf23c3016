/** ResourceClaim: devices that pods ask for, and, in its status, those that they got. */
import { invalid } from "#machinery/field-error.ts";
import { immutableMessage } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import type * as g from "../../generated/resource/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { dropFreedDevices, validateClaimStatus } from "./claim-status.ts";
import { dropClaimFields, setClaimDefaults, validateClaimSpec } from "./claim-validation.ts";

export type ResourceClaim = g.ResourceClaim;

function stateOf({ metadata, status }: ResourceClaim): string {
  const states = metadata.deletionTimestamp === undefined ? [] : ["deleted"];
  if (status.allocation !== undefined) {
    states.push("allocated");
    if ((status.reservedFor ?? []).length > 0) states.push("reserved");
  } else if (states.length === 0) states.push("pending");
  return states.join(",");
}

export const ResourceClaim = defineResource<ResourceClaim>({
  group: "resource.k8s.io",
  version: "v1",
  plural: "resourceclaims",
  printerColumns: [{ name: "State", value: stateOf }, ageColumn],
  strategy: {
    defaults: ({ spec }) => setClaimDefaults(spec),
    prepareForCreate: ({ spec }) => dropClaimFields(spec),
    prepareForUpdate: ({ spec }) => dropClaimFields(spec),
    prepareForStatusUpdate(claim, old) {
      for (const result of claim.status.allocation?.devices?.results ?? [])
        delete result.skipNodeOperations;
      dropFreedDevices(claim.status, old.status);
    },
    validate: ({ spec }) => validateClaimSpec(spec, "spec"),
    validateUpdate: (claim, old) =>
      equalObjects(claim.spec, old.spec) ? [] : [invalid("spec", null, immutableMessage)],
    validateStatusUpdate: validateClaimStatus,
    statusResetFields: ["metadata"],
  },
});
