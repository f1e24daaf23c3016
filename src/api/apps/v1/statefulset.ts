/** StatefulSet: Pods with names, claims and an order. */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { validateAnnotations, validateImmutable } from "#machinery/meta-validation.ts";
import {
  compileLabelSelector,
  requirementsOf,
  validateLabelSelector,
  validateLabels,
} from "#machinery/selector.ts";
import { isDns1123Label } from "#machinery/validation.ts";
import { claimSpecWarnings, setClaimDefaults } from "../../core/v1/persistentvolumeclaim.ts";
import { setPodTemplateDefaults } from "../../core/v1/pod-defaults.ts";
import { dropDisabledTemplateFields } from "../../core/v1/pod-disabled-fields.ts";
import { validatePodAnnotations } from "../../core/v1/pod-validation/annotations.ts";
import { validateClaimSpec } from "../../core/v1/pod-validation/claim-template.ts";
import { each, nonNegative } from "../../core/v1/pod-validation/fields.ts";
import { rulesFor } from "../../core/v1/pod-validation/relaxed-rules.ts";
import type { PodRules } from "../../core/v1/pod-validation/rules.ts";
import { validatePodTemplate } from "../../core/v1/pod-validation/spec.ts";
import { templateWarnings } from "../../core/v1/pod-warnings.ts";
import type * as g from "../../generated/apps/v1.ts";
import type { PodTemplateSpec } from "../../generated/core/v1.ts";
import { ageColumn, containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import {
  intOrPercentValue,
  validateAtMostAll,
  validateIntOrPercent,
  validateNotDecremented,
} from "./workload-validation.ts";

export type StatefulSet = g.StatefulSet;

function setStatefulSetDefaults({ spec }: StatefulSet): void {
  spec.podManagementPolicy ||= "OrderedReady";
  const { updateStrategy } = spec;
  if (!updateStrategy.type) {
    updateStrategy.type = "RollingUpdate";
    updateStrategy.rollingUpdate ??= {};
  }
  if (updateStrategy.type === "RollingUpdate" && updateStrategy.rollingUpdate !== undefined) {
    updateStrategy.rollingUpdate.partition ??= 0;
    updateStrategy.rollingUpdate.maxUnavailable ??= 1;
  }
  spec.persistentVolumeClaimRetentionPolicy ??= {};
  spec.persistentVolumeClaimRetentionPolicy.whenDeleted ||= "Retain";
  spec.persistentVolumeClaimRetentionPolicy.whenScaled ||= "Retain";
  spec.replicas ??= 1;
  spec.revisionHistoryLimit ??= 10;
  setPodTemplateDefaults(spec.template);
  for (const claim of spec.volumeClaimTemplates ?? []) {
    claim.apiVersion = "v1";
    claim.kind = "PersistentVolumeClaim";
    setClaimDefaults(claim);
  }
}

function validateStrategy({ updateStrategy }: g.StatefulSetSpec): FieldError[] {
  const path = "spec.updateStrategy";
  const { type, rollingUpdate } = updateStrategy;
  if (!type) return [required(path)];
  if (type === "OnDelete") {
    if (rollingUpdate === undefined) return [];
    const detail = "only allowed for updateStrategy 'RollingUpdate'";
    return [invalid(`${path}.rollingUpdate`, rollingUpdate, detail)];
  }
  if (type !== "RollingUpdate") {
    return [invalid(path, updateStrategy, "must be 'RollingUpdate' or 'OnDelete'")];
  }
  if (rollingUpdate === undefined) return [];
  const { partition, maxUnavailable } = rollingUpdate;
  const errors = nonNegative(`${path}.rollingUpdate.partition`, partition);
  if (maxUnavailable === undefined) return errors;
  const at = `${path}.rollingUpdate.maxUnavailable`;
  errors.push(...validateIntOrPercent(maxUnavailable, at));
  if (intOrPercentValue(maxUnavailable) === 0) {
    errors.push(invalid(at, maxUnavailable, "cannot be 0"));
  }
  return [...errors, ...validateAtMostAll(maxUnavailable, at)];
}

function validateRetention({ persistentVolumeClaimRetentionPolicy: policy }: g.StatefulSetSpec) {
  if (policy === undefined) return [];
  const path = "spec.persistentVolumeClaimRetentionPolicy";
  return (["whenDeleted", "whenScaled"] as const).flatMap((when) => {
    const value = policy[when] ?? "";
    if (value === "Retain" || value === "Delete") return [];
    return [notSupported(`${path}.${when}`, value, ["Retain", "Delete"])];
  });
}

/** The template as Pods get it: hostname and subdomain are the controller's, claims are volumes. */
function templateOfPods({ template, volumeClaimTemplates = [] }: g.StatefulSetSpec) {
  const { hostname: _h, subdomain: _s, ...spec } = template.spec;
  if (volumeClaimTemplates.length === 0) return { ...template, spec };
  const claims = new Map(
    volumeClaimTemplates.map(({ metadata: { name = "" } }) => [
      name,
      { name, persistentVolumeClaim: { claimName: name } },
    ]),
  );
  const own = (spec.volumes ?? []).filter(({ name }) => !claims.has(name));
  return { ...template, spec: { ...spec, volumes: [...claims.values(), ...own] } };
}

function validateTemplate(
  template: PodTemplateSpec,
  { selector }: g.StatefulSetSpec,
  rules: PodRules | undefined,
): FieldError[] {
  const path = "spec.template";
  const { labels, annotations } = template.metadata ?? {};
  const errors: FieldError[] = [];
  if (!compileLabelSelector(selector)(labels)) {
    const detail = "`selector` does not match template `labels`";
    errors.push(invalid(`${path}.metadata.labels`, labels, detail));
  }
  if (rules !== undefined) errors.push(...validatePodTemplate(template, path, rules));
  // Upstream: said once more, whether or not the template as a whole is looked at.
  return [
    ...errors,
    ...validateLabels(labels, `${path}.labels`),
    ...validateAnnotations(annotations, `${path}.annotations`),
    ...validatePodAnnotations(
      annotations,
      template.spec,
      `${path}.annotations`,
      rules ?? rulesFor(undefined, false),
    ),
  ];
}

function validateSelector({ selector }: g.StatefulSetSpec): FieldError[] {
  const path = "spec.selector";
  if (selector === undefined || selector === null) return [required(path)];
  const errors = validateLabelSelector(selector, path);
  const { matchLabels = {}, matchExpressions = [] } = selector;
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) {
    errors.push(invalid(path, selector, "empty selector is invalid for statefulset"));
  }
  return errors;
}

