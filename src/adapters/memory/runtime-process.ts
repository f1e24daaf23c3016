/**
 * A simulated process: what a program may do while it runs. Owned by the simulated runtime, which
 * gives it its surroundings and hears of its end. Everything happens by the clock port and promises.
 */
import { BytePipe } from "#machinery/byte-pipe.ts";
import type { Clock } from "#ports/clock.ts";
import type { HttpHandler, Listener, Network } from "#ports/network.ts";
import type { Random } from "#ports/random.ts";
import type { ContainerConfig, SandboxConfig } from "#ports/runtime.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";

/** What a process is and has around it. */
export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly container: ContainerConfig;
  readonly sandbox: SandboxConfig;
  /** The pod's address, or the node's for host network. */
  readonly address: string;
  /** Files of the container: its mounts are the host's, the rest lives and dies with it. */
  readonly files: ContainerFiles;
}
export interface ContainerFiles {
  /** The program is only a name: which files it has is not known, so any may be there. */
  opaque: boolean;
  read(path: string): Promise<Bytes | undefined>;
  write(path: string, bytes: Bytes): Promise<void>;
  remove(path: string): Promise<void>;
  exists(path: string): Promise<boolean>;
}

export interface ProcessHooks {
  wrote(bytes: Bytes, stream: "stdout" | "stderr"): void;
  /** Its memory is now so large; true: that was too much, it is gone. */
  allocated(bytes: number): boolean;
  ended(code: number): void;
}

const inputBytesMax = 1024 * 1024;
const bodyBytesMax = 16 * 1024 * 1024;

export class SimulatedProcess {
  readonly surroundings: Surroundings;
  readonly command: readonly string[];
  readonly input = new BytePipe(inputBytesMax);
  readonly #hooks: ProcessHooks;
  readonly #timers = new Set<() => void>();
  readonly #listeners: Listener[] = [];
  readonly #terminators: (() => void)[] = [];
  readonly #enders: (() => void)[] = [];
  #over = false;
  #cores = 0.001;
  /** CPU time until the moment when its use last changed. */
  #cpuNanosPast = 0;
  #usesSinceMs: number;

  constructor(surroundings: Surroundings, command: readonly string[], hooks: ProcessHooks) {
    this.surroundings = surroundings;
    this.command = command;
    this.#hooks = hooks;
    this.#usesSinceMs = surroundings.clock.now();
  }

  /** Cores in use from now on, until it says otherwise or ends. */
  get cores(): number {
    return this.#cores;
  }
  set cores(cores: number) {
    this.#cpuNanosPast = this.cpuNanosTotal();
    this.#usesSinceMs = this.surroundings.clock.now();
    this.#cores = this.#over ? 0 : cores;
  }
  /** What it has used since it began. */
  cpuNanosTotal(): number {
    const usedMs = Math.max(0, this.surroundings.clock.now() - this.#usesSinceMs);
    return this.#cpuNanosPast + Math.round(usedMs * 1e6 * this.#cores);
  }

  get over(): boolean {
    return this.#over;
  }
  variable(name: string): string | undefined {
    const { container, sandbox } = this.surroundings;
    const found = container.env.findLast((item) => item.name === name)?.value;
    return found ?? (name === "HOSTNAME" ? sandbox.hostname : undefined);
  }

  /** A line (or several) on standard output or error: into the log, and to who is attached. */
  print(text: string, stream: "stdout" | "stderr" = "stdout"): void {
    this.write(new TextEncoder().encode(text.endsWith("\n") ? text : `${text}\n`), stream);
  }
  write(bytes: Bytes, stream: "stdout" | "stderr" = "stdout"): void {
    if (!this.#over && bytes.length > 0) this.#hooks.wrote(bytes, stream);
  }

  exit(code: number): void {
    if (this.#over) return;
    this.stop();
    this.#hooks.ended(code);
  }

  /** For the runtime: it is gone without a word. */
  stop(): void {
    if (this.#over) return;
    this.cores = 0;
    this.#over = true;
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    this.input.end();
    for (const listener of this.#listeners.splice(0)) void listener.close(0);
    for (const run of this.#enders.splice(0)) run();
  }
  /** Runs once it is gone, however it ended. */
  onEnd(run: () => void): void {
    this.#enders.push(run);
  }

  /** Runs after so many milliseconds unless the process has ended by then. */
  after(ms: number, run: () => void): void {
    if (this.#over) return;
    const cancel = this.surroundings.clock.after(ms, () => {
      this.#timers.delete(cancel);
      if (!this.#over) run();
    });
    this.#timers.add(cancel);
  }
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /** What it does on SIGTERM. Without one it does not notice, as a first process without a handler. */
  onTerminate(run: () => void): void {
    this.#terminators.push(run);
  }
  /** For the runtime: SIGTERM. */
  terminate(): void {
    for (const run of this.#terminators) if (!this.#over) run();
  }

  /** Its memory, from now on, in bytes. Beyond its limit it is killed. */
  allocate(bytes: number): void {
    if (!this.#over) this.#hooks.allocated(bytes);
  }

  /** Answers HTTP on a port of the pod. A port that is taken ends the process with code 1. */
  serve(port: number, handle: HttpHandler): Promise<void> {
    const at = { host: this.surroundings.address, port };
    return this.#listen(port, this.surroundings.network.serve(at, { bodyBytesMax }, handle));
  }
  /** Takes connections on a port of the pod. */
  listen(port: number, accept: (connection: Duplex) => void): Promise<void> {
    const at = { host: this.surroundings.address, port };
    return this.#listen(port, this.surroundings.network.listen(at, {}, accept));
  }
  async #listen(port: number, listening: Promise<Listener>): Promise<void> {
    try {
      const listener = await listening;
      if (this.#over) await listener.close(0);
      else this.#listeners.push(listener);
    } catch (error) {
      this.print(`cannot listen on port ${port}: ${String(error)}`, "stderr");
      this.exit(1);
    }
  }
}

/** A kind of process. `start` runs it as a container's first process, `exec` as a command beside it. */
export interface Program {
  start(process: SimulatedProcess): void;
  exec?(process: SimulatedProcess): void;
}
export interface ProgramRule {
  /** Whether this program stands behind the container. The first rule that says yes has it. */
  matches(container: ContainerConfig, sandbox: SandboxConfig): boolean;
  readonly program: Program;
}
