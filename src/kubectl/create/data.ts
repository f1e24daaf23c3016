/** `create configmap` and `create secret`: keys and values from files, folders, literals and env files. */
import { encodeBase64 } from "#machinery/base64.ts";
import { sha256Hex } from "#machinery/hash.ts";
import { isConfigMapKey, isEnvVarName } from "#machinery/validation.ts";
import type { Invocation, KubectlCommand } from "../command.ts";
import { asError, CommandError } from "../errors.ts";
import { list, repeat, text, toggle } from "../flags.ts";
import { compactInOrder } from "../json-print.ts";
import type { AnyObject } from "../objects.ts";
import { generator } from "./generate.ts";

const sourceFlags = [
  list("from-file", "A file (its name is the key), NAME=FILE, or a folder of files"),
  repeat("from-literal", "A key and its value, as KEY=VALUE"),
  list("from-env-file", "A file of KEY=VALUE lines"),
  toggle("append-hash", "Append a hash of the content to the name"),
];

interface Entry {
  readonly key: string;
  readonly bytes: Uint8Array;
}
const encoder = new TextEncoder();

function fromFiles({ session, flags }: Invocation): Entry[] {
  const { files } = session.around;
  return flags.list("from-file").flatMap((source) => {
    const equals = source.indexOf("=");
    const path = equals < 0 ? source : source.slice(equals + 1);
    const named = equals < 0 ? undefined : source.slice(0, equals);
    if (named === "") throw new CommandError(`key name for file path ${path} missing`);
    if (equals >= 0 && path === "")
      throw new CommandError(`file path for key name ${named ?? ""} missing`);
    const facts = files.facts(path);
    if (facts === undefined)
      throw new CommandError(`error reading ${path}: no such file or directory`);
    const baseOf = (file: string): string => file.slice(file.lastIndexOf("/") + 1);
    if (facts.kind !== "folder") return [{ key: named ?? baseOf(path), bytes: files.read(path) }];
    if (named !== undefined) throw new CommandError("cannot give a key name for a directory path");
    return files
      .list(path)
      .toSorted((a, b) => (a < b ? -1 : 1))
      .filter((name) => files.facts(`${path}/${name}`)?.kind === "file")
      .map((name) => ({ key: name, bytes: files.read(`${path}/${name}`) }));
  });
}

function fromLiterals({ flags }: Invocation): Entry[] {
  return flags.list("from-literal").map((source) => {
    const equals = source.indexOf("=");
    if (equals <= 0) throw new CommandError(`invalid literal source ${source}, expected key=value`);
    let value = source.slice(equals + 1);
    if (/^(["']).*\1$/s.test(value) && value.length > 1) value = value.slice(1, -1);
    return { key: source.slice(0, equals), bytes: encoder.encode(value) };
  });
}

/** A name alone takes its value from our environment. */
export function readEnvFile(
  content: string,
  environment: (name: string) => string | undefined,
): (readonly [string, string])[] {
  return content
    .replace(/^\ufeff/, "")
    .split("\n")
    .flatMap((raw) => {
      const line = raw.replace(/^[ \t]+/, "").replace(/\r$/, "");
      if (line === "" || line.startsWith("#")) return [];
      const equals = line.indexOf("=");
      const key = equals < 0 ? line : line.slice(0, equals);
      const problems = isEnvVarName(key);
      if (problems.length > 0)
        throw new CommandError(
          `${JSON.stringify(key)} is not a valid key name: ${problems.join(";")}`,
        );
      return [[key, equals < 0 ? (environment(key) ?? "") : line.slice(equals + 1)] as const];
    });
}

function fromEnvFiles({ session, flags }: Invocation): Entry[] {
  return flags.list("from-env-file").flatMap((path) => {
    const facts = session.around.files.facts(path);
    if (facts === undefined)
      throw new CommandError(`error reading ${path}: no such file or directory`);
    if (facts.kind === "folder") throw new CommandError("env config file cannot be a directory");
    const content = new TextDecoder().decode(session.around.files.read(path));
    return readEnvFile(content, session.around.environment).map(([key, value]) => ({
      key,
      bytes: encoder.encode(value),
    }));
  });
}

function entriesOf(given: Invocation, what: "ConfigMap" | "Secret", name: string): Entry[] {
  const { flags } = given;
  if (flags.given("from-env-file") && (flags.given("from-file") || flags.given("from-literal"))) {
    throw new CommandError("from-env-file cannot be combined with from-file or from-literal");
  }
  const all = [...fromFiles(given), ...fromLiterals(given), ...fromEnvFiles(given)];
  const seen = new Set<string>();
  for (const { key } of all) {
    const problems = isConfigMapKey(key);
    if (problems.length > 0) {
      throw new CommandError(
        what === "ConfigMap"
          ? `${JSON.stringify(key)} is not a valid key name for a ConfigMap: ${problems.join(",")}`
          : `${JSON.stringify(key)} is not valid key name for a Secret ${problems.join(";")}`,
      );
    }
    if (seen.has(key)) {
      throw new CommandError(
        what === "ConfigMap"
          ? `cannot add key ${JSON.stringify(key)}, another key by that name already exists in Data for ConfigMap ${JSON.stringify(name)}`
          : `cannot add key ${key}, another key by that name already exists`,
      );
    }
    seen.add(key);
  }
  return all;
}

/** Undefined: the bytes are no text. */
function asText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (asError(error) instanceof TypeError) return undefined;
    throw error;
  }
}

const hashLetters: Readonly<Record<string, string>> = {
  "0": "g",
  "1": "h",
  "3": "k",
  a: "m",
  e: "t",
};
/** Ten letters of a hash over what is said, as upstream writes it. */
function contentHash(content: object): string {
  const hex = sha256Hex(compactInOrder(content)).slice(0, 10);
  return Array.from(hex, (char) => hashLetters[char] ?? char).join("");
}
const sorted = (data: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(data).toSorted(([a], [b]) => (a < b ? -1 : 1)));

const configmap = generator({
  name: "configmap",
  aliases: ["cm"],
  summary: "Create a config map from a local file, directory or literal value",
  usage: "NAME [--from-file=[key=]source] [--from-literal=key1=value1]",
  flags: sourceFlags,
  what: "configmap",
  make: (given, name) => {
    const data: Record<string, string> = {};
    const binaryData: Record<string, string> = {};
    for (const { key, bytes } of entriesOf(given, "ConfigMap", name)) {
      const text = asText(bytes);
      if (text === undefined) binaryData[key] = encodeBase64(bytes);
      else data[key] = text;
    }
    const content = {
      ...(Object.keys(binaryData).length === 0 ? {} : { binaryData: sorted(binaryData) }),
      data: Object.keys(data).length === 0 ? "" : sorted(data),
    };
    const hash = given.flags.switch("append-hash")
      ? `-${contentHash({ ...content, kind: "ConfigMap", name })}`
      : "";
    return {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: name + hash },
      ...(Object.keys(data).length === 0 ? {} : { data }),
      ...(Object.keys(binaryData).length === 0 ? {} : { binaryData }),
    };
  },
});

