/**
 * PodSecurity: holds the pods of a namespace to the level that its labels name ("enforce"), and tells as warnings what would not fit
 * the level that "warn" names, also of templates. Labels that cannot be read are refused, and count as "restricted" meanwhile.
 */
import type { Namespace, Pod, PodSpec } from "#api/generated/core/v1.ts";
import { type FieldError, invalid } from "#machinery/field-error.ts";
import type { ObjectMeta } from "#machinery/meta.ts";
import { equalObjects, isObject } from "#machinery/object.ts";
import { invalidObject } from "#machinery/status-error.ts";
import type { Reader } from "../reader.ts";
import { type AdmissionPlugin, type AdmissionRequest, isAbout, refuse } from "./admission.ts";
import { type Violation, violationsOf } from "./pod-security-checks.ts";
import { viewOf } from "./pod-security-view.ts";

const levels = ["privileged", "baseline", "restricted"] as const;
type Level = (typeof levels)[number];
interface Standard {
  readonly level: Level;
  /** Undefined: the latest. */
  readonly minor: number | undefined;
}
interface Policy {
  readonly enforce: Standard;
  readonly warn: Standard;
  readonly errors: readonly FieldError[];
}

const prefix = "pod-security.kubernetes.io/";
const namespaces = { group: "", plural: "namespaces" };
const podsCheckedMax = 3000;

const textOf = ({ level, minor }: Standard): string =>
  `${level}:${minor === undefined ? "latest" : `v1.${minor}`}`;

function levelOf(text: string): Level | undefined {
  return levels.find((level) => level === text);
}

/** The policy that labels name; default: everything goes. */
export function policyOf(labels: Readonly<Record<string, string>> | undefined): Policy {
  const errors: FieldError[] = [];
  const bad = (name: string, value: string, why: string): void =>
    void errors.push(invalid(`metadata.labels[${prefix}${name}]`, value, why));
  const level = (mode: string, whenBad: Level): Level | undefined => {
    const text = labels?.[prefix + mode];
    if (text === undefined) return undefined;
    const known = levelOf(text);
    if (known === undefined) bad(mode, text, `must be one of ${levels.join(", ")}`);
    return known ?? whenBad;
  };
  const version = (mode: string): number | undefined => {
    const text = labels?.[`${prefix}${mode}-version`];
    if (text === undefined || text === "latest") return undefined;
    const match = /^v1\.(0|[1-9]\d*)$/.exec(text);
    if (match === null) bad(`${mode}-version`, text, 'must be "latest" or "v1.x"');
    return match === null ? undefined : Number(match[1]);
  };
  const enforce = {
    level: level("enforce", "restricted") ?? "privileged",
    minor: version("enforce"),
  };
  level("audit", "privileged");
  version("audit");
  const asked = level("warn", "privileged");
  const minor = version("warn");
  let warn: Standard = { level: asked ?? "privileged", minor };
  const isReadable = levelOf(labels?.[`${prefix}enforce`] ?? "") !== undefined;
  if (asked === undefined && isReadable && levels.indexOf(enforce.level) > 0) {
    const own = labels?.[`${prefix}warn-version`] === undefined ? enforce.minor : minor;
    warn = { level: enforce.level, minor: own };
  }
  return { enforce, warn, errors };
}

const details = (violations: readonly Violation[]): string =>
  violations
    .map(({ reason, detail }) => (detail === "" ? reason : `${reason} (${detail})`))
    .join(", ");

/** The template of a controller, wherever its kind keeps it. */
function templateOf(object: unknown): { spec: PodSpec; metadata?: ObjectMeta } | undefined {
  if (!isObject(object) || !isObject(object.spec)) return undefined;
  const { spec } = object;
  const job = isObject(spec.jobTemplate) ? spec.jobTemplate.spec : undefined;
  const holder = isObject(job) ? job : spec;
  const { template } = holder;
  if (!isObject(template) || !isObject(template.spec)) return undefined;
  return template as unknown as { spec: PodSpec; metadata?: ObjectMeta };
}

const controllers = new Set([
  "/replicationcontrollers",
  "/podtemplates",
  "apps/deployments",
  "apps/replicasets",
  "apps/statefulsets",
  "apps/daemonsets",
  "batch/jobs",
  "batch/cronjobs",
]);
const checkedSubresources = new Set(["", "ephemeralcontainers", "resize"]);

