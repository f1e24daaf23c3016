/**
 * What builds keep, so that the next one starts where something changed: each step's layer under a key of all that went into it. A
 * build's layers stay until the next build under the same name; what no build was made of, and none looked at for a day, goes. Lies in the
 * cluster's folder; builds may run side by side.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Snapshots } from "#adapters/containerd/snapshots.ts";
import { type Layer, tarLayerType } from "#node/image/oci.ts";

export interface KeptStep {
  readonly layer: Layer;
  /** The snapshot of this layer upon those below it. */
  readonly chain: string;
}

const keptMs = 24 * 3600 * 1000;

export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** image-spec, "Layer ChainID". */
export const chainOf = (parent: string, diffId: string): string =>
  parent === "" ? diffId : `sha256:${sha256(`${parent} ${diffId}`)}`;

const blobName = (digest: string): string => digest.slice("sha256:".length);

export class BuildCache {
  readonly folder: string;
  readonly #snapshots: Snapshots;
  readonly #used = new Set<string>();

  constructor(folder: string, snapshots: Snapshots) {
    this.folder = folder;
    this.#snapshots = snapshots;
  }

  async open(): Promise<void> {
    for (const part of ["steps", "blobs", "builds", "mounts"])
      await mkdir(join(this.folder, part), { recursive: true });
  }

  blobFile(digest: string): string {
    return join(this.folder, "blobs", blobName(digest));
  }

  /** What a RUN's cache mount keeps from build to build. */
  async mountFolder(id: string): Promise<string> {
    const folder = join(this.folder, "mounts", sha256(id));
    await mkdir(folder, { recursive: true });
    return folder;
  }

  async find(key: string): Promise<KeptStep | undefined> {
    const kept = await this.#read(key);
    if (kept === undefined || !existsSync(this.blobFile(kept.layer.digest))) return undefined;
    if (!(await this.#snapshots.has(kept.chain))) return undefined;
    this.#used.add(key);
    const now = new Date();
    await utimes(this.#stepFile(key), now, now);
    return kept;
  }

  /** `file` becomes the cache's; the opened snapshot a parent for the next. */
  async keep(key: string, parent: string, snapshot: string, file: string): Promise<KeptStep> {
    const written = await this.#snapshots.diff(snapshot, file);
    const { digest, sizeBytes } = written;
    const layer: Layer = { digest, sizeBytes, mediaType: tarLayerType, diffId: digest };
    const chain = chainOf(parent, digest);
    await rename(file, this.blobFile(digest));
    if (await this.#snapshots.has(chain)) await this.#snapshots.remove(snapshot);
    else await this.#snapshots.commit(snapshot, chain);
    await this.#write(join("steps", `${key}.json`), { layer, chain } satisfies KeptStep);
    this.#used.add(key);
    return { layer, chain };
  }

  /** Notes that `name` was built of the steps used, and lets go of what no build was built of. */
  async settle(name: string): Promise<void> {
    await this.#write(join("builds", `${sha256(name)}.json`), [...this.#used]);
    const builds = await readdir(join(this.folder, "builds"));
    const needed = new Set<string>();
    for (const file of builds) {
      const keys: unknown = JSON.parse(await readFile(join(this.folder, "builds", file), "utf8"));
      if (Array.isArray(keys)) for (const key of keys) needed.add(String(key));
    }
    const keys = (await readdir(join(this.folder, "steps"))).map((file) => file.slice(0, -5));
    const steps = await Promise.all(
      keys.map(async (key) => ({
        key,
        kept: await this.#read(key),
        stays: needed.has(key) || (await this.#isRecent(key)),
      })),
    );
    const stays = steps.filter((step) => step.stays).map(({ kept }) => kept);
    const digests = new Set(stays.map((kept) => blobName(kept?.layer.digest ?? "")));
    const chains = new Set(stays.map((kept) => kept?.chain));
    for (const { key, kept, stays: isNeeded } of steps) {
      if (isNeeded) continue;
      await rm(this.#stepFile(key), { force: true });
      if (kept !== undefined && !chains.has(kept.chain) && (await this.#snapshots.has(kept.chain)))
        await this.#snapshots.release(kept.chain);
    }
    for (const blob of await readdir(join(this.folder, "blobs")))
      if (!digests.has(blob)) await rm(join(this.folder, "blobs", blob), { force: true });
  }

  #stepFile(key: string): string {
    return join(this.folder, "steps", `${key}.json`);
  }

  async #isRecent(key: string): Promise<boolean> {
    const facts = await stat(this.#stepFile(key)).catch(() => undefined);
    return facts !== undefined && Date.now() - facts.mtimeMs < keptMs;
  }

  async #read(key: string): Promise<KeptStep | undefined> {
    const text = await readFile(this.#stepFile(key), "utf8").catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as KeptStep);
  }

  async #write(path: string, value: unknown): Promise<void> {
    const whole = join(this.folder, path);
    const unfinished = join(this.folder, `${sha256(path)}.${process.pid}`);
    await writeFile(unfinished, JSON.stringify(value));
    await rename(unfinished, whole);
  }
}
