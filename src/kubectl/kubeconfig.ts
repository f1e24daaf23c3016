/**
 * The kubeconfig as clients read it: the files of --kubeconfig, $KUBECONFIG or ~/.kube/config merged (the first that says a thing wins),
 * and what of it a command uses once the global flags are laid over. Reads files; writes none.
 */
import { decodeBase64 } from "#machinery/base64.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { readYaml } from "#machinery/yaml.ts";
import { asError, CommandError, ConfigError } from "./errors.ts";
import type { Flags } from "./flags.ts";
import type { Files, Surroundings } from "./surroundings.ts";

export interface Named {
  name: string;
  [key: string]: unknown;
}
/** A section ("clusters", "users", "contexts") is a list of names with one further key ("cluster", "user", "context"). */
export interface Kubeconfig {
  clusters: Named[];
  users: Named[];
  contexts: Named[];
  "current-context": string;
  preferences?: JsonObject;
  [key: string]: unknown;
}

export const emptyConfig = (): Kubeconfig => ({
  apiVersion: "v1",
  kind: "Config",
  clusters: [],
  users: [],
  contexts: [],
  "current-context": "",
});

/** Where changes go, and where reading starts. */
export function configPaths(
  flags: Flags,
  { environment, homeFolder }: Surroundings,
): readonly string[] {
  const explicit = flags.text("kubeconfig");
  if (explicit !== "") return [explicit];
  const listed = (environment("KUBECONFIG") ?? "").split(":").filter((path) => path !== "");
  return listed.length > 0 ? [...new Set(listed)] : [`${homeFolder}/.kube/config`];
}

const folderOf = (path: string): string => {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
};
const fileKeys = ["certificate-authority", "client-certificate", "client-key", "tokenFile"];

export function parseConfig(text: string, path: string): Kubeconfig {
  let read: unknown;
  try {
    read = readYaml(text);
  } catch (error) {
    throw new CommandError(
      `error loading config file ${JSON.stringify(path)}: ${asError(error).message}`,
    );
  }
  if (read === null) return emptyConfig();
  if (!isObject(read)) {
    throw new CommandError(`error loading config file ${JSON.stringify(path)}: it is no Config`);
  }
  const section = (name: string): Named[] => {
    const entries = read[name];
    if (!Array.isArray(entries)) return [];
    return entries.filter((one): one is Named => isObject(one) && typeof one["name"] === "string");
  };
  return {
    ...read,
    clusters: section("clusters"),
    users: section("users"),
    contexts: section("contexts"),
    "current-context": typeof read["current-context"] === "string" ? read["current-context"] : "",
  };
}

/** Paths inside the file are relative to it. */
function resolvePaths(config: Kubeconfig, path: string): Kubeconfig {
  const base = folderOf(path);
  const resolve = (entries: Named[], key: string): Named[] =>
    entries.map((entry) => {
      const body = entry[key];
      if (!isObject(body)) return entry;
      const changed: JsonObject = { ...body };
      for (const name of fileKeys) {
        const value = changed[name];
        if (typeof value === "string" && value !== "" && !value.startsWith("/")) {
          changed[name] = `${base}/${value}`;
        }
      }
      return { ...entry, [key]: changed };
    });
  return {
    ...config,
    clusters: resolve(config.clusters, "cluster"),
    users: resolve(config.users, "user"),
  };
}

function mergeConfigs(configs: readonly Kubeconfig[]): Kubeconfig {
  const merged = emptyConfig();
  for (const config of configs) {
    for (const section of ["clusters", "users", "contexts"] as const) {
      const names = new Set(merged[section].map(({ name }) => name));
      merged[section].push(...config[section].filter(({ name }) => !names.has(name)));
    }
    merged["current-context"] ||= config["current-context"];
    if (config.preferences !== undefined) merged.preferences ??= config.preferences;
  }
  return merged;
}

export function readConfigFile(files: Files, path: string): Kubeconfig | undefined {
  if (files.facts(path) === undefined) return undefined;
  return parseConfig(new TextDecoder().decode(files.read(path)), path);
}

export function loadConfig(flags: Flags, around: Surroundings): Kubeconfig {
  const paths = configPaths(flags, around);
  const explicit = flags.text("kubeconfig");
  if (explicit !== "" && around.files.facts(explicit) === undefined) {
    throw new CommandError(`stat ${explicit}: no such file or directory`);
  }
  const configs = paths.flatMap((path) => {
    const config = readConfigFile(around.files, path);
    return config === undefined ? [] : [resolvePaths(config, path)];
  });
  return mergeConfigs(configs);
}

