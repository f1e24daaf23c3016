/**
 * Image archives into containerd, by the `ctr` that ships with it (CRI has no import), under the names
 * that its CRI plugin looks for. Starts child processes; reads the archive.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { normalizeImageReference } from "#machinery/image-reference.ts";
import { RuntimeError } from "#ports/runtime.ts";
import { type Ctr, ctr } from "./ctr.ts";

export interface CtrOptions extends Ctr {
  /** containerd 2 imports by its transfer service unless told not to; its output names no images. */
  readonly major: number;
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path, "r").catch((error: unknown) => {
    throw new RuntimeError("failed", `cannot read the image archive ${path}: ${String(error)}`);
  });
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}

/** The names that `ctr images import` says it brought. */
export const importedNames = (output: string): readonly string[] =>
  [...output.matchAll(/^unpacking (\S+) \(sha256:[0-9a-f]+\)/gm)].map((match) => match[1] ?? "");

/** The name that an imported image shall bear; an archive's bare tag takes the file's name. */
export function finalName(imported: string, path: string): string {
  const bare = /^import-\d{4}-\d{2}-\d{2}(:.*)$/.exec(imported);
  if (bare === null) return normalizeImageReference(imported);
  const stem = basename(path).replace(/(\.oci|\.docker)?(\.tar)?(\.t?gz)?$/i, "");
  return normalizeImageReference(`${stem.toLowerCase()}${bare[1] ?? ""}`);
}

export async function loadImage(options: CtrOptions, path: string): Promise<readonly string[]> {
  const zipped = await isGzip(path);
  const scratch = zipped ? await mkdtemp(join(tmpdir(), "wherry-image-")) : undefined;
  try {
    const file = scratch === undefined ? path : join(scratch, "image.tar");
    if (scratch !== undefined) {
      await pipeline(createReadStream(path), createGunzip(), createWriteStream(file));
    }
    const local = options.major >= 2 ? ["--local"] : [];
    const names = importedNames(await ctr(options, ["images", "import", ...local, file]));
    if (names.length === 0) {
      throw new RuntimeError(
        "failed",
        `${path} names no image for this machine: it must be an OCI or docker archive with a tag`,
      );
    }
    const final = new Set<string>();
    for (const name of names) {
      const wanted = finalName(name, path);
      final.add(wanted);
      if (wanted === name) continue;
      await ctr(options, ["images", "tag", "--force", name, wanted]);
      await ctr(options, ["images", "rm", name]);
    }
    return [...final];
  } finally {
    if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
  }
}
