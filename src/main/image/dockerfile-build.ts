/**
 * `wherry image build` of a folder with a Dockerfile: each stage upon its base image in containerd's snapshots, each step a layer, the
 * steps that nothing changed for taken from earlier builds. Writes an OCI archive. What instructions mean is told by #dockerfile.
 */
import { existsSync } from "node:fs";
import { copyFile, link, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Snapshots } from "#adapters/containerd/snapshots.ts";
import { type IsIgnored, parseIgnore } from "#dockerfile/ignore.ts";
import { DockerfileError, type Instruction, parseDockerfile } from "#dockerfile/parse.ts";
import {
  findStage,
  neededStages,
  type Plan,
  planStages,
  platformArguments,
  type Stage,
} from "#dockerfile/stages.ts";
import { interpret, type StageConfig, type StageState, standardPath } from "#dockerfile/steps.ts";
import type { ImageConfig, Layer } from "#node/image/oci.ts";
import { type BaseImage, readStoredImage } from "./base-image.ts";
import { type BuiltImage, ociArchitecture, writeArchive } from "./build.ts";
import { BuildCache, chainOf, sha256 } from "./build-cache.ts";
import { carryOut, keyOf, type StepSurroundings } from "./carry-out.ts";

export interface DockerfileBuild {
  /** The folder that COPY takes from. */
  readonly folder: string;
  readonly dockerfile: string;
  /** In full: registry/repository:tag. */
  readonly reference: string;
  readonly output: string;
  readonly target?: string;
  readonly args: ReadonlyMap<string, string>;
  /** Files of this machine that RUN --mount=type=secret may read, by id. */
  readonly secrets: ReadonlyMap<string, string>;
  readonly usesCache: boolean;
  /** The cluster's folder for what builds keep. */
  readonly cacheFolder: string;
  readonly runc: string;
  readonly snapshots: Snapshots;
  readonly pull: (reference: string) => Promise<void>;
  readonly progress: (line: string) => void;
  readonly gone: AbortSignal;
}

/** A stage that is built: its file system and what its image would be. */
export interface BuiltStage {
  readonly chain: string;
  readonly layers: readonly Layer[];
  readonly state: StageState;
}

interface Work {
  readonly options: DockerfileBuild;
  readonly plan: Plan;
  readonly cache: BuildCache;
  readonly folder: string;
  readonly isIgnored: IsIgnored;
  readonly built: Map<number, BuiltStage>;
  readonly images: Map<string, BaseImage>;
  readonly steps: number;
  step: number;
}