interface Strictness {
  /** Undefined: the template as a whole is not looked at. */
  readonly rules: PodRules | undefined;
  /** Names and claims cannot change: what was accepted once stays. */
  readonly isNew: boolean;
}

function validateSpec({ spec }: StatefulSet, { rules, isNew }: Strictness): FieldError[] {
  const errors: FieldError[] = [];
  const { podManagementPolicy: policy, serviceName, selector } = spec;
  if (!policy) errors.push(required("spec.podManagementPolicy"));
  else if (policy !== "OrderedReady" && policy !== "Parallel") {
    const detail = "must be 'OrderedReady' or 'Parallel'";
    errors.push(invalid("spec.podManagementPolicy", policy, detail));
  }
  errors.push(...validateStrategy(spec), ...validateRetention(spec));
  if (isNew) {
    (spec.volumeClaimTemplates ?? []).forEach((claim, index) => {
      errors.push(...validateClaimSpec(claim.spec, `spec.volumeClaimTemplates[${index}].spec`));
    });
  }
  errors.push(
    ...nonNegative("spec.replicas", spec.replicas),
    ...nonNegative("spec.minReadySeconds", spec.minReadySeconds),
    ...nonNegative("spec.ordinals.start", spec.ordinals?.start),
  );
  if (isNew && serviceName !== "") {
    errors.push(...each("spec.serviceName", serviceName, isDns1123Label(serviceName)));
  }
  errors.push(...validateSelector(spec));
  const usable = selector === undefined || selector === null || isUsable(selector);
  if (usable) errors.push(...validateTemplate(templateOfPods(spec), spec, rules));
  else errors.push(invalid("spec.selector", selector, ""));
  const { restartPolicy = "", activeDeadlineSeconds } = spec.template.spec;
  if (restartPolicy !== "Always") {
    errors.push(notSupported("spec.template.spec.restartPolicy", restartPolicy, ["Always"]));
  }
  if (activeDeadlineSeconds !== undefined) {
    const detail = "activeDeadlineSeconds in StatefulSet is not Supported";
    errors.push(forbidden("spec.template.spec.activeDeadlineSeconds", detail));
  }
  return errors;
}

