/**
 * The kubeconfig: a context named after the cluster is merged into the user's file, everything else in it stays as it is. Written by
 * rename under a lock beside it, as kubectl does; under sudo it is the calling user's file, with that user's ownership.
 */
import { execFileSync } from "node:child_process";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { readYaml } from "#machinery/yaml.ts";
import { printYaml } from "#machinery/yaml-print.ts";
import { withFileLock } from "./file-lock.ts";

export interface ClusterAccess {
  /** Context, cluster and user are named so. */
  readonly name: string;
  readonly server: string;
  readonly caPem: string;
  readonly clientCertificatePem: string;
  readonly clientKeyPem: string;
}
interface Entry {
  name: string;
  [key: string]: unknown;
}
interface Kubeconfig {
  apiVersion?: string;
  kind?: string;
  clusters?: Entry[] | null;
  users?: Entry[] | null;
  contexts?: Entry[] | null;
  "current-context"?: string;
  [key: string]: unknown;
}
interface Owner {
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** The user behind sudo; undefined: nobody but ourselves. */
function sudoUser(): Owner | undefined {
  const { SUDO_UID, SUDO_GID, SUDO_USER } = process.env;
  if (process.getuid?.() !== 0 || SUDO_UID === undefined || SUDO_USER === undefined)
    return undefined;
  try {
    const home = execFileSync("getent", ["passwd", SUDO_USER], { encoding: "utf8" }).split(":")[5];
    if (home === undefined) return undefined;
    return { uid: Number(SUDO_UID), gid: Number(SUDO_GID ?? SUDO_UID), home };
  } catch {
    // No getent, or no such user any more: then the file is root's.
    return undefined;
  }
}

/** --kubeconfig, the first file of $KUBECONFIG, or ~/.kube/config. */
export function kubeconfigPath(given: string | undefined): string {
  if (given !== undefined) return given;
  const listed = process.env["KUBECONFIG"]?.split(delimiter).find((path) => path !== "");
  return listed ?? join(sudoUser()?.home ?? homedir(), ".kube", "config");
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const replaced = (list: Entry[] | null | undefined, entry: Entry): Entry[] => {
  const others = list ?? [];
  const at = others.findIndex(({ name }) => name === entry.name);
  return at < 0 ? [...others, entry] : others.with(at, entry);
};

export function mergedKubeconfig(config: Kubeconfig, access: ClusterAccess): Kubeconfig {
  const { name } = access;
  return {
    ...config,
    apiVersion: "v1",
    kind: "Config",
    clusters: replaced(config.clusters, {
      name,
      cluster: { "certificate-authority-data": base64(access.caPem), server: access.server },
    }),
    users: replaced(config.users, {
      name,
      user: {
        "client-certificate-data": base64(access.clientCertificatePem),
        "client-key-data": base64(access.clientKeyPem),
      },
    }),
    contexts: replaced(config.contexts, { name, context: { cluster: name, user: name } }),
    "current-context": name,
  };
}

/** Takes the cluster's entries out again; a current context that is gone is left unset. */
export function prunedKubeconfig(config: Kubeconfig, name: string): Kubeconfig {
  const without = (list: Entry[] | null | undefined): Entry[] =>
    (list ?? []).filter((entry) => entry.name !== name);
  return {
    ...config,
    clusters: without(config.clusters),
    users: without(config.users),
    contexts: without(config.contexts),
    "current-context": config["current-context"] === name ? "" : (config["current-context"] ?? ""),
  };
}

function readKubeconfig(path: string): Kubeconfig {
  if (!existsSync(path)) return {};
  const text = readFileSync(path, "utf8");
  let config: unknown;
  try {
    config = readYaml(text);
  } catch (error) {
    throw new Error(
      `${path} is not valid YAML (${error instanceof Error ? error.message : String(error)}); mend it, or choose another file with --kubeconfig FILE.`,
      { cause: error },
    );
  }
  if (config === null || config === undefined) return {};
  if (typeof config !== "object" || Array.isArray(config)) {
    throw new Error(`${path} is not a kubeconfig; choose another file with --kubeconfig FILE.`);
  }
  return config as Kubeconfig;
}

/** Reads, changes and writes the file while holding kubectl's lock; other contexts are kept as they are. */
export function changeKubeconfig(path: string, change: (config: Kubeconfig) => Kubeconfig): void {
  const owner = path.startsWith(`${sudoUser()?.home ?? "\0"}/`) ? sudoUser() : undefined;
  const own = (file: string): void => {
    if (owner !== undefined) chownSync(file, owner.uid, owner.gid);
  };
  const folder = dirname(path);
  const isNew = !existsSync(folder);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (isNew) own(folder);
  const lock = `${path}.lock`;
  const refusal = `${lock} exists: another program is changing the kubeconfig. Try again, or delete the lock if none is.`;
  withFileLock(lock, { waitMs: 1000, ageMsMax: 60_000, refusal }, () => {
    const mode = existsSync(path) ? statSync(path).mode & 0o777 : 0o600;
    const unfinished = `${path}.${process.pid}`;
    writeFileSync(unfinished, printYaml(change(readKubeconfig(path))), { mode });
    if (owner !== undefined) own(unfinished);
    else if (existsSync(path)) chownSync(unfinished, statSync(path).uid, statSync(path).gid);
    renameSync(unfinished, path);
  });
}