function secretOf(
  given: Invocation,
  name: string,
  type: string,
  entries: readonly Entry[],
): AnyObject {
  const data = Object.fromEntries(entries.map(({ key, bytes }) => [key, encodeBase64(bytes)]));
  const content = {
    data: Object.keys(data).length === 0 ? "" : sorted(data),
    kind: "Secret",
    name,
    type,
  };
  const hash = given.flags.switch("append-hash") ? `-${contentHash(content)}` : "";
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: name + hash },
    ...(Object.keys(data).length === 0 ? {} : { data }),
    ...(type === "" ? {} : { type }),
  };
}

const generic = generator({
  name: "generic",
  summary: "Create a secret from a local file, directory, or literal value",
  usage: "NAME [--type=string] [--from-file=[key=]source] [--from-literal=key1=value1]",
  flags: [...sourceFlags, text("type", "The type of secret to create")],
  what: "secret",
  separator: "",
  make: (given, name) =>
    secretOf(given, name, given.flags.text("type"), entriesOf(given, "Secret", name)),
});

const dockerRegistry = generator({
  name: "docker-registry",
  summary: "Create a secret for use with a Docker registry",
  usage:
    "NAME --docker-username=user --docker-password=password --docker-email=email [--docker-server=string] [--from-file=[key=]source]",
  flags: [
    text("docker-email", "Email for Docker registry"),
    text("docker-password", "Password for Docker registry authentication"),
    text("docker-server", "Server location for Docker registry", {
      default: "https://index.docker.io/v1/",
    }),
    text("docker-username", "Username for Docker registry authentication"),
    list("from-file", "A file that holds the registry's configuration"),
    toggle("append-hash", "Append a hash of the secret to its name"),
  ],
  what: "secret",
  separator: "",
  make: (given, name) => {
    const { flags } = given;
    const type = "kubernetes.io/dockerconfigjson";
    if (flags.list("from-file").length > 0) {
      const entries = fromFiles(given).map(({ bytes }) => ({ key: ".dockerconfigjson", bytes }));
      return secretOf(given, name, type, entries);
    }
    const [username, password, email, server] = [
      "docker-username",
      "docker-password",
      "docker-email",
      "docker-server",
    ].map((flag) => flags.text(flag));
    if (username === "" || password === "" || server === "" || server === undefined) {
      throw new CommandError(
        "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
      );
    }
    const auth = encodeBase64(encoder.encode(`${username ?? ""}:${password ?? ""}`));
    const entry = { username, password, ...(email === "" ? {} : { email }), auth };
    const bytes = encoder.encode(compactInOrder({ auths: { [server]: entry } }));
    return secretOf(given, name, type, [{ key: ".dockerconfigjson", bytes }]);
  },
});

const tls = generator({
  name: "tls",
  summary: "Create a TLS secret",
  usage: "NAME --cert=path/to/cert/file --key=path/to/key/file",
  flags: [
    text("cert", "Path to PEM encoded public key certificate"),
    text("key", "Path to private key associated with given certificate"),
    toggle("append-hash", "Append a hash of the secret to its name"),
  ],
  what: "secret",
  separator: "",
  make: (given, name) => {
    const { flags, session } = given;
    const { files } = session.around;
    if (flags.text("cert") === "" || flags.text("key") === "") {
      throw new CommandError("key and cert must be specified");
    }
    const read = (path: string): Uint8Array => {
      try {
        return files.read(path);
      } catch (error) {
        throw new CommandError(`Cannot read file ${path}, ${asError(error).message}`);
      }
    };
    const [certificate, key] = [read(flags.text("cert")), read(flags.text("key"))];
    const decoder = new TextDecoder();
    const wrong = session.around.judgeKeyPair(decoder.decode(certificate), decoder.decode(key));
    if (wrong !== undefined) throw new CommandError(wrong);
    return secretOf(given, name, "kubernetes.io/tls", [
      { key: "tls.crt", bytes: certificate },
      { key: "tls.key", bytes: key },
    ]);
  },
});

export const dataGenerators: readonly KubectlCommand[] = [
  configmap,
  {
    name: "secret",
    summary: "Create a secret using a specified subcommand",
    usage: "(docker-registry | generic | tls)",
    commands: [dockerRegistry, generic, tls],
  },
];
