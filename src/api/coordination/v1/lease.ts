/** Lease: who leads, and until when. */
import { type FieldError, forbidden, invalid, notSupported } from "#machinery/field-error.ts";
import { isQualifiedName } from "#machinery/validation.ts";
import type * as g from "../../generated/coordination/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type Lease = g.Lease;

const strategies: readonly string[] = ["OldestEmulationVersion"];

function validateStrategy(strategy: string): FieldError[] {
  // Upstream: the path names the field twice.
  const path = "spec.strategy.strategy";
  if (strategy.includes("/")) {
    return isQualifiedName(strategy).map((message) => invalid(path, strategy, message));
  }
  return strategies.includes(strategy) ? [] : [notSupported(path, strategy, strategies)];
}

function validateLease({ spec }: Lease): FieldError[] {
  const errors: FieldError[] = [];
  const { leaseDurationSeconds, leaseTransitions, strategy, preferredHolder = "" } = spec;
  if (leaseDurationSeconds !== undefined && leaseDurationSeconds <= 0) {
    const detail = "must be greater than 0";
    errors.push(invalid("spec.leaseDurationSeconds", leaseDurationSeconds, detail));
  }
  if (leaseTransitions !== undefined && leaseTransitions < 0) {
    const detail = "must be greater than or equal to 0";
    errors.push(invalid("spec.leaseTransitions", leaseTransitions, detail));
  }
  if (strategy !== undefined) errors.push(...validateStrategy(strategy));
  if (preferredHolder !== "" && (strategy ?? "") === "") {
    const detail = "may only be specified if `strategy` is defined";
    errors.push(forbidden("spec.preferredHolder", detail));
  }
  return errors;
}

/** Fields of coordinated leader election, which is off: they stay only where they stood before. */
function dropDisabledFields(lease: Lease, old: Lease | undefined): void {
  if (old?.spec.strategy === undefined) delete lease.spec.strategy;
  if (old?.spec.preferredHolder === undefined) delete lease.spec.preferredHolder;
}

export const Lease = defineResource<g.Lease>({
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  printerColumns: [{ name: "Holder", value: ({ spec }) => spec.holderIdentity ?? "" }, ageColumn],
  strategy: {
    allowCreateOnUpdate: true,
    allowUnconditionalUpdate: false,
    prepareForCreate: (lease) => dropDisabledFields(lease, undefined),
    prepareForUpdate: dropDisabledFields,
    validate: validateLease,
  },
});
