/** What real containers need from the machine: named where it is missing, and installed where that may be. */
import { spawnSync } from "node:child_process";
import {
  findTools,
  type PackageManager,
  packageManager,
  packagesFor,
  type Tool,
} from "#adapters/containerd/tools.ts";

const installers: Readonly<Record<PackageManager, readonly (readonly string[])[]>> = {
  apt: [
    ["apt-get", "update", "-q"],
    ["apt-get", "install", "-y", "-q", "--no-install-recommends"],
  ],
  dnf: [["dnf", "install", "-y", "-q"]],
  apk: [["apk", "add", "-q"]],
};

const missingTools = async (): Promise<Tool[]> =>
  (await findTools(process.env["PATH"] ?? "")).filter(({ path }) => path === undefined);

/** "containerd, runc and nft" */
const listed = (names: readonly string[]): string =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;

function lacking(missing: readonly Tool[], manager: PackageManager | undefined): string {
  const what = `Real containers need ${listed(missing.map(({ name }) => name))}, which this machine lacks.`;
  const without = "or run without containers: wherry up --runtime simulated.";
  if (manager === undefined) {
    return `${what}\nInstall them with this system's package manager, ${without}`;
  }
  const command = (installers[manager].at(-1) ?? [])
    .filter((word) => !word.startsWith("-"))
    .join(" ");
  return `${what}\nInstall: ${command} ${packagesFor(missing, manager).join(" ")}\n${without}`;
}

/** A sentence with the cure, or undefined where nothing is missing (any more). */
export async function provideTools(
  install: boolean,
  say: (line: string) => void,
): Promise<string | undefined> {
  const missing = await missingTools();
  if (missing.length === 0) return undefined;
  const manager = await packageManager();
  if (!install || manager === undefined || process.getuid?.() !== 0)
    return lacking(missing, manager);
  const packages = packagesFor(missing, manager);
  say(`Installing ${packages.join(", ")} with ${manager} (--no-install prevents it) …`);
  const steps = installers[manager];
  for (const [at, [command = "", ...args]] of steps.entries()) {
    const done = spawnSync(command, at === steps.length - 1 ? [...args, ...packages] : args, {
      encoding: "utf8",
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
    if (done.status === 0) continue;
    const why = (done.stderr || done.error?.message || "it gave no reason")
      .trim()
      .split("\n")
      .at(-1);
    return `${command} failed: ${why}\n${lacking(missing, manager)}`;
  }
  const still = await missingTools();
  return still.length === 0 ? undefined : lacking(still, manager);
}
