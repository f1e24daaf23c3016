/**
 * Event: something that happened to an object. One kind, stored once, for both of its groups:
 * requests of events.k8s.io/v1 are held to stricter rules than those of v1.
 */
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { isQualifiedName } from "#machinery/validation.ts";
import type * as g from "../../generated/core/v1.ts";
import { ageOf } from "../../printer-columns.ts";
import { defineResource, type StrategyContext } from "../../resource.ts";

export type Event = g.Event;

interface GroupVersion {
  readonly group: string;
  readonly version: string;
}
const coreVersion: GroupVersion = { group: "", version: "v1" };
const isCore = ({ group }: GroupVersion): boolean => group === "";

const lengthMax = { reportingInstance: 128, action: 128, reason: 128, message: 1024 } as const;
const encoder = new TextEncoder();

/** Go's zero time is null on the wire. */
const isSet = (time: string | null | undefined): boolean => (time ?? "") !== "";

const namespaceMismatch = ({ involvedObject }: Event): FieldError =>
  invalid(
    "involvedObject.namespace",
    involvedObject.namespace ?? "",
    "does not match event.namespace",
  );

/** The old style has no eventTime; it need only lie in its object's namespace. */
function validateOldStyle(event: Event): FieldError[] {
  const own = event.metadata.namespace ?? "";
  const involved = event.involvedObject.namespace ?? "";
  const fits = involved === "" ? own === "" || own === "default" : own === involved;
  return fits ? [] : [namespaceMismatch(event)];
}

function validateNewStyle(event: Event, requestVersion: GroupVersion): FieldError[] {
  const errors: FieldError[] = [];
  const own = event.metadata.namespace ?? "";
  const involved = event.involvedObject.namespace ?? "";
  if (involved === "" && own !== "default" && own !== "kube-system") {
    errors.push(namespaceMismatch(event));
  }
  const controllerPath = isCore(requestVersion) ? "reportingComponent" : "reportingController";
  const controller = event.reportingComponent ?? "";
  if (controller === "") errors.push(required(controllerPath));
  for (const message of isQualifiedName(controller)) {
    errors.push(invalid(controllerPath, controller, message));
  }
  for (const field of ["reportingInstance", "action", "reason", "message"] as const) {
    const value = event[field] ?? "";
    if (value === "" && field !== "message") errors.push(required(field));
    if (encoder.encode(value).length > lengthMax[field]) {
      errors.push(invalid(field, "", `can have at most ${lengthMax[field]} characters`));
    }
  }
  return errors;
}

const validateAnyStyle = (event: Event, requestVersion: GroupVersion): FieldError[] =>
  isSet(event.eventTime) ? validateNewStyle(event, requestVersion) : validateOldStyle(event);

function validateSeries({ series }: Event): FieldError[] {
  if (series === undefined) return [];
  const errors: FieldError[] = [];
  if ((series.count ?? 0) < 2) errors.push(invalid("series.count", "", "should be at least 2"));
  if (!isSet(series.lastObservedTime)) errors.push(required("series.lastObservedTime"));
  return errors;
}

export function validateEventCreate(event: Event, requestVersion: GroupVersion): FieldError[] {
  const errors = validateAnyStyle(event, requestVersion);
  if (isCore(requestVersion)) return errors;
  errors.push(...validateSeries(event));
  if (!isSet(event.eventTime)) errors.push(required("eventTime"));
  const { type = "", source } = event;
  if (type !== "Normal" && type !== "Warning") {
    errors.push(invalid("type", "", `has invalid value: ${type}`));
  }
  const unset = "needs to be unset";
  if (isSet(event.firstTimestamp)) errors.push(invalid("firstTimestamp", "", unset));
  if (isSet(event.lastTimestamp)) errors.push(invalid("lastTimestamp", "", unset));
  if ((event.count ?? 0) !== 0) errors.push(invalid("count", "", unset));
  if ((source.component ?? "") !== "" || (source.host ?? "") !== "") {
    errors.push(invalid("source", "", unset));
  }
  return errors;
}

/**
 * In upstream's order; what has another name in events.k8s.io/v1 is still called by the internal
 * one.
 */
