/** Printer columns and cells that kinds share: ages, containers of a pod template. */
import { humanDuration } from "#machinery/human-duration.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { parseTime } from "#machinery/time.ts";
import type { PrinterColumn } from "./resource.ts";

/** How long ago; Go's zero time is null on the wire. */
export function ageOf(timestamp: string | null | undefined, now: number): string {
  const at = parseTime(timestamp ?? "");
  return at === undefined ? "<unknown>" : humanDuration(now - at);
}

export const ageColumn: PrinterColumn<ApiObject> = {
  name: "Age",
  type: "string",
  value: ({ metadata }, now) => ageOf(metadata.creationTimestamp, now),
};

interface Named {
  readonly name: string;
  readonly image?: string;
}
/** The columns Containers and Images of workloads, shown with -o wide. */
export function containerColumns<T>(
  containersOf: (object: T) => readonly Named[] | null | undefined,
): PrinterColumn<T>[] {
  const joined = (object: T, of: (container: Named) => string): string =>
    (containersOf(object) ?? []).map(of).join(",");
  return [
    {
      name: "Containers",
      priority: 1,
      value: (object) => joined(object, ({ name }) => name),
    },
    {
      name: "Images",
      priority: 1,
      value: (object) => joined(object, ({ image }) => image ?? ""),
    },
  ];
}

/** Upstream: kinds without columns of their own show when they were made, not how long ago. */
export const createdAtColumn: PrinterColumn<ApiObject> = {
  name: "Created At",
  type: "date",
  value: ({ metadata }) => metadata.creationTimestamp,
};