function handles(request: AdmissionRequest): boolean {
  const { operation, group, plural, subresource } = request;
  if (operation !== "CREATE" && operation !== "UPDATE") return false;
  if (isAbout(request, "", "namespaces")) return true;
  if (group === "" && plural === "pods") return checkedSubresources.has(subresource);
  return subresource === "" && controllers.has(`${group}/${plural}`);
}

function evaluate(
  standard: Standard,
  spec: PodSpec,
  metadata: ObjectMeta | undefined,
): Violation[] {
  return violationsOf(standard.level, standard.minor, viewOf(spec, metadata?.annotations));
}

function warn(request: AdmissionRequest, standard: Standard, spec: PodSpec, metadata?: ObjectMeta) {
  const found = evaluate(standard, spec, metadata);
  if (found.length > 0)
    request.warnings.push(`would violate PodSecurity "${textOf(standard)}": ${details(found)}`);
}

function checkPod(request: AdmissionRequest, policy: Policy): void {
  const pod = request.object as Pod;
  const old = request.oldObject as Pod | undefined;
  if (old !== undefined && !isSignificant(pod, old)) return;
  const found = evaluate(policy.enforce, pod.spec, pod.metadata);
  if (found.length > 0)
    throw refuse(request, `violates PodSecurity "${textOf(policy.enforce)}": ${details(found)}`);
  warn(request, policy.warn, pod.spec, pod.metadata);
}

/** Upstream: only other images and further containers are looked at anew. */
function isSignificant({ spec }: Pod, { spec: old }: Pod): boolean {
  const imagesOf = (containers: readonly { name: string; image?: string }[] | undefined) =>
    (containers ?? []).map(({ image }) => image ?? "");
  if (!equalObjects(imagesOf(spec.containers), imagesOf(old.containers))) return true;
  if (!equalObjects(imagesOf(spec.initContainers), imagesOf(old.initContainers))) return true;
  return (spec.ephemeralContainers ?? []).some(({ name, image }) => {
    const before = old.ephemeralContainers?.find((one) => one.name === name);
    return before === undefined || before.image !== image;
  });
}

/** What the pods that are there would violate, as warnings: they are not touched. */
function podWarnings(reader: Reader, namespace: string, standard: Standard): string[] {
  const names = new Map<string, string[]>();
  let count = 0;
  for (const object of reader.list({ group: "", plural: "pods" }, namespace)) {
    if (++count > podsCheckedMax) break;
    const pod = object as Pod;
    const found = evaluate(standard, pod.spec, pod.metadata);
    if (found.length === 0) continue;
    const why = found.map(({ reason }) => reason).join(", ");
    names.set(why, [...(names.get(why) ?? []), pod.metadata.name ?? ""]);
  }
  if (names.size === 0) return [];
  const head = `existing pods in namespace "${namespace}" violate the new PodSecurity enforce level "${textOf(standard)}"`;
  const each = [...names].map(([why, pods]) => {
    const others = pods.length - 1;
    const more = others === 0 ? "" : ` (and ${others} other ${others === 1 ? "pod" : "pods"})`;
    return `${pods.sort()[0] ?? ""}${more}: ${why}`;
  });
  return [head, ...each.sort()];
}

function checkNamespace(request: AdmissionRequest, reader: Reader): void {
  const { object, oldObject, name } = request;
  const next = policyOf(object?.metadata.labels);
  const old = oldObject === undefined ? undefined : policyOf(oldObject.metadata.labels);
  if (next.errors.length > 0 && !equalObjects(next.errors, old?.errors ?? []))
    throw invalidObject({ group: "", kind: "Namespace" }, name, next.errors);
  if (old === undefined || next.enforce.level === "privileged") return;
  const sameVersion = next.enforce.minor === old.enforce.minor;
  const relaxed = levels.indexOf(next.enforce.level) <= levels.indexOf(old.enforce.level);
  if (sameVersion && relaxed) return;
  request.warnings.push(...podWarnings(reader, name, next.enforce));
}

export const podSecurity: AdmissionPlugin = {
  name: "PodSecurity",
  handles,
  validate(request, { reader }) {
    if (isAbout(request, "", "namespaces")) {
      checkNamespace(request, reader);
      return;
    }
    const namespace = reader.get(namespaces, "", request.namespace) as Namespace | undefined;
    const policy = policyOf(namespace?.metadata.labels);
    if (request.group === "" && request.plural === "pods") {
      if (policy.enforce.level === "privileged" && policy.warn.level === "privileged") return;
      checkPod(request, policy);
      return;
    }
    const template = templateOf(request.object);
    if (template !== undefined) warn(request, policy.warn, template.spec, template.metadata);
  },
};
