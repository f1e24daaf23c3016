/** COPY and ADD: which files a source means, and how they come into an image's file system. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  chmod,
  copyFile,
  lchown,
  lstat,
  lutimes,
  mkdir,
  open,
  readdir,
  readlink,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { type IsIgnored, pathPattern } from "#dockerfile/ignore.ts";
import { scopedPath } from "./scoped-path.ts";

const run = promisify(execFile);
const byBytes = (a: string, b: string): number => (a < b ? -1 : 1);

/** A file system, or a folder, to take files from. */
export interface FileSource {
  readonly root: string;
  readonly isIgnored: IsIgnored;
}

export interface CopyWish {
  readonly destination: string;
  readonly uid: number;
  readonly gid: number;
  /** Undefined: as the source has it. */
  readonly mode?: number;
  /** Archives of this machine are unpacked: ADD. */
  readonly unpacks: boolean;
}

/** A path inside the source, without a leading slash. */
export type SourcePath = string;

/** The paths that a source's text means; wildcards are Go's filepath.Match. Throws when it means none. */
export async function matchSources(source: FileSource, text: string): Promise<SourcePath[]> {
  const path = text.replace(/^\.?\/+|\/+$/g, "").replace(/^\.$/, "");
  if (!/[*?[]/.test(path)) {
    const found = await lstat(await scopedPath(source.root, path)).catch(() => undefined);
    if (found === undefined || (path !== "" && source.isIgnored(path) && !found.isDirectory()))
      throw new Error(`"/${path}": not found`);
    return [path];
  }
  let reached = [""];
  for (const part of path.split("/")) {
    const wanted = pathPattern(part);
    const next: string[] = [];
    for (const folder of reached) {
      const names = await readdir(await scopedPath(source.root, folder)).catch(() => []);
      for (const name of names.toSorted(byBytes)) {
        const inner = folder === "" ? name : `${folder}/${name}`;
        if (wanted.test(name) && !source.isIgnored(inner)) next.push(inner);
      }
    }
    reached = next;
  }
  if (reached.length === 0) throw new Error(`no files match "${text}"`);
  return reached;
}

/** Tells what would be copied apart by what it is, whenever it was written. */
export async function digestOf(source: FileSource, paths: readonly SourcePath[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) {
    await visit(source, path, true, async (file, inner, facts) => {
      const link = facts.isSymbolicLink() ? await readlink(file) : "";
      hash.update(JSON.stringify([inner, facts.mode, link]));
      if (facts.isFile()) for await (const chunk of createReadStream(file)) hash.update(chunk);
    });
  }
  return hash.digest("hex");
}

type Facts = Awaited<ReturnType<typeof lstat>>;

/** Each file below a path, parents first; `inner` is relative to the path. What is ignored is left out. */
async function visit(
  source: FileSource,
  path: SourcePath,
  isTop: boolean,
  see: (file: string, inner: string, facts: Facts) => Promise<void>,
  inner = "",
): Promise<void> {
  const file = await scopedPath(source.root, path, isTop);
  const facts = await lstat(file);
  const isLeft = path !== "" && source.isIgnored(path);
  if (!isLeft) await see(file, inner, facts);
  if (!facts.isDirectory()) return;
  for (const name of (await readdir(file)).toSorted(byBytes)) {
    const below = (folder: string): string => (folder === "" ? name : `${folder}/${name}`);
    await visit(source, below(path), false, see, below(inner));
  }
}

export async function copyInto(
  root: string,
  source: FileSource,
  path: SourcePath,
  wish: CopyWish,
): Promise<void> {
  const top = await lstat(await scopedPath(source.root, path));
  if (top.isDirectory()) {
    await makeFolder(root, wish.destination, wish);
    await visit(source, path, true, (file, inner, facts) =>
      inner === ""
        ? Promise.resolve()
        : put(root, join(wish.destination, inner), file, facts, wish),
    );
    return;
  }
  const file = await scopedPath(source.root, path);
  if (wish.unpacks && (await isArchive(file))) {
    await makeFolder(root, wish.destination, wish);
    const folder = await scopedPath(root, wish.destination);
    await run("tar", ["-x", "-p", "--numeric-owner", "-f", file, "-C", folder]);
    return;
  }
  await put(root, await fileAt(root, wish.destination, basename(path)), file, top, wish);
}

/** A file whose content is given. */
export async function writeInto(
  root: string,
  name: string,
  content: string | Uint8Array,
  mode: number,
  wish: CopyWish,
): Promise<void> {
  const path = await fileAt(root, wish.destination, name);
  await makeFolder(root, dirname(path), wish);
  const target = await scopedPath(root, path);
  await writeFile(target, content);
  await chmod(target, wish.mode ?? mode);
  await lchown(target, wish.uid, wish.gid);
}

/** A destination that is a folder, or is written as one, takes the file under its own name. */
async function fileAt(root: string, destination: string, name: string): Promise<string> {
  if (destination.endsWith("/")) return join(destination, name);
  const there = await lstat(await scopedPath(root, destination)).catch(() => undefined);
  return there?.isDirectory() === true ? join(destination, name) : destination;
}

/** With the parents that are missing, all of them the owner's. */
export async function makeFolder(
  root: string,
  path: string,
  owner: Pick<CopyWish, "uid" | "gid">,
): Promise<void> {
  const target = await scopedPath(root, path);
  const there = await lstat(target).catch(() => undefined);
  if (there?.isDirectory() === true) return;
  if (there !== undefined) throw new Error(`${path} is a file: nothing can be put into it`);
  if (path !== "/" && path !== "") await makeFolder(root, dirname(path.replace(/\/+$/, "")), owner);
  await mkdir(target);
  await lchown(target, owner.uid, owner.gid);
}

async function put(root: string, path: string, file: string, facts: Facts, wish: CopyWish) {
  if (facts.isDirectory()) {
    await makeFolder(root, path, wish);
    const folder = await scopedPath(root, path);
    await chmod(folder, wish.mode ?? Number(facts.mode) & 0o7777);
    return;
  }
  await makeFolder(root, dirname(path), wish);
  const target = await scopedPath(root, path, !facts.isSymbolicLink());
  if (facts.isSymbolicLink()) {
    await rm(target, { force: true });
    await symlink(await readlink(file), target);
  } else if (facts.isFile()) {
    await copyFile(file, target);
    await chmod(target, wish.mode ?? Number(facts.mode) & 0o7777);
  } else return;
  await lchown(target, wish.uid, wish.gid);
  await lutimes(target, facts.atime, facts.mtime);
}

/** By its first bytes, as upstream does: a tar, plain or packed by gzip, bzip2 or xz. */
async function isArchive(file: string): Promise<boolean> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    const starts = (...bytes: number[]): boolean => bytes.every((byte, at) => buffer[at] === byte);
    if (bytesRead >= 262 && buffer.toString("latin1", 257, 262) === "ustar") return true;
    if (!starts(0x1f, 0x8b) && !starts(0x42, 0x5a, 0x68) && !starts(0xfd, 0x37, 0x7a, 0x58, 0x5a))
      return false;
  } finally {
    await handle.close();
  }
  // Packed: whether there is a tar inside is for tar to say.
  return run("tar", ["-t", "-f", file], { maxBuffer: 64 * 1024 * 1024 }).then(
    () => true,
    () => false,
  );
}
