/** `kubectl cp`: files to and from containers, through the tar in them. */
import type { Pod } from "#api/generated/core/v1.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { CommandError, ExitError } from "./errors.ts";
import { integer, text, toggle } from "./flags.ts";
import { containerNames, containersOf, defaultContainer } from "./pods.ts";
import { runRemote } from "./streaming.ts";
import type { Files } from "./surroundings.ts";
import { archiveEnd, type TarEntry, TarReader, writeEntry } from "./tar.ts";

export const cpCommand: KubectlCommand = {
  name: "cp",
  summary: "Copy files and directories to and from containers",
  usage: "<file-spec-src> <file-spec-dest>",
  flags: [
    text("container", "Container name", { short: "c" }),
    toggle("no-preserve", "The copied files' ownership and permissions will not be preserved"),
    integer("retries", "Accepted and unused: a copy that breaks off is told"),
  ],
  run: cp,
};

interface Spec {
  readonly namespace: string;
  readonly pod: string;
  readonly path: string;
}

/** "pod:path", "namespace/pod:path" or a local path. */
export function parseSpec(text: string): Spec {
  const colon = text.indexOf(":");
  if (colon === 0)
    throw new CommandError("filespec must match the canonical format: [[namespace/]pod:]file/path");
  if (colon < 0) return { namespace: "", pod: "", path: text };
  const [where, path] = [text.slice(0, colon), text.slice(colon + 1)];
  const parts = where.split("/");
  if (parts.length === 1) return { namespace: "", pod: where, path };
  if (parts.length === 2) return { namespace: parts[0] ?? "", pod: parts[1] ?? "", path };
  throw new CommandError("filespec must match the canonical format: [[namespace/]pod:]file/path");
}

const clean = (path: string): string => {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (part !== ".." || !path.startsWith("/")) parts.push(part);
  }
  return (path.startsWith("/") ? "/" : "") + parts.join("/") || ".";
};
const baseOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
const folderOf = (path: string): string => {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
};

async function cp(given: Invocation): Promise<void> {
  const { args } = given;
  const [from, to, ...more] = args;
  if (from === undefined || to === undefined || more.length > 0)
    throw usageFailure(given, "source and destination are required");
  const [source, target] = [parseSpec(from), parseSpec(to)];
  if (source.pod !== "" && target.pod !== "")
    throw new CommandError("one of src or dest must be a local file specification");
  if (source.pod === "" && target.pod === "")
    throw new CommandError("one of src or dest must be a remote file specification");
  if (source.path === "" || target.path === "") throw new CommandError("filepath can not be empty");
  if (source.pod === "") await upload(given, source, target);
  else await download(given, source, target);
}

interface Remote {
  readonly path: string;
  readonly container: string;
}
async function remoteOf({ session, flags }: Invocation, spec: Spec): Promise<Remote> {
  const rest = await session.rest();
  const namespace = spec.namespace || (await session.namespace());
  const path = `/api/v1/namespaces/${namespace}/pods/${spec.pod}`;
  const pod = await rest.json<Pod>("GET", path);
  const named = flags.text("container");
  const container = named || defaultContainer(session, pod);
  if (!containersOf(pod).some(({ name }) => name === container)) {
    throw new CommandError(
      `container ${container} not found in pod ${spec.pod} out of: ${containerNames(pod)}`,
    );
  }
  return { path: `${path}/exec`, container };
}

/** Runs tar there. What it says on standard error is shown. */
async function runTar(
  { session }: Invocation,
  remote: Remote,
  command: readonly string[],
  streams: {
    readonly stdin?: { next(): Promise<readonly Uint8Array[] | undefined> };
    readonly stdout?: (bytes: Uint8Array) => void;
  },
): Promise<void> {
  const query = [
    ...command.map((one) => ["command", one] as const),
    ["container", remote.container] as const,
    ...(streams.stdin === undefined ? [] : [["stdin", "true"] as const]),
    ["stdout", "true"] as const,
    ["stderr", "true"] as const,
  ];
  await runRemote(session, remote.path, query, {
    ...(streams.stdin === undefined ? {} : { stdin: streams.stdin }),
    stdout: {
      write: (bytes) =>
        streams.stdout === undefined ? session.around.terminal.out(bytes) : streams.stdout(bytes),
    },
    stderr: { write: (bytes) => session.around.terminal.error(bytes) },
    tty: false,
  });
}

