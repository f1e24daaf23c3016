/** `kubectl config`: reading and changing the kubeconfig. */
import { encodeBase64 } from "#machinery/base64.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { printYaml } from "#machinery/yaml-print.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { asError, CommandError, throwAll } from "./errors.ts";
import { type Flag, list, repeat, text, toggle } from "./flags.ts";
import {
  configPaths,
  emptyConfig,
  type Kubeconfig,
  type Named,
  parseConfig,
  readConfigFile,
} from "./kubeconfig.ts";
import { printerOf, printFlags } from "./printers.ts";
import { alignTabs, tableStops } from "./tab-writer.ts";

type Section = "clusters" | "users" | "contexts";
const bodyKeys: Readonly<Record<Section, string>> = {
  clusters: "cluster",
  users: "user",
  contexts: "context",
};

/** The file that changes go to: the one that holds the entry, else the last of those that are there, else the first. */
function fileFor(given: Invocation, holds: (config: Kubeconfig) => boolean): string {
  const { around } = given.session;
  const paths = configPaths(given.flags, around);
  const present = paths.filter((path) => around.files.facts(path) !== undefined);
  const owner = present.find((path) => {
    const config = readConfigFile(around.files, path);
    return config !== undefined && holds(config);
  });
  return owner ?? present.at(-1) ?? paths.at(-1) ?? "";
}

function change(given: Invocation, path: string, edit: (config: Kubeconfig) => Kubeconfig): void {
  given.session.around.files.changeLocked(path, (before) => {
    const config = before === "" ? emptyConfig() : parseConfig(before, path);
    return printYaml(edit(config));
  });
}

const bodyOf = (config: Kubeconfig, section: Section, name: string): JsonObject | undefined => {
  const body = config[section].find((one) => one.name === name)?.[bodyKeys[section]];
  return isObject(body) ? body : undefined;
};
function withEntry(
  config: Kubeconfig,
  section: Section,
  name: string,
  body: JsonObject,
): Kubeconfig {
  const entry: Named = { name, [bodyKeys[section]]: body };
  const at = config[section].findIndex((one) => one.name === name);
  return {
    ...config,
    [section]: at < 0 ? [...config[section], entry] : config[section].with(at, entry),
  };
}

function oneName(given: Invocation): string {
  const [name, ...more] = given.args;
  if (name === undefined || more.length > 0) {
    throw usageFailure(given, `Unexpected args: [${given.args.join(" ")}]`);
  }
  return name;
}

/** Sets or, with "", unsets what flags say. */
function laidOver(body: JsonObject, values: Readonly<Record<string, unknown>>): JsonObject {
  const changed = { ...body };
  for (const [key, value] of Object.entries(values)) {
    if (value === "" || value === false) delete changed[key];
    else if (value !== undefined) changed[key] = value;
  }
  return changed;
}

function view(given: Invocation): Promise<void> {
  const { session, flags } = given;
  if (given.args.length > 0)
    throw usageFailure(given, `unexpected arguments: [${given.args.join(" ")}]`);
  let { config } = session;
  if (flags.switch("minify")) config = minified(config, flags.text("context"));
  const shown = flags.switch("raw") ? config : redacted(config);
  const { preferences: _, ...rest } = shown;
  const order = (entries: readonly Named[], key: string): unknown =>
    entries.length === 0
      ? null
      : entries
          .toSorted((a, b) => (a.name < b.name ? -1 : 1))
          .map((one) => ({ [key]: one[key], name: one.name }));
  const value = {
    kind: "Config",
    apiVersion: "v1",
    clusters: order(rest.clusters, "cluster"),
    users: order(rest.users, "user"),
    contexts: order(rest.contexts, "context"),
    "current-context": rest["current-context"],
  };
  const format = flags.text("output") === "" ? flags.with({ output: ["yaml"] }) : flags;
  const printer = printerOf(format, session.around, { inOrder: true });
  if (printer !== undefined) session.out(printer(value, true));
  return Promise.resolve();
}

