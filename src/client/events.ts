/**
 * Event recorder: what happened to an object, as core/v1 Events that `kubectl describe` shows.
 * Repetitions become a count, floods of like events one combined event, and beyond that they are
 * dropped: upstream's correlation with its numbers. Recording never waits and never fails its
 * caller: events are written behind its back, one after another.
 */
import { Event } from "#api/core/v1/event.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { isStatus, StatusError } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import type { Client, New } from "./client.ts";
import { TokenBucket } from "./work-queue.ts";

export type EventType = "Normal" | "Warning";

export interface ObjectReference {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly uid?: string;
  readonly apiVersion: string;
  readonly resourceVersion?: string;
  /** Which part: "spec.containers{web}". */
  readonly fieldPath?: string;
}

export interface EventRecorder {
  event(
    object: ApiObject | ObjectReference,
    type: EventType,
    reason: string,
    message: string,
  ): void;
  /** Resolves when all that was recorded so far is written or given up. */
  flushed(): Promise<void>;
  stop(): void;
}

/** Who records. `host`: the node, where the component runs on one. */
export interface EventSource {
  readonly component: string;
  readonly host?: string;
}

/** Upstream's numbers. */
const rememberedMax = 4096;
const similarMax = 10;
const similarMs = 600_000;
const spamBurst = 25;
const spamPerSecond = 1 / 300;
const triesMax = 12;
const retryMs = 10_000;
/** How many may wait to be written; more are dropped, the newest first. */
const waitingMax = 1000;

/** A map that forgets what was used least recently. */
class Recent<V> {
  readonly #entries = new Map<string, V>();
  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }
  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= rememberedMax) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}

export function referenceTo(object: ApiObject | ObjectReference): ObjectReference {
  if (!("metadata" in object)) return object;
  const { namespace, name = "", uid, resourceVersion } = object.metadata;
  return {
    kind: object.kind,
    ...(namespace === undefined ? {} : { namespace }),
    name,
    ...(uid === undefined ? {} : { uid }),
    apiVersion: object.apiVersion,
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}

interface Occurrence {
  readonly reference: ObjectReference;
  readonly type: EventType;
  readonly reason: string;
  readonly message: string;
  readonly atMs: number;
  readonly name: string;
}
/** What is to be written: a new event, or one more of a series. */
interface Correlated extends Occurrence {
  readonly key: string;
  readonly count: number;
  readonly firstMs: number;
}
interface Series {
  readonly count: number;
  readonly firstMs: number;
  readonly name: string;
}

/** Decides what becomes of an occurrence. Pure but for its memory and the clock. */
export class EventCorrelator {
  readonly #clock: Clock;
  readonly #similar = new Recent<{ readonly messages: Set<string>; lastMs: number }>();
  readonly #series = new Recent<Series>();
  readonly #spam = new Recent<TokenBucket>();
  constructor(clock: Clock) {
    this.#clock = clock;
  }
  correlate(occurrence: Occurrence): Correlated | undefined {
    const { reference, type, reason } = occurrence;
    const about = [
      reference.kind,
      reference.namespace,
      reference.name,
      reference.uid,
      reference.apiVersion,
      type,
    ].join("\n");
    const group = `${about}\n${reason}`;
    let similar = this.#similar.get(group);
    if (similar === undefined || occurrence.atMs - similar.lastMs > similarMs) {
      similar = { messages: new Set(), lastMs: 0 };
    }
    similar.messages.add(occurrence.message);
    similar.lastMs = occurrence.atMs;
    this.#similar.set(group, similar);
    let message = occurrence.message;
    let key = `${group}\n${reference.fieldPath ?? ""}\n${message}`;
    if (similar.messages.size >= similarMax) {
      const [first = ""] = similar.messages;
      similar.messages.delete(first);
      message = `(combined from similar events): ${message}`;
      key = group;
    }
    const series = this.#series.get(key);
    const next: Series = {
      count: (series?.count ?? 0) + 1,
      firstMs: series?.firstMs ?? occurrence.atMs,
      name: series?.name ?? occurrence.name,
    };
    this.#series.set(key, next);
    const bucket = this.#spam.get(about) ?? new TokenBucket(this.#clock, spamPerSecond, spamBurst);
    this.#spam.set(about, bucket);
    if (!bucket.take()) return undefined;
    return { ...occurrence, ...next, message, key };
  }
  /** The server knows it under this name now. */
  written(event: Correlated, name: string): void {
    this.#series.set(event.key, { count: event.count, firstMs: event.firstMs, name });
  }
}

const isSubdomain = (name: string): boolean =>
  name.length <= 253 &&
  /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name);

