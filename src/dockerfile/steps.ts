/**
 * What each instruction of a stage asks for: a change of the image's configuration, made here, or a step that changes its files,
 * told to whoever carries it out (Dockerfile reference, one section an instruction). Pure.
 */
import { expandText, expandWord, expandWords } from "./expand.ts";
import { failAt, type Heredoc, type Instruction, isHeredocWord, shellWords } from "./parse.ts";
import { argumentsOf } from "./stages.ts";

/** The part of an image's configuration that instructions set; names as in the image specification. */
export interface StageConfig {
  readonly env: ReadonlyMap<string, string>;
  readonly user: string;
  readonly workingDirectory: string;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly labels: ReadonlyMap<string, string>;
  readonly exposedPorts: readonly string[];
  readonly volumes: readonly string[];
  readonly stopSignal?: string;
  readonly shell: readonly string[];
  readonly onBuild: readonly string[];
  readonly author?: string;
  readonly healthcheck?: Healthcheck;
}

/** As Docker keeps it; Kubernetes has probes instead and reads none of it. */
export interface Healthcheck {
  readonly test: readonly string[];
  readonly flags: Readonly<Record<string, string>>;
}

export interface Mount {
  readonly type: "cache" | "bind" | "tmpfs" | "secret";
  readonly target: string;
  readonly source: string;
  readonly from?: string;
  readonly id: string;
  readonly isRequired: boolean;
}

export interface SourceFile {
  readonly name: string;
  readonly content: string;
}

export type Step =
  | {
      readonly type: "run";
      readonly args: readonly string[];
      /** A here-document that is a program of its own: put where the first word of `args` finds it. */
      readonly script?: string;
      readonly mounts: readonly Mount[];
      readonly hasNetwork: boolean;
    }
  | {
      readonly type: "copy";
      readonly isAdd: boolean;
      readonly from?: string;
      readonly sources: readonly string[];
      readonly files: readonly SourceFile[];
      readonly destination: string;
      readonly owner: string;
      readonly mode?: number;
      readonly excluded: readonly string[];
      readonly checksum?: string;
    }
  | { readonly type: "folder"; readonly path: string }
  | { readonly type: "nothing" };

export interface StageState {
  readonly config: StageConfig;
  /** ARGs that hold from here on. */
  readonly args: ReadonlyMap<string, string>;
  /** CMD came with the base image: an ENTRYPOINT here ends it. */
  readonly isCommandInherited: boolean;
}

export interface StageSurroundings {
  readonly escape: string;
  readonly given: ReadonlyMap<string, string>;
  readonly globals: ReadonlyMap<string, string>;
}

export const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Where a here-document that is a script lies while it runs. */
export const scriptPath = "/.wherry-run-script";

interface Told {
  readonly state: StageState;
  readonly step: Step;
}
interface Work {
  readonly state: StageState;
  readonly instruction: Instruction;
  readonly around: StageSurroundings;
  readonly variables: ReadonlyMap<string, string>;
}

const nothing: Step = { type: "nothing" };

/** What an instruction does to the stage; throws DockerfileError for what cannot be. */
export function interpret(
  state: StageState,
  instruction: Instruction,
  around: StageSurroundings,
): Told {
  const variables = new Map([...state.args, ...state.config.env]);
  const work: Work = { state, instruction, around, variables };
  const handler = handlers[instruction.keyword];
  if (handler === undefined)
    return failAt(instruction.line, `${instruction.keyword} cannot be here`);
  return handler(work);
}

const changed = ({ state }: Work, change: Partial<StageConfig>): Told => ({
  state: { ...state, config: { ...state.config, ...change } },
  step: nothing,
});
const wordsOf = ({ instruction, variables, around }: Work): string[] =>
  instruction.list === undefined
    ? expandWords(instruction.text, variables, around.escape)
    : instruction.list.map((word) => expandWord(word, variables, around.escape));
const commandOf = ({ instruction, state }: Work): string[] =>
  instruction.list === undefined
    ? [...state.config.shell, instruction.text]
    : [...instruction.list];

