/**
 * The log of a thread goes to its process's log: one piece at a time, the next when the last is written there. So what waits, waits
 * in the thread, where the log bounds it.
 */
import { Writable } from "node:stream";

export interface ThreadStream {
  readonly stream: Writable;
  /** The other side has written the piece that it was sent. */
  readonly wrote: () => void;
}

/** `send` takes text to the other side, which answers each piece: then call wrote(). */
export function threadStream(send: (text: string) => void): ThreadStream {
  let waiting: (() => void) | undefined;
  const put = (text: string, done: () => void): void => {
    waiting = done;
    send(text);
  };
  const stream = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => put(chunk, done),
    writev: (chunks: readonly { readonly chunk: string }[], done) =>
      put(chunks.map(({ chunk }) => chunk).join(""), done),
  });
  return {
    stream,
    wrote: () => {
      const done = waiting;
      waiting = undefined;
      done?.();
    },
  };
}
