/** Writes a layer's tar to a file while its digest is computed, from the files of this machine and made-up ones. */
import { createHash } from "node:crypto";
import { type FileHandle, open, readlink, stat } from "node:fs/promises";
import { type Layer, tarLayerType } from "#node/image/oci.ts";
import { tarEnd, tarHeader, tarPadding } from "#node/image/tar.ts";

export type LayerEntry =
  | { readonly path: string; readonly type: "directory"; readonly mode: number }
  | { readonly path: string; readonly type: "link"; readonly linkTo: string }
  | {
      readonly path: string;
      readonly type: "content";
      readonly mode: number;
      readonly content: Uint8Array;
    }
  /** A regular file of this machine; a link is followed. */
  | { readonly path: string; readonly type: "copy"; readonly mode?: number; readonly from: string };

export async function linkEntry(path: string, from: string): Promise<LayerEntry> {
  return { path, type: "link", linkTo: await readlink(from) };
}

const chunkBytes = 1 << 20;

/** Parent directories come before what is in them; equal paths: the last one wins. */
function inOrder(entries: readonly LayerEntry[]): LayerEntry[] {
  const byPath = new Map<string, LayerEntry>();
  for (const entry of entries) {
    const parts = entry.path.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = parts.slice(0, depth).join("/");
      if (!byPath.has(parent)) byPath.set(parent, { path: parent, type: "directory", mode: 0o755 });
    }
    byPath.set(entry.path, entry);
  }
  return [...byPath.keys()].toSorted().map((path) => byPath.get(path) as LayerEntry);
}

export async function writeLayer(file: string, entries: readonly LayerEntry[]): Promise<Layer> {
  const hash = createHash("sha256");
  const out = await open(file, "w");
  let sizeBytes = 0;
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (bytes.length === 0) return;
    hash.update(bytes);
    await out.write(bytes);
    sizeBytes += bytes.length;
  };
  try {
    for (const entry of inOrder(entries)) await putEntry(entry, put);
    await put(tarEnd());
  } finally {
    await out.close();
  }
  const digest = `sha256:${hash.digest("hex")}`;
  return { digest, sizeBytes, mediaType: tarLayerType, diffId: digest };
}

async function putEntry(
  entry: LayerEntry,
  put: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const { path } = entry;
  switch (entry.type) {
    case "directory":
      return put(
        tarHeader({ path: `${path}/`, type: "directory", mode: entry.mode, sizeBytes: 0 }),
      );
    case "link":
      return put(
        tarHeader({ path, type: "link", mode: 0o777, sizeBytes: 0, linkTo: entry.linkTo }),
      );
    case "content": {
      const sizeBytes = entry.content.length;
      await put(tarHeader({ path, type: "file", mode: entry.mode, sizeBytes }));
      await put(entry.content);
      return put(tarPadding(sizeBytes));
    }
    case "copy": {
      const facts = await stat(entry.from);
      const mode = entry.mode ?? facts.mode & 0o777;
      await put(tarHeader({ path, type: "file", mode, sizeBytes: facts.size }));
      await copyContent(entry.from, facts.size, put);
      return put(tarPadding(facts.size));
    }
  }
}

async function copyContent(
  from: string,
  sizeBytes: number,
  put: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  let input: FileHandle | undefined;
  try {
    input = await open(from, "r");
    let left = sizeBytes;
    const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, Math.max(left, 1)));
    while (left > 0) {
      const { bytesRead } = await input.read(buffer, 0, Math.min(buffer.length, left));
      if (bytesRead === 0) throw new Error(`${from} became shorter while it was being packed`);
      await put(buffer.subarray(0, bytesRead));
      left -= bytesRead;
    }
  } finally {
    await input?.close();
  }
}
