/** Paths inside another file system: links lead where they would lead if that were the root, never out of it. */
import { readlink } from "node:fs/promises";
import { join } from "node:path";

const linksMax = 40;

/** Where `path` is on this machine; what does not exist yet is named below what does. Rejects when links lead in circles. */
export async function scopedPath(root: string, path: string, followLast = true): Promise<string> {
  let links = 0;
  const waiting = path.split("/").toReversed();
  let reached: string[] = [];
  while (waiting.length > 0) {
    const part = waiting.pop();
    if (part === undefined || part === "" || part === ".") continue;
    if (part === "..") {
      reached.pop();
      continue;
    }
    const here = [...reached, part];
    const isLast = waiting.every((one) => one === "" || one === ".");
    const target =
      isLast && !followLast
        ? undefined
        : await readlink(join(root, ...here)).catch(() => undefined);
    if (target === undefined) {
      reached = here;
      continue;
    }
    links++;
    if (links > linksMax) throw new Error(`${path}: too many links lead to each other`);
    if (target.startsWith("/")) reached = [];
    waiting.push(...target.split("/").toReversed());
  }
  return join(root, ...reached);
}