function minified(config: Kubeconfig, wanted: string): Kubeconfig {
  const name = wanted || config["current-context"];
  if (name === "") throw new CommandError("current-context must exist in order to minify");
  const context = bodyOf(config, "contexts", name);
  if (context === undefined) throw new CommandError("cannot locate context " + name);
  return {
    ...config,
    clusters: config.clusters.filter((one) => one.name === context["cluster"]),
    users: config.users.filter((one) => one.name === context["user"]),
    contexts: config.contexts.filter((one) => one.name === name),
    "current-context": name,
  };
}

const secretKeys = ["client-key-data", "client-certificate-data"];
function redacted(config: Kubeconfig): Kubeconfig {
  const hide = (entries: readonly Named[], key: string): Named[] =>
    entries.map((entry) => {
      const body = entry[key];
      if (!isObject(body)) return entry;
      const shown = { ...body };
      for (const name of [...secretKeys, "certificate-authority-data"])
        if (name in shown) shown[name] = "DATA+OMITTED";
      for (const name of ["token", "password"]) if (name in shown) shown[name] = "REDACTED";
      return { ...entry, [key]: shown };
    });
  return {
    ...config,
    clusters: hide(config.clusters, "cluster"),
    users: hide(config.users, "user"),
  };
}

function getContexts(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const { config } = session;
  const output = flags.text("output");
  if (output !== "" && output !== "name") {
    throw new CommandError(
      `--output ${output} is not available in kubectl config get-contexts; resetting to default output format`,
    );
  }
  const errors: Error[] = [];
  const all = config.contexts.map(({ name }) => name);
  const names = (
    args.length === 0
      ? all
      : args.filter((name) => {
          if (all.includes(name)) return true;
          errors.push(new CommandError(`context ${name} not found`));
          return false;
        })
  ).toSorted();
  const rows = names.map((name) => {
    if (output === "name") return name;
    const body = bodyOf(config, "contexts", name) ?? {};
    const cells = ["cluster", "user", "namespace"].map((key) =>
      typeof body[key] === "string" ? body[key] : "",
    );
    return [config["current-context"] === name ? "*" : " ", name, ...cells].join("\t");
  });
  const header = ["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"].join("\t");
  const lines = flags.switch("no-headers") || output === "name" ? rows : [header, ...rows];
  session.out(alignTabs(lines.map((line) => `${line}\n`).join(""), tableStops));
  throwAll(errors);
  return Promise.resolve();
}

const names =
  (section: Section) =>
  (given: Invocation): Promise<void> => {
    const rows = given.session.config[section].map(({ name }) => name).toSorted();
    given.session.out(["NAME", ...rows].map((row) => `${row}\n`).join(""));
    return Promise.resolve();
  };

function currentContext({ session }: Invocation): Promise<void> {
  const name = session.config["current-context"];
  if (name === "") throw new CommandError("current-context is not set");
  session.out(`${name}\n`);
  return Promise.resolve();
}

function useContext(given: Invocation): Promise<void> {
  const name = oneName(given);
  if (bodyOf(given.session.config, "contexts", name) === undefined) {
    throw new CommandError(`no context exists with the name: ${JSON.stringify(name)}`);
  }
  const path = fileFor(given, (config) => config["current-context"] !== "");
  change(given, path, (config) => ({ ...config, "current-context": name }));
  given.session.out(`Switched to context ${JSON.stringify(name)}.\n`);
  return Promise.resolve();
}

function setContext(given: Invocation): Promise<void> {
  const { flags, session, args } = given;
  const isCurrent = flags.switch("current");
  if (isCurrent && args.length > 0)
    throw usageFailure(given, `Unexpected args: [${args.join(" ")}]`);
  const name = isCurrent ? session.config["current-context"] : oneName(given);
  if (name === "") throw new CommandError("no current context is set");
  const existed = bodyOf(session.config, "contexts", name) !== undefined;
  const path = fileFor(given, (config) => bodyOf(config, "contexts", name) !== undefined);
  change(given, path, (config) => {
    const values: Record<string, unknown> = {};
    for (const key of ["cluster", "user", "namespace"])
      if (flags.given(key)) values[key] = flags.text(key);
    return withEntry(
      config,
      "contexts",
      name,
      laidOver(bodyOf(config, "contexts", name) ?? { cluster: "", user: "" }, values),
    );
  });
  session.out(`Context ${JSON.stringify(name)} ${existed ? "modified" : "created"}.\n`);
  return Promise.resolve();
}

