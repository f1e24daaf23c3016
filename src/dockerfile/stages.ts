/** The stages of a Dockerfile and which of them a target needs, in the order in which they are built. Pure. */
import { expandWord, expandWords } from "./expand.ts";
import { type Dockerfile, DockerfileError, failAt, type Instruction } from "./parse.ts";

export interface Stage {
  readonly index: number;
  readonly name?: string;
  /** An image, "scratch", or an earlier stage's name. */
  readonly base: string;
  readonly line: number;
  readonly instructions: readonly Instruction[];
}

export interface Plan {
  readonly stages: readonly Stage[];
  /** What ARG before the first FROM says, --build-arg applied: for FROM, and for stages that name them again. */
  readonly globals: ReadonlyMap<string, string>;
  readonly escape: string;
}

const namePattern = /^[a-z][a-z0-9_.-]*$/;

/** The ARGs that need no declaration: what is built for, and where. */
export const platformArguments = (architecture: string): ReadonlyMap<string, string> =>
  new Map(
    ["TARGET", "BUILD"].flatMap((side) => [
      [`${side}PLATFORM`, `linux/${architecture}`],
      [`${side}OS`, "linux"],
      [`${side}ARCH`, architecture],
      [`${side}VARIANT`, ""],
    ]),
  );

/** "name" or "name=default": what an ARG instruction declares. */
export function argumentsOf(
  { text }: Instruction,
  known: ReadonlyMap<string, string>,
  escape: string,
): [name: string, standard: string | undefined][] {
  return expandWords(text, known, escape).map((word) => {
    const at = word.indexOf("=");
    return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
  });
}

export function planStages(
  { instructions, escape }: Dockerfile,
  given: ReadonlyMap<string, string>,
  architecture: string,
): Plan {
  const platform = platformArguments(architecture);
  const globals = new Map<string, string>();
  const known = (): Map<string, string> => new Map([...platform, ...globals]);
  const stages: { stage: Omit<Stage, "instructions">; instructions: Instruction[] }[] = [];
  for (const instruction of instructions) {
    const { keyword, line } = instruction;
    if (keyword === "FROM") {
      const stage = stageOf(instruction, stages.length, known(), escape);
      const isTaken = stages.some((one) => one.stage.name === stage.name);
      if (stage.name !== undefined && isTaken)
        failAt(line, `duplicate name ${stage.name}: an earlier stage has it`);
      stages.push({ stage, instructions: [] });
    } else if (stages.length > 0) {
      stages.at(-1)?.instructions.push(instruction);
    } else if (keyword === "ARG") {
      for (const [name, standard] of argumentsOf(instruction, known(), escape)) {
        const value = given.get(name) ?? standard;
        if (value !== undefined) globals.set(name, value);
      }
    } else failAt(line, `no build stage in current context: ${keyword} comes before FROM`);
  }
  if (stages.length === 0) throw new DockerfileError("the Dockerfile has no FROM");
  return { stages: stages.map(({ stage, ...rest }) => ({ ...stage, ...rest })), globals, escape };
}

function stageOf(
  { text, line, flags }: Instruction,
  index: number,
  known: ReadonlyMap<string, string>,
  escape: string,
): Omit<Stage, "instructions"> {
  const [image = "", as, name, ...more] = text.split(/\s+/);
  const isNamed = as !== undefined;
  if (more.length > 0 || (isNamed && (as.toUpperCase() !== "AS" || name === undefined)))
    return failAt(line, "FROM requires either one or three arguments");
  const base = expandWord(image, known, escape);
  if (base === "") return failAt(line, `base name (${image}) should not be blank`);
  const platform = flags.find((flag) => flag.name === "platform")?.value;
  if (platform !== undefined) {
    const wanted = expandWord(platform, known, escape);
    const here = known.get("TARGETPLATFORM") ?? "";
    if (wanted !== here && !wanted.startsWith(`${here}/`))
      return failAt(line, `--platform=${wanted}: images are built for this machine, ${here}`);
  }
  if (!isNamed) return { index, base, line };
  const lower = (name ?? "").toLowerCase();
  if (!namePattern.test(lower)) return failAt(line, `invalid name for build stage: "${name}"`);
  return { index, name: lower, base, line };
}

/** An earlier stage by name or number. */
export function findStage(
  stages: readonly Stage[],
  name: string,
  before: number,
): Stage | undefined {
  const earlier = stages.slice(0, before);
  const named = earlier.find((stage) => stage.name === name.toLowerCase());
  return named ?? (/^\d+$/.test(name) ? earlier[Number(name)] : undefined);
}

/** The target, or the last stage, behind all that it takes something from. */
export function neededStages({ stages }: Plan, target?: string): readonly Stage[] {
  const last = target === undefined ? stages.at(-1) : findStage(stages, target, stages.length);
  if (last === undefined) throw new DockerfileError(`target stage "${target}" could not be found`);
  const needed = new Set<Stage>();
  const need = (stage: Stage): void => {
    if (needed.has(stage)) return;
    for (const name of takenFrom(stage)) {
      const source = findStage(stages, name, stage.index);
      if (source !== undefined) need(source);
    }
    needed.add(stage);
  };
  need(last);
  return [...needed];
}

function takenFrom({ base, instructions }: Stage): string[] {
  const flags = instructions.flatMap((instruction) => instruction.flags);
  const copied = flags.filter(({ name }) => name === "from").map(({ value }) => value);
  const mounted = flags
    .filter(({ name }) => name === "mount")
    .flatMap(({ value }) => value.split(",").filter((part) => part.startsWith("from=")))
    .map((part) => part.slice("from=".length));
  return [base, ...copied, ...mounted];
}
