/** LimitRange: bounds and defaults for what the pods, containers and claims of a namespace ask for. */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  required,
} from "#machinery/field-error.ts";
import { sortedKeys } from "#machinery/object.ts";
import { compareQuantities, quantityOf, quantityToNumber } from "#machinery/quantity.ts";
import { isQualifiedName } from "#machinery/validation.ts";
import type { LimitRangeItem, LimitRange as LimitRangeObject } from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";
import { isHugePageResource, isNativeResource } from "./pod-resources.ts";
import { containerResourceName, resourceName } from "./pod-validation/resources.ts";

export type LimitRange = LimitRangeObject;

const types = new Set(["Pod", "Container", "PersistentVolumeClaim"]);

function validateType(type: string, path: string): FieldError[] {
  const errors = isQualifiedName(type).map((why) => invalid(path, type, why));
  if (errors.length > 0 || type.includes("/") || types.has(type)) return errors;
  return [invalid(path, type, "must be a standard limit type or fully qualified")];
}

function validateNames(item: LimitRangeItem, path: string): FieldError[] {
  const check =
    item.type === "Pod" || item.type === "Container" ? containerResourceName : resourceName;
  const names = (field: "max" | "min" | "default" | "defaultRequest" | "maxLimitRequestRatio") =>
    sortedKeys(item[field] ?? {}).flatMap((name) => check(name, `${path}.${field}[${name}]`));
  const errors = [...names("max"), ...names("min")];
  if (item.type === "Pod") {
    for (const field of ["default", "defaultRequest"] as const) {
      if (Object.keys(item[field] ?? {}).length > 0)
        errors.push(forbidden(`${path}.${field}`, "may not be specified when `type` is 'Pod'"));
    }
  } else errors.push(...names("default"), ...names("defaultRequest"));
  if (item.type === "PersistentVolumeClaim") {
    if (item.min?.storage === undefined && item.max?.storage === undefined) {
      const why = "either minimum or maximum storage value is required, but neither was provided";
      errors.push(required(`${path}.limits`, why));
    }
  }
  return [...errors, ...names("maxLimitRequestRatio")];
}

/** The amounts of one resource against each other. */
function validateAmounts(item: LimitRangeItem, name: string, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const isPod = item.type === "Pod";
  const min = item.min?.[name];
  const max = item.max?.[name];
  const limit = isPod ? undefined : item.default?.[name];
  const request = isPod ? undefined : item.defaultRequest?.[name];
  const ratio = item.maxLimitRequestRatio?.[name];
  const above = (a: string | undefined, b: string | undefined): boolean =>
    a !== undefined && b !== undefined && compareQuantities(quantityOf(a), quantityOf(b)) > 0;
  const add = (field: string, value: string | undefined, why: string): void =>
    void errors.push(invalid(`${path}.${field}[${name}]`, value, why));
  if (above(min, max)) add("min", min, `min value ${min} is greater than max value ${max}`);
  if (above(min, request))
    add(
      "defaultRequest",
      request,
      `min value ${min} is greater than default request value ${request}`,
    );
  if (above(request, max))
    add(
      "defaultRequest",
      request,
      `default request value ${request} is greater than max value ${max}`,
    );
  if (above(request, limit)) {
    const why = `default request value ${request} is greater than default limit value ${limit}`;
    add("defaultRequest", request, why);
  }
  if (above(min, limit))
    add("default", min, `min value ${min} is greater than default value ${limit}`);
  if (above(limit, max))
    add("default", max, `default value ${limit} is greater than max value ${max}`);
  if (ratio !== undefined) {
    if (above("1", ratio)) add("maxLimitRequestRatio", ratio, `ratio ${ratio} is less than 1`);
    if (min !== undefined && max !== undefined) {
      const bound = quantityToNumber(max) / quantityToNumber(min);
      if (quantityToNumber(ratio) > bound) {
        const why = `ratio ${ratio} is greater than max/min = ${bound.toFixed(6)}`;
        add("maxLimitRequestRatio", ratio, why);
      }
    }
  }
  const fixed = !isNativeResource(name) || isHugePageResource(name);
  if (fixed && (above(limit, request) || above(request, limit))) {
    const why = `default value ${limit} must equal to defaultRequest value ${request} in ${name}`;
    add("defaultRequest", request, why);
  }
  return errors;
}

function validate({ spec }: LimitRange): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, item] of (spec.limits ?? []).entries()) {
    const path = `spec.limits[${index}]`;
    errors.push(...validateType(item.type, `${path}.type`));
    if (seen.has(item.type)) errors.push(duplicate(`${path}.type`, item.type));
    seen.add(item.type);
    errors.push(...validateNames(item, path));
    const names = new Set(
      [item.max, item.min, item.default, item.defaultRequest, item.maxLimitRequestRatio].flatMap(
        (list) => Object.keys(list ?? {}),
      ),
    );
    for (const name of names) errors.push(...validateAmounts(item, name, path));
  }
  return errors;
}

/** What is not given: the limit is the maximum, the request is the limit, or else the minimum. */
function setDefaults(item: LimitRangeItem): void {
  if (item.type !== "Container") return;
  const limits = { ...item.max, ...item.default };
  const requests = { ...item.min, ...limits, ...item.defaultRequest };
  if (Object.keys(limits).length > 0) item.default = limits;
  if (Object.keys(requests).length > 0) item.defaultRequest = requests;
}

export const LimitRange = defineResource<LimitRange>({
  group: "",
  version: "v1",
  plural: "limitranges",
  printerColumns: [
    {
      name: "Created At",
      type: "date",
      value: ({ metadata }) => metadata.creationTimestamp ?? "",
    },
  ],
  strategy: {
    allowCreateOnUpdate: true,
    defaults({ spec }) {
      for (const item of spec.limits ?? []) setDefaults(item);
    },
    validate,
    validateUpdate: validate,
  },
});
