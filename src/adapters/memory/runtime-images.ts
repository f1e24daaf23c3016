/** The simulated runtime's images: names without contents, except the references that an archive brings. */
import { sha256Hex } from "#machinery/hash.ts";
import { normalizeImageReference } from "#machinery/image-reference.ts";
import type { Image } from "#ports/runtime.ts";
import { RuntimeError } from "#ports/runtime.ts";
import type { Bytes } from "#ports/stream.ts";

const imageSizeBytes = 50 * 1024 * 1024;

const digestOf = (text: string): string => `sha256:${sha256Hex(text)}`;

export class SimulatedImages {
  readonly #byReference = new Map<string, Image>();

  add(reference: string): Image {
    const name = normalizeImageReference(reference);
    const path = name.replace(/(@.*|:[^/:]*)$/, "");
    const digest = /@(.*)$/.exec(name)?.[1] ?? digestOf(`manifest ${name}`);
    const image: Image = {
      id: digestOf(`image ${name}`),
      tags: name.includes("@") ? [] : [name],
      digests: [`${path}@${digest}`],
      sizeBytes: imageSizeBytes,
    };
    this.#byReference.set(name, image);
    return image;
  }

  find(reference: string): Image | undefined {
    const images = [...this.#byReference.values()];
    const byId = images.find(
      ({ id, digests }) =>
        id === reference || id === `sha256:${reference}` || digests.includes(reference),
    );
    if (byId !== undefined || reference.startsWith("sha256:")) return byId;
    return this.#byReference.get(normalizeImageReference(reference));
  }

  list(): readonly Image[] {
    return [...this.#byReference.values()];
  }

  remove(reference: string): void {
    const image = this.find(reference);
    for (const [name, { id }] of this.#byReference) {
      if (id === image?.id) this.#byReference.delete(name);
    }
  }
}

const decoder = new TextDecoder();
const blockBytes = 512;

/** The plain files of a tar that match. */
function tarFiles(tar: Bytes, wanted: readonly string[]): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  const text = (from: number, length: number): string =>
    decoder.decode(tar.subarray(from, from + length)).split("\0", 1)[0] ?? "";
  for (let at = 0; at + blockBytes <= tar.length && tar[at] !== 0; ) {
    const name = text(at, 100).replace(/^\.\//, "");
    const size = Number.parseInt(text(at + 124, 12).trim() || "0", 8);
    if (!Number.isFinite(size)) break;
    const start = at + blockBytes;
    if (wanted.includes(name)) {
      files.set(name, decoder.decode(tar.subarray(start, start + size)));
    }
    at = start + Math.ceil(size / blockBytes) * blockBytes;
  }
  return files;
}

const field = (from: unknown, name: string): unknown =>
  typeof from === "object" && from !== null ? Reflect.get(from, name) : undefined;
const texts = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [value]).filter((item) => typeof item === "string");

/** The references that an OCI or docker archive (a plain tar) brings. */
export function archiveReferences(archive: Bytes, path: string): readonly string[] {
  const files = tarFiles(archive, ["index.json", "manifest.json"]);
  const oci: unknown = JSON.parse(files.get("index.json") ?? "{}");
  const docker: unknown = JSON.parse(files.get("manifest.json") ?? "[]");
  const manifests = field(oci, "manifests");
  const named = (Array.isArray(manifests) ? manifests : []).flatMap((manifest: unknown) => {
    const annotations = field(manifest, "annotations");
    const full = texts(field(annotations, "io.containerd.image.name"));
    return full.length > 0 ? full : texts(field(annotations, "org.opencontainers.image.ref.name"));
  });
  const tagged = (Array.isArray(docker) ? docker : []).flatMap((image: unknown) =>
    texts(field(image, "RepoTags")),
  );
  const references = [...new Set([...named, ...tagged].map(normalizeImageReference))];
  if (references.length === 0) {
    throw new RuntimeError(
      "failed",
      `${path} names no image: it must be an uncompressed OCI or docker archive with a tag`,
    );
  }
  return references;
}
