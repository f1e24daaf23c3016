/**
 * A bounded pipe of bytes inside a process: one side pushes, the other pulls.
 * Reads and writes nothing else.
 */

export class BytePipe {
  readonly #bytesMax: number;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #reader: { resolve(bytes: Uint8Array | undefined): void; reject(error: Error): void } | undefined;
  #room: (() => void)[] = [];
  #ended = false;
  #failure: Error | undefined;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** After the end bytes are dropped. The promise, if any, resolves when there is room for more. */
  push(bytes: Uint8Array): Promise<void> | undefined {
    if (bytes.length === 0 || this.#ended) return undefined;
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve(bytes);
      return undefined;
    }
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    if (this.#queued < this.#bytesMax) return undefined;
    return new Promise((resolve) => {
      this.#room.push(resolve);
    });
  }

  /** What is queued may still be read; then reading gives undefined. */
  end(): void {
    this.#ended = true;
    this.#freeRoom();
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(undefined);
  }

  /** What is queued may still be read; then reading rejects. */
  fail(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = error;
    this.#freeRoom();
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(error);
  }

  /** Everything that is queued, joined; waits if nothing is. One read at a time. */
  read(): Promise<Uint8Array | undefined> {
    if (this.#queue.length > 0) {
      const bytes = joinBytes(this.#queue);
      this.#queue = [];
      this.#queued = 0;
      this.#freeRoom();
      return Promise.resolve(bytes);
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  #freeRoom(): void {
    const room = this.#room;
    this.#room = [];
    for (const resolve of room) resolve();
  }
}

interface PipeEnd {
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
  end(): void;
  abort(error: Error): void;
}

/** Two ends of a connection inside a process; a write resolves when there is room for more. */
export function pipePair(bytesMax: number): readonly [PipeEnd, PipeEnd] {
  const pipes = [new BytePipe(bytesMax), new BytePipe(bytesMax)] as const;
  const endOf = (incoming: BytePipe, outgoing: BytePipe): PipeEnd => ({
    read: () => incoming.read(),
    write: async (bytes) => {
      if (outgoing.ended) throw new Error("the connection is closed for writing");
      await outgoing.push(bytes);
    },
    end: () => outgoing.end(),
    abort: (error) => {
      incoming.fail(error);
      outgoing.fail(error);
    },
  });
  return [endOf(pipes[0], pipes[1]), endOf(pipes[1], pipes[0])];
}

export function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