export async function buildDockerfile(options: DockerfileBuild): Promise<BuiltImage> {
  const text = await readFile(options.dockerfile, "utf8");
  const architecture = ociArchitecture();
  const plan = planStages(parseDockerfile(text), options.args, architecture);
  const stages = neededStages(plan, options.target);
  const cache = new BuildCache(options.cacheFolder, options.snapshots);
  await cache.open();
  const folder = await mkdtemp(join(options.cacheFolder, "work-"));
  const work: Work = {
    options,
    plan,
    cache,
    folder,
    isIgnored: await ignoreOf(options),
    built: new Map(),
    images: new Map(),
    steps: stages.reduce((sum, { instructions }) => sum + 1 + instructions.length, 0),
    step: 0,
  };
  try {
    for (const stage of stages) work.built.set(stage.index, await buildStage(work, stage));
    const last = work.built.get(stages.at(-1)?.index ?? -1);
    if (last === undefined) throw new DockerfileError("nothing was built");
    for (const { digest } of last.layers) await stageBlob(work, digest);
    const built = await writeArchive(
      options,
      folder,
      last.layers,
      imageConfigOf(last.state.config),
    );
    await cache.settle(`${options.reference} ${options.target ?? ""}`);
    return built;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function ignoreOf({ folder, dockerfile }: DockerfileBuild): Promise<IsIgnored> {
  const own = `${dockerfile}.dockerignore`;
  const file = existsSync(own) ? own : join(folder, ".dockerignore");
  return existsSync(file) ? parseIgnore(await readFile(file, "utf8")) : () => false;
}

/** A layer's blob beside the documents of the archive. */
async function stageBlob({ cache, folder, options }: Work, digest: string): Promise<void> {
  const file = join(folder, digest.slice("sha256:".length));
  if (existsSync(file)) return;
  const kept = cache.blobFile(digest);
  if (existsSync(kept)) await link(kept, file).catch(() => copyFile(kept, file));
  else await options.snapshots.copyBlob(digest, file);
}

const say = (work: Work, stage: Stage, what: string): void => {
  const name = stage.name ?? (work.plan.stages.length > 1 ? `stage-${stage.index}` : "");
  work.options.progress(`[${name === "" ? "" : `${name} `}${work.step}/${work.steps}] ${what}`);
};

async function buildStage(work: Work, stage: Stage): Promise<BuiltStage> {
  work.step++;
  say(work, stage, `FROM ${stage.base}`);
  let built = await at(work, stage.line, `FROM ${stage.base}`, () => baseOf(work, stage));
  const triggers = built.state.config.onBuild;
  built = { ...built, state: withConfig(built.state, { onBuild: [] }) };
  const added = triggers.length === 0 ? [] : parseDockerfile(triggers.join("\n")).instructions;
  for (const instruction of added) built = await step(work, stage, built, instruction);
  for (const instruction of stage.instructions) {
    work.step++;
    built = await step(work, stage, built, instruction);
  }
  return built;
}

const withConfig = (state: StageState, change: Partial<StageConfig>): StageState => ({
  ...state,
  config: { ...state.config, ...change },
});

async function baseOf(work: Work, stage: Stage): Promise<BuiltStage> {
  const earlier = findStage(work.plan.stages, stage.base, stage.index);
  const built = earlier === undefined ? undefined : work.built.get(earlier.index);
  const args = platformArguments(ociArchitecture());
  if (built !== undefined)
    return { ...built, state: { ...built.state, args, isCommandInherited: true } };
  if (stage.base === "scratch") return { chain: "", layers: [], state: stateOf({}, args) };
  const image = await imageOf(work, stage.base);
  const chain = image.layers.reduce((parent, { diffId }) => chainOf(parent, diffId), "");
  return { chain, layers: image.layers, state: stateOf(image.config, args) };
}

async function imageOf(work: Work, name: string): Promise<BaseImage> {
  const known = work.images.get(name);
  if (known !== undefined) return known;
  const { snapshots, pull } = work.options;
  const image = await readStoredImage(snapshots, name, ociArchitecture(), pull);
  work.images.set(name, image);
  return image;
}

/** The file system to take files from: a stage, an image, or the folder. */
async function sourceChain(work: Work, name: string, stage: Stage): Promise<string> {
  const earlier = findStage(work.plan.stages, name, stage.index);
  const built = earlier === undefined ? undefined : work.built.get(earlier.index);
  if (built !== undefined) return built.chain;
  const image = await imageOf(work, name);
  return image.layers.reduce((parent, { diffId }) => chainOf(parent, diffId), "");
}

async function step(
  work: Work,
  stage: Stage,
  before: BuiltStage,
  instruction: Instruction,
): Promise<BuiltStage> {
  const { options, plan, cache } = work;
  const { escape, globals } = plan;
  options.gone.throwIfAborted();
  const told = interpret(before.state, instruction, { escape, globals, given: options.args });
  const after = { ...before, state: told.state };
  const first = instruction.text.split("\n")[0] ?? "";
  const title = `${instruction.keyword} ${first}`;
  const { step: carriedOut } = told;
  if (carriedOut.type === "nothing") return after;
  const around: StepSurroundings = {
    options,
    cache,
    state: told.state,
    parent: before.chain,
    folder: work.folder,
    context: { root: options.folder, isIgnored: work.isIgnored },
    chainOf: (name) => sourceChain(work, name, stage),
  };
  return at(work, instruction.line, title, async () => {
    const key = sha256(await keyOf(carriedOut, around));
    const kept = options.usesCache ? await cache.find(key) : undefined;
    say(work, stage, kept === undefined ? title : `CACHED ${title}`);
    const { layer, chain } = kept ?? (await carryOut(carriedOut, key, around));
    return { chain, layers: [...before.layers, layer], state: told.state };
  });
}

/** What fails inside says where in the Dockerfile. */
async function at<T>(
  { options }: Work,
  line: number,
  title: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (options.gone.aborted) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new DockerfileError(`Dockerfile:${line}: ${title}: ${why}`, { cause: error });
  }
}

function stateOf(config: Partial<ImageConfig>, args: ReadonlyMap<string, string>): StageState {
  const { env = [], labels = {}, ...rest } = config;
  const pairs = env.map((one): [string, string] => {
    const at = one.indexOf("=");
    return [one.slice(0, at), one.slice(at + 1)];
  });
  return {
    args,
    isCommandInherited: true,
    config: {
      user: "",
      workingDirectory: "/",
      exposedPorts: [],
      volumes: [],
      shell: ["/bin/sh", "-c"],
      onBuild: [],
      ...rest,
      env: new Map(pairs.length === 0 ? [["PATH", standardPath]] : pairs),
      labels: new Map(Object.entries(labels)),
    },
  };
}

/** Without the health check: Kubernetes has probes, and the image specification has no word for it. */
function imageConfigOf(config: StageConfig): ImageConfig {
  const { env, labels, healthcheck: _, ...rest } = config;
  return {
    ...rest,
    env: [...env].map(([name, value]) => `${name}=${value}`),
    labels: Object.fromEntries(labels),
  };
}