/** Absolute, without "." and "..". */
export function pathFrom(workingDirectory: string, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith("/") ? path : `${workingDirectory}/${path}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

const handlers: Readonly<Record<string, (work: Work) => Told>> = {
  RUN: (work) => ({ state: work.state, step: runStep(work) }),
  COPY: (work) => ({ state: work.state, step: copyStep(work, false) }),
  ADD: (work) => ({ state: work.state, step: copyStep(work, true) }),
  ARG: declare,
  CMD: (work) => ({
    ...changed(work, { command: commandOf(work) }),
    state: {
      ...work.state,
      config: { ...work.state.config, command: commandOf(work) },
      isCommandInherited: false,
    },
  }),
  ENTRYPOINT(work) {
    const { command, ...rest } = work.state.config;
    const kept = command === undefined || work.state.isCommandInherited ? {} : { command };
    const config = { ...rest, ...kept, entrypoint: commandOf(work) };
    return { state: { ...work.state, config }, step: nothing };
  },
  ENV: (work) => changed(work, { env: new Map([...work.state.config.env, ...pairsOf(work)]) }),
  LABEL: (work) =>
    changed(work, { labels: new Map([...work.state.config.labels, ...pairsOf(work)]) }),
  EXPOSE(work) {
    const ports = wordsOf(work).flatMap((word) => portsOf(work, word));
    return changed(work, {
      exposedPorts: [...new Set([...work.state.config.exposedPorts, ...ports])],
    });
  },
  VOLUME: (work) =>
    changed(work, { volumes: [...new Set([...work.state.config.volumes, ...wordsOf(work)])] }),
  USER: (work) => changed(work, { user: wordsOf(work).join(" ") }),
  WORKDIR(work) {
    const { text } = work.instruction;
    const path = expandWord(text, work.variables, work.around.escape);
    const workingDirectory = pathFrom(work.state.config.workingDirectory, path);
    const { state } = changed(work, { workingDirectory });
    return { state, step: { type: "folder", path: workingDirectory } };
  },
  STOPSIGNAL: (work) => changed(work, { stopSignal: wordsOf(work).join(" ") }),
  SHELL(work) {
    const { list, line } = work.instruction;
    if (list === undefined || list.length === 0)
      return failAt(line, "SHELL requires the arguments to be in JSON form");
    return changed(work, { shell: list });
  },
  MAINTAINER: (work) => changed(work, { author: work.instruction.text }),
  ONBUILD(work) {
    const [keyword = ""] = work.instruction.text.split(/\s/);
    if (["ONBUILD", "FROM", "MAINTAINER"].includes(keyword.toUpperCase()))
      return failAt(
        work.instruction.line,
        `${keyword.toUpperCase()} isn't allowed as an ONBUILD trigger`,
      );
    return changed(work, { onBuild: [...work.state.config.onBuild, work.instruction.text] });
  },
  HEALTHCHECK: (work) => changed(work, { healthcheck: healthcheckOf(work) }),
};

function declare({ state, instruction, around, variables }: Work): Told {
  const args = new Map(state.args);
  for (const [name, standard] of argumentsOf(instruction, variables, around.escape)) {
    const value = around.given.get(name) ?? standard ?? around.globals.get(name);
    if (value !== undefined) args.set(name, value);
  }
  return { state: { ...state, args }, step: nothing };
}

/** NAME=value …, or the old form of one name, a blank and the rest of the line. */
function pairsOf({ instruction, variables, around }: Work): [string, string][] {
  const { text, keyword, line } = instruction;
  const words = shellWords(text, around.escape);
  if (words[0]?.includes("=") !== true) {
    const [, name = "", rest] = /^(\S+)\s+([^]*)$/.exec(text) ?? [];
    if (rest === undefined) return failAt(line, `${keyword} must have two arguments`);
    return [[name, expandWord(rest, variables, around.escape)]];
  }
  return words.map((word) => {
    const at = word.indexOf("=");
    if (at < 1)
      return failAt(
        line,
        `Syntax error - can't find = in "${word}". Must be of the form: name=value`,
      );
    const [name, value] = [word.slice(0, at), word.slice(at + 1)].map((part) =>
      expandWord(part, variables, around.escape),
    );
    return [name ?? "", value ?? ""];
  });
}

function portsOf({ instruction }: Work, word: string): string[] {
  const found = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/i.exec(word);
  if (found === null) return failAt(instruction.line, `invalid containerPort: ${word}`);
  const first = Number(found[1]);
  const last = Number(found[2] ?? first);
  if (first > 65_535 || last > 65_535 || last < first)
    return failAt(instruction.line, `invalid containerPort: ${word}`);
  const protocol = (found[3] ?? "tcp").toLowerCase();
  return Array.from({ length: last - first + 1 }, (_, at) => `${first + at}/${protocol}`);
}

function healthcheckOf({ instruction }: Work): Healthcheck {
  const { text, line } = instruction;
  const flags = Object.fromEntries(instruction.flags.map(({ name, value }) => [name, value]));
  const [, kind = "", rest = ""] = /^(\S+)\s*([^]*)$/.exec(text) ?? [];
  if (kind.toUpperCase() === "NONE") return { test: ["NONE"], flags };
  if (kind.toUpperCase() !== "CMD" || rest === "")
    return failAt(line, `Unknown type "${kind}" in HEALTHCHECK (try CMD)`);
  let list: unknown;
  try {
    list = JSON.parse(rest);
  } catch {
    list = undefined;
  }
  return { test: Array.isArray(list) ? ["CMD", ...list.map(String)] : ["CMD-SHELL", rest], flags };
}

