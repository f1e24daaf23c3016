/** Streams as the ports know them: pulled, in batches, so that back-pressure is the default. */

export type Bytes = Uint8Array;

/**
 * A stream that is pulled. `next()` gives the following batch (never empty), or undefined at the end;
 * it rejects when the stream broke. One `next()` at a time. `stop()` may be called at any moment,
 * more than once: a waiting `next()` then gives undefined.
 */
export interface Source<T> {
  next(): Promise<readonly T[] | undefined>;
  stop(): void;
}

/**
 * Both directions of a connection. `read()` gives undefined once the peer has half-closed;
 * `write()` resolves when more may come. `end()` half-closes our side. `abort()` tears both down:
 * pending reads and writes reject with the error. One read() at a time. Bytes handed in (here, and in bodies
 * and sources that are sent) must not be changed afterwards.
 */
export interface Duplex {
  read(): Promise<Bytes | undefined>;
  write(bytes: Bytes): Promise<void>;
  end(): void;
  abort(error: Error): void;
}
