/** `wherry compose up|convert|down`: a docker compose file on the cluster. Converting is src/compose's; applying is kubectl's, with prune. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type Conversion, convertCompose, projectSelector } from "#compose/convert.ts";
import type { Dependency } from "#compose/dependencies.ts";
import { readDotEnv } from "#compose/interpolate.ts";
import { ComposeError } from "#compose/report.ts";
import { runKubectl } from "#kubectl/program.ts";
import type { Surroundings } from "#kubectl/surroundings.ts";
import { printYaml } from "#machinery/yaml-print.ts";
import { type Arguments, type Command, readArguments, UsageError } from "./arguments.ts";
import { kubectlCommands } from "./kubectl/commands.ts";
import { systemSurroundings } from "./kubectl/surroundings.ts";
import { kubernetesVersion } from "./version.ts";

const fileNames = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

export const composeCommand: Command = {
  name: "compose",
  operands: "up|convert|down",
  summary:
    "Runs a docker compose file on the cluster: up applies it in the order of depends_on (and takes out what the file no\nlonger says), convert prints the Kubernetes objects, down deletes them. What has no counterpart is named with its line.",
  options: [
    {
      name: "file",
      short: "f",
      value: "F",
      help: "the compose file (default compose.yaml and its kin)",
    },
    {
      name: "project-name",
      short: "p",
      value: "P",
      help: "else the file's name, else its folder's",
    },
    { name: "profile", value: "P", repeated: true, help: "services of this profile too" },
    { name: "env-file", value: "F", help: "variables for the file, instead of .env beside it" },
    { name: "no-build", help: "up: build no images" },
    { name: "wait", help: "up: wait until everything is rolled out" },
    { name: "volumes", short: "v", help: "down: delete the claims too, with their data" },
    { name: "name", value: "N", help: "the cluster whose nodes get built images" },
    { name: "namespace", short: "n", value: "NS", help: "where the objects go" },
    { name: "context", value: "C", help: "the kubeconfig's context" },
    { name: "kubeconfig", value: "F", help: "the kubeconfig" },
  ],
  run: compose,
};

function findFile(given: Arguments): string {
  const named = given.text("file");
  if (named !== undefined) {
    if (!existsSync(named)) throw new UsageError(`There is no compose file ${named}.`);
    return resolve(named);
  }
  const found = fileNames.find((name) => existsSync(name));
  if (found === undefined) {
    throw new UsageError(
      `There is no ${fileNames.join(", ")} here; name the compose file with -f FILE.`,
    );
  }
  return resolve(found);
}

/** A shell's variables win over the file's. */
function variables(given: Arguments, folder: string): (name: string) => string | undefined {
  const named = given.text("env-file");
  const path = named ?? join(folder, ".env");
  if (named !== undefined && !existsSync(named)) throw new UsageError(`There is no file ${named}.`);
  const system = (name: string): string | undefined => process.env[name];
  const values = existsSync(path)
    ? readDotEnv(readFileSync(path, "utf8"), system)
    : new Map<string, string>();
  return (name) => system(name) ?? values.get(name);
}

function convert(given: Arguments): Conversion {
  const file = findFile(given);
  const folder = dirname(file);
  const environment = variables(given, folder);
  const listed = (environment("COMPOSE_PROFILES") ?? "").split(",").filter((one) => one !== "");
  return convertCompose({
    text: readFileSync(file, "utf8"),
    file: given.text("file") ?? file.slice(folder.length + 1),
    folder,
    project: given.text("project-name"),
    profiles: [...given.list("profile"), ...listed],
    environment,
    read: (path) => (existsSync(path) && statSync(path).isFile() ? readFileSync(path) : undefined),
    isFolder: (path) => existsSync(path) && statSync(path).isDirectory(),
  });
}

