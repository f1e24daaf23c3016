/**
 * Event of events.k8s.io/v1: the newer face of the core group's Event. It is stored, judged and aged there; only names differ
 * here.
 */
import type { ObjectReference } from "../../generated/core/v1.ts";
import type { Event as EventObject } from "../../generated/events/v1.ts";
import { ageOf } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type Event = EventObject;

/** Go's zero time is null on the wire. */
const isSet = (time: string | null | undefined): time is string => (time ?? "") !== "";

const firstSeen = ({ deprecatedFirstTimestamp, eventTime }: Event, now: number): string =>
  ageOf(isSet(deprecatedFirstTimestamp) ? deprecatedFirstTimestamp : eventTime, now);

function lastSeen(event: Event, now: number): string {
  const { series, deprecatedLastTimestamp } = event;
  if (series !== undefined) return ageOf(series.lastObservedTime, now);
  return isSet(deprecatedLastTimestamp)
    ? ageOf(deprecatedLastTimestamp, now)
    : firstSeen(event, now);
}

function target({ regarding }: Event): string {
  const { kind = "", name = "" } = regarding;
  return name === "" ? kind.toLowerCase() : `${kind.toLowerCase()}/${name}`;
}

function sourceText(event: Event): string {
  const { component = "", host = "" } = event.deprecatedSource;
  const controller = component === "" ? (event.reportingController ?? "") : component;
  const instance = host === "" ? (event.reportingInstance ?? "") : host;
  return instance === "" ? controller : `${controller}, ${instance}`;
}

function countOf({ series, deprecatedCount = 0 }: Event): number {
  if (series !== undefined) return series.count;
  return deprecatedCount === 0 ? 1 : deprecatedCount;
}

const regarding =
  (field: keyof ObjectReference) =>
  ({ regarding: reference }: Event): string =>
    reference[field] ?? "";

export const Event = defineResource<Event>({
  group: "events.k8s.io",
  version: "v1",
  plural: "events",
  selectableFields: {
    reason: ({ reason }) => reason ?? "",
    "regarding.kind": regarding("kind"),
    "regarding.namespace": regarding("namespace"),
    "regarding.name": regarding("name"),
    "regarding.uid": regarding("uid"),
    "regarding.apiVersion": regarding("apiVersion"),
    "regarding.resourceVersion": regarding("resourceVersion"),
    "regarding.fieldPath": regarding("fieldPath"),
    reportingController: ({ reportingController }) => reportingController ?? "",
    type: ({ type }) => type ?? "",
  },
  printerColumns: [
    { name: "Last Seen", value: lastSeen },
    { name: "Type", value: ({ type }) => type ?? "" },
    { name: "Reason", value: ({ reason }) => reason ?? "" },
    { name: "Object", value: target },
    { name: "Subobject", priority: 1, value: regarding("fieldPath") },
    { name: "Source", priority: 1, value: sourceText },
    { name: "Message", value: ({ note }) => (note ?? "").trim() },
    { name: "First Seen", priority: 1, value: firstSeen },
    { name: "Count", priority: 1, value: countOf },
    { name: "Name", format: "name", priority: 1, value: ({ metadata }) => metadata.name ?? "" },
  ],
  strategy: { allowCreateOnUpdate: true },
});
