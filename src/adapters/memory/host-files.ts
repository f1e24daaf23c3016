/**
 * A file system in memory: directories, files, links, mounts over them, and who is told of changes.
 * Everything is synchronous here; host.ts puts the Host port's promises around it.
 */
import type { Clock } from "#ports/clock.ts";
import type { FileFacts } from "#ports/host.ts";
import type { Bytes, Source } from "#ports/stream.ts";

interface Common {
  readonly inode: number;
  mode: number;
  uid: number;
  gid: number;
  modifiedMs: number;
}
export interface DirectoryNode extends Common {
  readonly type: "directory";
  readonly entries: Map<string, FileNode>;
}
interface RegularNode extends Common {
  readonly type: "file";
  buffer: Uint8Array;
  length: number;
}
interface LinkNode extends Common {
  readonly type: "link";
  readonly target: string;
}
export type FileNode = DirectoryNode | RegularNode | LinkNode;

export interface MountEntry {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly root: FileNode;
}

/** As node:fs would say it: `code` is the errno's name. */
export class FileError extends Error {
  readonly code: string;
  constructor(code: string, path: string) {
    super(`${code}: ${path}`);
    this.name = "FileError";
    this.code = code;
  }
}

const linksMax = 40;
const namesMax = 1000;

const partsOf = (path: string): string[] => {
  if (!path.startsWith("/")) throw new Error(`a host's paths are absolute: ${path}`);
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts;
};
const nameOf = (path: string): string => partsOf(path).at(-1) ?? "";
const parentOf = (path: string): string => `/${partsOf(path).slice(0, -1).join("/")}`;
const cleanPath = (path: string): string => `/${partsOf(path).join("/")}`;

interface Watch {
  readonly path: string;
  tell(name: string): void;
}

interface Found {
  readonly node: FileNode;
  /** Where it really is, links followed. */
  readonly path: string;
}

