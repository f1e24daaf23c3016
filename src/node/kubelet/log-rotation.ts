/** Rotates container logs that have grown too large, and keeps only so many old ones. */
import type { Clock } from "#ports/clock.ts";
import type { Host } from "#ports/host.ts";
import type { Log } from "#ports/log.ts";
import type { Runtime } from "#ports/runtime.ts";
import { rotatedName } from "./logs.ts";

export interface RotationWorld {
  readonly runtime: Runtime;
  readonly host: Host;
  readonly clock: Clock;
  readonly log: Log;
  readonly bytesMax: number;
  /** With the one that is written to. */
  readonly filesMax: number;
  /** Log paths of the containers that run, by id. */
  running(): ReadonlyMap<string, string>;
}

export class LogRotation {
  readonly #world: RotationWorld;
  readonly #periodMs: number;
  #cancel: () => void = () => {};
  #stopped = false;

  constructor(world: RotationWorld, periodMs: number) {
    this.#world = world;
    this.#periodMs = periodMs;
  }

  start(): void {
    if (this.#stopped) return;
    this.#cancel = this.#world.clock.after(this.#periodMs, () => {
      void this.rotateAll().then(() => this.start());
    });
  }
  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  /** File sizes can't be awaited: the runtime writes them. One stat a container every few seconds. */
  async rotateAll(): Promise<void> {
    for (const [id, path] of this.#world.running()) {
      try {
        await this.#rotate(id, path);
      } catch (error) {
        this.#world.log.write("warn", "could not rotate a container's log", {
          path,
          error: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }

  async #rotate(containerId: string, path: string): Promise<void> {
    const { host, runtime, clock, bytesMax } = this.#world;
    const facts = await host.stat(path);
    if (facts === undefined || facts.sizeBytes < bytesMax) return;
    const rotated = rotatedName(path, clock.now());
    await host.rename(path, rotated);
    try {
      await runtime.reopenLog(containerId);
    } catch (error) {
      // The runtime still writes to the old file: it goes back to its name.
      await host.rename(rotated, path);
      throw error;
    }
    await this.#prune(path);
  }

  async #prune(path: string): Promise<void> {
    const { host, filesMax } = this.#world;
    const slash = path.lastIndexOf("/");
    const directory = path.slice(0, slash);
    const prefix = `${path.slice(slash + 1)}.`;
    const old = ((await host.list(directory)) ?? [])
      .map((file) => file.name)
      .filter((name) => name.startsWith(prefix))
      .toSorted();
    for (const name of old.slice(0, Math.max(0, old.length - (filesMax - 1)))) {
      await host.remove(`${directory}/${name}`);
    }
  }
}
