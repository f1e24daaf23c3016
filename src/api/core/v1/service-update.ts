/** What an update may do to a Service: cluster IPs and families may be added and the second ones given up, but never exchanged. */
import { type FieldError, forbidden, invalid } from "#machinery/field-error.ts";
import { immutableMessage } from "#machinery/meta-validation.ts";
import type { Service } from "../../generated/core/v1.ts";
import { isHeadless, needsClusterIp, needsHealthCheckNodePort } from "./service-rules.ts";

const onceSet = "may not change once set";

function refuseUnlessSingle({ spec }: Service, what: string): FieldError[] {
  if (spec.ipFamilyPolicy === "SingleStack") return [];
  const detail = `must be set to 'SingleStack' when releasing the secondary ${what}`;
  return [invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, detail)];
}

function validateIpChange(service: Service, old: Service): FieldError[] {
  const now = service.spec.clusterIPs ?? [];
  const was = old.spec.clusterIPs ?? [];
  const shown = service.spec.clusterIPs;
  if (now.length === was.length) {
    return was.flatMap((ip, index) =>
      ip === now[index] ? [] : [invalid(`spec.clusterIPs[${index}]`, shown, onceSet)],
    );
  }
  const first = "spec.clusterIPs[0]";
  if (now.length === 0) return [invalid(first, shown, "primary clusterIP can not be unset")];
  const exchanged = was.length > 0 && now[0] !== was[0];
  const errors = exchanged ? [invalid(first, shown, onceSet)] : [];
  const releases = was.length > now.length && now.length === 1;
  return releases ? [...errors, ...refuseUnlessSingle(service, "clusterIP")] : errors;
}

function validateFamilyChange(service: Service, old: Service): FieldError[] {
  const { spec } = service;
  const now = spec.ipFamilies ?? [];
  const was = old.spec.ipFamilies ?? [];
  const first = "spec.ipFamilies[0]";
  if (now.length === was.length) {
    return was.flatMap((family, index) =>
      family === now[index] ? [] : [invalid(first, spec.ipFamilies, onceSet)],
    );
  }
  const errors: FieldError[] = [];
  const releases = was.length > now.length;
  if (releases && (spec.clusterIPs ?? []).length === 0) {
    errors.push(invalid(first, spec.ipFamilies, "primary ipFamily can not be unset"));
  }
  if (now.length > 0 && was.length > 0 && now[0] !== was[0]) {
    // Upstream: the value shown is that of clusterIPs.
    errors.push(invalid(first, spec.clusterIPs, onceSet));
  }
  if (releases && now.length === 1) errors.push(...refuseUnlessSingle(service, "ipFamily"));
  return errors;
}

export function validateServiceChange(service: Service, old: Service): FieldError[] {
  const errors: FieldError[] = [];
  if (needsClusterIp(service) && needsClusterIp(old)) {
    const headless = isHeadless(service);
    const wasHeadless = isHeadless(old);
    if (!headless || !wasHeadless) errors.push(...validateIpChange(service, old));
    if (!headless && !wasHeadless) errors.push(...validateFamilyChange(service, old));
  }
  const { type, loadBalancerClass, healthCheckNodePort = 0 } = service.spec;
  const balances = type === "LoadBalancer" && old.spec.type === "LoadBalancer";
  if (balances && loadBalancerClass !== old.spec.loadBalancerClass) {
    errors.push(invalid("spec.loadBalancerClass", loadBalancerClass, onceSet));
  }
  const checked = needsHealthCheckNodePort(service) && needsHealthCheckNodePort(old);
  if (checked && healthCheckNodePort !== (old.spec.healthCheckNodePort ?? 0)) {
    errors.push(forbidden("spec.healthCheckNodePort", immutableMessage));
  }
  return errors;
}
