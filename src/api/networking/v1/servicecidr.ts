/** ServiceCIDR: a range of addresses for Services. */
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import { immutableMessage } from "#machinery/meta-validation.ts";
import { isValidCidr } from "#machinery/validation.ts";
import type * as g from "../../generated/networking/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type ServiceCIDR = g.ServiceCIDR;

const path = "spec.cidrs";
const rangesMax = 2;

function validateRanges(ranges: readonly string[]): FieldError[] {
  if (ranges.length === 0) return [required(path, "at least one CIDR required")];
  if (ranges.length > rangesMax) {
    return [invalid(path, { cidrs: ranges }, "may only hold up to 2 values")];
  }
  const errors = ranges.flatMap((range, i) => isValidCidr(`${path}[${i}]`, range));
  const isIpv6 = ranges.map((range) => range.includes(":"));
  if (errors.length === 0 && ranges.length === rangesMax && isIpv6[0] === isIpv6[1]) {
    const detail =
      "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
    errors.push(invalid(path, ranges, detail));
  }
  return errors;
}

/** A second range, of the other family, may be added; nothing else changes. */
function validateChange(given: g.ServiceCIDRSpec, old: readonly string[]): FieldError[] {
  const now = given.cidrs ?? [];
  if (now.length === old.length) {
    return now.flatMap((range, i) =>
      range === old[i] ? [] : [invalid(`${path}[${i}]`, range, immutableMessage)],
    );
  }
  if (old.length !== 1 || now.length !== rangesMax)
    return [invalid(path, given.cidrs, immutableMessage)];
  const first = now[0] === old[0] ? [] : [invalid(`${path}[0]`, now[0], immutableMessage)];
  return [...first, ...validateRanges(now)];
}

export const ServiceCIDR = defineResource<ServiceCIDR>({
  group: "networking.k8s.io",
  version: "v1",
  plural: "servicecidrs",
  printerColumns: [{ name: "CIDRs", value: ({ spec }) => (spec.cidrs ?? []).join(",") }, ageColumn],
  strategy: {
    validate: ({ spec }) => validateRanges(spec.cidrs ?? []),
    validateUpdate: ({ spec }, old) => validateChange(spec, old.spec.cidrs ?? []),
    prepareForStatusUpdate({ metadata }, old) {
      const { labels, annotations } = old.metadata;
      if (labels === undefined) delete metadata.labels;
      else metadata.labels = { ...labels };
      if (annotations === undefined) delete metadata.annotations;
      else metadata.annotations = { ...annotations };
    },
    statusResetFields: ["metadata"],
  },
});
