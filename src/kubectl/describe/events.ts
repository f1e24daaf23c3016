/** The events of an object, as descriptions end with them. */
import type { Event } from "#api/generated/core/v1.ts";
import { parseTime } from "#machinery/time.ts";
import type { AnyObject } from "../objects.ts";
import { apiVersionIn, kindOf, metaOf, objectsAt } from "../objects.ts";
import { pages } from "../selection.ts";
import type { Session } from "../session.ts";
import type { Page } from "./page.ts";

const itemsOf = (page: object): Event[] => objectsAt(page, "items") as unknown as Event[];

export async function searchEvents(
  session: Session,
  object: AnyObject,
  chunkSize: number,
  uid = metaOf(object).uid ?? "",
): Promise<Event[]> {
  const { name = "", namespace = "" } = metaOf(object);
  const terms = [
    `involvedObject.name=${name}`,
    `involvedObject.namespace=${namespace}`,
    `involvedObject.kind=${kindOf(object)}`,
    ...(uid === "" ? [] : [`involvedObject.uid=${uid}`]),
  ];
  const path = namespace === "" ? "/api/v1/events" : `/api/v1/namespaces/${namespace}/events`;
  const found: Event[] = [];
  for await (const page of pages(session, path, [["fieldSelector", terms.join(",")]], chunkSize)) {
    found.push(...itemsOf(page));
  }
  return found;
}

const hasTime = (timestamp: string | undefined | null): timestamp is string => Boolean(timestamp);

export function writeEventList(page: Page, events: readonly Event[]): void {
  if (events.length === 0) {
    page.line(0, "Events:\t<none>");
    return;
  }
  page.flush();
  const at = (event: Event): number => parseTime(event.lastTimestamp ?? "") ?? 0;
  page.line(0, "Events:\n  Type\tReason\tAge\tFrom\tMessage");
  page.line(1, "----\t------\t----\t----\t-------");
  for (const event of events.toSorted((a, b) => at(a) - at(b))) {
    const since = page.ago(hasTime(event.eventTime) ? event.eventTime : event.firstTimestamp);
    let age = since;
    if (event.series !== undefined) {
      age = `${page.ago(event.series.lastObservedTime)} (x${event.series.count ?? 0} over ${since})`;
    } else if ((event.count ?? 0) > 1) {
      age = `${page.ago(event.lastTimestamp)} (x${event.count ?? 0} over ${since})`;
    }
    const source = event.source.component || (event.reportingComponent ?? "");
    const field = event.involvedObject.fieldPath ?? "";
    const message = (field === "" ? "" : `${field}: `) + (event.message ?? "").trim();
    page.line(1, `${event.type ?? ""}\t${event.reason ?? ""}\t${age}\t${source}\t${message}`);
  }
}

export async function writeEvents(page: Page, object: AnyObject): Promise<void> {
  if (!page.withEvents || apiVersionIn(object) === "") return;
  writeEventList(page, await searchEvents(page.session, object, page.chunkSize));
}
