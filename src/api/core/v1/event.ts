/** Event. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type Event = g.Event;
export const Event = defineResource<g.Event>({ group: "", version: "v1", plural: "events" });
