/**
 * Version links: kinds that are served in several versions but kept once. A link names the served version, the one in which the
 * store keeps it, and how to turn one into the other and back without loss.
 */
import { toVersionOne, toVersionTwo } from "#api/autoscaling/v1/conversion.ts";
import type { Event } from "#api/generated/core/v1.ts";
import type { Event as NewEvent } from "#api/generated/events/v1.ts";
import type { ApiObject } from "#machinery/meta.ts";

interface KindVersion {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}
export interface VersionLink {
  readonly served: KindVersion;
  readonly stored: KindVersion;
  readonly toStored: (object: ApiObject) => ApiObject;
  readonly fromStored: (object: ApiObject) => ApiObject;
  /** What a request says is heard as the stored version tells it back, with what that adds and leaves out. */
  readonly retells?: true;
}

/** Fields that stand in both versions under another name: [core/v1, events.k8s.io/v1]. */
const eventNames = [
  ["involvedObject", "regarding"],
  ["message", "note"],
  ["source", "deprecatedSource"],
  ["firstTimestamp", "deprecatedFirstTimestamp"],
  ["lastTimestamp", "deprecatedLastTimestamp"],
  ["count", "deprecatedCount"],
  ["reportingComponent", "reportingController"],
] as const satisfies readonly (readonly [keyof Event, keyof NewEvent])[];

function renamed(
  object: ApiObject,
  apiVersion: string,
  names: readonly (readonly [string, string])[],
) {
  const to = new Map(names);
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(object)) result[to.get(key) ?? key] = value;
  return { ...result, kind: object.kind, apiVersion, metadata: object.metadata };
}

const events: VersionLink = {
  served: { group: "events.k8s.io", version: "v1", plural: "events" },
  stored: { group: "", version: "v1", plural: "events" },
  toStored: (object) =>
    renamed(
      object,
      "v1",
      eventNames.map(([core, own]) => [own, core] as const),
    ),
  fromStored: (object) => renamed(object, "events.k8s.io/v1", eventNames),
};

const autoscalers: VersionLink = {
  served: { group: "autoscaling", version: "v1", plural: "horizontalpodautoscalers" },
  stored: { group: "autoscaling", version: "v2", plural: "horizontalpodautoscalers" },
  toStored: toVersionTwo,
  fromStored: toVersionOne,
  retells: true,
};

export const versionLinks: readonly VersionLink[] = [events, autoscalers];
