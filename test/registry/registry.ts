/**
 * A registry for tests: OCI archives (as `wherry image build` and the conformance suite's images are written) over the distribution API,
 * to pull from and nothing else. Reads the archives where they lie; remembers what it was asked.
 */
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const blockBytes = 512;

interface Part {
  readonly file: string;
  readonly offset: number;
  readonly size: number;
}

/** The files of a tar archive: name to place. */
function partsOf(file: string): Map<string, Part> {
  const parts = new Map<string, Part>();
  const handle = openSync(file, "r");
  try {
    const head = Buffer.alloc(blockBytes);
    const text = (from: number, to: number): string =>
      head.subarray(from, to).toString("latin1").replace(/\0.*$/s, "").trim();
    for (let at = 0; readSync(handle, head, 0, blockBytes, at) === blockBytes; ) {
      const name = text(0, 100);
      if (name === "") break;
      const size = Number.parseInt(text(124, 136), 8);
      parts.set(name, { file, offset: at + blockBytes, size });
      at += blockBytes + Math.ceil(size / blockBytes) * blockBytes;
    }
  } finally {
    closeSync(handle);
  }
  return parts;
}

function jsonOf(part: Part | undefined): unknown {
  if (part === undefined) return undefined;
  const bytes = Buffer.alloc(part.size);
  const handle = openSync(part.file, "r");
  try {
    readSync(handle, bytes, 0, part.size, part.offset);
  } finally {
    closeSync(handle);
  }
  return JSON.parse(bytes.toString("utf8"));
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface RegistryOptions {
  readonly archives: readonly string[];
  /** Where it listens. */
  readonly host: string;
  /** Whoever pulls must say so. */
  readonly login?: { readonly username: string; readonly password: string };
}
export interface Registry {
  readonly address: string;
  /** "GET /v2/…", in order. */
  readonly asked: readonly string[];
  stop(): Promise<void>;
}

const refName = "io.containerd.image.name";

class Shelf {
  readonly #blobs = new Map<string, Part>();
  /** By "repository:tag" and "repository@digest", without a host. */
  readonly #manifests = new Map<string, Descriptor>();

  constructor(archives: readonly string[]) {
    for (const archive of archives) {
      const parts = partsOf(archive);
      for (const [name, part] of parts) {
        const blob = /^blobs\/(sha256)\/([0-9a-f]{64})$/.exec(name);
        if (blob !== null) this.#blobs.set(`${blob[1]}:${blob[2]}`, part);
      }
      const index = jsonOf(parts.get("index.json")) as { manifests: readonly Descriptor[] };
      for (const manifest of index.manifests) {
        const [, repository = "", tag = ""] =
          /^[^/]+\/(.+):([^:]+)$/.exec(manifest.annotations?.[refName] ?? "") ?? [];
        this.#manifests.set(`${repository}:${tag}`, manifest);
        this.#manifests.set(`${repository}@${manifest.digest}`, manifest);
      }
    }
  }
  manifest(repository: string, reference: string): Descriptor | undefined {
    const mark = reference.includes(":") ? "@" : ":";
    return this.#manifests.get(`${repository}${mark}${reference}`);
  }
  blob(digest: string): Part | undefined {
    return this.#blobs.get(digest);
  }
}

const missing = (answer: ServerResponse, code: string): void => {
  answer.writeHead(404, { "content-type": "application/json" });
  answer.end(JSON.stringify({ errors: [{ code, message: "not found" }] }));
};

function serve(shelf: Shelf, request: IncomingMessage, answer: ServerResponse): void {
  const { pathname } = new URL(request.url ?? "/", "http://registry");
  if (pathname === "/v2/") {
    answer.end("{}");
    return;
  }
  const [, repository = "", kind = "", reference = ""] =
    /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
  const manifest = kind === "manifests" ? shelf.manifest(repository, reference) : undefined;
  if (kind === "manifests" && manifest === undefined) {
    missing(answer, "MANIFEST_UNKNOWN");
    return;
  }
  const digest = manifest?.digest ?? reference;
  const part = shelf.blob(digest);
  if (part === undefined) {
    missing(answer, "BLOB_UNKNOWN");
    return;
  }
  answer.writeHead(200, {
    "content-type": manifest?.mediaType ?? "application/octet-stream",
    "content-length": part.size,
    "docker-content-digest": digest,
  });
  if (request.method === "HEAD" || part.size === 0) {
    answer.end();
    return;
  }
  const { offset, size } = part;
  createReadStream(part.file, { start: offset, end: offset + size - 1 }).pipe(answer);
}

export async function startRegistry({ archives, host, login }: RegistryOptions): Promise<Registry> {
  const shelf = new Shelf(archives);
  const asked: string[] = [];
  const wanted =
    login === undefined
      ? undefined
      : `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}`;
  const server: Server = createServer((request, answer) => {
    asked.push(`${request.method ?? ""} ${request.url ?? ""}`);
    if (wanted !== undefined && request.headers.authorization !== wanted) {
      answer.writeHead(401, { "www-authenticate": 'Basic realm="registry"' });
      answer.end(JSON.stringify({ errors: [{ code: "UNAUTHORIZED", message: "log in first" }] }));
      return;
    }
    serve(shelf, request, answer);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    address: `${host}:${port}`,
    asked,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What a cluster is told (certs.d/HOST/hosts.toml): that it finds a registry's images here. */
export const hostsFile = (address: string): string => `server = "http://${address}"

[host."http://${address}"]
  capabilities = ["pull", "resolve"]
`;
