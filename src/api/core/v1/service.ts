/** Service: one name and address for many pods. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";
import { serviceColumns } from "./service-columns.ts";
import { setServiceDefaults } from "./service-defaults.ts";
import { dropTypeDependentFields } from "./service-rules.ts";
import { validateServiceChange } from "./service-update.ts";
import { validateService, validateServiceStatus } from "./service-validation.ts";
import { serviceStatusWarnings, serviceWarnings } from "./service-warnings.ts";

export type Service = g.Service;

export const Service = defineResource<g.Service>({
  group: "",
  version: "v1",
  plural: "services",
  storagePrefix: "/registry/services/specs",
  selectableFields: {
    "spec.clusterIP": ({ spec }) => spec.clusterIP ?? "",
    "spec.type": ({ spec }) => spec.type ?? "",
  },
  printerColumns: serviceColumns,
  strategy: {
    nameFormat: "label",
    allowCreateOnUpdate: true,
    defaults: setServiceDefaults,
    prepareForUpdate: dropTypeDependentFields,
    validate: (service) => validateService(service, undefined),
    validateUpdate: (service, old) => [
      ...validateServiceChange(service, old),
      ...validateService(service, old),
    ],
    validateStatusUpdate: validateServiceStatus,
    warnings: serviceWarnings,
    statusWarnings: serviceStatusWarnings,
  },
});
