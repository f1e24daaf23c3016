/**
 * Which of the programs that real containers need this machine has, and the packages that bring the
 * others. Reads PATH and the CNI directories; installs nothing.
 */
import { access, constants, readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";

export type PackageManager = "apt" | "dnf" | "apk";

export interface Tool {
  readonly name: string;
  /** Undefined: missing. */
  readonly path: string | undefined;
  readonly packages: Readonly<Record<PackageManager, string>>;
}

type Packages = Tool["packages"];
const same = (name: string): Packages => ({ apt: name, dnf: name, apk: name });
const cniPackages: Packages = {
  apt: "containernetworking-plugins",
  dnf: "containernetworking-plugins",
  apk: "cni-plugins",
};

const programs: readonly (readonly [string, Packages])[] = [
  ["containerd", same("containerd")],
  ["containerd-shim-runc-v2", same("containerd")],
  ["ctr", { ...same("containerd"), apk: "containerd-ctr" }],
  ["runc", same("runc")],
  ["nft", same("nftables")],
  ["conntrack", { apt: "conntrack", dnf: "conntrack-tools", apk: "conntrack-tools" }],
  ["ip", { apt: "iproute2", dnf: "iproute", apk: "iproute2" }],
  ["mount", { apt: "mount", dnf: "util-linux", apk: "util-linux" }],
  ["umount", { apt: "mount", dnf: "util-linux", apk: "util-linux" }],
];
const cniPlugins = ["ptp", "host-local", "loopback"];

/** Where distributions put them; services often run with a PATH that lacks sbin. */
const systemDirectories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin"];
export const cniDirectories = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"] as const;

async function findIn(directories: readonly string[], name: string): Promise<string | undefined> {
  for (const directory of directories) {
    const path = join(directory, name);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}

const searched = (path: string): readonly string[] => [
  ...path.split(delimiter).filter((directory) => directory !== ""),
  ...systemDirectories,
];

/** A PATH with the system's own directories behind what the caller has. */
export const searchPath = (path: string): string => searched(path).join(delimiter);

/** Every program, found or not. `path` is the environment's PATH. */
export async function findTools(path: string): Promise<readonly Tool[]> {
  const directories = searched(path);
  const found = programs.map(async ([name, packages]) => ({
    name,
    path: await findIn(directories, name),
    packages,
  }));
  const cni = await cniDirectory();
  const plugins = cniPlugins.map(async (name) => ({
    name: `cni/${name}`,
    path: await findIn(cni === undefined ? cniDirectories : [cni], name),
    packages: cniPackages,
  }));
  return Promise.all([...found, ...plugins]);
}

/** The first directory that holds all the plugins that pods here need. */
export async function cniDirectory(): Promise<string | undefined> {
  for (const directory of cniDirectories) {
    const found = await Promise.all(cniPlugins.map((name) => findIn([directory], name)));
    if (found.every((path) => path !== undefined)) return directory;
  }
  return undefined;
}

export const findProgram = (name: string, path: string): Promise<string | undefined> =>
  findIn(searched(path), name);

/** The names to hand to the package manager for what is missing, each once. */
export function packagesFor(missing: readonly Tool[], manager: PackageManager): readonly string[] {
  return [...new Set(missing.map((tool) => tool.packages[manager]))].toSorted();
}

/** The machine's package manager, by /etc/os-release. */
export async function packageManager(
  osRelease = "/etc/os-release",
): Promise<PackageManager | undefined> {
  const text = await readFile(osRelease, "utf8").catch(() => "");
  const field = (name: string): string =>
    new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(text)?.[1] ?? "";
  const families = `${field("ID")} ${field("ID_LIKE")}`.split(" ");
  if (families.some((name) => name === "debian" || name === "ubuntu")) return "apt";
  if (families.some((name) => ["fedora", "rhel", "centos"].includes(name))) return "dnf";
  if (families.includes("alpine")) return "apk";
  return undefined;
}
