/** DeviceTaintRule: taints devices by their driver, pool or name, as if their slices said so. */
import { type FieldError, tooMany } from "#machinery/field-error.ts";
import { validateConditions } from "#machinery/meta-validation.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import type * as g from "../../generated/resource/v1.ts";
import { ageColumn, ageOf } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateDriverName, validateLabelName, validatePoolName } from "./device-names.ts";
import { setTaintDefaults, validateTaint } from "./device-parts.ts";
import { Findings } from "./findings.ts";

export type DeviceTaintRule = g.DeviceTaintRule;

const conditionsMax = 8;

function validateRule({ spec }: DeviceTaintRule): FieldError[] {
  const found = new Findings();
  const { driver, pool, device } = spec.deviceSelector ?? {};
  const path = "spec.deviceSelector";
  if (driver !== undefined) found.tell(...validateDriverName(driver, `${path}.driver`));
  if (pool !== undefined) found.tell(...validatePoolName(pool, `${path}.pool`));
  if (device !== undefined) found.tell(...validateLabelName(device, `${path}.device`));
  validateTaint(found, spec.taint, "spec.taint");
  return found.all();
}

function validateStatus({ status }: DeviceTaintRule): FieldError[] {
  const conditions = status.conditions ?? [];
  const path = "status.conditions";
  const errors = validateConditions(conditions, path);
  if (conditions.length <= conditionsMax) return errors;
  return [...errors, tooMany(path, conditions.length, conditionsMax)];
}

export const DeviceTaintRule = defineResource<DeviceTaintRule>({
  group: "resource.k8s.io",
  version: "v1",
  plural: "devicetaintrules",
  printerColumns: [
    { name: "Key", value: ({ spec }) => spec.taint.key },
    { name: "Value", value: ({ spec }) => spec.taint.value ?? "" },
    { name: "Effect", value: ({ spec }) => spec.taint.effect },
    {
      name: "TimeAdded",
      value: ({ spec }, now) =>
        spec.taint.timeAdded === undefined ? "" : ageOf(spec.taint.timeAdded, now),
    },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    allowUnconditionalUpdate: false,
    defaults({ spec }, now) {
      if (now !== undefined) setTaintDefaults([spec.taint], now);
    },
    prepareForCreate: ({ spec }, { now }) => setTaintDefaults([spec.taint], now),
    prepareForUpdate({ spec: { taint } }, { spec: { taint: before } }, { now }) {
      setTaintDefaults([taint], now);
      // Tolerations count from when the effect began.
      const isSame = parseTime(taint.timeAdded ?? "") === parseTime(before.timeAdded ?? "");
      if (taint.effect !== before.effect && isSame) taint.timeAdded = formatTime(now);
    },
    validate: validateRule,
    validateUpdate: (rule) => validateRule(rule),
    validateStatusUpdate: (rule) => validateStatus(rule),
    statusResetFields: ["metadata"],
  },
});
