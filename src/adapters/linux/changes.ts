/**
 * Changes of a file or directory, by inotify (fs.watch), also when it is not there yet, goes away and
 * comes back, or is replaced by rename. Reads file facts only.
 */

import type { FSWatcher, Stats } from "node:fs";
import { lstatSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { Source } from "#ports/stream.ts";

/** So many different names at once and the reader is better off looking at everything. */
const namesMax = 1000;

/** A path that changes faster than it can be looked at is looked at again by its own events. */
const looksMax = 10;

interface Target {
  readonly kind: "directory" | "file" | "missing";
  /** What is watched: the directory itself, a file's directory, or the nearest that is there. */
  readonly directory: string;
  /** Of the watched directory: after a replacement the watch holds the old one. */
  readonly inode: number;
}

function factsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function locate(path: string): Target {
  const facts = factsOf(path);
  if (facts?.isDirectory() === true) {
    return { kind: "directory", directory: path, inode: facts.ino };
  }
  for (let directory = dirname(path); ; directory = dirname(directory)) {
    const parent = factsOf(directory);
    if (parent?.isDirectory() === true) {
      const kind = facts === undefined ? "missing" : "file";
      return { kind, directory, inode: parent.ino };
    }
    if (directory === "/") throw new Error("the root directory cannot be read");
  }
}

class ChangeSource implements Source<string> {
  readonly #path: string;
  #watcher: FSWatcher | undefined;
  #target: Target | undefined;
  #names = new Set<string>();
  #wake: (() => void) | undefined;
  #stopped = false;
  #failure: Error | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#look();
  }

  async next(): Promise<readonly string[] | undefined> {
    for (;;) {
      if (this.#stopped) return undefined;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#names.size > 0) {
        const names = [...this.#names];
        this.#names = new Set();
        return names.length > namesMax ? [""] : names;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#watcher?.close();
    this.#wake?.();
  }

  #tell(name: string): void {
    if (this.#names.size <= namesMax) this.#names.add(name);
    this.#wake?.();
  }

  #look(): void {
    try {
      this.#arm();
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      this.#wake?.();
    }
  }

  /** Watches what there is now; if what was there before is another thing, that is a change. */
  #arm(): void {
    const before = this.#target;
    for (let look = 0; look < looksMax; look++) {
      const target = locate(this.#path);
      const now = this.#target;
      if (now?.directory === target.directory && now.inode === target.inode) {
        this.#target = target;
        break;
      }
      this.#watcher?.close();
      this.#watcher = this.#watch(target);
      // Between the look and the watch something may have come: look once more.
      this.#target = target;
    }
    const now = this.#target;
    const same = now?.directory === before?.directory && now?.inode === before?.inode;
    if (before !== undefined && !(same && now?.kind === before.kind)) {
      this.#tell(now?.kind === "file" ? basename(this.#path) : "");
    }
  }

  #watch(target: Target): FSWatcher | undefined {
    try {
      const watcher = watch(target.directory, (event, name) => this.#noticed(event, name ?? ""));
      watcher.on("error", () => this.#look());
      return watcher;
    } catch (error) {
      const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
      // Gone again already: the look that follows finds what is there instead.
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw error;
    }
  }

  #noticed(event: string, name: string): void {
    const target = this.#target;
    if (this.#stopped || target === undefined) return;
    const own = basename(this.#path);
    if (target.kind === "directory") this.#tell(name);
    else if (target.kind === "file" && name === own) this.#tell(name);
    // Something came, went or was replaced: perhaps what is watched itself.
    if (event === "rename" && !this.#stopped) this.#look();
  }
}

export const changesOf = (path: string): Source<string> => new ChangeSource(path);
