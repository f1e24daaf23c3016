/** What real containers need from the machine, what of it is missing, and how it is installed. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";

export interface Requirement {
  /** What is looked for. */
  readonly name: string;
  readonly why: string;
  readonly packages: Readonly<Record<PackageManager, string>>;
  readonly present: () => boolean;
}
export type PackageManager = "apt" | "dnf" | "apk";

const searchPath = (): string[] => [
  ...new Set([...(process.env["PATH"] ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"]),
];
export const findProgram = (name: string): string | undefined =>
  searchPath()
    .map((folder) => `${folder}/${name}`)
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });

/** Where distributions put the CNI plugins. */
const cniFolders = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
export const findCniFolder = (): string | undefined =>
  cniFolders.find((folder) => existsSync(`${folder}/ptp`) && existsSync(`${folder}/host-local`));

const program = (name: string, why: string, apt: string, dnf = apt, apk = apt): Requirement => ({
  name,
  why,
  packages: { apt, dnf, apk },
  present: () => findProgram(name) !== undefined,
});

export const requirements: readonly Requirement[] = [
  program("containerd", "runs the containers", "containerd"),
  program("runc", "starts each container", "runc"),
  {
    name: "CNI plugins (ptp, host-local)",
    why: "connect pods to the network",
    packages: {
      apt: "containernetworking-plugins",
      dnf: "containernetworking-plugins",
      apk: "cni-plugins",
    },
    present: () => findCniFolder() !== undefined,
  },
  program("nft", "routes Services", "nftables"),
  program("conntrack", "forgets old UDP flows", "conntrack", "conntrack-tools", "conntrack-tools"),
  program("ip", "sets routes", "iproute2", "iproute", "iproute2"),
];

const installers: Readonly<Record<PackageManager, readonly string[][]>> = {
  apt: [
    ["apt-get", "update", "-q"],
    ["apt-get", "install", "-y", "-q", "--no-install-recommends"],
  ],
  dnf: [["dnf", "install", "-y", "-q"]],
  apk: [["apk", "add", "-q"]],
};
const managerProgram: Readonly<Record<PackageManager, string>> = {
  apt: "apt-get",
  dnf: "dnf",
  apk: "apk",
};

export const packageManager = (): PackageManager | undefined =>
  (["apt", "dnf", "apk"] as const).find((one) => findProgram(managerProgram[one]) !== undefined);

export const missingRequirements = (): Requirement[] =>
  requirements.filter((one) => !one.present());

const named = (missing: readonly Requirement[]): string =>
  missing.map(({ name, why }) => `  ${name}: ${why}`).join("\n");

/** A sentence with the cure, or undefined where nothing is missing or everything could be installed. */
export function provideRequirements(
  install: boolean,
  say: (line: string) => void,
): string | undefined {
  const missing = missingRequirements();
  if (missing.length === 0) return undefined;
  const manager = packageManager();
  const packages =
    manager === undefined ? [] : [...new Set(missing.map((one) => one.packages[manager]))];
  const cure =
    manager === undefined
      ? "Install them with this system's package manager"
      : `Install them: ${installers[manager]
          .at(-1)
          ?.filter((word) => !word.startsWith("-"))
          .join(" ")} ${packages.join(" ")}`;
  const simulate = "or run without containers: wherry up --runtime simulated";
  const what = `This machine lacks what real containers need:\n${named(missing)}\n${cure}, ${simulate}.`;
  if (!install || manager === undefined || process.getuid?.() !== 0) return what;
  say(`Installing ${packages.join(", ")} with ${manager} (--no-install prevents it) …`);
  for (const [command = "", ...args] of installers[manager]) {
    const isLast = args.includes("install") || args.includes("add");
    const done = spawnSync(command, isLast ? [...args, ...packages] : args, {
      encoding: "utf8",
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
    if (done.status !== 0) {
      const why = (done.stderr || done.error?.message || "no reason given")
        .trim()
        .split("\n")
        .at(-1);
      return `${command} could not install ${packages.join(", ")}: ${why}\n${what}`;
    }
  }
  const still = missingRequirements();
  return still.length === 0
    ? undefined
    : `After installing, still missing:\n${named(still)}\n${cure}.`;
}