const isUsable = (selector: NonNullable<g.StatefulSetSpec["selector"]>): boolean =>
  requirementsOf(selector) !== undefined && validateLabelSelector(selector, "").length === 0;

function validateUpdate(set: StatefulSet, old: StatefulSet): FieldError[] {
  const rules = rulesFor(old.spec.template, false);
  const wasGood = validateSpec(old, { rules, isNew: false }).length === 0;
  const stays = ["selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"] as const;
  return [
    ...validateSpec(set, { rules: wasGood ? rules : undefined, isNew: false }),
    ...stays.flatMap((name) => validateImmutable(set.spec[name], old.spec[name], `spec.${name}`)),
  ];
}

const counts = [
  "replicas",
  "readyReplicas",
  "currentReplicas",
  "updatedReplicas",
  "availableReplicas",
] as const;

function validateStatus({ status }: StatefulSet, old: StatefulSet): FieldError[] {
  const errors = [...counts, "observedGeneration" as const, "collisionCount" as const].flatMap(
    (name) => nonNegative(`status.${name}`, status[name]),
  );
  for (const name of counts.slice(1)) {
    const count = status[name] ?? 0;
    if (count <= status.replicas) continue;
    errors.push(invalid(`status.${name}`, count, "cannot be greater than status.replicas"));
  }
  if (status.availableReplicas > (status.readyReplicas ?? 0)) {
    const detail = "cannot be greater than status.readyReplicas";
    errors.push(invalid("status.availableReplicas", status.availableReplicas, detail));
  }
  return [...errors, ...validateNotDecremented("collisionCount", status, old.status)];
}

function warnings({ metadata, spec }: StatefulSet, old: StatefulSet | undefined): string[] {
  const changed = old === undefined || old.metadata.generation !== metadata.generation;
  const list = changed ? templateWarnings(spec.template, "spec.template.") : [];
  // Upstream: on update the path has a capital letter.
  const part = old === undefined ? "spec" : "Spec";
  (spec.volumeClaimTemplates ?? []).forEach((claim, index) => {
    list.push(...claimSpecWarnings(claim.spec, `spec.volumeClaimTemplates[${index}].${part}`));
  });
  if ((spec.revisionHistoryLimit ?? 0) < 0) {
    list.push(
      "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
    );
  }
  return list;
}

export const StatefulSet = defineResource<StatefulSet>({
  group: "apps",
  version: "v1",
  plural: "statefulsets",
  printerColumns: [
    {
      name: "Ready",
      value: ({ spec, status }) => `${status.readyReplicas ?? 0}/${spec.replicas ?? 0}`,
    },
    ageColumn,
    ...containerColumns<StatefulSet>(({ spec }) => spec.template.spec.containers),
  ],
  strategy: {
    nameFormat: "label",
    tracksGeneration: true,
    defaults: setStatefulSetDefaults,
    prepareForCreate: ({ spec }) => dropDisabledTemplateFields(spec.template, undefined),
    prepareForUpdate: ({ spec }, old) =>
      dropDisabledTemplateFields(spec.template, old.spec.template),
    validate: (set) => validateSpec(set, { rules: rulesFor(undefined, false), isNew: true }),
    validateUpdate,
    validateStatusUpdate: validateStatus,
    warnings,
  },
});
