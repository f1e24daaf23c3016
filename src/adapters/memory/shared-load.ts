/**
 * SharedLoad: work that comes to a Service, whoever serves it: so many cores' worth, spread evenly over the processes that take part.
 * A program of the simulated runtime; who owns the load changes it while time passes.
 */
import type { Program, SimulatedProcess } from "./runtime-process.ts";
import { serveForever } from "./runtime-programs.ts";

export interface SharedLoadOptions {
  /** What a process uses when nothing comes. */
  readonly idleCores: number;
  /** A process does no more than this; what is beyond is not done. */
  readonly coresMax: number;
}

export class SharedLoad {
  readonly #options: SharedLoadOptions;
  readonly #processes = new Set<SimulatedProcess>();
  #cores = 0;

  constructor(options: SharedLoadOptions) {
    this.#options = options;
  }

  get cores(): number {
    return this.#cores;
  }
  /** How much comes from now on. */
  set cores(cores: number) {
    this.#cores = cores;
    this.#spread();
  }

  /** Serves its ports, and takes its share from the moment when it runs. */
  get program(): Program {
    return {
      start: (process) => {
        this.#processes.add(process);
        process.onEnd(() => {
          this.#processes.delete(process);
          this.#spread();
        });
        serveForever(process);
        this.#spread();
      },
    };
  }

  #spread(): void {
    const { idleCores, coresMax } = this.#options;
    const share = this.#cores / Math.max(1, this.#processes.size);
    for (const process of this.#processes) process.cores = Math.min(idleCores + share, coresMax);
  }
}
