/**
 * The controllers' main paths beside the original's: the same steps (sequences/), played with our API server and controllers on a clock
 * turned by hand, must leave the same objects and events behind after each as upstream's did (sequences/answers.jsonl, recorded by
 * `npm run oracle:sequences`).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { builtInResources } from "#api/index.ts";
import { createClient } from "#client/client.ts";
import { httpFront } from "#control-plane/apiserver/http-front.ts";
import { createApiServer } from "#control-plane/apiserver/server.ts";
import { startControllers } from "#control-plane/controllers/index.ts";
import { openStore } from "#control-plane/store/store.ts";
import { deltaOf, type Json } from "./mask.ts";
import { play, type Seen, sequences } from "./sequences/index.ts";
import type { Place } from "./sequences/run.ts";

const everyone = "system:authenticated";
const admin = { name: "admin", groups: ["system:masters", everyone] };
const startMs = Date.UTC(2026, 10, 22);
const settledMs = 2_000;

async function ownPlace(): Promise<Place & { stop(): Promise<void> }> {
  const clock = new SteppedClock({ startMs });
  const random = seededRandom(5);
  const store = await openStore({ storage: new MemoryStorage(), clock });
  const log = memoryLog();
  const server = await createApiServer({
    store,
    clock,
    random,
    crypto: memoryCrypto(random.fork("crypto")),
    log,
    resources: builtInResources,
    serviceCidr: "10.96.0.0/16",
    clientCa: () => "",
  });
  const running = startControllers({
    clientFor: (name) =>
      createClient(server.as({ name, groups: ["system:masters", everyone] }), {
        userAgent: "kube-controller-manager/v1.37.2",
      }),
    clock,
    random: random.fork("controllers"),
    log,
    settings: { rootCa: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" },
  });
  await clock.advance(2_000);
  const handle = httpFront((request) => server.handler({ ...request, user: admin }));
  return {
    async ask(method, path, body, type = "application/json") {
      const sent =
        body === undefined ? {} : { body: new TextEncoder().encode(JSON.stringify(body)) };
      const answer = handle({
        method,
        target: path,
        headers: { accept: "application/json", "content-type": type },
        gone: new AbortController().signal,
        ...sent,
      });
      const { status, body: bytes } = await answer;
      const text = bytes instanceof Uint8Array ? new TextDecoder().decode(bytes) : "";
      return { status, body: JSON.parse(text) as Json };
    },
    async settle(msMin) {
      await clock.advance(msMin + settledMs);
    },
    async stop() {
      await running.stop();
      await server.close(0);
    },
  };
}

interface Recorded {
  readonly name: string;
  readonly seen: readonly Seen[];
}
const answers = readFileSync(join(import.meta.dirname, "sequences/answers.jsonl"), "utf8");
const recorded = new Map(
  answers
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Recorded)
    .map(({ name, seen }) => [name, seen] as const),
);

const knownFile = join(import.meta.dirname, "sequences/known-differences.json");
/** Steps, by sequence, after which ours is not yet the original's. */
const known = JSON.parse(readFileSync(knownFile, "utf8")) as Record<string, readonly string[]>;
/** `NOTE=1`: what differs now is written down instead of refused. */
const isNoting = process.env["NOTE"] === "1";
const noted: Record<string, string[]> = {};
afterAll(() => {
  if (!isNoting) return;
  const all = Object.entries({ ...known, ...noted }).filter(([, steps]) => steps.length > 0);
  writeFileSync(knownFile, `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`);
});

/** `SHOW=1`: what differs is printed, the original's part first. */
const isShowing = process.env["SHOW"] === "1";
function show(name: string, ours: Seen, theirs: Seen): void {
  const [a, b] = [ours, theirs] as unknown as [Json, Json];
  const line = (sign: string, [path, value]: readonly [string, Json?]): void => {
    process.stdout.write(`${name} | ${ours.step} ${sign} ${path} ${JSON.stringify(value)}\n`);
  };
  for (const one of deltaOf(a, b)) line("-", one);
  for (const one of deltaOf(b, a)) line("+", one);
}

for (const sequence of sequences) {
  test(sequence.name, { timeout: 300_000 }, async () => {
    const place = await ownPlace();
    const theirs = recorded.get(sequence.name) ?? [];
    const ours: Seen[] = [];
    for await (const one of play(sequence, place)) ours.push(one);
    await place.stop();
    const steps = ours.map(({ step }) => step);
    expect(steps, "the steps have changed: npm run oracle:sequences").toEqual(
      theirs.map(({ step }) => step),
    );
    const different = ours.filter((one, at) => !isDeepStrictEqual(one, theirs[at]));
    if (isShowing)
      for (const one of different) show(sequence.name, one, theirs[ours.indexOf(one)] as Seen);
    noted[sequence.name] = different.map(({ step }) => step);
    if (isNoting) return;
    const listed = known[sequence.name] ?? [];
    for (const one of different)
      if (!listed.includes(one.step)) expect(one).toEqual(theirs[ours.indexOf(one)]);
    const healed = listed.filter((step) => !different.some((one) => one.step === step));
    expect(healed, "no longer different: take them off sequences/known-differences.json").toEqual(
      [],
    );
  });
}
