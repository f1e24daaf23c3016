/**
 * What was accepted once must stay acceptable, or the object could never be changed again: a rule
 * that the old object breaks is not held against the new one.
 */
import { quantityOf } from "#machinery/quantity.ts";
import { validateLabelSelector } from "#machinery/selector.ts";
import { isLabelValue } from "#machinery/validation.ts";
import type { Container, Pod, PodAffinityTerm, PodSpec } from "../../../generated/core/v1.ts";
import { allContainersOf, isSidecar } from "../pod-containers.ts";
import { isHugePageResource } from "../pod-resources.ts";
import { deletionCostAnnotation, isDeletionCost } from "./annotations.ts";
import { localNonReservedPath } from "./fields.ts";
import { isWholeHugePages } from "./resources.ts";
import { type PodRules, strictRules, strictTemplateRules } from "./rules.ts";
import { validateMatchLabelKeys } from "./scheduling.ts";
import { validateHostSysctl } from "./security.ts";

const hasBrokenPages = (list: Readonly<Record<string, string>> | undefined): boolean =>
  Object.entries(list ?? {}).some(
    ([name, amount]) => isHugePageResource(name) && !isWholeHugePages(name, quantityOf(amount)),
  );

function affinityTermsOf({ affinity }: PodSpec): PodAffinityTerm[] {
  return [affinity?.podAffinity, affinity?.podAntiAffinity].flatMap((one) => [
    ...(one?.requiredDuringSchedulingIgnoredDuringExecution ?? []),
    ...(one?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ podAffinityTerm }) => podAffinityTerm,
    ),
  ]);
}

function hasInvalidNodeAffinityValues({ affinity }: PodSpec): boolean {
  const selector = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return (selector?.nodeSelectorTerms ?? []).some(({ matchExpressions }) =>
    (matchExpressions ?? []).some(({ values }) =>
      (values ?? []).some((value) => isLabelValue(value).length > 0),
    ),
  );
}

const hasNonLocalTokenPath = ({ volumes }: PodSpec): boolean =>
  (volumes ?? []).some(({ projected }) =>
    (projected?.sources ?? []).some(
      ({ serviceAccountToken: token }) =>
        token !== undefined && localNonReservedPath("", token.path).length > 0,
    ),
  );

const hasAdminWithoutEscalation = ({ securityContext }: Container): boolean =>
  securityContext?.allowPrivilegeEscalation !== true &&
  (securityContext?.capabilities?.add ?? []).includes("CAP_SYS_ADMIN");

const restartsOnResize = (container: Container): boolean =>
  !isSidecar(container) &&
  (container.resizePolicy ?? []).some(({ restartPolicy }) => restartPolicy === "RestartContainer");

/** The rules for an object that replaces `old`; without one, all of them. */
export function rulesFor(
  old: Pick<Pod, "metadata" | "spec"> | undefined,
  isPod: boolean,
): PodRules {
  if (old === undefined) return isPod ? strictRules : strictTemplateRules;
  const { spec } = old;
  const containers = allContainersOf(spec);
  const constraints = spec.topologySpreadConstraints ?? [];
  const unshared = spec.hostUsers === false;
  return {
    isPod,
    allowInvalidDeletionCost: !isDeletionCost(old.metadata?.annotations?.[deletionCostAnnotation]),
    allowIndivisibleHugePages:
      hasBrokenPages(spec.overhead) ||
      containers.some(
        ({ resources }) => hasBrokenPages(resources?.limits) || hasBrokenPages(resources?.requests),
      ),
    allowInvalidAffinitySelectors: affinityTermsOf(spec).some(
      ({ labelSelector, namespaceSelector }) =>
        [labelSelector, namespaceSelector].some((one) => validateLabelSelector(one, "").length > 0),
    ),
    allowInvalidNodeAffinityValues: hasInvalidNodeAffinityValues(spec),
    allowInvalidSpreadSelectors: constraints.some(
      ({ labelSelector }) => validateLabelSelector(labelSelector, "").length > 0,
    ),
    allowInvalidSpreadKeys: constraints.some(
      ({ matchLabelKeys, labelSelector }) =>
        validateMatchLabelKeys(matchLabelKeys ?? [], [], labelSelector, "").length > 0,
    ),
    allowNonLocalTokenPath: hasNonLocalTokenPath(spec),
    allowHostSysctls: (spec.securityContext?.sysctls ?? []).some(
      ({ name }) => validateHostSysctl(name, spec, "").length > 0,
    ),
    allowUserNamespacesWithDevices:
      unshared && containers.some(({ volumeDevices }) => (volumeDevices ?? []).length > 0),
    allowUserNamespacesOnHostNetwork: unshared && spec.hostNetwork === true,
    allowEmptyImageVolume: (spec.volumes ?? []).some(
      ({ image }) => image !== undefined && (image.reference ?? "") === "",
    ),
    allowSysAdminWithoutEscalation: containers.some(hasAdminWithoutEscalation),
    allowInitContainerRestarts: (spec.initContainers ?? []).some(restartsOnResize),
    allowComparingTolerations: (spec.tolerations ?? []).some(
      ({ operator }) => operator === "Lt" || operator === "Gt",
    ),
  };
}
