/**
 * Flow control's objects: makes the flow schemas and priority levels that every cluster has, makes those anew that somebody deletes,
 * keeps their specs as suggested unless their annotation says otherwise, and says of each flow schema whether its level exists.
 */
import {
  autoUpdateAnnotation,
  flowcontrolGroup,
  mandatory,
  suggested,
} from "#api/flowcontrol/v1/bootstrap.ts";
import type { FlowSchema } from "#api/flowcontrol/v1/flowschema.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import { type AskOwn, failureOf } from "./own-requests.ts";
import type { Registry } from "./registry.ts";
import { SettleQueue } from "./settle-queue.ts";
import type { CacheObserver } from "./watch-cache.ts";

const producer = "api-priority-and-fairness-config-producer-v1";
const consumer = "api-priority-and-fairness-config-consumer-v1";
const root = `/apis/${flowcontrolGroup}/v1`;

export interface FlowControlParts {
  readonly flowSchemas: Registry;
  readonly priorityLevels: Registry;
  readonly ask: AskOwn;
  readonly clock: Clock;
  readonly log: Log;
}

type Spec = object;
type Configured = ApiObject & { spec: Spec };

interface Wanted {
  readonly spec: Spec;
  /** Whatever the annotation says. */
  readonly always: boolean;
}

function wantedOf(plural: string, name: string): Wanted | undefined {
  const field = plural === "flowschemas" ? "flowSchemas" : "priorityLevels";
  const fixed = mandatory[field].get(name);
  if (fixed !== undefined) return { spec: fixed, always: true };
  const spec = suggested[field].get(name);
  return spec === undefined ? undefined : { spec, always: false };
}

/** As Go reads a boolean; undefined: it is none. */
function flagOf(text: string | undefined): boolean | undefined {
  if (/^(1|t|T|true|TRUE|True)$/.test(text ?? "")) return true;
  return /^(0|f|F|false|FALSE|False)$/.test(text ?? "") ? false : undefined;
}

/** Undefined: it is as it should be. */
export function revised(current: Configured, { spec, always }: Wanted): Configured | undefined {
  const { annotations = {}, generation } = current.metadata;
  const said = flagOf(annotations[autoUpdateAnnotation]);
  // Without a word, what nobody has changed since it was made is kept up to date.
  const updates = always || (said ?? generation === 1);
  const isExempt = always && current.metadata.name === "exempt" && "exempt" in spec;
  const next = isExempt ? { ...spec, exempt: (current.spec as { exempt?: Spec }).exempt } : spec;
  const changes = updates && !equalObjects({ ...current.spec }, { ...next });
  if (said === updates && !changes) return undefined;
  return {
    ...current,
    metadata: {
      ...current.metadata,
      annotations: { ...annotations, [autoUpdateAnnotation]: String(updates) },
    },
    spec: changes ? next : current.spec,
  };
}

export class FlowControlObjects {
  readonly #parts: FlowControlParts;
  readonly #queue: SettleQueue;