export function createEventRecorder(
  client: Client,
  source: EventSource,
  ports: { readonly clock: Clock; readonly random: Random; readonly log: Log },
): EventRecorder {
  const { clock, random, log } = ports;
  const correlator = new EventCorrelator(clock);
  const waiting: Occurrence[] = [];
  let stopped = false;
  let wake: (() => void) | undefined;
  let running: Promise<void> | undefined;
  // Begun anywhere: two recorders may speak of objects of one name at one moment.
  let serial = random.fork("event names").uint32() % 1_000_000;
  let dropped = 0;

  const nameFor = (reference: ObjectReference, atMs: number): string => {
    // Upstream: nanoseconds in hexadecimal; the serial tells events of one millisecond apart.
    serial = (serial + 1) % 1_000_000;
    const nanos = BigInt(Math.floor(atMs)) * 1_000_000n + BigInt(serial);
    const name = `${reference.name}.${nanos.toString(16)}`;
    if (isSubdomain(name)) return name;
    return Array.from(random.bytes(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
  };
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const cancel = clock.after(ms, resolve);
      wake = () => {
        cancel();
        resolve();
      };
    });
  const writeOne = async (event: Correlated): Promise<void> => {
    for (let tries = 1; tries <= triesMax; tries += 1) {
      if (stopped) return;
      try {
        const stored = await send(client, source, event);
        correlator.written(event, stored.metadata.name);
        return;
      } catch (error) {
        const reachable = !(error instanceof StatusError) || error.code < 500;
        if (reachable || tries >= triesMax) {
          if (!isExpectedRefusal(error)) {
            log.write("warn", "an event could not be written", {
              object: `${event.reference.kind} ${event.reference.name}`,
              reason: event.reason,
              error: error instanceof Error ? error.message : String(error),
            });
          }
          return;
        }
      }
      await pause(tries === 1 ? (retryMs * random.uint32()) / 2 ** 32 : retryMs);
    }
  };
  const drain = async (): Promise<void> => {
    for (;;) {
      const occurrence = waiting.shift();
      if (occurrence === undefined || stopped) break;
      const event = correlator.correlate(occurrence);
      if (event !== undefined) await writeOne(event);
    }
    running = undefined;
    if (dropped === 0) return;
    log.write("warn", "events came faster than they could be written; some were dropped", {
      dropped,
    });
    dropped = 0;
  };
  return {
    event(object, type, reason, message) {
      if (stopped) return;
      if (waiting.length >= waitingMax) {
        dropped += 1;
        return;
      }
      const reference = referenceTo(object);
      const atMs = clock.now();
      // Upstream: messages are cut to what validation allows.
      const cut = message.length > 1024 ? message.slice(0, 1024) : message;
      waiting.push({ reference, type, reason, message: cut, atMs, name: nameFor(reference, atMs) });
      running ??= Promise.resolve().then(drain);
    },
    async flushed() {
      await running;
    },
    stop() {
      stopped = true;
      wake?.();
    },
  };
}

async function send(client: Client, source: EventSource, event: Correlated) {
  const namespace = event.reference.namespace ?? "default";
  const time = formatTime(event.atMs);
  if (event.count > 1) {
    const change = { count: event.count, lastTimestamp: time, message: event.message };
    try {
      return await client.patch(Event, { namespace, name: event.name }, "strategic", change);
    } catch (error) {
      // It expired, or was deleted: begin anew under the same name, with the count that it had.
      if (!isStatus(error, "NotFound")) throw error;
    }
  }
  // Upstream: the legacy recorder leaves eventTime out; the server prints null.
  const fresh: Omit<New<Event>, "eventTime"> = {
    metadata: { name: event.name, namespace },
    involvedObject: { ...event.reference },
    reason: event.reason,
    message: event.message,
    source: { ...source },
    firstTimestamp: formatTime(event.firstMs),
    lastTimestamp: time,
    count: event.count,
    type: event.type,
    reportingComponent: source.component,
    reportingInstance: source.host ?? "",
  };
  return client.create(Event, fresh as New<Event>);
}

/** Nobody needs to hear of these: it is there already, or its namespace is on its way out. */
const isExpectedRefusal = (error: unknown): boolean =>
  isStatus(error, "AlreadyExists") ||
  (error instanceof StatusError &&
    (error.status.details?.causes?.some((cause) => cause.reason === "NamespaceTerminating") ??
      false));
