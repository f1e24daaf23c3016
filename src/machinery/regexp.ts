/**
 * Regular expressions that users supply, in RE2's syntax, matched in time linear in the text whatever the pattern: all states that the
 * pattern can be in advance together, character by character. No captures: the answer is whether the pattern occurs.
 */
import {
  type Assertion,
  type CharTest,
  isWordChar,
  type Node,
  parseRegexp,
  RegexpError,
} from "./regexp-parse.ts";

export { RegexpError } from "./regexp-parse.ts";

/** One instruction; `next` are places in the program. */
type Instruction =
  | { readonly type: "char"; readonly test: CharTest; next: number }
  | { readonly type: "assert"; readonly what: Assertion; next: number }
  | { readonly type: "split"; readonly next: number[] }
  | { readonly type: "match" };

const instructionsMax = 20_000;
const cachedMax = 512;

export interface Regexp {
  /** Whether the pattern occurs anywhere in the text. */
  matches(text: string): boolean;
  /** The first match at or behind a character, as places in UTF-16 units: leftmost, then as Perl would choose. */
  find(text: string, from?: number): { readonly start: number; readonly end: number } | undefined;
}

const cached = new Map<string, Regexp>();

/** Throws RegexpError for what is no expression. What was compiled is remembered. */
export function compileRegexp(source: string): Regexp {
  const known = cached.get(source);
  if (known !== undefined) return known;
  const made = new Program(parseRegexp(source));
  if (cached.size >= cachedMax)
    for (const oldest of cached.keys()) {
      cached.delete(oldest);
      break;
    }
  cached.set(source, made);
  return made;
}

/** What is wrong with the expression, in Go's words; undefined: nothing. */
export function regexpProblem(source: string): string | undefined {
  try {
    compileRegexp(source);
    return undefined;
  } catch (error) {
    if (error instanceof RegexpError) return error.message;
    throw error;
  }
}

/** Where a match that began at `start` goes on. */
interface Thread {
  readonly place: number;
  readonly start: number;
}

class Program implements Regexp {
  readonly #code: Instruction[] = [];
  readonly #start: number;

  constructor(node: Node) {
    const end = this.#add({ type: "match" });
    this.#start = this.#compile(node, end);
  }

  #add(instruction: Instruction): number {
    if (this.#code.length >= instructionsMax) throw new RegexpError("expression too large");
    this.#code.push(instruction);
    return this.#code.length - 1;
  }

  /** Gives where the node begins; behind it the program goes on at `next`. */
  #compile(node: Node, next: number): number {
    switch (node.type) {
      case "char":
        return this.#add({ type: "char", test: node.test, next });
      case "assert":
        return this.#add({ type: "assert", what: node.what, next });
      case "sequence":
        return node.items.reduceRight((after, item) => this.#compile(item, after), next);
      case "choice":
        return this.#add({
          type: "split",
          next: node.items.map((item) => this.#compile(item, next)),
        });
      default:
        return this.#repeat(node, next);
    }
  }

  #repeat({ item, min, max, lazy }: Extract<Node, { type: "repeat" }>, next: number): number {
    /** What is preferred stands first. */
    const either = (more: number): number[] => (lazy ? [next, more] : [more, next]);
    let at = next;
    if (max === Infinity) {
      const loop: Instruction = { type: "split", next: [] };
      at = this.#add(loop);
      loop.next.push(...either(this.#compile(item, at)));
    } else {
      for (let more = max - min; more > 0; more--)
        at = this.#add({ type: "split", next: either(this.#compile(item, at)) });
    }
    for (let times = 0; times < min; times++) at = this.#compile(item, at);
    return at;
  }

  find(text: string, from = 0): { start: number; end: number } | undefined {
    let threads: Thread[] = [];
    let found: { start: number; end: number } | undefined;
    let before = from === 0 ? undefined : text.charCodeAt(from - 1);
    for (let at = from; ; ) {
      const here = text.codePointAt(at);
      const seen = new Uint8Array(this.#code.length);
      const ready: Thread[] = [];
      // What began earlier goes first; once something matched, nothing new begins.
      if (found === undefined) threads.push({ place: this.#start, start: at });
      for (const thread of threads) {
        if (!this.#follow(thread, { before, here }, seen, ready)) continue;
        found = { start: thread.start, end: at };
        break;
      }
      if (here === undefined) return found;
      threads = [];
      for (const { place, start } of ready) {
        const instruction = this.#code[place] as Instruction;
        if (instruction.type === "char" && instruction.test(here))
          threads.push({ place: instruction.next, start });
      }
      if (threads.length === 0 && found !== undefined) return found;
      before = here;
      at += here > 0xffff ? 2 : 1;
    }
  }

  /** As #reach, in the order of preference: what comes after a match counts no more. True: the pattern has matched. */
  #follow(
    thread: Thread,
    around: { before: number | undefined; here: number | undefined },
    seen: Uint8Array,
    ready: Thread[],
  ): boolean {
    const waiting = [thread.place];
    for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
      if (seen[place] === 1) continue;
      seen[place] = 1;
      const instruction = this.#code[place] as Instruction;
      if (instruction.type === "match") return true;
      if (instruction.type === "char") ready.push({ place, start: thread.start });
      else if (instruction.type === "split") waiting.push(...instruction.next.toReversed());
      else if (holds(instruction.what, around.before, around.here)) waiting.push(instruction.next);
    }
    return false;
  }

  matches(text: string): boolean {
    const chars = Array.from(text, (char) => char.codePointAt(0) ?? 0);
    let states: number[] = [];
    for (let at = 0; at <= chars.length; at++) {
      const before = chars[at - 1];
      const here = chars[at];
      const seen = new Uint8Array(this.#code.length);
      const ready: Extract<Instruction, { type: "char" }>[] = [];
      // The pattern may begin at every place.
      states.push(this.#start);
      if (this.#reach(states, before, here, seen, ready)) return true;
      if (here === undefined) return false;
      states = [];
      for (const instruction of ready) if (instruction.test(here)) states.push(instruction.next);
    }
    return false;
  }

  /** Follows what takes no character. True: the pattern has matched. */
  #reach(
    waiting: number[],
    before: number | undefined,
    here: number | undefined,
    seen: Uint8Array,
    ready: Extract<Instruction, { type: "char" }>[],
  ): boolean {
    for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
      if (seen[place] === 1) continue;
      seen[place] = 1;
      const instruction = this.#code[place] as Instruction;
      if (instruction.type === "match") return true;
      if (instruction.type === "char") ready.push(instruction);
      else if (instruction.type === "split") waiting.push(...instruction.next);
      else if (holds(instruction.what, before, here)) waiting.push(instruction.next);
    }
    return false;
  }
}

function holds(what: Assertion, before: number | undefined, here: number | undefined): boolean {
  const newline = 0x0a;
  switch (what) {
    case "textStart":
      return before === undefined;
    case "textEnd":
      return here === undefined;
    case "lineStart":
      return before === undefined || before === newline;
    case "lineEnd":
      return here === undefined || here === newline;
    default: {
      const left = before !== undefined && isWordChar(before);
      const right = here !== undefined && isWordChar(here);
      return (left !== right) === (what === "word");
    }
  }
}