const heredocText = ({ content, isExpanded }: Heredoc, { variables, around }: Work): string =>
  isExpanded ? expandText(content, variables, around.escape) : content;

function runStep(work: Work): Step {
  const { instruction, state, around, variables } = work;
  const { heredocs, text, line } = instruction;
  const flags = (name: string): string[] =>
    instruction.flags
      .filter((flag) => flag.name === name)
      .map((flag) => expandWord(flag.value, variables, around.escape));
  if (flags("security").some((value) => value !== "sandbox"))
    return failAt(line, "--security=insecure: builds run without more rights than containers have");
  const network = flags("network").at(-1) ?? "default";
  if (!["default", "none", "host"].includes(network))
    return failAt(line, `--network=${network}: it is default, none or host`);
  const mounts = flags("mount").map((value) => mountOf(line, value, state.config.workingDirectory));
  const parts = { type: "run", mounts, hasNetwork: network !== "none" } as const;
  const [only] = heredocs;
  if (only === undefined) return { ...parts, args: commandOf(work) };
  if (isHeredocWord(text)) {
    return only.content.startsWith("#!")
      ? { ...parts, args: [scriptPath], script: only.content }
      : { ...parts, args: [...state.config.shell, only.content] };
  }
  // The shell has here-documents of its own: it gets them as they are written.
  const whole = heredocs.map(({ name, content }) => `${content}${name}\n`).join("");
  return { ...parts, args: [...state.config.shell, `${text}\n${whole}`] };
}

function mountOf(line: number, text: string, workingDirectory: string): Mount {
  const options = new Map(
    text.split(",").map((part) => {
      const at = part.indexOf("=");
      return at < 0 ? [part, ""] : [part.slice(0, at), part.slice(at + 1)];
    }),
  );
  const type = options.get("type") ?? "bind";
  if (type !== "cache" && type !== "bind" && type !== "tmpfs" && type !== "secret")
    return failAt(line, `--mount=type=${type}: it is bind, cache, tmpfs or secret`);
  if (type === "bind" && (options.has("rw") || options.has("readwrite")))
    return failAt(line, "--mount=type=bind,rw: what is bound can only be read; use COPY");
  const source = options.get("source") ?? options.get("src") ?? "";
  const named = options.get("target") ?? options.get("dst") ?? options.get("destination");
  const id =
    options.get("id") ?? (type === "secret" ? lastPart(source) || lastPart(named ?? "") : "");
  if (named === undefined && type !== "secret")
    return failAt(line, `--mount=${text}: it needs a target`);
  const target = pathFrom(workingDirectory, named ?? `/run/secrets/${id}`);
  const from = options.get("from");
  const isRequired = options.has("required") && options.get("required") !== "false";
  const mount: Mount = { type, target, source, id: id || target, isRequired };
  return from === undefined ? mount : { ...mount, from };
}

const lastPart = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

function copyStep(work: Work, isAdd: boolean): Step {
  const { instruction, variables, around, state } = work;
  const { line, keyword, heredocs } = instruction;
  const flag = (name: string): string | undefined => {
    const found = instruction.flags.find((one) => one.name === name)?.value;
    return found === undefined ? undefined : expandWord(found, variables, around.escape);
  };
  const words = instruction.list ?? shellWords(instruction.text, around.escape);
  const expanded = words
    .filter((word) => !isHeredocWord(word))
    .map((word) => expandWord(word, variables, around.escape));
  const destination = expanded.at(-1);
  const sources = expanded.slice(0, -1);
  const files = heredocs.map((one) => ({ name: one.name, content: heredocText(one, work) }));
  if (destination === undefined || sources.length + files.length === 0)
    return failAt(line, `${keyword} requires at least two arguments`);
  if (sources.length + files.length > 1 && !destination.endsWith("/") && destination !== ".")
    return failAt(
      line,
      `When using ${keyword} with more than one source file, the destination must be a directory and end with a /`,
    );
  const from = flag("from");
  const mode = flag("chmod");
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode))
    return failAt(line, `--chmod=${mode}: write it as an octal number such as 755`);
  const checksum = flag("checksum");
  const excluded = instruction.flags.filter(({ name }) => name === "exclude");
  const whole = pathFrom(state.config.workingDirectory, destination);
  const isFolder = /(^|\/)\.?$/.test(destination);
  return {
    type: "copy",
    isAdd,
    sources,
    files,
    destination: isFolder && whole !== "/" ? `${whole}/` : whole,
    owner: flag("chown") ?? "",
    excluded: excluded.map(({ value }) => expandWord(value, variables, around.escape)),
    ...(from === undefined ? {} : { from }),
    ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
    ...(checksum === undefined ? {} : { checksum }),
  };
}
