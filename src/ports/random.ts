import type { Bytes } from "./stream.ts";

/** Random: every generated name, UID, jitter and tie is drawn from here. Not for secrets: see Crypto. */
export interface Random {
  /** Uniform in 0 … 2^32-1. */
  uint32(): number;
  bytes(count: number): Bytes;
  /** An independent stream that depends only on the seed and the component's name. */
  fork(component: string): Random;
}
