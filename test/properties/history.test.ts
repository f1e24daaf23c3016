/** Whatever was written, in whichever order: every list at a revision is the model's, and a watch from any revision replays the rest. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ApiResponse, Handler } from "#api/request.ts";
import {
  ask,
  directly,
  itemsOf,
  type Loose,
  makeWorld,
  objectOf,
  Watching,
  type World,
} from "#control-plane/apiserver/api.contract.ts";
import { runs } from "./objects.ts";

interface Entry {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly revision: number;
  readonly name: string;
  readonly text: string;
  readonly chosen: boolean;
  /** Whether the selector chose it before. */
  readonly wasChosen: boolean;
}
/** What the model reads of an object. */
type Told = Pick<Loose, "metadata"> & { readonly data?: unknown };
const chosenBy = (object: Told): boolean => object.metadata.labels?.["chosen"] === "yes";
const revisionOf = (object: Told): number => Number(object.metadata.resourceVersion);
/** As a list and a watch tell it. */
const textOf = ({ metadata, data }: Told): string => JSON.stringify({ metadata, data });

type State = ReadonlyMap<string, { readonly text: string; readonly chosen: boolean }>;

class Model {
  readonly entries: Entry[] = [];
  readonly states = new Map<number, State>();
  #state: State = new Map();

  tell(type: Entry["type"], object: Told): void {
    const { name = "" } = object.metadata;
    const before = this.#state.get(name);
    const [revision, text, chosen] = [revisionOf(object), textOf(object), chosenBy(object)];
    const wasChosen = before?.chosen ?? false;
    this.entries.push({ type, revision, name, text, chosen, wasChosen });
    const next = new Map(this.#state);
    if (type === "DELETED") next.delete(name);
    else next.set(name, { text, chosen });
    this.#state = next;
    this.states.set(revision, next);
  }
  at(revision: number): State {
    const known = [...this.states.keys()].filter((one) => one <= revision);
    return this.states.get(Math.max(...known)) ?? new Map();
  }
  /** What a watch after a revision shows, with the selector or without. */
  after(revision: number, selects: boolean): string[] {
    return this.entries
      .filter((one) => one.revision > revision)
      .flatMap((one) => {
        if (!selects) return [`${one.type} ${one.text}`];
        const isThere = one.chosen && one.type !== "DELETED";
        if (!one.wasChosen) return isThere ? [`ADDED ${one.text}`] : [];
        // What leaves the selection is told as it was, with the revision of its leaving.
        if (!isThere) return [`DELETED ${one.name}@${one.revision}`];
        return [`MODIFIED ${one.text}`];
      });
  }
}

let world: World;
let call: Handler;
let count = 0;
beforeAll(async () => {
  world = await makeWorld(directly);
  call = world.server.as({ name: "admin", groups: ["system:masters"] });
});
afterAll(() => world.server.close(0));

type Command =
  | { readonly do: "create" | "delete"; readonly name: string; readonly chosen: boolean }
  | { readonly do: "put" | "patch" | "apply"; readonly name: string; readonly value: string }
  | { readonly do: "label"; readonly name: string; readonly chosen: boolean };

const name = fc.constantFrom("a", "b", "c", "d", "e");
const value = fc.constantFrom("1", "2", "3");
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ do: fc.constantFrom("create", "delete"), name, chosen: fc.boolean() }),
  fc.record({ do: fc.constantFrom("put", "patch", "apply"), name, value }),
  fc.record({ do: fc.constant("label"), name, chosen: fc.boolean() }),
);

async function perform(call: Handler, configMaps: string, one: Command): Promise<ApiResponse> {
  const at = `${configMaps}/${one.name}`;
  const merge = { type: "application/merge-patch+json" };
  switch (one.do) {
    case "create": {
      const labels = one.chosen ? { chosen: "yes" } : {};
      return ask(call, "POST", configMaps, { metadata: { name: one.name, labels } });
    }
    case "delete":
      return ask(call, "DELETE", at);
    case "put":
      return ask(call, "PUT", at, { metadata: { name: one.name }, data: { value: one.value } });
    case "patch":
      return ask(call, "PATCH", at, { data: { value: one.value } }, merge);
    case "label":
      return ask(
        call,
        "PATCH",
        at,
        { metadata: { labels: { chosen: one.chosen ? "yes" : null } } },
        merge,
      );
    default: {
      const { name, value } = one;
      const config = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { value } };
      return ask(call, "PATCH", `${at}?fieldManager=me&force=true`, config, {
        type: "application/apply-patch+yaml",
      });
    }
  }
}