const immutableFields = [
  ["involvedObject", "involvedObject"],
  ["reason", "reason"],
  ["message", "message"],
  ["source", "source"],
  ["firstTimestamp", "firstTimestamp"],
  ["lastTimestamp", "lastTimestamp"],
  ["count", "count"],
  ["type", "type"],
  ["eventTime", "eventTime"],
  ["action", "action"],
  ["related", "related"],
  ["reportingComponent", "reportingController"],
  ["reportingInstance", "reportingInstance"],
] as const satisfies readonly (readonly [keyof Event, string])[];

const texts: ReadonlySet<string> = new Set([
  "reason",
  "message",
  "type",
  "action",
  "reportingComponent",
  "reportingInstance",
]);

export function validateEventUpdate(
  event: Event,
  old: Event,
  requestVersion: GroupVersion,
): FieldError[] {
  const errors = validateAnyStyle(event, requestVersion);
  if (isCore(requestVersion)) return errors;
  if (!equalObjects(event.series, old.series)) errors.push(...validateSeries(event));
  for (const [field, path] of immutableFields) {
    // An absent text is the empty one.
    const value = texts.has(field) ? (event[field] ?? "") : event[field];
    const before = texts.has(field) ? (old[field] ?? "") : old[field];
    errors.push(...validateImmutable(value, before, path));
  }
  return errors;
}

const versionOf = (context: StrategyContext | undefined): GroupVersion =>
  context?.requestVersion ?? coreVersion;

function firstSeen({ firstTimestamp, eventTime }: Event, now: number): string {
  return ageOf(isSet(firstTimestamp) ? firstTimestamp : eventTime, now);
}
function lastSeen(event: Event, now: number): string {
  if (event.series !== undefined) return ageOf(event.series.lastObservedTime, now);
  return isSet(event.lastTimestamp) ? ageOf(event.lastTimestamp, now) : firstSeen(event, now);
}
function target({ involvedObject }: Event): string {
  const { kind = "", name = "" } = involvedObject;
  return name === "" ? kind.toLowerCase() : `${kind.toLowerCase()}/${name}`;
}
function sourceText({ source, reportingComponent, reportingInstance }: Event): string {
  const component = (source.component ?? "") === "" ? reportingComponent : source.component;
  const host = (source.host ?? "") === "" ? reportingInstance : source.host;
  return host === "" ? `${component}` : `${component}, ${host}`;
}
function countOf({ series, count = 0 }: Event): number {
  if (series !== undefined) return series.count ?? 0;
  return count === 0 ? 1 : count;
}
const involved =
  (field: keyof g.ObjectReference) =>
  ({ involvedObject }: Event): string =>
    involvedObject[field] ?? "";

export const Event = defineResource<Event>({
  group: "",
  version: "v1",
  plural: "events",
  selectableFields: {
    "involvedObject.kind": involved("kind"),
    "involvedObject.namespace": involved("namespace"),
    "involvedObject.name": involved("name"),
    "involvedObject.uid": involved("uid"),
    "involvedObject.apiVersion": involved("apiVersion"),
    "involvedObject.resourceVersion": involved("resourceVersion"),
    "involvedObject.fieldPath": involved("fieldPath"),
    reason: ({ reason }) => reason ?? "",
    reportingComponent: ({ reportingComponent }) => reportingComponent,
    source: ({ source, reportingComponent }) =>
      (source.component ?? "") === "" ? reportingComponent : (source.component ?? ""),
    type: ({ type }) => type ?? "",
  },
  printerColumns: [
    { name: "Last Seen", value: lastSeen },
    { name: "Type", value: ({ type }) => type ?? "" },
    { name: "Reason", value: ({ reason }) => reason ?? "" },
    { name: "Object", value: target },
    { name: "Subobject", priority: 1, value: involved("fieldPath") },
    { name: "Source", priority: 1, value: sourceText },
    { name: "Message", value: ({ message }) => (message ?? "").trim() },
    { name: "First Seen", priority: 1, value: firstSeen },
    { name: "Count", priority: 1, value: countOf },
    { name: "Name", format: "name", priority: 1, value: ({ metadata }) => metadata.name ?? "" },
  ],
  strategy: {
    allowCreateOnUpdate: true,
    validate: (event, context) => validateEventCreate(event, versionOf(context)),
    validateUpdate: (event, old, context) => validateEventUpdate(event, old, versionOf(context)),
  },
});