async function compose(given: Arguments): Promise<number> {
  const [verb = "", ...more] = given.operands;
  if (!["up", "convert", "config", "down"].includes(verb) || more.length > 0) {
    throw new UsageError(
      "wherry compose takes one of up, convert and down. See wherry compose --help.",
    );
  }
  let conversion: Conversion;
  try {
    conversion = convert(given);
  } catch (error) {
    if (!(error instanceof ComposeError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
  if (verb === "down") return down(given, conversion);
  for (const note of conversion.notes) process.stderr.write(`${note}\n`);
  if (verb === "up") return up(given, conversion);
  process.stdout.write(conversion.objects.map((object) => printYaml(object)).join("---\n"));
  return 0;
}

const places = (given: Arguments): string[] =>
  ["kubeconfig", "context", "namespace"].flatMap((flag) => {
    const value = given.text(flag);
    return value === undefined ? [] : [`--${flag}`, value];
  });

let surroundings: Surroundings | undefined;

/** Mute: no word of failures. Silent: of success. */
async function kubectl(
  given: Arguments,
  words: readonly string[],
  hush: "" | "mute" | "silent" = "",
): Promise<number> {
  surroundings ??= systemSurroundings(kubernetesVersion);
  const around = surroundings;
  // That there was nothing of a kind is no news.
  const tell = (text: string | Uint8Array): void => {
    if (text !== "No resources found\n" && hush !== "silent") around.terminal.out(text);
  };
  const terminal = {
    ...around.terminal,
    out: tell,
    ...(hush === "mute" ? { error: () => {} } : {}),
  };
  return runKubectl(kubectlCommands, [...words, ...places(given)], { ...around, terminal });
}

/** Data outlives a change of the file: claims are never pruned. */
const pruned = [
  "core/v1/ConfigMap",
  "core/v1/Secret",
  "core/v1/Service",
  "apps/v1/Deployment",
  "apps/v1/DaemonSet",
  "batch/v1/Job",
];

async function build(given: Arguments, conversion: Conversion): Promise<number> {
  const { imageCommand } = await import("./image-command.ts");
  const cluster = given.text("name");
  for (const { image, context, dockerfile, target, args = [] } of conversion.builds) {
    const words = [
      "build",
      context,
      "-t",
      image,
      ...(dockerfile === undefined ? [] : ["--file", dockerfile]),
      ...(target === undefined ? [] : ["--target", target]),
      ...args.flatMap(([name, value]) => [
        "--build-arg",
        value === undefined ? name : `${name}=${value}`,
      ]),
      ...(cluster === undefined ? [] : ["--name", cluster]),
    ];
    const code = await imageCommand.run(readArguments(imageCommand, words));
    if (code !== 0) return code;
  }
  return 0;
}

async function up(given: Arguments, conversion: Conversion): Promise<number> {
  if (!given.switch("no-build")) {
    const code = await build(given, conversion);
    if (code !== 0) return code;
  }
  const folder = mkdtempSync(join(tmpdir(), "wherry-compose-"));
  try {
    const code = await startInOrder(given, conversion, join(folder, "objects.yaml"));
    if (code !== 0) return code;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  if (!given.switch("wait")) return 0;
  for (const { name, workload } of conversion.services) {
    const code = await awaited(given, conversion, {
      name,
      wanted: workload === "job" ? "completed" : "healthy",
    });
    if (code !== 0) return code;
  }
  return 0;
}

/** Stage after stage; the last time with everything, so that what the file no longer says is taken out. */
async function startInOrder(given: Arguments, whole: Conversion, path: string): Promise<number> {
  const { objects, services, stages } = whole;
  const waiting = new Set(services.flatMap((service) => service.objects));
  for (const [i, stage] of stages.entries()) {
    const starting = services.filter(({ name }) => stage.includes(name));
    for (const dependency of uniqueDependencies(starting.flatMap(({ after }) => after))) {
      const code = await awaited(given, whole, dependency);
      if (code !== 0) return code;
    }
    for (const object of starting.flatMap((service) => service.objects)) waiting.delete(object);
    const now = objects.filter((object) => !waiting.has(object));
    writeFileSync(path, now.map((object) => printYaml(object)).join("---\n"), { mode: 0o600 });
    const isLast = i === stages.length - 1;
    const prune = [
      "--prune",
      "-l",
      projectSelector(whole.project),
      ...pruned.flatMap((kind) => ["--prune-allowlist", kind]),
    ];
    const code = await kubectl(given, ["apply", "-f", path, ...(isLast ? prune : [])]);
    if (code !== 0) return code;
  }
  return 0;
}

const uniqueDependencies = (all: readonly Dependency[]): readonly Dependency[] => [
  ...new Map(all.map((one) => [`${one.wanted} ${one.name}`, one])).values(),
];

const waitMax = "--timeout=600s";

/** Waits until a service is as others need it; 0: it is. */
async function awaited(
  given: Arguments,
  { project, services }: Conversion,
  { name, wanted }: Dependency,
): Promise<number> {
  const workload = services.find((one) => one.name === name)?.workload ?? "deployment";
  const object = `${workload}/${name}`;
  if (wanted === "healthy" && workload !== "job") {
    return kubectl(given, ["rollout", "status", object]);
  }
  if (wanted === "completed") {
    // Jobs end with their first condition, whichever it is.
    const ended = "--for=jsonpath={.status.conditions[0].type}";
    const code = await kubectl(given, ["wait", object, ended, waitMax], "silent");
    if (code === 0 && (await kubectl(given, ["wait", object, completed, "--timeout=5s"])) === 0)
      return 0;
    process.stderr.write(
      `service ${name} did not complete: wherry kubectl describe ${object} and wherry kubectl logs ${object} say why\n`,
    );
    return 1;
  }
  const pods = ["wait", "pod", "-l", `app.kubernetes.io/name=${name},${projectSelector(project)}`];
  const code = await kubectl(given, [...pods, "--for=create", waitMax], "silent");
  if (code !== 0) return code;
  const started = "--for=jsonpath={.status.containerStatuses[0].containerID}";
  return kubectl(given, [...pods, started, waitMax]);
}

const completed = "--for=condition=Complete";

async function down(given: Arguments, { project }: Conversion): Promise<number> {
  const kinds = [
    "deployments",
    "daemonsets.apps",
    "jobs.batch",
    "services",
    "configmaps",
    "secrets",
  ];
  if (given.switch("volumes")) kinds.push("persistentvolumeclaims");
  for (const kind of kinds) {
    // A server that does not serve a kind has none of it.
    if (
      (await kubectl(
        given,
        ["get", kind, "-o", "name", "--ignore-not-found", "-l", "none=none"],
        "mute",
      )) !== 0
    )
      continue;
    const code = await kubectl(given, ["delete", kind, "-l", projectSelector(project)]);
    if (code !== 0) return code;
  }
  return 0;
}
