/** Event: something that happened to an object. */
import type { Event as EventObject } from "../../generated/events/v1.ts";
import { defineResource } from "../../resource.ts";

export type Event = EventObject;

export const Event = defineResource<Event>({
  group: "events.k8s.io",
  version: "v1",
  plural: "events",
});