const fileText = (given: Invocation, flag: string): string => {
  const path = given.flags.text(flag);
  try {
    return encodeBase64(given.session.around.files.read(path));
  } catch (error) {
    throw new CommandError(`could not stat ${flag} file ${path}: ${asError(error).message}`);
  }
};

function setCluster(given: Invocation): Promise<void> {
  const { flags, session } = given;
  const name = oneName(given);
  const embeds = flags.switch("embed-certs");
  if (embeds && flags.text("certificate-authority") === "") {
    throw new CommandError("you must specify a --certificate-authority to embed");
  }
  const path = fileFor(given, (config) => bodyOf(config, "clusters", name) !== undefined);
  change(given, path, (config) => {
    const values: Record<string, unknown> = {};
    for (const key of ["server", "tls-server-name", "proxy-url"])
      if (flags.given(key)) values[key] = flags.text(key);
    if (flags.given("insecure-skip-tls-verify")) {
      values["insecure-skip-tls-verify"] = flags.switch("insecure-skip-tls-verify");
      if (flags.switch("insecure-skip-tls-verify"))
        values["certificate-authority"] = values["certificate-authority-data"] = "";
    }
    if (flags.given("certificate-authority")) {
      values["certificate-authority-data"] = embeds ? fileText(given, "certificate-authority") : "";
      values["certificate-authority"] = embeds ? "" : flags.text("certificate-authority");
      values["insecure-skip-tls-verify"] = false;
    }
    return withEntry(
      config,
      "clusters",
      name,
      laidOver(bodyOf(config, "clusters", name) ?? { server: "" }, values),
    );
  });
  session.out(`Cluster ${JSON.stringify(name)} set.\n`);
  return Promise.resolve();
}

function setCredentials(given: Invocation): Promise<void> {
  const { flags, session } = given;
  const name = oneName(given);
  if (flags.given("token") && flags.given("username")) {
    throw new CommandError(
      "you cannot specify more than one authentication method at the same time: --token, --username/--password",
    );
  }
  if (flags.given("auth-provider")) {
    throw new CommandError(
      "--auth-provider: Kubernetes removed authentication providers; use --exec-command",
    );
  }
  const embeds = flags.switch("embed-certs");
  const path = fileFor(given, (config) => bodyOf(config, "users", name) !== undefined);
  change(given, path, (config) => {
    const values: Record<string, unknown> = {};
    for (const key of ["token", "username", "password"])
      if (flags.given(key)) values[key] = flags.text(key);
    if (flags.given("token")) values["username"] = values["password"] = "";
    for (const key of ["client-certificate", "client-key"]) {
      if (!flags.given(key)) continue;
      values[`${key}-data`] = embeds ? fileText(given, key) : "";
      values[key] = embeds ? "" : flags.text(key);
    }
    const body = laidOver(bodyOf(config, "users", name) ?? {}, values);
    return withEntry(config, "users", name, withPlugin(given, body));
  });
  session.out(`User ${JSON.stringify(name)} set.\n`);
  return Promise.resolve();
}

function withPlugin({ flags }: Invocation, body: JsonObject): JsonObject {
  const asked = ["exec-command", "exec-api-version", "exec-arg", "exec-env"].some((flag) =>
    flags.given(flag),
  );
  if (!asked) return body;
  const before = isObject(body["exec"]) ? body["exec"] : {};
  const env = flags.list("exec-env").map((one) => {
    const equals = one.indexOf("=");
    return { name: one.slice(0, equals), value: one.slice(equals + 1) };
  });
  const exec = {
    ...before,
    ...(flags.given("exec-api-version") ? { apiVersion: flags.text("exec-api-version") } : {}),
    ...(flags.given("exec-command") ? { command: flags.text("exec-command") } : {}),
    ...(flags.given("exec-arg") ? { args: flags.list("exec-arg") } : {}),
    ...(env.length > 0 ? { env } : {}),
    interactiveMode: before["interactiveMode"] ?? "IfAvailable",
    provideClusterInfo: before["provideClusterInfo"] ?? false,
  };
  return { ...body, exec };
}

