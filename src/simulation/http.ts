/** Asking by HTTP in the simulated world: one request on a new connection, and steady load. */
import type { Clock } from "#ports/clock.ts";
import type { Network } from "#ports/network.ts";
import type { Bytes, Source } from "#ports/stream.ts";

export interface Answer {
  readonly status: number;
  readonly body: string;
}

const httpPort = 80;
const bodyBytesMax = 16 * 2 ** 20;

/** A GET; rejects with NetworkError, also when there is no answer within `timeoutMs`. */
export async function get(
  network: Network,
  clock: Clock,
  url: string,
  timeoutMs: number,
): Promise<Answer> {
  const { hostname, port, pathname, search, protocol } = new URL(url);
  if (protocol !== "http:") throw new Error(`only http: URLs are asked here, not ${url}`);
  const to = { host: hostname, port: port === "" ? httpPort : Number(port) };
  const client = network.http(to, { version: 1 });
  const late = new AbortController();
  const cancel = clock.after(timeoutMs, () => late.abort());
  try {
    const target = `${pathname}${search}`;
    const answer = await client.send({ method: "GET", target, signal: late.signal });
    return { status: answer.status, body: await textOf(answer.body) };
  } finally {
    cancel();
    client.close();
  }
}

/** A body to its end. */
export async function textOf(body: Source<Bytes>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const batch = await body.next();
    if (batch === undefined) return text + decoder.decode();
    for (const bytes of batch) text += decoder.decode(bytes, { stream: true });
    if (text.length > bodyBytesMax) throw new Error(`the answer exceeds ${bodyBytesMax} bytes`);
  }
}

export interface LoadResult {
  readonly answered: number;
  /** What went wrong: an error's text, or a status of 400 and more; with its moment. */
  readonly failures: readonly { readonly atMs: number; readonly why: string }[];
  /** How often each body came. */
  readonly bodies: ReadonlyMap<string, number>;
}

const failuresMax = 1000;

/** One request every `everyMs`, whether or not the last one has been answered. */
export class SteadyLoad {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #ask: () => Promise<Answer>;
  readonly #failures: { readonly atMs: number; readonly why: string }[] = [];
  readonly #bodies = new Map<string, number>();
  #answered = 0;
  #cancel: () => void = () => {};

  constructor(clock: Clock, everyMs: number, ask: () => Promise<Answer>) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#ask = ask;
    this.#next();
  }

  /** What has come so far. */
  get result(): LoadResult {
    return { answered: this.#answered, failures: this.#failures, bodies: this.#bodies };
  }
  stop(): LoadResult {
    this.#cancel();
    return this.result;
  }

  #next(): void {
    this.#cancel = this.#clock.after(this.#everyMs, () => {
      this.#next();
      this.#ask().then(
        ({ status, body }) => {
          if (status >= 400) this.#fail(`status ${status}: ${body}`);
          else this.#answered++;
          this.#bodies.set(body, (this.#bodies.get(body) ?? 0) + 1);
        },
        (error: unknown) => this.#fail(error instanceof Error ? error.message : String(error)),
      );
    });
  }

  #fail(why: string): void {
    const atMs = this.#clock.monotonicMs();
    if (this.#failures.length < failuresMax) this.#failures.push({ atMs, why });
  }
}
