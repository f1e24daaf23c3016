/**
 * Images as volumes: the files of an image, mounted read-only below a directory of ours for as long as a sandbox has containers. Older
 * engines cannot do that for a container's mount (CRI has it since containerd 2.1), so it is done here for all of them: a view of the
 * image's snapshot, kept from the engine's garbage collection, and a mount of it. Leaves the images alone.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, realpath, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { RuntimeError } from "#ports/runtime.ts";
import { type Ctr, ctr } from "./ctr.ts";

const run = promisify(execFile);

/** As `ctr` prints a mount of the snapshotter's. */
export interface SnapshotMount {
  readonly Type: string;
  readonly Source: string;
  readonly Options?: readonly string[] | null;
}

/** The program `mount` and the folder to call it in, from which the layers of deep images have names short enough for the kernel. */
export function mountCall(
  { Type, Source, Options }: SnapshotMount,
  target: string,
): { readonly args: readonly string[]; readonly folder: string } {
  const options = [...(Options ?? [])];
  if (Type !== "overlay") {
    const bound = options.includes("ro") ? options : ["ro", ...options];
    return { args: ["-o", bound.join(","), Source, target], folder: "/" };
  }
  const at = options.findIndex((option) => option.startsWith("lowerdir="));
  const layers = options[at]?.slice("lowerdir=".length).split(":") ?? [];
  // .../snapshots/12/fs
  const folder = dirname(dirname(layers[0] ?? "/"));
  const isShared = layers.every((layer) => layer.startsWith(`${folder}/`));
  if (at >= 0 && isShared) {
    const short = layers.map((layer) => layer.slice(folder.length + 1));
    options[at] = `lowerdir=${short.join(":")}`;
  }
  return {
    args: ["-t", "overlay", "-o", ["ro", ...options].join(","), Source, target],
    folder: isShared ? folder : "/",
  };
}

const isMounted = async (target: string): Promise<boolean> => {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  return table.split("\n").some((line) => line.split(" ")[4] === target);
};

export interface ImageVolumesOptions extends Ctr {
  /** Mounts are made below. */
  readonly directory: string;
  /** The id of the image's whole chain of layers, which names its snapshot. */
  readonly chainOf: (reference: string) => Promise<string>;
}

export class ImageVolumes {
  readonly #options: ImageVolumesOptions;
  /** Containers of a pod start together: each image is mounted once. */
  readonly #going = new Map<string, Promise<string>>();

  constructor(options: ImageVolumesOptions) {
    this.#options = options;
  }

  /** The path of the image's files, or of those below `subPath`. */
  async pathOf(sandboxId: string, reference: string, subPath: string): Promise<string> {
    const root = await this.#mounted(sandboxId, reference);
    if (subPath === "") return root;
    const missing = new RuntimeError(
      "failed",
      `failed to mount image volume: the image ${reference} has no ${subPath} inside it`,
    );
    // A link of the image's would be followed on the host: it must not lead out.
    const found = await realpath(join(root, subPath)).catch(() => {
      throw missing;
    });
    if (found !== root && !found.startsWith(`${root}/`)) throw missing;
    return found;
  }

  #mounted(sandboxId: string, reference: string): Promise<string> {
    const name = createHash("sha256").update(reference).digest("hex").slice(0, 16);
    const key = `${sandboxId}/${name}`;
    const going = this.#going.get(key);
    if (going !== undefined) return going;
    const made = this.#mount(key, reference).finally(() => this.#going.delete(key));
    this.#going.set(key, made);
    return made;
  }

  async #mount(key: string, reference: string): Promise<string> {
    const target = join(this.#options.directory, key);
    if (await isMounted(target)) return target;
    const chain = await this.#options.chainOf(reference);
    await mkdir(target, { recursive: true, mode: 0o711 });
    const snapshot = snapshotOf(key);
    // What an interrupted start left is made anew: the image may be another by now.
    await this.#forget(snapshot);
    const text = await ctr(this.#options, ["snapshots", "view", "--mounts", snapshot, chain]);
    const [mount] = JSON.parse(text) as readonly SnapshotMount[];
    if (mount === undefined) throw new RuntimeError("failed", `no mount for image ${reference}`);
    const { args, folder } = mountCall(mount, target);
    try {
      await run("mount", [...args], { cwd: folder });
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      throw new RuntimeError("failed", `failed to mount image volume: ${detail}`);
    }
    return target;
  }

  /** Takes down whatever a sandbox had. Its containers must have ended. */
  async unmount(sandboxId: string): Promise<void> {
    const folder = join(this.#options.directory, sandboxId);
    const names = await readdir(folder).catch(() => []);
    for (const name of names) {
      const target = join(folder, name);
      if (await isMounted(target)) await run("umount", [target]);
      await this.#forget(snapshotOf(`${sandboxId}/${name}`));
    }
    await rm(folder, { recursive: true, force: true });
  }

  async #forget(snapshot: string): Promise<void> {
    try {
      await ctr(this.#options, ["snapshots", "rm", snapshot]);
    } catch (error) {
      if (!(error instanceof RuntimeError) || !error.message.includes("not found")) throw error;
    }
  }
}

const snapshotOf = (key: string): string => `wherry-image-volume-${key.replace("/", "-")}`;
