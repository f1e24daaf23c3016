/**
 * Allotment: what clusters on one machine must not share: address ranges, ports, folders, names in the kernel. Each cluster gets a
 * number of its own when it is first started; the rest derives from it. Kept in a file that all clusters of the machine read.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { UsageError } from "./arguments.ts";
import { withFileLock } from "./file-lock.ts";

export interface Allotment {
  readonly name: string;
  /** 0 is the machine's first cluster: it uses the paths and ranges that everybody expects. */
  readonly index: number;
  readonly dataDirectory: string;
  /** It is a further node of that cluster of this machine. */
  readonly nodeOf?: string;
}
export interface ClusterPaths {
  readonly data: string;
  readonly store: string;
  readonly certificates: string;
  readonly run: string;
  /** containerd's socket and state: on a file system that a boot empties. */
  readonly engineRun: string;
  /** Folders that say how registries are reached (certs.d of containerd), the first that knows one first. */
  readonly registries: readonly string[];
  readonly log: string;
  readonly settings: string;
  readonly controlSocket: string;
  /** The API server's, for the node's thread. */
  readonly apiSocket: string;
  readonly kubelet: string;
  readonly podLogs: string;
  readonly cgroupRoot: string;
  readonly nftTable: string;
  readonly routeProtocol: number;
}

const indexMax = 64;
const nameForm = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/;
export const defaultName = "wherry";

/** Where all clusters' data lie: /var/lib/wherry as root, the user's data home else. */
export function dataHome(): string {
  if (process.getuid?.() === 0) return "/var/lib/wherry";
  return join(process.env["XDG_DATA_HOME"] ?? join(homedir(), ".local", "share"), "wherry");
}

export function checkName(name: string): string {
  if (nameForm.test(name)) return name;
  throw new UsageError(
    `--name ${name}: a cluster's name has 1 to 32 small letters, digits and dashes, and neither begins nor ends with a dash.`,
  );
}

/** "wherry", or "wherry-NAME": the context in the kubeconfig. */
export const contextName = (name: string): string =>
  name === defaultName ? defaultName : `${defaultName}-${name}`;

const registryFile = (): string => join(dataHome(), "clusters.json");

function readRegistry(): Allotment[] {
  const file = registryFile();
  if (!existsSync(file)) return [];
  return JSON.parse(readFileSync(file, "utf8")) as Allotment[];
}

function changeRegistry<T>(change: (clusters: Allotment[]) => [Allotment[], T]): T {
  const file = registryFile();
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  const lock = `${file}.lock`;
  const refusal = `another wherry is starting or stopping right now (${lock}); try again.`;
  return withFileLock(lock, { waitMs: 5000, ageMsMax: 10_000, refusal }, () => {
    const [clusters, result] = change(readRegistry());
    writeFileSync(`${file}.new`, `${JSON.stringify(clusters, null, 2)}\n`);
    renameSync(`${file}.new`, file);
    return result;
  });
}

export const findAllotment = (name: string): Allotment | undefined =>
  readRegistry().find((one) => one.name === name);
export const allAllotments = (): readonly Allotment[] => readRegistry();

/** The cluster's allotment, made at its first start. */
export function allot(name: string, dataDirectory: string | undefined, nodeOf?: string): Allotment {
  return changeRegistry((clusters) => {
    const known = clusters.find((one) => one.name === name);
    if (known !== undefined) {
      if (dataDirectory !== undefined && dataDirectory !== known.dataDirectory) {
        throw new UsageError(
          `The cluster ${name} has its data in ${known.dataDirectory}, not in ${dataDirectory}. ` +
            "Leave --data-dir out, choose another --name, or take it down with wherry down --purge first.",
        );
      }
      return [clusters, known];
    }
    const taken = new Set(clusters.map(({ index }) => index));
    const index = Array.from({ length: indexMax }, (_, i) => i).find((i) => !taken.has(i));
    if (index === undefined) {
      throw new Error(
        `there are ${indexMax} clusters on this machine already; remove one with wherry down --name NAME --purge.`,
      );
    }
    const fallback = join(dataHome(), name === defaultName ? "default" : name);
    const allotment = {
      name,
      index,
      dataDirectory: dataDirectory ?? fallback,
      ...(nodeOf === undefined ? {} : { nodeOf }),
    };
    const same = clusters.find((one) => one.dataDirectory === allotment.dataDirectory);
    if (same !== undefined) {
      throw new UsageError(
        `${allotment.dataDirectory} belongs to the cluster ${same.name}; choose another --data-dir.`,
      );
    }
    return [[...clusters, allotment], allotment];
  });
}

export function releaseAllotment(name: string): void {
  changeRegistry((clusters) => [clusters.filter((one) => one.name !== name), undefined]);
}

/** Ranges of the machine's n-th cluster: upstream's usual ones for the first, neighbours for the others. */
export const podCidrOf = (index: number): string =>
  index === 0 ? "10.244.0.0/16" : `10.${160 + index}.0.0/16`;
export const serviceCidrOf = (index: number): string =>
  index === 0 ? "10.96.0.0/16" : `10.${32 + index - 1}.0.0/16`;
export const portOf = (index: number): number => 6443 + index;

/** Without links: the kernel lists mounts so. What does not exist yet ends it as given. */
function withoutLinks(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(withoutLinks(parent), basename(path));
}

export function pathsOf({ name, index, dataDirectory, nodeOf }: Allotment): ClusterPaths {
  const data = withoutLinks(dataDirectory);
  const cluster = nodeOf === undefined ? undefined : findAllotment(nodeOf);
  const folders = [data, ...(cluster === undefined ? [] : [cluster.dataDirectory])];
  const first = index === 0 && process.getuid?.() === 0;
  return {
    data,
    store: join(data, "store"),
    certificates: join(data, "pki"),
    run: join(data, "run"),
    engineRun: `/run/wherry/${name}`,
    registries: [...folders.map((folder) => join(folder, "certs.d")), "/etc/containerd/certs.d"],
    log: join(data, "log", "wherry.log"),
    settings: join(data, "cluster.json"),
    controlSocket: join(data, "run", "control.sock"),
    apiSocket: join(data, "run", "api.sock"),
    kubelet: withoutLinks(first ? "/var/lib/kubelet" : join(data, "kubelet")),
    podLogs: withoutLinks(first ? "/var/log/pods" : join(data, "pod-logs")),
    cgroupRoot: first ? "/" : `/wherry-${name}`,
    nftTable: `wherry-${name}`,
    routeProtocol: 160 + index,
  };
}
