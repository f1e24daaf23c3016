/**
 * containerd's event stream as the Runtime port's events. (CRI's own, GetContainerEvents, is missing
 * before containerd 1.7.) Reads the Rpc port.
 */
import type { Rpc } from "#ports/rpc.ts";
import type { RuntimeEvent } from "#ports/runtime.ts";
import type { Source } from "#ports/stream.ts";

export const eventTypes = ["created", "started", "oom", "exited", "removed"] as const;
const topics = new Map<string, RuntimeEvent["type"]>([
  ["/containers/create", "created"],
  ["/tasks/start", "started"],
  ["/tasks/oom", "oom"],
  ["/tasks/exit", "exited"],
  ["/containers/delete", "removed"],
]);
const queueMax = 10_000;

interface Envelope {
  readonly topic?: string;
  readonly event?: { readonly value?: Uint8Array } | null;
}

/** Fields 1 and 2 (if text) and 4 (if a number) of an event's message: id, exec id, exit status. */
export function readEventFields(bytes: Uint8Array): {
  readonly id: string;
  readonly execId: string;
  readonly exitStatus: number;
} {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = bytes[at] ?? 0;
      at += 1;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    return value;
  };
  const found = { id: "", execId: "", exitStatus: 0 };
  while (at < bytes.length) {
    const key = varint();
    const [field, wireType] = [key >>> 3, key & 7];
    if (wireType === 0) {
      const value = varint();
      if (field === 4) found.exitStatus = value;
    } else if (wireType === 2) {
      const length = varint();
      const text = bytes.subarray(at, at + length);
      at += length;
      if (field === 1) found.id = new TextDecoder().decode(text);
      if (field === 2) found.execId = new TextDecoder().decode(text);
    } else {
      at += wireType === 5 ? 4 : 8;
    }
  }
  return found;
}

/** The event, or undefined for what is no news of a container's or sandbox's own life. */
export function readEvent(envelope: Envelope): RuntimeEvent | undefined {
  const type = topics.get(envelope.topic ?? "");
  if (type === undefined) return undefined;
  const fields = readEventFields(envelope.event?.value ?? new Uint8Array(0));
  // The end of an exec is an exit, too; the container's own process bears its id.
  if (type === "exited" && fields.execId !== fields.id) return undefined;
  return { type, id: fields.id, ...(type === "exited" ? { exitCode: fields.exitStatus } : {}) };
}

/**
 * Events in order for each id, each once `settled` resolved: containerd tells the world before its
 * CRI plugin knows, and whoever then asks for the status must not get the old one.
 */
export function eventSource(
  rpc: Rpc,
  types: readonly RuntimeEvent["type"][],
  settled: (event: RuntimeEvent) => Promise<void>,
): Source<RuntimeEvent> {
  const filters = [...topics]
    .filter(([, type]) => types.includes(type))
    .map(([topic]) => `namespace==k8s.io,topic=="${topic}"`);
  const envelopes = rpc.stream("containerd.services.events.v1.Events/Subscribe", { filters });
  const ready: RuntimeEvent[] = [];
  const lastOf = new Map<string, Promise<void>>();
  let ended = false;
  let failure: unknown;
  let wake = (): void => undefined;

  const deliver = (event: RuntimeEvent): void => {
    const before = lastOf.get(event.id) ?? Promise.resolve();
    const turn = before
      .then(() => settled(event))
      .then(() => {
        if (lastOf.get(event.id) === turn) lastOf.delete(event.id);
        ready.push(event);
        wake();
      });
    lastOf.set(event.id, turn);
  };
  const finish = (error?: unknown): void => {
    ended = true;
    failure ??= error;
    wake();
  };
  const pump = async (): Promise<void> => {
    for (;;) {
      const batch = await envelopes.next();
      if (batch === undefined) return;
      for (const envelope of batch) {
        const event = readEvent(envelope);
        if (event !== undefined) deliver(event);
      }
      if (ready.length + lastOf.size > queueMax) {
        throw new Error(`more than ${queueMax} events wait to be read: list and subscribe again`);
      }
    }
  };
  pump().then(() => finish(), finish);

  return {
    next: async () => {
      for (;;) {
        if (ready.length > 0) return ready.splice(0);
        if (failure !== undefined) throw failure;
        if (ended) return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    stop: () => {
      ended = true;
      failure = undefined;
      ready.length = 0;
      envelopes.stop();
      wake();
    },
  };
}
