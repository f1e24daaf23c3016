/**
 * The shape of a command: one value with its flags and what it does. A command gets what it was given and a session, prints to the
 * session's terminal, and throws what went wrong (see errors.ts).
 */

import { UsageFailure } from "./errors.ts";
import type { Flag, Flags } from "./flags.ts";
import type { Session } from "./session.ts";

export interface Invocation {
  readonly session: Session;
  readonly flags: Flags;
  readonly args: readonly string[];
  /** How many arguments stand before "--"; -1: there is none. */
  readonly dashAt: number;
  /** "kubectl get". */
  readonly path: string;
}
export interface KubectlCommand {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  /** The usage line behind the command's path. */
  readonly usage?: string;
  readonly flags?: readonly Flag[];
  readonly commands?: readonly KubectlCommand[];
  /** The first argument ends the flags (exec). */
  readonly flagsFirst?: boolean;
  /** Runs to its end or throws. */
  readonly run?: (given: Invocation) => Promise<void>;
}

export const usageFailure = (given: Invocation, message: string): UsageFailure =>
  new UsageFailure(message, given.path);