/** A folder and all in it, as entries under another name; one at a time. */
function* entriesOf(files: Files, path: string, name: string): Generator<TarEntry> {
  const facts = files.facts(path);
  if (files.isLink(path)) {
    yield {
      name,
      kind: "link",
      mode: 0o777,
      modifiedMs: 0,
      linkTarget: files.linkTarget(path),
      bytes: new Uint8Array(0),
    };
    return;
  }
  if (facts === undefined) throw new CommandError(`${path} doesn't exist in local filesystem`);
  const base = { name, mode: facts.mode, modifiedMs: facts.modifiedMs, linkTarget: "" };
  if (facts.kind === "file") yield { ...base, kind: "file", bytes: files.read(path) };
  if (facts.kind !== "folder") return;
  const names = files.list(path);
  if (names.length === 0) yield { ...base, kind: "folder", bytes: new Uint8Array(0) };
  for (const inner of names.toSorted())
    yield* entriesOf(files, `${path}/${inner}`, `${name}/${inner}`);
}

async function upload(given: Invocation, source: Spec, target: Spec): Promise<void> {
  const { files } = given.session.around;
  if (files.facts(source.path) === undefined)
    throw new CommandError(`${source.path} doesn't exist in local filesystem`);
  const remote = await remoteOf(given, target);
  let destination = clean(target.path);
  if (await isFolderThere(given, remote, destination))
    destination = `${destination === "/" ? "" : destination}/${baseOf(clean(source.path))}`;
  const entries = entriesOf(files, source.path.replace(/\/+$/, "") || "/", baseOf(destination));
  let ended = false;
  const stdin = {
    next: () => {
      const { value, done } = entries.next();
      if (done !== true && value !== undefined) return Promise.resolve(writeEntry(value));
      if (ended) return Promise.resolve(undefined);
      ended = true;
      return Promise.resolve([archiveEnd()]);
    },
  };
  const options = given.flags.switch("no-preserve")
    ? ["--no-same-permissions", "--no-same-owner"]
    : [];
  await runTar(given, remote, ["tar", ...options, "-xmf", "-", "-C", folderOf(destination)], {
    stdin,
  });
}

async function isFolderThere(
  { session }: Invocation,
  remote: Remote,
  path: string,
): Promise<boolean> {
  try {
    const silent = { write: () => {} };
    await runRemote(
      session,
      remote.path,
      [
        ["command", "test"],
        ["command", "-d"],
        ["command", path],
        ["container", remote.container],
        ["stdout", "true"],
        ["stderr", "true"],
      ],
      { stdout: silent, stderr: silent, tty: false },
    );
    return true;
  } catch (error) {
    if (error instanceof ExitError || error instanceof CommandError) return false;
    throw error;
  }
}

async function download(given: Invocation, source: Spec, target: Spec): Promise<void> {
  const { session } = given;
  const { files } = session.around;
  const remote = await remoteOf(given, source);
  const path = clean(source.path);
  const prefix = path.replace(/^\/+/, "");
  const isFolder = files.facts(target.path)?.kind === "folder";
  const destination = isFolder ? `${target.path.replace(/\/+$/, "")}/${baseOf(path)}` : target.path;
  const reader = new TarReader();
  let warnedLinks = false;
  await runTar(given, remote, ["tar", "cf", "-", source.path], {
    stdout: (bytes) => {
      for (const entry of reader.push(bytes)) {
        if (entry.kind === "link" && !warnedLinks) {
          warnedLinks = true;
          session.error(
            `warning: skipping symlink: ${JSON.stringify(`${destination}${entry.name.slice(prefix.length)}`)} -> ${JSON.stringify(entry.linkTarget)} (consider using "kubectl exec -n "${source.namespace}" "${source.pod}" -- tar cf - ${JSON.stringify(source.path)} | tar xf -")\n`,
          );
        }
        store(files, entry, prefix, destination, (text) => session.error(text));
      }
    },
  });
  if (!reader.isEmpty) throw new CommandError("unexpected EOF");
}

/** Upstream: what would land outside the destination is refused, so that a container cannot write where it likes. */
function store(
  files: Files,
  entry: TarEntry,
  prefix: string,
  destination: string,
  warn: (text: string) => void,
): void {
  const name = entry.name.replace(/^\/+/, "").replace(/\/+$/, "");
  if (!name.startsWith(prefix))
    throw new CommandError(`tar contents corrupted: ${entry.name} is not below ${prefix}`);
  const below = name.slice(prefix.length).replace(/^\/+/, "");
  if (below.split("/").includes("..")) {
    warn(`warning: file ${JSON.stringify(entry.name)} is outside target destination, skipping\n`);
    return;
  }
  const path = below === "" ? destination : `${destination}/${below}`;
  if (entry.kind === "folder") files.makeFolder(path);
  if (entry.kind !== "file") return;
  files.makeFolder(folderOf(path));
  files.write(path, entry.bytes, entry.mode & 0o777);
}
