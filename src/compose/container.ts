/** The container of a compose service: command, environment, resources, health, rights. */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { absolutePath, type ConversionContext } from "./context.ts";
import { readDotEnv } from "./interpolate.ts";
import type { Section } from "./report.ts";
import { plainScalar } from "./scalar.ts";
import { bytesQuantity, cpuQuantity, kubernetesName, seconds, shellWords } from "./values.ts";

/** Kubernetes reads $(NAME) in commands and values; compose does not. */
const literal = (text: string): string => text.replaceAll("$(", () => "$$(");

function words(section: Section, key: string): string[] | undefined {
  const value = section.raw(key);
  if (value === undefined) return undefined;
  const text = plainScalar(value);
  return (text === undefined ? section.texts(key) : shellWords(text)).map(literal);
}

interface EnvFile {
  readonly path: string;
  readonly required: boolean;
}
function envFiles(section: Section): EnvFile[] {
  const value = section.raw("env_file");
  if (value === undefined) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.map((one, i) => {
    if (isObject(one))
      return { path: plainScalar(one["path"]) ?? "", required: one["required"] !== false };
    return {
      path: plainScalar(one) ?? section.report.fail(section.at("env_file", i), "must be a path"),
      required: true,
    };
  });
}

/** env_file first, then environment, which wins; a name alone takes its value from the caller's environment. */
function environmentOf(
  { input }: ConversionContext,
  section: Section,
): { name: string; value: string }[] {
  const values = new Map<string, string>();
  for (const { path, required } of envFiles(section)) {
    const bytes = input.read(absolutePath(input.folder, path));
    if (bytes === undefined) {
      if (required) section.report.fail(section.at("env_file"), `there is no file ${path}`);
      continue;
    }
    for (const [name, value] of readDotEnv(new TextDecoder().decode(bytes), input.environment))
      values.set(name, value);
  }
  for (const [name, value] of section.pairs("environment")) {
    const found = value ?? input.environment(name);
    if (found !== undefined) values.set(name, found);
  }
  return [...values].map(([name, value]) => ({ name, value: literal(value) }));
}

function probeOf(section: Section): JsonObject {
  if (!section.has("healthcheck")) return {};
  const check = section.section("healthcheck");
  const raw = check.raw("test");
  const isOff = check.truth("disable") || (Array.isArray(raw) && raw[0] === "NONE");
  const text = plainScalar(raw);
  const [first, ...rest] = text === undefined ? check.texts("test") : ["CMD-SHELL", text];
  const span = (key: string, fallback: number): number => {
    const value = check.text(key);
    if (value === undefined) return fallback;
    return seconds(value) ?? check.report.fail(check.at(key), `${value} is no duration`);
  };
  const probe = {
    exec: {
      command:
        first === "CMD-SHELL"
          ? ["/bin/sh", "-c", rest.join(" ")]
          : first === "CMD"
            ? rest
            : [first ?? "", ...rest],
    },
    periodSeconds: Math.max(1, span("interval", 30)),
    timeoutSeconds: Math.max(1, span("timeout", 30)),
    failureThreshold: Number(check.text("retries") ?? 3),
    ...(check.has("start_period") ? { initialDelaySeconds: span("start_period", 0) } : {}),
  };
  check.ignore("start_interval");
  check.finish();
  return isOff || first === undefined ? {} : { readinessProbe: probe };
}

function resourcesOf(section: Section, deploy: Section): JsonObject {
  const read = (holder: Section, cpuKey: string, memoryKey: string): Record<string, string> => {
    const [cpu, memory] = [holder.text(cpuKey), holder.text(memoryKey)];
    const wrong = (key: string, value: string): never =>
      holder.report.fail(holder.at(key), `${value} is no amount`);
    return {
      ...(cpu === undefined ? {} : { cpu: cpuQuantity(cpu) ?? wrong(cpuKey, cpu) }),
      ...(memory === undefined
        ? {}
        : { memory: bytesQuantity(memory) ?? wrong(memoryKey, memory) }),
    };
  };
  const resources = deploy.section("resources");
  const [limits, reservations] = [resources.section("limits"), resources.section("reservations")];
  const most = { ...read(section, "cpus", "mem_limit"), ...read(limits, "cpus", "memory") };
  const least = {
    ...read(section, "cpu_reservation", "mem_reservation"),
    ...read(reservations, "cpus", "memory"),
  };
  limits.leaveOut("pids", "the number of processes is the kubelet's to limit");
  reservations.leaveOut("devices", "devices need a device plugin");
  for (const one of [limits, reservations, resources]) one.finish();
  const all = {
    ...(Object.keys(most).length === 0 ? {} : { limits: most }),
    ...(Object.keys(least).length === 0 ? {} : { requests: least }),
  };
  return Object.keys(all).length === 0 ? {} : { resources: all };
}

