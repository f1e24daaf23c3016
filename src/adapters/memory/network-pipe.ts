/** Both ends of a connection in memory. What is written is copied; a writer waits while its reader is far behind. */
import { NetworkError } from "#ports/network.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import { Connection, type Link } from "./network-link.ts";

/** Bytes under way in one direction before the writer has to wait, as a system's socket buffers hold them. */
const underWayBytesMax = 256 * 1024;

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** The two ends. The connection is over when both have ended or one has aborted. */
export function duplexPair(connection: Connection): readonly [Duplex, Duplex] {
  const there = new Pipe(connection.link);
  const back = new Pipe(connection.link);
  const ended = (): void => {
    if (there.hasEnded && back.hasEnded) connection.finish();
  };
  const reset = (error: NetworkError): void => {
    for (const pipe of [there, back]) {
      pipe.failReader(error);
      pipe.failWriter(error);
    }
  };
  connection.onBreak(reset);
  const end = (incoming: Pipe, outgoing: Pipe): Duplex => ({
    read: () => incoming.read(),
    write: (bytes) => outgoing.write(bytes),
    end: () => outgoing.end(ended),
    abort(error) {
      incoming.failReader(error);
      outgoing.failWriter(error);
      connection.link.carry(() =>
        connection.break(
          new NetworkError("ECONNRESET", "the peer aborted the connection (ECONNRESET)"),
        ),
      );
    },
  });
  return [end(back, there), end(there, back)];
}

/** One direction. */
class Pipe {
  readonly #link: Link;
  readonly #arrived: Bytes[] = [];
  #underWayBytes = 0;
  #reader: Waiter<Bytes | undefined> | undefined;
  readonly #writers: Waiter<void>[] = [];
  #isEnding = false;
  #hasEnded = false;
  #readFailure: Error | undefined;
  #writeFailure: Error | undefined;

  constructor(link: Link) {
    this.#link = link;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  read(): Promise<Bytes | undefined> {
    if (this.#reader !== undefined) throw new Error("one read at a time");
    if (this.#arrived.length > 0) return Promise.resolve(this.#take());
    if (this.#readFailure !== undefined) return Promise.reject(this.#readFailure);
    if (this.#hasEnded) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(bytes: Bytes): Promise<void> {
    if (this.#writeFailure !== undefined) return Promise.reject(this.#writeFailure);
    if (this.#isEnding) {
      return Promise.reject(
        new NetworkError("EPIPE", "our side of the connection has ended (EPIPE)"),
      );
    }
    if (bytes.length > 0) {
      const copy = bytes.slice();
      this.#underWayBytes += copy.length;
      this.#link.carry(() => this.#arrive(copy));
    }
    if (this.#underWayBytes <= underWayBytesMax) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#writers.push({ resolve, reject });
    });
  }

  end(ended: () => void): void {
    if (this.#isEnding || this.#writeFailure !== undefined) return;
    this.#isEnding = true;
    this.#link.carry(() => {
      this.#hasEnded = true;
      if (this.#arrived.length === 0) this.#answerReader((reader) => reader.resolve(undefined));
      ended();
    });
  }

  /** What has arrived can still be read, unless this side itself gave up. */
  failReader(error: Error): void {
    if (this.#readFailure !== undefined) return;
    this.#readFailure = error;
    if (!(error instanceof NetworkError)) this.#arrived.length = 0;
    this.#answerReader((reader) => reader.reject(error));
  }

  failWriter(error: Error): void {
    this.#writeFailure ??= error;
    for (const writer of this.#writers.splice(0)) writer.reject(error);
  }

  #arrive(bytes: Bytes): void {
    if (this.#readFailure !== undefined) return;
    this.#arrived.push(bytes);
    this.#answerReader((reader) => reader.resolve(this.#take()));
  }

  #take(): Bytes | undefined {
    const bytes = this.#arrived.shift();
    this.#underWayBytes -= bytes?.length ?? 0;
    if (this.#underWayBytes <= underWayBytesMax) {
      for (const writer of this.#writers.splice(0)) writer.resolve();
    }
    return bytes;
  }

  #answerReader(answer: (reader: Waiter<Bytes | undefined>) => void): void {
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader !== undefined) answer(reader);
  }
}
