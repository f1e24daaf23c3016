/**
 * Our API server's answers beside those of the original (golden/, recorded by `npm run oracle`): status, warnings and whole body of every
 * request of the corpus. docs/judges.md says how to ask anew.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { builtInResources } from "#api/index.ts";
import { httpFront } from "#control-plane/apiserver/http-front.ts";
import { type ApiServer, createApiServer } from "#control-plane/apiserver/server.ts";
import { openStore } from "#control-plane/store/store.ts";
import type { HttpHandler } from "#ports/network.ts";
import { type Kept, keep, type Raw } from "./answers.ts";
import { type Ask, corpus } from "./corpus.ts";
import { knownFile, notGood, onPurpose } from "./differences.ts";
import { type Delta, deltaOf, type Json } from "./mask.ts";

const here = import.meta.dirname;
const user = { name: "admin", groups: ["system:masters", "system:authenticated"] };
const warningForms = /299 - "(?:[^"\\]|\\.)*"/g;
const warningForm = /^299 - "((?:[^"\\]|\\.)*)"/;

let server: ApiServer;
let ask: (one: Ask) => Promise<Raw>;

function asked(handle: HttpHandler, clock: SteppedClock): (one: Ask) => Promise<Raw> {
  return async ({ method, path, headers, body }) => {
    const typed = body === undefined ? {} : { "content-type": "application/json" };
    const given = Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]);
    const response = handle({
      method,
      target: path,
      headers: {
        accept: "application/json",
        "user-agent": "oracle/v1",
        ...typed,
        ...Object.fromEntries(given),
      },
      gone: new AbortController().signal,
      ...(body === undefined ? {} : { body: new TextEncoder().encode(body) }),
    });
    const { status, headers: said, body: bytes } = await response;
    await clock.settle();
    const reading = bytes === undefined ? "" : textOf(bytes);
    // A watch ends with its timeout only.
    if (path.includes("watch=")) await clock.advance(4_000);
    const text = await reading;
    const warning = said["warning"];
    // Several may stand in one header.
    const warnings = [warning ?? []].flat().flatMap((one) => one.match(warningForms) ?? []);
    const type = said["content-type"] ?? "";
    return { status, type, body: text, ...(warnings.length === 0 ? {} : { warnings }) };
  };
}

async function textOf(
  body: Uint8Array | { next(): Promise<readonly Uint8Array[] | undefined> },
): Promise<string> {
  if (body instanceof Uint8Array) return new TextDecoder().decode(body);
  let text = "";
  for (let batch = await body.next(); batch !== undefined; batch = await body.next())
    for (const bytes of batch) text += new TextDecoder().decode(bytes);
  return text;
}

beforeAll(async () => {
  const clock = new SteppedClock({ startMs: Date.UTC(2026, 10, 22) });
  const random = seededRandom(11);
  const store = await openStore({ storage: new MemoryStorage(), clock });
  server = await createApiServer({
    store,
    clock,
    random,
    crypto: systemCrypto,
    log: memoryLog(),
    resources: builtInResources,
    serviceCidr: "10.96.0.0/16",
    clientCa: () => "",
  });
  ask = asked(
    httpFront((request) => server.handler({ ...request, user })),
    clock,
  );
});
afterAll(() => server.close(0));

const textIn = (text: string): string => warningForm.exec(text)?.[1] ?? text;
const comparable = ({ warnings, ...kept }: Kept): object => ({
  ...kept,
  warnings: (warnings ?? []).map(textIn),
});

const known: Record<string, readonly string[]> = JSON.parse(
  readFileSync(join(here, knownFile), "utf8"),
);

/** `NOTE=1`: what differs now is written down instead of refused. */
const isNoting = process.env["NOTE"] === "1";
const noted: Record<string, string[]> = {};
/** `SHOW=1`: what differs is printed, the original's part first. */
const isShowing = process.env["SHOW"] === "1";
function shown(they: object, we: object): string {
  const [theirs, ours] = [they as Json, we as Json];
  const lines = (sign: string, delta: Delta): string[] =>
    delta.map(([path, value]) => `  ${sign} ${path} ${JSON.stringify(value)}`);
  return [...lines("-", deltaOf(ours, theirs)), ...lines("+", deltaOf(theirs, ours))].join("\n");
}
afterAll(() => {
  if (!isNoting) return;
  const all = Object.entries({ ...known, ...noted }).filter(([, ids]) => ids.length > 0);
  writeFileSync(join(here, knownFile), `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`);
});

describe("the oracle", () => {
  const kinds = corpus(join(here, "corpus"));
  test("says what it covers", () => {
    const lines = kinds.flatMap(({ name, asks, coverage }) =>
      coverage === undefined
        ? []
        : [`${name}: ${coverage.covered} of ${coverage.total} fields, ${asks.length} requests`],
    );
    process.stdout.write(`${lines.join("\n")}\n`);
    expect(lines.length).toBeGreaterThan(30);
  });
  for (const kind of kinds) {
    test(kind.name, { timeout: 600_000 }, async () => {
      const file = join(here, "golden", `${kind.name}.jsonl`);
      expect(existsSync(file), `${kind.name} was never asked: npm run oracle`).toBe(true);
      const golden = new Map(
        readFileSync(file, "utf8")
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as Kept)
          .map((one) => [one.id, one]),
      );
      const ours = await keep(kind, ask);
      expect(
        ours.map(({ id }) => id),
        `the corpus of ${kind.name} has changed: npm run oracle`,
      ).toEqual([...golden.keys()]);
      // What starts from an object that is refused whole never reaches the field that it names.
      const made = [...golden.values()].filter(
        ({ id }) => kind.coverage !== undefined && / (dry )?create$/.test(id),
      );
      const refused = made.filter(({ status }) => status >= 300).map(({ id }) => id);
      expect(refused.filter((id) => !notGood.includes(`${kind.name}: ${id}`))).toEqual([]);
      noted[kind.name] = [];
      const stillKnown = new Set(known[kind.name] ?? []);
      const healed: string[] = [];
      for (const answer of ours) {
        const theirs = golden.get(answer.id);
        if (theirs === undefined || onPurpose(kind.name, answer.id)) continue;
        // The original crashed; we need not.
        if (theirs.status === 0) continue;
        const [we, they] = [comparable(answer), comparable(theirs)];
        const same = JSON.stringify(we) === JSON.stringify(they);
        if (!same && isShowing)
          process.stdout.write(`${kind.name} | ${answer.id}\n${shown(they, we)}\n`);
        if (isNoting) {
          if (!same) (noted[kind.name] ??= []).push(answer.id);
        } else if (!stillKnown.has(answer.id)) expect(we, answer.id).toEqual(they);
        else if (same) healed.push(answer.id);
      }
      expect(healed, `no longer different: take them off ${knownFile}`).toEqual([]);
    });
  }
});
