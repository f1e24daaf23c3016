/** A description being written: lines with tabs, indented by level, aligned when done; and the blocks that many kinds share. */
import type { Toleration } from "#api/generated/core/v1.ts";
import { humanDuration } from "#machinery/human-duration.ts";
import { type ApiObject, controllerOf, type ObjectMeta } from "#machinery/meta.ts";
import type { JsonObject } from "#machinery/object.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import type { Session } from "../session.ts";
import { alignTabs, describeStops } from "../tab-writer.ts";

const annotationLengthMax = 140;
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

export class Page {
  readonly session: Session;
  readonly withEvents: boolean;
  readonly chunkSize: number;
  #text = "";
  #done = "";

  constructor(session: Session, withEvents: boolean, chunkSize: number) {
    this.session = session;
    this.withEvents = withEvents;
    this.chunkSize = chunkSize;
  }

  /** `text` as it stands behind the level's indent; line breaks are the caller's. */
  write(level: number, text: string): void {
    this.#text += "  ".repeat(level) + text;
  }
  line(level: number, text: string): void {
    this.write(level, `${text}\n`);
  }
  /** What follows is aligned by itself. */
  flush(): void {
    this.#done += alignTabs(this.#text, describeStops);
    this.#text = "";
  }
  /** As it stands, tabs and all (upstream does not align everything). */
  get raw(): string {
    return this.#done + this.#text;
  }
  get text(): string {
    this.flush();
    return this.#done;
  }

  ago(timestamp: string | undefined | null): string {
    const at = timestamp ? parseTime(timestamp) : undefined;
    return at === undefined ? "<unknown>" : humanDuration(this.session.around.clock.now() - at);
  }
  /** "2006-01-02 15:04:05 -0700 MST", in the user's time zone, as Go prints a time by itself. */
  stamp(timestamp: string | undefined | null): string {
    const at = timestamp ? parseTime(timestamp) : undefined;
    if (at === undefined) return "0001-01-01 00:00:00 +0000 UTC";
    const { date, clockTime, zone } = this.#parts(at);
    return `${date} ${clockTime} ${zone} ${zone === "+0000" ? "UTC" : zone}`;
  }
  /** "Mon, 02 Jan 2006 15:04:05 -0700", in the user's time zone. */
  time(timestamp: string | undefined | null): string {
    const at = timestamp ? parseTime(timestamp) : undefined;
    if (at === undefined) return "Mon, 01 Jan 0001 00:00:00 +0000";
    const { date, clockTime, zone, offset } = this.#parts(at);
    const [year = "", month = "", day = ""] = date.split("-");
    const days = Math.floor((at + offset) / 86_400_000);
    const weekday = weekdays[((days % 7) + 7) % 7] ?? "";
    return `${weekday}, ${day} ${months[Number(month) - 1] ?? ""} ${year} ${clockTime} ${zone}`;
  }
  #parts(at: number) {
    const { clock, timeZone } = this.session.around;
    const offset = clock.offsetMs(timeZone, at) ?? 0;
    const [date = "", clockTime = ""] = formatTime(at + offset)
      .replace("Z", "")
      .split("T");
    const minutes = Math.abs(offset) / 60_000;
    const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
    const zone = `${offset < 0 ? "-" : "+"}${two(minutes / 60)}${two(minutes % 60)}`;
    return { date, clockTime, zone, offset };
  }
}

const sorted = (values: Readonly<Record<string, string>>): (readonly [string, string])[] =>
  Object.entries(values).toSorted(([a], [b]) => (a < b ? -1 : 1));

export function writeLabels(
  page: Page,
  title: string,
  labels: Readonly<Record<string, string>> | undefined,
  indent = "",
): void {
  page.write(0, `${indent}${title}:\t`);
  const entries = sorted(labels ?? {});
  if (entries.length === 0) page.line(0, "<none>");
  for (const [i, [key, value]] of entries.entries()) {
    page.line(0, `${i === 0 ? "" : `${indent}\t`}${key}=${value}`);
  }
}

