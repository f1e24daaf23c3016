/** CSIDriver: what the cluster should know about a storage driver. */
import { duplicate, type FieldError, invalid, notSupported } from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import type * as g from "../../generated/storage/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type CSIDriver = g.CSIDriver;

const tokenSecondsMin = 600;
const tokenSecondsMax = 2 ** 32;
const updateSecondsMin = 10;
const fsGroupPolicies = ["File", "None", "ReadWriteOnceWithFSType"];
const lifecycleModes = ["Persistent", "Ephemeral"];

function setDefaults({ spec }: CSIDriver): void {
  spec.attachRequired ??= true;
  spec.podInfoOnMount ??= false;
  spec.storageCapacity ??= false;
  spec.fsGroupPolicy ??= "ReadWriteOnceWithFSType";
  if ((spec.volumeLifecycleModes ?? []).length === 0) spec.volumeLifecycleModes = ["Persistent"];
  spec.requiresRepublish ??= false;
  spec.seLinuxMount ??= false;
  spec.preventPodSchedulingIfMissing ??= false;
}

function validateTokenRequests(requests: readonly g.TokenRequest[], path: string): FieldError[] {
  const audiences = new Set<string>();
  return requests.flatMap(({ audience, expirationSeconds: seconds }, index) => {
    const at = `${path}[${index}]`;
    if (audiences.has(audience)) return [duplicate(`${at}.audience`, audience)];
    audiences.add(audience);
    if (seconds === undefined) return [];
    const where = `${at}.expirationSeconds`;
    if (seconds < tokenSecondsMin) {
      return [invalid(where, seconds, "may not specify a duration less than 10 minutes")];
    }
    if (seconds <= tokenSecondsMax) return [];
    return [invalid(where, seconds, "may not specify a duration larger than 2^32 seconds")];
  });
}

function validateDriver({ spec }: CSIDriver): FieldError[] {
  const errors: FieldError[] = [];
  const { fsGroupPolicy, tokenRequests = [], volumeLifecycleModes = [] } = spec;
  if (fsGroupPolicy !== undefined && !fsGroupPolicies.includes(fsGroupPolicy)) {
    errors.push(notSupported("spec.fsGroupPolicy", fsGroupPolicy, fsGroupPolicies));
  }
  errors.push(...validateTokenRequests(tokenRequests, "spec.tokenRequests"));
  for (const mode of volumeLifecycleModes) {
    if (lifecycleModes.includes(mode)) continue;
    errors.push(notSupported("spec.volumeLifecycleModes", mode, lifecycleModes));
  }
  const period = spec.nodeAllocatableUpdatePeriodSeconds;
  if (period !== undefined && period < updateSecondsMin) {
    const detail = `must be greater than or equal to ${updateSecondsMin} seconds`;
    errors.push(invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, detail));
  }
  const inSecrets = spec.serviceAccountTokenInSecrets;
  if (inSecrets !== undefined && tokenRequests.length === 0) {
    const detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
    errors.push(invalid("spec.serviceAccountTokenInSecrets", inSecrets, detail));
  }
  return errors;
}

function warnings({ spec }: CSIDriver, old: CSIDriver | undefined): string[] {
  const { tokenRequests = [], serviceAccountTokenInSecrets } = spec;
  if (tokenRequests.length === 0 || serviceAccountTokenInSecrets !== undefined) return [];
  if (old !== undefined && equalObjects(old.spec.tokenRequests, tokenRequests)) return [];
  return [
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes",
  ];
}

export const CSIDriver = defineResource<CSIDriver>({
  group: "storage.k8s.io",
  version: "v1",
  plural: "csidrivers",
  printerColumns: [
    { name: "AttachRequired", type: "boolean", value: ({ spec }) => spec.attachRequired ?? true },
    { name: "PodInfoOnMount", type: "boolean", value: ({ spec }) => spec.podInfoOnMount ?? false },
    {
      name: "StorageCapacity",
      type: "boolean",
      value: ({ spec }) => spec.storageCapacity ?? false,
    },
    {
      name: "TokenRequests",
      value: ({ spec }) =>
        spec.tokenRequests?.map(({ audience }) => audience).join(",") ?? "<unset>",
    },
    {
      name: "RequiresRepublish",
      type: "boolean",
      value: ({ spec }) => spec.requiresRepublish ?? false,
    },
    { name: "Modes", value: ({ spec }) => spec.volumeLifecycleModes?.join(",") || "<none>" },
    ageColumn,
  ],
  strategy: {
    allowUnconditionalUpdate: false,
    defaults: setDefaults,
    prepareForUpdate(driver, old) {
      if (!equalObjects(driver.spec, old.spec)) {
        driver.metadata.generation = (old.metadata.generation ?? 0) + 1;
      }
    },
    validate: validateDriver,
    validateUpdate: (driver, old) => [
      ...validateDriver(driver),
      // Upstream: the path is not quite the field's name.
      ...validateImmutable(
        driver.spec.attachRequired,
        old.spec.attachRequired,
        "spec.attachedRequired",
      ),
      ...validateImmutable(
        driver.spec.volumeLifecycleModes,
        old.spec.volumeLifecycleModes,
        "spec.volumeLifecycleModes",
      ),
    ],
    warnings,
  },
});