/** How a server is reached and as whom. */
export interface Access {
  readonly server: URL;
  readonly roots?: string;
  readonly insecure: boolean;
  readonly serverName?: string;
  readonly identity?: { readonly chain: string; readonly key: string };
  readonly token?: string;
  readonly basic?: string;
  readonly impersonate: readonly (readonly [string, string])[];
  /** Of the context, or of the flag. */
  readonly namespace: string;
  /** By --namespace or the context, rather than by default. */
  readonly namespaceGiven: boolean;
}

const bodyOf = (entries: readonly Named[], name: string, key: string): JsonObject | undefined => {
  const body = entries.find((entry) => entry.name === name)?.[key];
  return isObject(body) ? body : undefined;
};
const textIn = (body: JsonObject | undefined, key: string): string => {
  const value = body?.[key];
  return typeof value === "string" ? value : "";
};

export function contextOf(config: Kubeconfig, flags: Flags): JsonObject {
  const name = flags.text("context") || config["current-context"];
  if (name === "") return {};
  const context = bodyOf(config.contexts, name, "context");
  if (context !== undefined) return context;
  if (flags.text("context") !== "")
    throw new CommandError(`context ${JSON.stringify(name)} does not exist`);
  throw new ConfigError(`context was not found for specified context: ${name}`);
}

const podFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Inside a pod, without a kubeconfig: the pod's ServiceAccount. */
function podAccess(flags: Flags, around: Surroundings): Access | undefined {
  const host = around.environment("KUBERNETES_SERVICE_HOST") ?? "";
  const port = around.environment("KUBERNETES_SERVICE_PORT") ?? "";
  const has = (name: string): boolean => around.files.facts(`${podFolder}/${name}`) !== undefined;
  if (host === "" || port === "" || !has("token")) return undefined;
  const read = (name: string): string =>
    new TextDecoder().decode(around.files.read(`${podFolder}/${name}`)).trim();
  const own = has("namespace") ? read("namespace") : "default";
  return {
    server: new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`),
    ...(has("ca.crt") ? { roots: read("ca.crt") } : {}),
    insecure: false,
    token: read("token"),
    impersonate: impersonation(flags, undefined),
    namespace: flags.text("namespace") || own,
    namespaceGiven: true,
  };
}

function impersonation(
  flags: Flags,
  user: JsonObject | undefined,
): readonly (readonly [string, string])[] {
  const as = flags.text("as") || textIn(user, "as");
  const configured = user?.["as-groups"];
  const groups =
    flags.list("as-group").length > 0
      ? flags.list("as-group")
      : Array.isArray(configured)
        ? configured.filter((one): one is string => typeof one === "string")
        : [];
  const uid = flags.text("as-uid") || textIn(user, "as-uid");
  if (as === "" && (groups.length > 0 || uid !== "")) {
    throw new CommandError("requesting uid, groups or user-extra without impersonating a user");
  }
  const extra = flags.list("as-user-extra").map((one) => {
    const equals = one.indexOf("=");
    return [
      `impersonate-extra-${one.slice(0, equals).toLowerCase()}`,
      one.slice(equals + 1),
    ] as const;
  });
  return [
    ...(as === "" ? [] : [["impersonate-user", as] as const]),
    ...groups.map((group) => ["impersonate-group", group] as const),
    ...(uid === "" ? [] : [["impersonate-uid", uid] as const]),
    ...extra,
  ];
}

function pemOf(around: Surroundings, inline: string, path: string): string | undefined {
  if (inline !== "") {
    const decoded = decodeBase64(inline);
    if ("problem" in decoded) throw new CommandError(decoded.problem);
    return new TextDecoder().decode(decoded.bytes);
  }
  return path === "" ? undefined : new TextDecoder().decode(around.files.read(path));
}

const orFlag = (flags: Flags, flag: string, fallback: string): string =>
  flags.text(flag) || fallback;

/** What the flags and the kubeconfig say together. */
export async function accessOf(
  config: Kubeconfig,
  flags: Flags,
  around: Surroundings,
): Promise<Access> {
  const context = contextOf(config, flags);
  const clusterName = orFlag(flags, "cluster", textIn(context, "cluster"));
  const userName = orFlag(flags, "user", textIn(context, "user"));
  const cluster = bodyOf(config.clusters, clusterName, "cluster");
  const user = bodyOf(config.users, userName, "user");
  if (flags.given("cluster") && cluster === undefined) {
    throw new CommandError(`cluster ${JSON.stringify(clusterName)} does not exist`);
  }
  if (flags.given("user") && user === undefined) {
    throw new CommandError(`auth info ${JSON.stringify(userName)} does not exist`);
  }
  const server = orFlag(flags, "server", textIn(cluster, "server"));
  if (server === "" && config.clusters.length === 0) {
    const inPod = podAccess(flags, around);
    if (inPod !== undefined) return inPod;
  }
  if (textIn(cluster, "proxy-url") !== "") {
    throw new CommandError(
      `the cluster ${clusterName} is reached through a proxy (proxy-url), which wherry kubectl does not do; use kubectl for it`,
    );
  }
  const given = flags.text("namespace");
  const ofContext = textIn(context, "namespace");
  return {
    server: serverUrl(server),
    ...transportOf(cluster, flags, around),
    ...(await credentialsOf(user, userName, flags, around)),
    impersonate: impersonation(flags, user),
    namespace: given || ofContext || "default",
    namespaceGiven: given !== "",
  };
}

function serverUrl(text: string): URL {
  const whole = text === "" ? "http://localhost:8080" : text;
  try {
    return new URL(/^https?:\/\//.test(whole) ? whole : `http://${whole}`);
  } catch {
    throw new CommandError(`parse ${JSON.stringify(whole)}: it is no URL`);
  }
}