const shorten = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most)}...` : text;

export function writeAnnotations(
  page: Page,
  title: string,
  annotations: Readonly<Record<string, string>> | undefined,
): void {
  page.write(0, `${title}:\t`);
  const entries = sorted(annotations ?? {}).filter(([key]) => key !== lastApplied);
  if (entries.length === 0) page.line(0, "<none>");
  for (const [i, [key, raw]] of entries.entries()) {
    if (i > 0) page.write(0, "\t");
    const value = raw.replace(/\n$/, "");
    if (value.length + key.length + 2 <= annotationLengthMax && !value.includes("\n")) {
      page.line(0, `${key}: ${value}`);
      continue;
    }
    page.line(0, `${key}:`);
    for (const line of value.split("\n")) {
      page.line(0, `\t  ${shorten(line, annotationLengthMax - 2)}`);
    }
  }
}

/** Name and, where there is one, namespace. */
export function writeName(page: Page, { metadata }: { readonly metadata: ObjectMeta }): void {
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  page.line(0, `Namespace:\t${metadata.namespace ?? ""}`);
}

/** Name, namespace, labels, annotations: how most descriptions begin. */
export function writeHead(page: Page, object: { readonly metadata: ObjectMeta }): void {
  writeName(page, object);
  writeLabels(page, "Labels", object.metadata.labels);
  writeAnnotations(page, "Annotations", object.metadata.annotations);
}

export function writeController(page: Page, object: ApiObject): void {
  const owner = controllerOf(object);
  if (owner !== undefined) page.line(0, `Controlled By:\t${owner.kind}/${owner.name}`);
}

export function writeTolerations(
  page: Page,
  title: string,
  tolerations: readonly Toleration[] | undefined,
): void {
  page.write(0, `${title}:\t`);
  const list = (tolerations ?? []).toSorted((a, b) =>
    (a.key ?? "") < (b.key ?? "") ? -1 : (a.key ?? "") === (b.key ?? "") ? 0 : 1,
  );
  if (list.length === 0) page.line(0, "<none>");
  for (const [i, one] of list.entries()) {
    const { key = "", value = "", effect = "", operator, tolerationSeconds } = one;
    let text = key + (value === "" ? "" : `=${value}`) + (effect === "" ? "" : `:${effect}`);
    if (operator === "Exists" && value === "")
      text += key === "" && effect === "" ? "op=Exists" : " op=Exists";
    if (tolerationSeconds !== undefined) text += ` for ${tolerationSeconds}s`;
    page.line(0, `${i === 0 ? "" : "\t"}${text}`);
  }
}

/** "a=b,c in (d,e)": a label selector as people write it. */
export function selectorText(selector: JsonObject | object | undefined): string {
  const read = (selector ?? {}) as {
    matchLabels?: Record<string, string>;
    matchExpressions?: { key: string; operator: string; values?: string[] }[];
  };
  const parts = sorted(read.matchLabels ?? {}).map(([key, value]) => ({
    key,
    text: `${key}=${value}`,
  }));
  for (const { key, operator, values = [] } of read.matchExpressions ?? []) {
    const list = values.toSorted().join(",");
    const text =
      operator === "Exists"
        ? key
        : operator === "DoesNotExist"
          ? `!${key}`
          : `${key} ${operator === "In" ? "in" : "notin"} (${list})`;
    parts.push({ key, text });
  }
  return parts
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ text }) => text)
    .join(",");
}
export const selectorOrNone = (selector: object | undefined): string =>
  selectorText(selector) || "<none>";
export const labelsOrNone = (labels: Readonly<Record<string, string>> | undefined): string =>
  sorted(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(",") || "<none>";

/** "Type Status Reason …": conditions as most kinds show them. */
export function writeConditions(
  page: Page,
  conditions:
    | readonly { readonly type: string; readonly status: string; readonly reason?: string }[]
    | undefined,
): void {
  if (conditions === undefined || conditions.length === 0) return;
  page.line(0, "Conditions:\n  Type\tStatus\tReason");
  page.line(1, "----\t------\t------");
  for (const { type, status, reason = "" } of conditions)
    page.line(1, `${type} \t${status}\t${reason}`);
}