const remove =
  (section: Section, what: string) =>
  (given: Invocation): Promise<void> => {
    const { session } = given;
    const name = oneName(given);
    const path = fileFor(given, (config) => config[section].some((one) => one.name === name));
    if (!session.config[section].some((one) => one.name === name)) {
      throw new CommandError(`cannot delete ${what} ${name}, not in ${path}`);
    }
    if (section === "contexts" && session.config["current-context"] === name) {
      session.error(
        'warning: this removed your active context, use "kubectl config use-context" to select a different one\n',
      );
    }
    change(given, path, (config) => ({
      ...config,
      [section]: config[section].filter((one) => one.name !== name),
    }));
    session.out(`deleted ${what} ${name} from ${path}\n`);
    return Promise.resolve();
  };

function renameContext(given: Invocation): Promise<void> {
  const [name = "", fresh = "", ...more] = given.args;
  if (name === "" || fresh === "" || more.length > 0) {
    throw usageFailure(given, `Unexpected args: [${given.args.join(" ")}]`);
  }
  const path = fileFor(given, (config) => bodyOf(config, "contexts", name) !== undefined);
  const { config: known } = given.session;
  if (bodyOf(known, "contexts", name) === undefined) {
    throw new CommandError(
      `cannot rename the context ${JSON.stringify(name)}, it's not in ${path}`,
    );
  }
  if (bodyOf(known, "contexts", fresh) !== undefined) {
    throw new CommandError(
      `cannot rename the context ${JSON.stringify(name)}, the context ${JSON.stringify(fresh)} already exists in ${path}`,
    );
  }
  change(given, path, (config) => ({
    ...config,
    contexts: config.contexts.map((one) => (one.name === name ? { ...one, name: fresh } : one)),
    "current-context": config["current-context"] === name ? fresh : config["current-context"],
  }));
  given.session.out(`Context ${JSON.stringify(name)} renamed to ${JSON.stringify(fresh)}.\n`);
  return Promise.resolve();
}

/** "clusters.NAME.server": section, name (which may hold dots), field. */
function steps(property: string): readonly [Section, string, readonly string[]] {
  const [section = "", ...rest] = property.split(".");
  if (section !== "clusters" && section !== "users" && section !== "contexts") {
    throw new CommandError(`unable to parse one or more field values of ${property}`);
  }
  return [
    section,
    rest.slice(0, -1).join(".") || (rest[0] ?? ""),
    rest.length > 1 ? rest.slice(-1) : [],
  ];
}

function setProperty(given: Invocation): Promise<void> {
  const [property, raw, ...more] = given.args;
  if (property === undefined || raw === undefined || more.length > 0) {
    throw usageFailure(given, `Unexpected args: [${given.args.join(" ")}]`);
  }
  const value: unknown =
    ["true", "false"].includes(raw) && property.includes("insecure")
      ? raw === "true"
      : given.flags.switch("set-raw-bytes")
        ? encodeBase64(new TextEncoder().encode(raw))
        : raw;
  if (property === "current-context") {
    const path = fileFor(given, (config) => config["current-context"] !== "");
    change(given, path, (config) => ({ ...config, "current-context": raw }));
  } else {
    const [section, name, [field]] = steps(property);
    if (field === undefined) throw new CommandError(`can't set a map to a value: ${property}`);
    const path = fileFor(given, (config) => bodyOf(config, section, name) !== undefined);
    change(given, path, (config) =>
      withEntry(config, section, name, { ...bodyOf(config, section, name), [field]: value }),
    );
  }
  given.session.out(`Property ${JSON.stringify(property)} set.\n`);
  return Promise.resolve();
}

