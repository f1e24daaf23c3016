/**
 * Who is asked again: a webhook or a policy that changes an object behind others makes the whole list of plugins run a second time, in
 * which those others (the ones that wish it) see what became of the object. There is no third time.
 */
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";

/** What one plugin remembers of a write, from its first round to its second. */
export class Asked {
  readonly #rounds: Rounds;
  #before = new Set<string>();
  readonly #again = new Set<string>();
  #left: ApiObject | undefined;

  constructor(rounds: Rounds) {
    this.#rounds = rounds;
  }

  /** A round begins: what other plugins did to the object meanwhile counts as a change. */
  begin(object: ApiObject | undefined): void {
    if (!this.#rounds.isSecond || this.#before.size === 0 || object === undefined) return;
    if (!equalObjects(this.#left, object)) this.#require();
  }

  /** What it left is kept only where somebody may be asked again because of it. */
  end(object: ApiObject | undefined): void {
    const isNeeded = this.#before.size > 0 && object !== undefined;
    this.#left = isNeeded ? cloneJson(object) : undefined;
  }

  /** Whether it has its turn in this round. */
  isDue(key: string): boolean {
    return !this.#rounds.isSecond || this.#again.has(key);
  }

  done(key: string, changed: boolean, wantsAgain: boolean): void {
    if (changed) {
      this.#require();
      this.#rounds.isWanted = true;
    }
    if (wantsAgain) this.#before.add(key);
  }

  #require(): void {
    for (const key of this.#before) this.#again.add(key);
    this.#before = new Set();
  }
}

export class Rounds {
  isSecond = false;
  /** Somebody changed the object in a way that others should see. */
  isWanted = false;
  readonly #asked = new Map<string, Asked>();

  of(plugin: string): Asked {
    const known = this.#asked.get(plugin);
    if (known !== undefined) return known;
    const made = new Asked(this);
    this.#asked.set(plugin, made);
    return made;
  }
}
