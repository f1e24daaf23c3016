/**
 * AtomicWriter: a set of files that changes all at once. The files stand in a fresh directory named by time; the link ..data
 * points at it; what users see are links through ..data. Replacing ..data swaps everything in one step.
 */
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Host } from "#ports/host.ts";
import type { Random } from "#ports/random.ts";

export interface ProjectedFile {
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly uid?: number;
}
/** By relative path without "..". */
export type ProjectedFiles = ReadonlyMap<string, ProjectedFile>;

const dataLink = "..data";

export class AtomicWriter {
  readonly #host: Host;
  readonly #clock: Clock;
  readonly #random: Random;
  /** What was written last, by directory. Bounded by the volumes of the node's pods: forget() takes one out. */
  readonly #written = new Map<string, ProjectedFiles>();

  constructor(host: Host, clock: Clock, random: Random) {
    this.#host = host;
    this.#clock = clock;
    this.#random = random;
  }

  /** Does nothing if that is what is there. `gid`: all files belong to this group, which may read them. */
  async write(directory: string, files: ProjectedFiles, gid: number | undefined): Promise<void> {
    const before = this.#written.get(directory);
    if (before !== undefined && sameFiles(before, files)) return;
    await this.#host.makeDirectory(directory, 0o755);
    const stamped = this.#stampedName();
    await this.#host.makeDirectory(`${directory}/${stamped}`, 0o755);
    // A kubelet that starts anew writes everything anew: nothing here has to outlive a crash of the machine.
    await Promise.all(
      [...files].map(async ([path, file]) => {
        const target = `${directory}/${stamped}/${path}`;
        const slash = target.lastIndexOf("/");
        if (path.includes("/")) await this.#host.makeDirectory(target.slice(0, slash), 0o755);
        const owned = gid !== undefined || file.uid !== undefined;
        await this.#host.write(target, file.bytes, {
          mode: gid === undefined ? file.mode : file.mode | 0o440,
          durable: false,
          ...(owned ? { owner: { uid: file.uid ?? 0, gid: gid ?? 0 } } : {}),
        });
      }),
    );
    await this.#host.link(stamped, `${directory}/${dataLink}`);
    await this.#tidy(directory, stamped, files);
    this.#written.set(directory, files);
  }

  forget(directory: string): void {
    this.#written.delete(directory);
  }

  #stampedName(): string {
    const stamp = formatTime(this.#clock.now()).replace("Z", "").replaceAll(/[-T:]/g, "_");
    return `..${stamp}.${this.#random.uint32()}`;
  }

  /** Links for what is there now; older directories and stale links go. */
  async #tidy(directory: string, stamped: string, files: ProjectedFiles): Promise<void> {
    const wanted = new Set([...files.keys()].map((path) => path.split("/")[0] ?? path));
    const present = (await this.#host.list(directory)) ?? [];
    const links = new Set(present.filter((one) => one.type === "link").map((one) => one.name));
    await Promise.all(
      [...wanted]
        .filter((name) => !links.has(name))
        .map((name) => this.#host.link(`${dataLink}/${name}`, `${directory}/${name}`)),
    );
    for (const { name } of present) {
      const ours = name === dataLink || name === stamped || wanted.has(name);
      if (!ours) await this.#host.remove(`${directory}/${name}`);
    }
  }
}

function sameFiles(a: ProjectedFiles, b: ProjectedFiles): boolean {
  if (a.size !== b.size) return false;
  for (const [path, file] of a) {
    const other = b.get(path);
    if (other === undefined || other.mode !== file.mode || other.uid !== file.uid) return false;
    if (other.bytes.length !== file.bytes.length) return false;
    if (other.bytes.some((byte, index) => byte !== file.bytes[index])) return false;
  }
  return true;
}