/** Runs the commands on a server and on the model; the server's own watch tells the model which deletions took which revision. */
async function story(commands: readonly Command[]) {
  const name = `history-${count++}`;
  await ask(call, "POST", "/api/v1/namespaces", { metadata: { name } });
  const configMaps = `/api/v1/namespaces/${name}/configmaps`;
  const start = objectOf(await ask(call, "GET", configMaps));
  const model = new Model();
  const live = new Map<string, Loose>();
  for (const one of commands) {
    const answer = await perform(call, configMaps, one);
    if (answer.status >= 300) continue;
    const before = live.get(one.name);
    if (one.do === "delete") {
      if (before === undefined) throw new Error("what is not there was deleted");
      live.delete(one.name);
      const resourceVersion = String(await world.store.revision());
      model.tell("DELETED", { ...before, metadata: { ...before.metadata, resourceVersion } });
      continue;
    }
    const object = objectOf(answer);
    live.set(one.name, object);
    if (before !== undefined && revisionOf(before) === revisionOf(object)) continue;
    model.tell(before === undefined ? "ADDED" : "MODIFIED", object);
  }
  const last = objectOf(await ask(call, "POST", configMaps, sentinel));
  return { configMaps, model, first: revisionOf(start), last: revisionOf(last) };
}
const sentinel = { metadata: { name: "sentinel", labels: { chosen: "yes" } } };

async function replayed(configMaps: string, from: number, selects: boolean): Promise<string[]> {
  const selector = selects ? `&labelSelector=${encodeURIComponent("chosen=yes")}` : "";
  const gone = new AbortController();
  const target = `${configMaps}?watch=true&resourceVersion=${from}${selector}`;
  const watching = new Watching(await ask(call, "GET", target, undefined, { gone: gone.signal }));
  const seen: string[] = [];
  for (;;) {
    const event = await watching.next();
    if (event === undefined) throw new Error("the watch ended early");
    const { object } = event;
    if (object.metadata.name === "sentinel") break;
    seen.push(
      selects && event.type === "DELETED"
        ? `DELETED ${object.metadata.name}@${revisionOf(object)}`
        : `${event.type} ${textOf(object)}`,
    );
  }
  gone.abort();
  watching.stop();
  return seen;
}

async function pagesAt(configMaps: string, revision: number, limit: number): Promise<string[]> {
  const items: string[] = [];
  let next = `resourceVersion=${revision}&resourceVersionMatch=Exact`;
  for (let page = 0; page < 20; page++) {
    const answer = await ask(call, "GET", `${configMaps}?limit=${limit}&${next}`);
    const { metadata } = objectOf(answer) as unknown as { metadata: Record<string, string> };
    expect(metadata["resourceVersion"]).toBe(String(revision));
    items.push(...itemsOf(answer).map(textOf));
    const token = metadata["continue"] ?? "";
    if (token === "") return items;
    next = `continue=${encodeURIComponent(token)}`;
  }
  throw new Error("a list without an end");
}

test("lists at a revision and watches from one tell what was written", async () => {
  const drawn = fc.array(command, { minLength: 5, maxLength: 40 });
  const where = fc.double({ min: 0, max: 1, noNaN: true });
  await fc.assert(
    fc.asyncProperty(drawn, where, fc.integer({ min: 1, max: 3 }), async (commands, at, limit) => {
      const { configMaps, model, first, last } = await story(commands);
      const revision = first + Math.floor(at * (last - 1 - first));
      const expected = [...model.at(revision)].map(([name, one]) => [name, one.text] as const);
      const mine = expected.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
      expect(await pagesAt(configMaps, revision, limit)).toEqual(mine);
      for (const selects of [false, true])
        expect(await replayed(configMaps, revision, selects)).toEqual(
          model.after(revision, selects),
        );
    }),
    runs(25),
  );
});
