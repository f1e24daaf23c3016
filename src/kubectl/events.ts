/** `kubectl events`: what happened, oldest first. */
import type { Event } from "#api/generated/core/v1.ts";
import { humanDuration } from "#machinery/human-duration.ts";
import { parseTime } from "#machinery/time.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { apiVersionOf } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import { integer, list, text, toggle } from "./flags.ts";
import { objectsAt } from "./objects.ts";
import { printerOf, printFlags } from "./printers.ts";
import type { Query } from "./rest.ts";
import { pages } from "./selection.ts";
import { alignTabs, tableStops } from "./tab-writer.ts";
import { watchEvents } from "./watch.ts";

export const eventsCommand: KubectlCommand = {
  name: "events",
  summary: "List events",
  usage: "[(-o|--output=)json|yaml|…] [--for TYPE/NAME] [--watch] [--types=Normal,Warning]",
  flags: [
    ...printFlags,
    toggle("all-namespaces", "List events across all namespaces", { short: "A" }),
    integer("chunk-size", "Return large lists in chunks rather than all at once", {
      default: "500",
    }),
    text("for", "Filter events to only those pertaining to this resource"),
    toggle("no-headers", "Don't print headers"),
    list("types", "Output only events of given types"),
    toggle("watch", "After listing the requested events, watch for more", { short: "w" }),
  ],
  run: events,
};

const timeOf = (event: Event): number =>
  parseTime(event.series?.lastObservedTime ?? "") ??
  parseTime(event.lastTimestamp ?? "") ??
  parseTime(event.eventTime ?? "") ??
  0;

async function queryOf({ session, flags }: Invocation): Promise<Query> {
  const about = flags.text("for");
  if (about === "") return [];
  const [type = "", name = "", ...more] = about.split("/");
  if (more.length > 0)
    throw new CommandError("arguments in resource/name form may not have more than one slash");
  if (!about.includes("/")) throw new CommandError("--for must be in resource/name form");
  const resource = (await session.discovery()).require(type);
  const terms = [
    `involvedObject.kind=${resource.kind}`,
    `involvedObject.apiVersion=${apiVersionOf(resource)}`,
    `involvedObject.name=${name}`,
  ];
  return [["fieldSelector", terms.join(",")]];
}

function line(given: Invocation, event: Event): string {
  const now = given.session.around.clock.now();
  const ago = (timestamp: string | undefined | null): string => {
    const at = timestamp ? parseTime(timestamp) : undefined;
    return at === undefined ? "<unknown>" : humanDuration(now - at);
  };
  const since = ago(event.eventTime || event.firstTimestamp);
  const { series, count = 0, involvedObject } = event;
  const seen =
    series !== undefined
      ? `${ago(series.lastObservedTime)} (x${series.count ?? 0} over ${since})`
      : count > 1
        ? `${ago(event.lastTimestamp)} (x${count} over ${since})`
        : since;
  const cells = [
    ...(given.flags.switch("all-namespaces") ? [event.metadata.namespace ?? ""] : []),
    seen,
    event.type ?? "",
    event.reason ?? "",
    `${involvedObject.kind ?? ""}/${involvedObject.name ?? ""}`,
    (event.message ?? "").trim(),
  ];
  return `${cells.join("\t")}\n`;
}

async function events(given: Invocation): Promise<void> {
  const { session, flags } = given;
  const types = flags.list("types").map((one) => one.toLowerCase());
  if (types.some((one) => !["normal", "warning"].includes(one))) {
    throw new CommandError("valid --types are Normal or Warning");
  }
  const wanted = (event: Event): boolean =>
    types.length === 0 || types.includes((event.type ?? "").toLowerCase());
  const isEverywhere = flags.switch("all-namespaces");
  const namespace = isEverywhere ? "" : await session.namespace();
  const path = namespace === "" ? "/api/v1/events" : `/api/v1/namespaces/${namespace}/events`;
  const query = await queryOf(given);
  const printer = printerOf(flags, session.around);
  const titles = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
  const header = flags.switch("no-headers")
    ? ""
    : `${[...(isEverywhere ? ["NAMESPACE"] : []), ...titles].join("\t")}\n`;
  if (flags.switch("watch")) {
    const widths: number[] = [];
    let head = header;
    for await (const { type, object } of watchEvents(await session.rest(), path, query)) {
      const event = object as unknown as Event;
      if (type === "DELETED" || type === "BOOKMARK" || !wanted(event)) continue;
      session.out(
        printer === undefined
          ? alignTabs(head + line(given, event), tableStops, widths)
          : printer(object, head !== ""),
      );
      head = "";
    }
    return;
  }
  const found: Event[] = [];
  for await (const page of pages(session, path, query, flags.integer("chunk-size"))) {
    found.push(...(objectsAt(page, "items") as unknown as Event[]));
  }
  const shown = found.filter(wanted).toSorted((a, b) => timeOf(a) - timeOf(b));
  if (shown.length === 0) {
    session.error(
      isEverywhere ? "No events found.\n" : `No events found in ${namespace} namespace.\n`,
    );
    return;
  }
  if (printer !== undefined) {
    const items = shown.map((event) => ({ ...event, apiVersion: "v1", kind: "Event" }));
    session.out(printer({ apiVersion: "v1", items, kind: "EventList", metadata: {} }, true));
    return;
  }
  session.out(alignTabs(header + shown.map((event) => line(given, event)).join(""), tableStops));
}
