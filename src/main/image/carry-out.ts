/** Carries out a step of a Dockerfile upon a file system: mounts it, runs or copies or makes a folder, keeps what that changed. */
import { createHash, randomBytes } from "node:crypto";
import { lstat, mkdir, rm, rmdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { runStep, type StepMount } from "#adapters/containerd/run-step.ts";
import { parseIgnore } from "#dockerfile/ignore.ts";
import { type Mount, pathFrom, type StageState, type Step, scriptPath } from "#dockerfile/steps.ts";
import type { BuildCache, KeptStep } from "./build-cache.ts";
import { ownerOf } from "./build-users.ts";
import {
  type CopyWish,
  copyInto,
  digestOf,
  type FileSource,
  makeFolder,
  matchSources,
  writeInto,
} from "./copy-files.ts";
import type { DockerfileBuild } from "./dockerfile-build.ts";
import { scopedPath } from "./scoped-path.ts";

type Options = Pick<
  DockerfileBuild,
  "snapshots" | "runc" | "progress" | "gone" | "secrets" | "args"
>;
export interface StepSurroundings {
  readonly options: Options;
  readonly cache: BuildCache;
  readonly state: StageState;
  readonly parent: string;
  readonly folder: string;
  /** Where COPY takes from unless it says otherwise. */
  readonly context: FileSource;
  /** Of a stage or an image that a step takes from. */
  readonly chainOf: (name: string) => Promise<string>;
}
type Work = Exclude<Step, { type: "nothing" }>;
type Copy = Extract<Step, { type: "copy" }>;
type Run = Extract<Step, { type: "run" }>;

const bytesMax = 1024 * 1024 * 1024;
/** Known to every RUN without ARG, and no reason to run anything again. */
const proxyNames = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"].flatMap(
  (name) => [name, name.toLowerCase()],
);
const isUrl = (source: string): boolean => /^https?:\/\//.test(source);
const ignoreNothing = (): boolean => false;

/** All that a step's outcome depends on. */
export async function keyOf(step: Work, around: StepSurroundings): Promise<string> {
  const { config, args } = around.state;
  const parts: unknown[] = [around.parent, step];
  if (step.type === "run") {
    parts.push([...config.env], [...args], config.user, config.workingDirectory);
    for (const mount of step.mounts) {
      if (mount.type !== "bind") continue;
      parts.push(
        mount.from === undefined
          ? await digestOf(around.context, await matchSources(around.context, mount.source))
          : await around.chainOf(mount.from),
      );
    }
  }
  if (step.type === "copy") {
    if (step.from !== undefined) parts.push(await around.chainOf(step.from));
    else {
      const source = leftOut(around.context, step.excluded);
      for (const text of step.sources)
        if (!isUrl(text)) parts.push(await digestOf(source, await matchSources(source, text)));
    }
    if (step.sources.some(isUrl))
      parts.push(await Promise.all(step.sources.filter(isUrl).map(urlState)));
  }
  return JSON.stringify(parts);
}

const leftOut = (source: FileSource, excluded: readonly string[]): FileSource => {
  if (excluded.length === 0) return source;
  const alsoIgnored = parseIgnore(excluded.join("\n"));
  return { ...source, isIgnored: (path) => source.isIgnored(path) || alsoIgnored(path) };
};

/** What a server says of a file's version, so that it is fetched again when that changes. */
async function urlState(url: string): Promise<string> {
  const answer = await fetch(url, { method: "HEAD" });
  return `${answer.headers.get("etag") ?? ""} ${answer.headers.get("last-modified") ?? ""}`;
}

export async function carryOut(
  step: Work,
  key: string,
  around: StepSurroundings,
): Promise<KeptStep> {
  const { snapshots } = around.options;
  const name = `wherry-build-${randomBytes(8).toString("hex")}`;
  const root = join(around.folder, name);
  await mkdir(root);
  let isOpen = false;
  let isKept = false;
  try {
    await snapshots.open(name, around.parent, root);
    isOpen = true;
    if (step.type === "run") await run(step, root, around);
    else if (step.type === "copy") await copy(step, root, around);
    else await makeFolder(root, step.path, await ownerOf(root, around.state.config.user));
    await snapshots.unmount(root);
    isOpen = false;
    const kept = await around.cache.keep(key, around.parent, name, `${root}.tar`);
    isKept = true;
    return kept;
  } finally {
    if (isOpen) await snapshots.unmount(root);
    if (!isKept) await snapshots.remove(name);
    await rmdir(root);
    await rm(`${root}.tar`, { force: true });
  }
}

/** Lends the file system of a stage or an image while `work` reads it. */
async function lend<T>(
  around: StepSurroundings,
  chain: string,
  work: (root: string) => Promise<T>,
): Promise<T> {
  const { snapshots } = around.options;
  const name = `wherry-build-${randomBytes(8).toString("hex")}`;
  const root = join(around.folder, name);
  await mkdir(root);
  if (chain === "") return work(root);
  await snapshots.view(name, chain, root);
  try {
    return await work(root);
  } finally {
    await snapshots.unmount(root);
    await snapshots.remove(name);
    await rmdir(root);
  }
}

