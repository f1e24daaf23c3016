/**
 * File systems of images as layers upon each other, in containerd's snapshotter: prepared, mounted, compared, kept. For builds.
 * Starts `ctr`, `mount` and `umount`.
 */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { type Ctr, ctr, ctrArguments, ctrFailure } from "./ctr.ts";

const run = promisify(execFile);
const layerType = "application/vnd.oci.image.layer.v1.tar";

export interface WrittenDiff {
  /** "sha256:…" of the uncompressed tar. */
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface Snapshots {
  has(name: string): Promise<boolean>;
  /** Makes a writable snapshot upon `parent` ("" is nothing) and mounts it. */
  open(key: string, parent: string, folder: string): Promise<void>;
  /** The same, for reading only. */
  view(key: string, parent: string, folder: string): Promise<void>;
  unmount(folder: string): Promise<void>;
  /** What an opened snapshot changed, as a layer's tar in a file. */
  diff(key: string, file: string): Promise<WrittenDiff>;
  /** Makes it a parent for others, under a name that the garbage collector leaves alone until it is released. */
  commit(key: string, name: string): Promise<void>;
  release(name: string): Promise<void>;
  remove(key: string): Promise<void>;
  /** Digest of the manifest, or of the index of manifests, of an image that is here. */
  imageDigest(reference: string): Promise<string | undefined>;
  /** A small blob of the content store, such as a manifest. */
  document(digest: string): Promise<unknown>;
  /** A blob of the content store into a file. */
  copyBlob(digest: string, file: string): Promise<void>;
}

async function writeOutput(
  options: Ctr,
  args: readonly string[],
  file: string,
): Promise<WrittenDiff> {
  const child = spawn(options.ctr, ctrArguments(options, args), {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  let detail = "";
  child.stderr.on("data", (chunk) => {
    detail = `${detail}${String(chunk)}`.slice(0, 4096);
  });
  const hash = createHash("sha256");
  let sizeBytes = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    hash.update(chunk);
    sizeBytes += chunk.length;
  });
  const [, code] = await Promise.all([pipeline(child.stdout, createWriteStream(file)), ended]);
  if (code !== 0) throw ctrFailure(args, detail.trim());
  return { digest: `sha256:${hash.digest("hex")}`, sizeBytes };
}

export function containerdSnapshots(options: Ctr): Snapshots {
  const snapshots = (...args: readonly string[]) => ctr(options, ["snapshots", ...args]);
  async function mount(key: string, folder: string): Promise<void> {
    const lines = (await snapshots("mounts", folder, key)).trim().split("\n");
    for (const line of lines) {
      const [program = "", ...args] = line.trim().split(/\s+/);
      await run(program, args);
    }
  }
  const parents = (parent: string): string[] => (parent === "" ? [] : [parent]);
  return {
    has: (name) =>
      snapshots("info", name).then(
        () => true,
        () => false,
      ),
    async open(key, parent, folder) {
      await snapshots("prepare", key, ...parents(parent));
      await mount(key, folder);
    },
    async view(key, parent, folder) {
      await snapshots("view", key, ...parents(parent));
      await mount(key, folder);
    },
    async unmount(folder) {
      await run("umount", [folder]);
    },
    diff: (key, file) =>
      writeOutput(options, ["snapshots", "diff", "--media-type", layerType, key], file),
    async commit(key, name) {
      await snapshots("commit", name, key);
      await snapshots("label", name, "containerd.io/gc.root=wherry-build");
    },
    async release(name) {
      await snapshots("label", name, "containerd.io/gc.root=");
    },
    async remove(key) {
      await snapshots("remove", key);
    },
    async imageDigest(reference) {
      const table = await ctr(options, ["images", "ls", `name==${reference}`]);
      return /\bsha256:[0-9a-f]{64}\b/.exec(table)?.[0];
    },
    document: async (digest) => JSON.parse(await ctr(options, ["content", "get", digest])),
    async copyBlob(digest, file) {
      await writeOutput(options, ["content", "get", digest], file);
    },
  };
}