  constructor(parts: FlowControlParts) {
    this.#parts = parts;
    this.#queue = new SettleQueue({
      clock: parts.clock,
      log: parts.log,
      trouble: "An object of flow control can not be settled; trying again.",
      settle: (id) => this.#settle(id),
    });
    parts.flowSchemas.cache.observe(this.#observe("flowschemas"));
    parts.priorityLevels.cache.observe(this.#observe("prioritylevelconfigurations"));
  }

  /** All that is missing at once; after that it follows. */
  async start(): Promise<void> {
    const all = [mandatory, suggested];
    const names = all.flatMap(({ flowSchemas, priorityLevels }) => [
      ...[...priorityLevels.keys()].map((name) => `prioritylevelconfigurations/${name}`),
      ...[...flowSchemas.keys()].map((name) => `flowschemas/${name}`),
    ]);
    await Promise.all(names.map((id) => this.#ensure(id)));
    const { cache } = this.#parts.flowSchemas;
    const { from, to } = this.#parts.flowSchemas.range("");
    await Promise.all([...cache.range(from, to)].map(({ object }) => this.#judge(object)));
    this.#queue.start();
  }

  stop(): void {
    this.#queue.stop();
  }

  readonly #observe =
    (plural: string): CacheObserver =>
    (now, before) => {
      const changed = now ?? before;
      if (changed === undefined) return;
      const name = changed.key.slice(changed.key.lastIndexOf("/") + 1);
      this.#queue.add(`${plural}/${name}`);
      const cameOrWent = now === undefined || before === undefined;
      if (plural === "flowschemas" || !cameOrWent) return;
      const { cache } = this.#parts.flowSchemas;
      const { from, to } = this.#parts.flowSchemas.range("");
      for (const { object } of cache.range(from, to)) {
        if ((object as FlowSchema).spec.priorityLevelConfiguration.name === name)
          this.#queue.add(`flowschemas/${object.metadata.name ?? ""}`);
      }
    };

  #registry(plural: string): Registry {
    const { flowSchemas, priorityLevels } = this.#parts;
    return plural === "flowschemas" ? flowSchemas : priorityLevels;
  }

  async #settle(id: string): Promise<void> {
    await this.#ensure(id);
    const [plural = "", name = ""] = id.split("/");
    if (plural !== "flowschemas") return;
    const stored = await this.#parts.flowSchemas.current("", name);
    if (stored !== undefined) await this.#judge(stored.object);
  }

  async #ensure(id: string): Promise<void> {
    const [plural = "", name = ""] = id.split("/");
    const wanted = wantedOf(plural, name);
    if (wanted === undefined) return;
    const { ask } = this.#parts;
    const stored = await this.#registry(plural).current("", name);
    const current = stored?.object as Configured | undefined;
    if (current === undefined) {
      const metadata = { name, annotations: { [autoUpdateAnnotation]: "true" } };
      const object = { metadata, spec: wanted.spec };
      const made = await ask("POST", `${root}/${plural}`, object, { manager: producer });
      if (made.status !== 201 && made.status !== 409) throw failureOf(made);
      return;
    }
    if (current.metadata.deletionTimestamp !== undefined) return;
    const next = revised(current, wanted);
    if (next === undefined) return;
    const put = await ask("PUT", `${root}/${plural}/${name}`, next, { manager: producer });
    if (put.status !== 200 && put.status !== 404) throw failureOf(put);
  }

  /** Whether the level that the schema names is there, as its condition. */
  async #judge(object: ApiObject): Promise<void> {
    const { metadata, spec, status } = object as FlowSchema;
    const { ask, clock, priorityLevels } = this.#parts;
    const name = metadata.name ?? "";
    const level = spec.priorityLevelConfiguration.name;
    const found = priorityLevels.cache.get(priorityLevels.key("", level)) !== undefined;
    const subject = `This FlowSchema references the PriorityLevelConfiguration object named ${JSON.stringify(level)}`;
    const condition = {
      type: "Dangling",
      status: found ? "False" : "True",
      reason: found ? "Found" : "NotFound",
      message: `${subject} ${found ? "and it exists" : "but there is no such object"}`,
    };
    const had = status?.conditions?.find(({ type }) => type === "Dangling");
    const { lastTransitionTime: _, ...before } = had ?? {};
    if (equalObjects({ ...before }, condition)) return;
    const dangling = { ...condition, lastTransitionTime: formatTime(clock.now()) };
    const patch = {
      apiVersion: `${flowcontrolGroup}/v1`,
      kind: "FlowSchema",
      metadata: { name, uid: metadata.uid },
      status: { conditions: [dangling] },
    };
    const options = { manager: consumer, patch: "apply" } as const;
    const answer = await ask("PATCH", `${root}/flowschemas/${name}/status`, patch, options);
    const raced = answer.status === 404 || answer.status === 409;
    if (answer.status >= 300 && !raced) throw failureOf(answer);
  }
}
