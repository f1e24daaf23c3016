/** `wherry image`: OCI images without Docker: build, load, list, remove, pull. */
import { existsSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { containerdRuntime } from "#adapters/containerd/runtime.ts";
import { containerdSnapshots } from "#adapters/containerd/snapshots.ts";
import { findProgram } from "#adapters/containerd/tools.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRpc } from "#adapters/nodejs/rpc.ts";
import { imageTag, normalizeImageReference } from "#machinery/image-reference.ts";
import type { Image, Runtime } from "#ports/runtime.ts";
import { checkName, defaultName, findAllotment, pathsOf } from "./allotment.ts";
import { type Arguments, type Command, UsageError } from "./arguments.ts";
import { furtherNodesOf } from "./further-nodes.ts";
import { type BuiltImage, buildImage } from "./image/build.ts";
import { buildDockerfile, type DockerfileBuild } from "./image/dockerfile-build.ts";
import { quietLog } from "./quiet-log.ts";
import { readKept } from "./settings.ts";

export const imageCommand: Command = {
  name: "image",
  operands: "build DIR -t NAME [-- COMMAND…] | load FILE… | list | remove NAME… | pull NAME…",
  summary:
    "Images without Docker. build does what DIR's Dockerfile says; where there is none it packs a Node application with this machine's Node (or on a --base image). It loads what it built; load takes docker and OCI archives.",
  options: [
    { name: "name", value: "N", default: defaultName, help: "the cluster whose images are meant" },
    { name: "tag", short: "t", value: "NAME", help: "build: the image's name" },
    {
      name: "file",
      short: "f",
      value: "FILE",
      help: "build: the Dockerfile (default DIR/Dockerfile)",
    },
    {
      name: "build-arg",
      value: "K=V",
      repeated: true,
      help: "build: a value for ARG; K alone takes the environment's",
    },
    { name: "target", value: "STAGE", help: "build: the Dockerfile's stage to build" },
    {
      name: "secret",
      value: "id=ID,src=FILE",
      repeated: true,
      help: "build: a file for RUN --mount=type=secret",
    },
    { name: "no-cache", help: "build: do every step anew" },
    { name: "base", value: "FILE", help: "build: an OCI archive to pack a Node application on" },
    {
      name: "env",
      short: "e",
      value: "K=V",
      repeated: true,
      help: "build: an environment variable of the packed Node application",
    },
    {
      name: "output",
      short: "o",
      value: "FILE",
      help: "build: write the archive there instead of loading it",
    },
  ],
  run: image,
};

async function image(given: Arguments): Promise<number> {
  const [action, ...operands] = given.operands;
  switch (action) {
    case "build":
      return build(given, operands);
    case "load":
      return each(given, operands, "FILE", async (runtime, file) => {
        if (!existsSync(file)) throw new Error(`${file}: there is no such file.`);
        const names = await runtime.loadImage(resolve(file));
        return names.map((name) => `Loaded ${name}`);
      });
    case "remove":
      return each(given, operands, "NAME", async (runtime, name) => {
        const reference = referenceOf(name);
        if ((await runtime.imageStatus(reference)) === undefined)
          throw new Error(`There is no image ${name}.`);
        await runtime.removeImage(reference);
        return [`Removed ${reference}`];
      });
    case "pull":
      return each(given, operands, "NAME", async (runtime, name) => {
        await runtime.pullImage(referenceOf(name));
        return [`Pulled ${referenceOf(name)}`];
      });
    case "list":
      return list(given);
    default:
      throw new UsageError(`wherry image ${action ?? ""}: say build, load, list, remove or pull.`);
  }
}

function referenceOf(name: string): string {
  if (imageTag(name) !== undefined) return normalizeImageReference(name);
  throw new UsageError(
    `${name} is not an image name; write NAME:TAG in small letters, such as shop-web:1.`,
  );
}

/** What is done to images is done on every node of this machine; they are listed as its first node has them. */
type Images = Pick<
  Runtime,
  "loadImage" | "removeImage" | "pullImage" | "imageStatus" | "listImages"
> & {
  /** What builds need of the first node's containerd, and where they keep their layers. */
  readonly builds: Pick<DockerfileBuild, "snapshots" | "cacheFolder" | "runc">;
  close(): void;
};

/** Answers with what the first one said. */
async function onAll<T>(
  runtimes: readonly Runtime[],
  work: (runtime: Runtime) => Promise<T>,
): Promise<T> {
  const [first] = await Promise.all(runtimes.map(work));
  return first as T;
}

/** The images of a cluster: those of its nodes' containerds. */
async function openImages(given: Arguments): Promise<Images> {
  const name = checkName(given.text("name") ?? defaultName);
  const allotment = findAllotment(name);
  if (allotment === undefined) {
    throw new Error(
      `There is no cluster ${name} on this machine to hold images; wherry up makes one.`,
    );
  }
  const paths = pathsOf(allotment);
  const kept = readKept(paths.settings);
  if (kept?.runtime !== "containerd") {
    throw new Error(
      `The nodes of the cluster ${name} are simulated: they hold no images, and need none.`,
    );
  }
  const socket = kept.containerdSocket ?? `${paths.engineRun}/containerd.sock`;
  if (!existsSync(socket)) throw new Error(`The cluster ${name} is stopped; wherry up starts it.`);
  const path = process.env["PATH"] ?? "";
  const [ctr, runc] = await Promise.all(["ctr", "runc"].map((one) => findProgram(one, path)));
  if (ctr === undefined)
    throw new Error("containerd's program ctr is missing; install containerd.");
  if (runc === undefined) throw new Error("The program runc is missing; install runc.");
  const network = systemNetwork(quietLog());
  const further = furtherNodesOf(name)
    .map((node) => `${pathsOf(node).engineRun}/containerd.sock`)
    .filter((one) => existsSync(one));
  const runtimes = [socket, ...further].map((one) =>
    containerdRuntime({
      rpc: systemRpc,
      network,
      socket: one,
      ctr,
      imageVolumes: join(paths.data, "image-volumes"),
    }),
  );
  return {
    loadImage: (file) => onAll(runtimes, (runtime) => runtime.loadImage(file)),
    removeImage: (image) => onAll(runtimes, (runtime) => runtime.removeImage(image)),
    pullImage: (...all) => onAll(runtimes, (runtime) => runtime.pullImage(...all)),
    imageStatus: (image) => (runtimes[0] as Runtime).imageStatus(image),
    listImages: () => (runtimes[0] as Runtime).listImages(),
    builds: {
      snapshots: containerdSnapshots({ ctr, socket }),
      cacheFolder: join(paths.data, "builds"),
      runc,
    },
    close() {
      for (const runtime of runtimes) runtime.close();
    },
  };
}

async function each(
  given: Arguments,
  operands: readonly string[],
  what: string,
  work: (runtime: Images, operand: string) => Promise<string[]>,
): Promise<number> {
  if (operands.length === 0)
    throw new UsageError(`wherry image ${given.operands[0]} needs a ${what}.`);
  const runtime = await openImages(given);
  try {
    for (const operand of operands) {
      for (const line of await work(runtime, operand)) process.stdout.write(`${line}\n`);
    }
    return 0;
  } finally {
    runtime.close();
  }
}

async function build(given: Arguments, operands: readonly string[]): Promise<number> {
  const [folder, ...more] = operands;
  const tag = given.text("tag");
  if (folder === undefined || more.length > 0)
    throw new UsageError("wherry image build takes one folder: wherry image build DIR -t NAME.");
  if (tag === undefined)
    throw new UsageError("wherry image build needs a name for the image: -t NAME.");
  const wrong = given.list("env").find((one) => !/^[^=]+=/.test(one));
  if (wrong !== undefined) throw new UsageError(`--env ${wrong}: write NAME=VALUE.`);
  const reference = referenceOf(tag);
  const dockerfile = dockerfileOf(given, resolve(folder));
  const file = given.text("output");
  const isOpen = file === undefined || dockerfile !== undefined;
  const images = isOpen ? await openImages(given) : undefined;
  const output = resolve(file ?? `/tmp/wherry-image-${process.pid}.tar`);
  try {
    const built =
      dockerfile === undefined || images === undefined
        ? await buildImage(packing(given, resolve(folder), reference, output))
        : await fromDockerfile(given, images, { folder, dockerfile, reference, output });
    const size = `${Math.round(built.sizeBytes / 2 ** 20)} MiB, ${built.digest}`;
    if (images === undefined || file !== undefined) {
      process.stdout.write(`Built ${reference} into ${output} (${size})\n`);
      return 0;
    }
    await images.loadImage(output);
    process.stdout.write(`Built and loaded ${reference} (${size})\n`);
    return 0;
  } finally {
    images?.close();
    if (file === undefined) rmSync(output, { force: true });
  }
}

/** Undefined: the folder is packed as a Node application. */
function dockerfileOf(given: Arguments, folder: string): string | undefined {
  const named = given.text("file");
  const packs = given.text("base") ?? given.rest ?? given.list("env")[0];
  const forDockerfiles = ["build-arg", "secret"].flatMap((name) => given.list(name));
  const own = join(folder, "Dockerfile");
  if (named === undefined && (packs !== undefined || !existsSync(own))) {
    if (forDockerfiles.length > 0 || given.text("target") !== undefined)
      throw new UsageError(
        packs === undefined
          ? `${own} is not there: --build-arg, --secret and --target are for a Dockerfile.`
          : "--base, --env and a command pack a Node application; --build-arg, --secret and --target are for a Dockerfile.",
      );
    return undefined;
  }
  if (packs !== undefined)
    throw new UsageError(
      "--base, --env and a command pack a Node application: they do not go with --file.",
    );
  const file = resolve(named ?? own);
  if (!existsSync(file)) throw new UsageError(`--file ${file}: there is no such file.`);
  return file;
}

function packing(given: Arguments, folder: string, reference: string, output: string) {
  const base = given.text("base");
  return {
    folder,
    reference,
    output,
    ...(base === undefined ? {} : { base: resolve(base) }),
    ...(given.rest === undefined ? {} : { command: given.rest }),
    env: given.list("env"),
  };
}

async function fromDockerfile(
  given: Arguments,
  { builds, pullImage }: Images,
  asked: { folder: string; dockerfile: string; reference: string; output: string },
): Promise<BuiltImage> {
  const gone = new AbortController();
  const end = (): void => gone.abort(new Error("The build was interrupted."));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
  const target = given.text("target");
  try {
    return await buildDockerfile({
      ...asked,
      folder: resolve(asked.folder),
      ...(target === undefined ? {} : { target }),
      args: new Map(given.list("build-arg").flatMap(argumentOf)),
      secrets: new Map(given.list("secret").map(secretOf)),
      usesCache: !given.switch("no-cache"),
      ...builds,
      pull: async (reference) => void (await pullImage(reference)),
      progress: (line) => void process.stderr.write(`${line}\n`),
      gone: gone.signal,
    });
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, end);
  }
}