async function copy(step: Copy, root: string, around: StepSurroundings): Promise<void> {
  const { from } = step;
  if (from === undefined) return copyFrom(step, root, around.context);
  const chain = await around.chainOf(from);
  await lend(around, chain, (source) =>
    copyFrom(step, root, { root: source, isIgnored: ignoreNothing }),
  );
}

async function copyFrom(step: Copy, root: string, given: FileSource): Promise<void> {
  const source = leftOut(given, step.excluded);
  const { uid, gid } = await ownerOf(root, step.owner);
  const { destination, mode, isAdd } = step;
  const wish: CopyWish = {
    destination,
    uid,
    gid,
    unpacks: isAdd,
    ...(mode === undefined ? {} : { mode }),
  };
  for (const text of step.sources) {
    if (isAdd && isUrl(text)) {
      await writeInto(root, urlName(text, wish), await fetched(text, step), 0o600, wish);
      continue;
    }
    const paths = await matchSources(source, text);
    if (paths.length > 1 && !destination.endsWith("/"))
      throw new Error(`"${text}" means several files: the destination must end with a /`);
    for (const path of paths) await copyInto(root, source, path, wish);
  }
  for (const { name, content } of step.files) await writeInto(root, name, content, 0o644, wish);
}

function urlName(url: string, { destination }: CopyWish): string {
  const name = basename(new URL(url).pathname);
  if (name === "" && destination.endsWith("/"))
    throw new Error(`${url} names no file: say its name in the destination`);
  return name;
}

async function fetched(url: string, { checksum }: Copy): Promise<Uint8Array> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answered with status ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (bytes.length > bytesMax) throw new Error(`${url} is larger than ${bytesMax} bytes`);
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  if (checksum !== undefined && checksum !== digest)
    throw new Error(`digest mismatch for ${url}: ${digest} instead of ${checksum}`);
  return bytes;
}

async function run(step: Run, root: string, around: StepSurroundings): Promise<void> {
  const { config, args } = around.state;
  const { options } = around;
  const owner = await ownerOf(root, config.user);
  const standard = config.env.has("HOME") ? [] : [["HOME", owner.home] as const];
  const given = proxyNames.flatMap((name) => {
    const value = options.args.get(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  const env = new Map([...standard, ...given, ...args, ...config.env]);
  await makeFolder(root, config.workingDirectory, { uid: 0, gid: 0 });
  const line = (text: string): void => options.progress(`  ${text}`);
  const code = await withMounts(step.mounts, around, async (mounts) =>
    runStep({
      runc: options.runc,
      root,
      work: around.folder,
      args: step.args,
      env: [...env].map(([name, value]) => `${name}=${value}`),
      workingDirectory: config.workingDirectory,
      uid: owner.uid,
      gid: owner.gid,
      groups: owner.groups,
      mounts: [...mounts, ...(await scriptMount(step, around))],
      hasNetwork: step.hasNetwork,
      line,
      gone: options.gone,
    }),
  );
  options.gone.throwIfAborted();
  if (code === 0) return;
  const words = step.args.join(" ").split("\n")[0];
  throw new Error(`process "${words}" did not complete successfully: exit code: ${code}`);
}

async function scriptMount({ script }: Run, around: StepSurroundings): Promise<StepMount[]> {
  if (script === undefined) return [];
  const file = join(around.folder, "script");
  await writeFile(file, script, { mode: 0o755 });
  return [{ target: scriptPath, source: file, isReadOnly: true }];
}

async function withMounts(
  mounts: readonly Mount[],
  around: StepSurroundings,
  work: (mounts: readonly StepMount[]) => Promise<number>,
  ready: readonly StepMount[] = [],
): Promise<number> {
  const [mount, ...rest] = mounts;
  if (mount === undefined) return work(ready);
  const { target, source, from, type, id } = mount;
  const next = (more: readonly StepMount[]): Promise<number> =>
    withMounts(rest, around, work, [...ready, ...more]);
  if (type === "tmpfs") return next([{ target, isReadOnly: false }]);
  if (type === "cache")
    return next([{ target, source: await around.cache.mountFolder(id), isReadOnly: false }]);
  if (type === "secret") {
    const file = around.options.secrets.get(id);
    if (file !== undefined) return next([{ target, source: file, isReadOnly: true }]);
    if (mount.isRequired)
      throw new Error(`secret ${id}: not found; give it with --secret id=${id},src=FILE`);
    return next([]);
  }
  const bound = async (root: string): Promise<number> => {
    const inside = await scopedPath(root, pathFrom("/", source));
    if ((await lstat(inside).catch(() => undefined)) === undefined)
      throw new Error(`"${source}": not found`);
    return next([{ target, source: inside, isReadOnly: true }]);
  };
  if (from === undefined) return bound(around.context.root);
  return lend(around, await around.chainOf(from), bound);
}