function securityOf(section: Section): JsonObject {
  const user = section.text("user");
  const [add, drop] = [section.texts("cap_add"), section.texts("cap_drop")];
  const [uid, gid] = (user ?? "").split(":");
  if (user !== undefined && !/^\d+(:\d+)?$/.test(user)) {
    section.leaveOut("user", `${user}: users are numbers here; the image's own user is used`);
  }
  const isNumeric = user !== undefined && /^\d+(:\d+)?$/.test(user);
  const context = {
    ...(isNumeric
      ? { runAsUser: Number(uid), ...(gid === undefined ? {} : { runAsGroup: Number(gid) }) }
      : {}),
    ...(section.truth("privileged") ? { privileged: true } : {}),
    ...(section.truth("read_only") ? { readOnlyRootFilesystem: true } : {}),
    ...(add.length + drop.length === 0
      ? {}
      : {
          capabilities: {
            ...(add.length === 0 ? {} : { add }),
            ...(drop.length === 0 ? {} : { drop }),
          },
        }),
    ...(section.texts("security_opt").some((one) => /^no-new-privileges(:true)?$/.test(one))
      ? { allowPrivilegeEscalation: false }
      : {}),
  };
  for (const option of section.texts("security_opt")) {
    if (!option.startsWith("no-new-privileges"))
      section.report.leftOut(
        section.at("security_opt"),
        `${option}: set it in the pod's securityContext`,
      );
  }
  section.leaveOut("group_add", "set supplementalGroups in the pod's securityContext");
  return Object.keys(context).length === 0 ? {} : { securityContext: context };
}

const pullPolicies: Readonly<Record<string, string>> = {
  always: "Always",
  never: "Never",
  missing: "IfNotPresent",
  if_not_present: "IfNotPresent",
  build: "IfNotPresent",
};

export function convertContainer(
  context: ConversionContext,
  name: string,
  section: Section,
  deploy: Section,
  given: {
    readonly image: string;
    readonly isBuilt: boolean;
    readonly ports: readonly JsonObject[];
    readonly mounts: readonly JsonObject[];
  },
): JsonObject {
  const [entrypoint, command] = [words(section, "entrypoint"), words(section, "command")];
  const env = environmentOf(context, section);
  const pull = section.text("pull_policy");
  const policy =
    pull === undefined ? (given.isBuilt ? "IfNotPresent" : undefined) : pullPolicies[pull];
  if (pull !== undefined && policy === undefined)
    section.leaveOut(
      "pull_policy",
      `${pull} has no counterpart; Always, IfNotPresent and Never have`,
    );
  const workingDir = section.text("working_dir");
  return {
    name: kubernetesName(name),
    image: given.image,
    ...(policy === undefined ? {} : { imagePullPolicy: policy }),
    ...(entrypoint === undefined ? {} : { command: entrypoint }),
    ...(command === undefined ? {} : { args: command }),
    ...(workingDir === undefined ? {} : { workingDir }),
    ...(given.ports.length === 0 ? {} : { ports: given.ports }),
    ...(env.length === 0 ? {} : { env }),
    ...resourcesOf(section, deploy),
    ...probeOf(section),
    ...securityOf(section),
    ...(section.truth("stdin_open") ? { stdin: true } : {}),
    ...(section.truth("tty") ? { tty: true } : {}),
    ...(given.mounts.length === 0 ? {} : { volumeMounts: given.mounts }),
  };
}