function argumentOf(text: string): [string, string][] {
  const at = text.indexOf("=");
  if (at > 0) return [[text.slice(0, at), text.slice(at + 1)]];
  if (at === 0) throw new UsageError(`--build-arg ${text}: write NAME=VALUE.`);
  const value = process.env[text];
  return value === undefined ? [] : [[text, value]];
}

function secretOf(text: string): [string, string] {
  const parts = new Map(
    text.split(",").map((part) => {
      const at = part.indexOf("=");
      return [part.slice(0, at), part.slice(at + 1)];
    }),
  );
  const id = parts.get("id");
  const source = parts.get("src") ?? parts.get("source");
  if (id === undefined || source === undefined)
    throw new UsageError(`--secret ${text}: write id=ID,src=FILE.`);
  if (!existsSync(source)) throw new UsageError(`--secret ${text}: there is no file ${source}.`);
  return [id, resolve(source)];
}

async function list(given: Arguments): Promise<number> {
  const runtime = await openImages(given);
  try {
    const rows = (await runtime.listImages()).flatMap(rowsOf);
    const header = ["IMAGE", "ID", "SIZE"];
    const table = [header, ...rows.toSorted((a, b) => ((a[0] ?? "") < (b[0] ?? "") ? -1 : 1))];
    const widths = header.map((_, column) =>
      Math.max(...table.map((row) => row[column]?.length ?? 0)),
    );
    for (const row of table) {
      const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
      process.stdout.write(`${cells.join("   ").trimEnd()}\n`);
    }
    return 0;
  } finally {
    runtime.close();
  }
}

const rowsOf = ({ id, tags, sizeBytes }: Image): string[][] =>
  tags.map((tag) => [
    tag,
    id.replace("sha256:", "").slice(0, 12),
    `${Math.round(sizeBytes / 2 ** 20)} MiB`,
  ]);
