/** Event. */
import type * as g from "#api/generated/core/v1.ts";
import { defineResource } from "#api/resource.ts";

export type Event = g.Event;
export const Event = defineResource<g.Event>({ group: "", version: "v1", plural: "events" });
