/** What the commands need of the outside, besides the ports: a terminal, files, other programs. Given by src/main. */
import type { Clock } from "#ports/clock.ts";
import type { Network } from "#ports/network.ts";
import type { Random } from "#ports/random.ts";
import type { Bytes, Source } from "#ports/stream.ts";

export interface Terminal {
  /** Standard output; kept in order, written when the outside takes it. */
  out(text: string | Bytes): void;
  /** Standard error. */
  error(text: string | Bytes): void;
  /** Resolves when what was written so far is out. */
  drained(): Promise<void>;
  /** Standard input, as it comes. */
  input(): Source<Bytes>;
  readonly inputIsTerminal: boolean;
  readonly outputIsTerminal: boolean;
  size(): { readonly columns: number; readonly rows: number } | undefined;
  /** Tells of new sizes until the returned function is called. */
  resized(tell: () => void): () => void;
  /** Keys come one by one and without echo. */
  raw(on: boolean): void;
}

export interface FileFacts {
  /** Links are followed. */
  readonly kind: "file" | "folder" | "other";
  readonly sizeBytes: number;
  readonly mode: number;
  readonly modifiedMs: number;
}
/** Paths are as the user writes them. Failures throw Error with the system's words: "open x: no such file or directory". */
export interface Files {
  read(path: string): Bytes;
  write(path: string, content: Bytes, mode: number): void;
  append(path: string, content: Bytes): void;
  facts(path: string): FileFacts | undefined;
  isLink(path: string): boolean;
  list(path: string): readonly string[];
  linkTarget(path: string): string;
  makeLink(path: string, target: string): void;
  makeFolder(path: string): void;
  remove(path: string): void;
  /** A new folder of our own, for a while. */
  temporaryFolder(): string;
  /** Reads, changes and writes a kubeconfig under kubectl's lock; the text of a file that is not there is "". */
  changeLocked(path: string, change: (text: string) => string): void;
}

export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly terminal: Terminal;
  readonly files: Files;
  readonly environment: (name: string) => string | undefined;
  readonly homeFolder: string;
  /** IANA name of the user's time zone. */
  readonly timeZone: string;
  /** Runs a program of the machine on our terminal (an editor, diff); its exit code. */
  run(program: string, args: readonly string[]): Promise<number>;
  /** Runs a program and gives what it prints (credential plugins). */
  ask(
    program: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>>,
  ): Promise<string>;
  /** What is wrong with a certificate and its key (PEM); undefined: they belong together. */
  judgeKeyPair(certificate: string, key: string): string | undefined;
  /** What `version` calls us. */
  readonly version: string;
}