function unsetProperty(given: Invocation): Promise<void> {
  const property = oneName(given);
  if (property === "current-context") {
    const path = fileFor(given, (config) => config["current-context"] !== "");
    change(given, path, (config) => ({ ...config, "current-context": "" }));
  } else if (["clusters", "users", "contexts"].includes(property)) {
    change(
      given,
      fileFor(given, () => true),
      (config) => ({ ...config, [property]: [] }),
    );
  } else {
    const [section, name, [field]] = steps(property);
    const whole = property.slice(section.length + 1);
    const path = fileFor(
      given,
      (config) =>
        bodyOf(config, section, whole) !== undefined || bodyOf(config, section, name) !== undefined,
    );
    change(given, path, (config) => {
      if (field === undefined || bodyOf(config, section, whole) !== undefined) {
        return { ...config, [section]: config[section].filter((one) => one.name !== whole) };
      }
      const body = bodyOf(config, section, name);
      if (body === undefined) throw new CommandError(`current map key \`${name}\` is invalid`);
      return withEntry(config, section, name, laidOver(body, { [field]: "" }));
    });
  }
  given.session.out(`Property ${JSON.stringify(property)} unset.\n`);
  return Promise.resolve();
}

const command = (
  name: string,
  summary: string,
  run: (given: Invocation) => Promise<void>,
  flags: readonly Flag[] = [],
  usage = "",
): KubectlCommand => ({
  name,
  summary,
  run: async (given) => run(given),
  flags,
  ...(usage === "" ? {} : { usage }),
});

export const configCommand: KubectlCommand = {
  name: "config",
  summary: "Modify kubeconfig files",
  usage: "SUBCOMMAND",
  commands: [
    command("current-context", "Display the current-context", currentContext),
    command(
      "delete-cluster",
      "Delete the specified cluster from the kubeconfig",
      remove("clusters", "cluster"),
      [],
      "NAME",
    ),
    command(
      "delete-context",
      "Delete the specified context from the kubeconfig",
      remove("contexts", "context"),
      [],
      "NAME",
    ),
    command(
      "delete-user",
      "Delete the specified user from the kubeconfig",
      remove("users", "user"),
      [],
      "NAME",
    ),
    command("get-clusters", "Display clusters defined in the kubeconfig", names("clusters")),
    command(
      "get-contexts",
      "Describe one or many contexts",
      getContexts,
      [
        toggle("no-headers", "Don't print headers"),
        text("output", "Output format: name", { short: "o" }),
      ],
      "[(-o|--output=)name]",
    ),
    command("get-users", "Display users defined in the kubeconfig", names("users")),
    command(
      "rename-context",
      "Rename a context from the kubeconfig file",
      renameContext,
      [],
      "CONTEXT_NAME NEW_NAME",
    ),
    command(
      "set",
      "Set an individual value in a kubeconfig file",
      setProperty,
      [toggle("set-raw-bytes", "The value is to be base64 encoded")],
      "PROPERTY_NAME PROPERTY_VALUE",
    ),
    command(
      "set-cluster",
      "Set a cluster entry in kubeconfig",
      setCluster,
      [
        toggle("embed-certs", "Embed the certificate authority"),
        text("proxy-url", "The proxy of the cluster"),
      ],
      "NAME",
    ),
    command(
      "set-context",
      "Set a context entry in kubeconfig",
      setContext,
      [toggle("current", "Modify the current context")],
      "[NAME | --current]",
    ),
    command(
      "set-credentials",
      "Set a user entry in kubeconfig",
      setCredentials,
      [
        toggle("embed-certs", "Embed the client's certificate and key"),
        text("auth-provider", "Not offered any more"),
        text("exec-api-version", "API version of the exec credential plugin"),
        list("exec-arg", "Arguments of the exec credential plugin"),
        text("exec-command", "Command of the exec credential plugin"),
        repeat("exec-env", "'key=value' environment of the exec credential plugin"),
      ],
      "NAME",
    ),
    command(
      "unset",
      "Unset an individual value in a kubeconfig file",
      unsetProperty,
      [],
      "PROPERTY_NAME",
    ),
    command(
      "use-context",
      "Set the current-context in a kubeconfig file",
      useContext,
      [],
      "CONTEXT_NAME",
    ),
    command("view", "Display merged kubeconfig settings or a specified kubeconfig file", view, [
      ...printFlags,
      toggle("flatten", "Accepted: the data of files is not taken in"),
      toggle("merge", "Merge the full hierarchy of kubeconfig files", { default: "true" }),
      toggle("minify", "Remove all information not used by current-context"),
      toggle("raw", "Display raw byte data and sensitive data"),
    ]),
  ],
};
