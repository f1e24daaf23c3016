/** Answers in the form that is kept: masked, and where it is shorter as the difference to another answer. */
import { changedBy, referred } from "./change.ts";
import type { Ask, KindCorpus } from "./corpus.ts";
import { type Delta, deltaOf, type Json, mask, sorted } from "./mask.ts";

/** As it came, from whichever server. */
export interface Raw {
  readonly status: number;
  readonly type: string;
  readonly warnings?: readonly string[];
  readonly body: string;
}
export interface Kept {
  readonly id: string;
  readonly status: number;
  readonly warnings?: readonly string[];
  readonly body?: Json;
  /** To the answer that the request is `like`. */
  readonly delta?: Delta;
}

function bodyOf(raw: Raw, ask: Ask): Json {
  if (!raw.type.includes("json")) return raw.body;
  const told = ask.change === undefined ? (ask.body ?? "") : JSON.stringify(ask.change);
  const one = (text: string): Json => sorted(mask(JSON.parse(text) as Json, told));
  if (!ask.path.includes("watch=")) return one(raw.body);
  return raw.body
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map(one);
}

/** What is sent, once what it speaks of was answered. */
export function sent(ask: Ask, answers: ReadonlyMap<string, string>): Ask {
  const { from, change, ...rest } = ask;
  const path = referred(ask.path, answers);
  const body =
    from === undefined
      ? ask.body
      : JSON.stringify(changedBy(JSON.parse(answers.get(from) ?? "null") as Json, change ?? []));
  return body === undefined ? { ...rest, path } : { ...rest, path, body: referred(body, answers) };
}

/** Of one kind; `answer` gives what a request was answered. */
export async function keep(
  { asks }: KindCorpus,
  answer: (ask: Ask) => Raw | Promise<Raw>,
): Promise<Kept[]> {
  const bodies = new Map<string, Json>();
  const kept: Kept[] = [];
  const answers = new Map<string, string>();
  for (const ask of asks) {
    const raw = await answer(sent(ask, answers));
    answers.set(ask.id, raw.body);
    const body = bodyOf(raw, ask);
    bodies.set(ask.id, body);
    const base = ask.like === undefined ? undefined : bodies.get(ask.like);
    const warnings = raw.warnings === undefined ? {} : { warnings: raw.warnings };
    const head = { id: ask.id, status: raw.status, ...warnings };
    if (base === undefined || raw.status >= 300) kept.push({ ...head, body });
    else kept.push({ ...head, delta: deltaOf(base, body) });
  }
  return kept;
}