export class MemoryFiles {
  readonly #clock: Clock;
  readonly #root: DirectoryNode;
  readonly #mounts: MountEntry[] = [];
  readonly #watches = new Set<Watch>();
  #inodes = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#root = this.#directory(0o755);
  }

  get mounts(): readonly MountEntry[] {
    return this.#mounts;
  }

  #common(mode: number): Common {
    return { inode: this.#inodes++, mode, uid: 0, gid: 0, modifiedMs: this.#clock.now() };
  }
  #directory(mode: number): DirectoryNode {
    return { type: "directory", entries: new Map(), ...this.#common(mode) };
  }

  #mountAt(path: string): FileNode | undefined {
    return this.#mounts.findLast((mount) => mount.target === path)?.root;
  }

  /** Undefined: not there. Links on the way are followed, the last one only if asked. */
  find(path: string, followLast: boolean): Found | undefined {
    let left = partsOf(path);
    let at: string[] = [];
    let node: FileNode = this.#mountAt("/") ?? this.#root;
    let links = 0;
    while (left.length > 0) {
      const [part = "", ...rest] = left;
      if (node.type !== "directory") return undefined;
      const here = `/${[...at, part].join("/")}`;
      const next: FileNode | undefined = this.#mountAt(here) ?? node.entries.get(part);
      if (next === undefined) return undefined;
      if (next.type === "link" && (rest.length > 0 || followLast)) {
        links += 1;
        if (links > linksMax) throw new FileError("ELOOP", path);
        const base = next.target.startsWith("/") ? "" : `/${at.join("/")}`;
        left = [...partsOf(`${base}/${next.target}`), ...rest];
        at = [];
        node = this.#mountAt("/") ?? this.#root;
        continue;
      }
      at = [...at, part];
      node = next;
      left = rest;
    }
    return { node, path: `/${at.join("/")}` };
  }

  #directoryOf(path: string): { readonly directory: DirectoryNode; readonly path: string } {
    const found = this.find(parentOf(path), true);
    if (found === undefined) throw new FileError("ENOENT", path);
    if (found.node.type !== "directory") throw new FileError("ENOTDIR", path);
    return { directory: found.node, path: found.path };
  }

  #put(path: string, node: FileNode): void {
    const parent = this.#directoryOf(path);
    parent.directory.entries.set(nameOf(path), node);
    parent.directory.modifiedMs = this.#clock.now();
    this.#changed(`${parent.path === "/" ? "" : parent.path}/${nameOf(path)}`);
    if (parent.path !== parentOf(path)) this.#changed(cleanPath(path));
  }

  facts(name: string, node: FileNode): FileFacts {
    const sizeBytes =
      node.type === "file" ? node.length : node.type === "link" ? node.target.length : 4096;
    const { type, mode, inode, modifiedMs } = node;
    return { name, type, sizeBytes, modifiedMs, mode, inode };
  }

  write(path: string, bytes: Bytes, mode: number, owner?: { uid: number; gid: number }): void {
    const existing = this.find(path, false)?.node;
    if (existing?.type === "directory") throw new FileError("EISDIR", path);
    const node: RegularNode = {
      type: "file",
      buffer: bytes.slice(),
      length: bytes.length,
      ...this.#common(mode),
      ...owner,
    };
    this.#put(path, node);
  }

  /** A file opened for appending: it stays the same file when it is renamed. */
  openAppend(path: string, mode: number): (bytes: Bytes) => void {
    let node = this.find(path, true)?.node;
    if (node === undefined) {
      this.write(path, new Uint8Array(0), mode);
      node = this.find(path, true)?.node;
    }
    if (node?.type !== "file") throw new FileError("EISDIR", path);
    const file = node;
    return (bytes) => {
      const length = file.length + bytes.length;
      if (length > file.buffer.length) {
        const grown = new Uint8Array(Math.max(length, file.buffer.length * 2, 256));
        grown.set(file.buffer.subarray(0, file.length));
        file.buffer = grown;
      }
      file.buffer.set(bytes, file.length);
      file.length = length;
      file.modifiedMs = this.#clock.now();
      const now = this.find(path, true);
      if (now?.node === file) this.#changed(now.path);
    };
  }

  makeDirectory(path: string, mode: number): void {
    let at = "";
    const parts = partsOf(path);
    parts.forEach((part, index) => {
      at = `${at}/${part}`;
      const found = this.find(at, true);
      if (found === undefined) {
        this.#put(at, this.#directory(index === parts.length - 1 ? mode : 0o755));
      } else if (found.node.type !== "directory") {
        throw new FileError("ENOTDIR", at);
      }
    });
  }

  link(target: string, path: string): void {
    const existing = this.find(path, false)?.node;
    if (existing?.type === "directory") throw new FileError("EISDIR", path);
    this.#put(path, { type: "link", target, ...this.#common(0o777) });
  }

  rename(from: string, to: string): void {
    const found = this.find(from, false);
    if (found === undefined) throw new FileError("ENOENT", from);
    const over = this.find(to, false)?.node;
    if (over?.type === "directory" && over.entries.size > 0) throw new FileError("ENOTEMPTY", to);
    const parent = this.#directoryOf(from);
    parent.directory.entries.delete(nameOf(from));
    this.#changed(cleanPath(from));
    this.#put(to, found.node);
  }

  remove(path: string): void {
    const found = this.find(path, false);
    if (found === undefined) return;
    const below = this.#mounts.find(
      ({ target }) => target === found.path || target.startsWith(`${found.path}/`),
    );
    if (below !== undefined) {
      throw new Error(`${below.target} is a mount point: unmount it before removing it`);
    }
    const parent = this.#directoryOf(path);
    parent.directory.entries.delete(nameOf(path));
    parent.directory.modifiedMs = this.#clock.now();
    this.#changed(cleanPath(path));
  }

  mount(entry: Omit<MountEntry, "root">): void {
    const target = this.find(entry.target, true);
    if (target === undefined) throw new FileError("ENOENT", entry.target);
    const isBind = entry.type === "bind" || entry.type === "";
    const source = isBind ? this.find(entry.source, true) : undefined;
    if (isBind && source === undefined) throw new FileError("ENOENT", entry.source);
    const root = source?.node ?? this.#directory(0o1777);
    this.#mounts.push({ ...entry, target: target.path, root });
    this.#changed(target.path);
  }

  unmount(target: string): void {
    const path = this.find(target, true)?.path ?? cleanPath(target);
    for (let i = this.#mounts.length - 1; i >= 0; i--) {
      if (this.#mounts[i]?.target === path) this.#mounts.splice(i, 1);
    }
    this.#changed(path);
  }

  /** Everything at and below a node, each file once. */
  *walk(node: FileNode): Generator<FileNode> {
    yield node;
    if (node.type !== "directory") return;
    for (const entry of node.entries.values()) yield* this.walk(entry);
  }
  get root(): DirectoryNode {
    return this.#root;
  }

  #changed(path: string): void {
    for (const watch of this.#watches) {
      if (watch.path === path || parentOf(path) === watch.path) watch.tell(nameOf(path));
      else if (watch.path.startsWith(`${path}/`)) watch.tell("");
    }
  }

  changes(path: string): Source<string> {
    let names = new Set<string>();
    let wake: (() => void) | undefined;
    let stopped = false;
    const watch: Watch = {
      path: cleanPath(path),
      tell: (name) => {
        if (names.size <= namesMax) names.add(name);
        wake?.();
      },
    };
    this.#watches.add(watch);
    return {
      next: async () => {
        for (;;) {
          if (stopped) return undefined;
          if (names.size > 0) break;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        const batch = names.size > namesMax ? [""] : [...names];
        names = new Set();
        return batch;
      },
      stop: () => {
        stopped = true;
        this.#watches.delete(watch);
        wake?.();
      },
    };
  }
}
