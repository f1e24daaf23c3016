/** DeviceClass: which devices may be claimed under a name, and how they are set up. */

import type { FieldError } from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import type * as g from "../../generated/resource/v1.ts";
import { defineResource } from "../../resource.ts";
import { validateExtendedResourceName } from "./device-names.ts";
import { configurationsMax, validateConfiguration, validateSelectors } from "./device-parts.ts";
import { eachOf, Findings } from "./findings.ts";

export type DeviceClass = g.DeviceClass;

function validateClass({ spec }: DeviceClass, old?: DeviceClass): FieldError[] {
  const found = new Findings();
  const { selectors = [], config = [], extendedResourceName } = spec;
  const sameSelectors = old !== undefined && equalObjects(spec.selectors, old.spec.selectors);
  validateSelectors(found, selectors, "spec.selectors", sameSelectors);
  const sameConfig = old !== undefined && equalObjects(spec.config, old.spec.config);
  eachOf(found, config, "spec.config", configurationsMax, (one, at) =>
    validateConfiguration(found, one, at, sameConfig),
  );
  if (extendedResourceName !== undefined) {
    const path = "spec.extendedResourceName";
    found.declare(...validateExtendedResourceName(extendedResourceName, path));
  }
  return found.all();
}

export const DeviceClass = defineResource<DeviceClass>({
  group: "resource.k8s.io",
  version: "v1",
  plural: "deviceclasses",
  strategy: {
    tracksGeneration: true,
    validate: (one) => validateClass(one),
    validateUpdate: (one, old) => validateClass(one, old),
  },
});