function transportOf(
  cluster: JsonObject | undefined,
  flags: Flags,
  around: Surroundings,
): Pick<Access, "roots" | "insecure" | "serverName"> {
  const insecure =
    flags.switch("insecure-skip-tls-verify") || cluster?.["insecure-skip-tls-verify"] === true;
  const path = flags.text("certificate-authority");
  const roots =
    path === ""
      ? pemOf(
          around,
          textIn(cluster, "certificate-authority-data"),
          textIn(cluster, "certificate-authority"),
        )
      : pemOf(around, "", path);
  const serverName = orFlag(flags, "tls-server-name", textIn(cluster, "tls-server-name"));
  return {
    insecure,
    ...(roots === undefined || insecure ? {} : { roots }),
    ...(serverName === "" ? {} : { serverName }),
  };
}

async function credentialsOf(
  user: JsonObject | undefined,
  userName: string,
  flags: Flags,
  around: Surroundings,
): Promise<Pick<Access, "identity" | "token" | "basic">> {
  const pem = (key: string): string | undefined =>
    flags.text(key) === ""
      ? pemOf(around, textIn(user, `${key}-data`), textIn(user, key))
      : pemOf(around, "", flags.text(key));
  const chain = pem("client-certificate");
  const key = pem("client-key");
  const identity = chain === undefined || key === undefined ? {} : { identity: { chain, key } };
  const tokenFile = textIn(user, "tokenFile");
  const token =
    flags.text("token") ||
    (tokenFile === ""
      ? textIn(user, "token")
      : new TextDecoder().decode(around.files.read(tokenFile)).trim());
  if (token !== "") return { ...identity, token };
  const name = orFlag(flags, "username", textIn(user, "username"));
  if (name !== "") {
    const password = orFlag(flags, "password", textIn(user, "password"));
    return { ...identity, basic: `${name}:${password}` };
  }
  const plugin = user?.["exec"];
  if (isObject(plugin)) return { ...identity, ...(await askPlugin(plugin, around)) };
  if (isObject(user?.["auth-provider"])) {
    throw new CommandError(
      `the user ${userName} logs in by auth-provider, which Kubernetes removed; use an exec plugin`,
    );
  }
  return identity;
}

/** A credential plugin prints an ExecCredential. */
async function askPlugin(
  plugin: JsonObject,
  around: Surroundings,
): Promise<Pick<Access, "identity" | "token">> {
  const apiVersion = textIn(plugin, "apiVersion");
  const command = textIn(plugin, "command");
  const args = Array.isArray(plugin["args"]) ? plugin["args"].map(String) : [];
  const environment: Record<string, string> = {
    KUBERNETES_EXEC_INFO: JSON.stringify({
      kind: "ExecCredential",
      apiVersion,
      spec: { interactive: around.terminal.inputIsTerminal },
    }),
  };
  for (const one of Array.isArray(plugin["env"]) ? plugin["env"] : []) {
    if (isObject(one)) environment[textIn(one, "name")] = textIn(one, "value");
  }
  const answer: unknown = JSON.parse(await around.ask(command, args, environment));
  const status = isObject(answer) && isObject(answer["status"]) ? answer["status"] : undefined;
  const token = textIn(status, "token");
  const chain = textIn(status, "clientCertificateData");
  if (token === "" && chain === "") {
    throw new CommandError(
      `getting credentials: exec: the plugin ${command} didn't return a token or cert/key pair`,
    );
  }
  return {
    ...(token === "" ? {} : { token }),
    ...(chain === "" ? {} : { identity: { chain, key: textIn(status, "clientKeyData") } }),
  };
}
