/** emptyDir: a directory that lives as long as the pod, on disk or in memory. */
import { toWhole } from "#machinery/quantity.ts";
import { podLimits } from "../resources.ts";
import { fsGroupOf, type VolumeInput, type VolumePlugin } from "./volume.ts";

/** The tmpfs may take sizeLimit, but never more than the pod's memory limit or the node has. */
function sizeBytes(input: VolumeInput): number | undefined {
  const limits = [
    input.volume.emptyDir?.sizeLimit === undefined
      ? undefined
      : toWhole(input.volume.emptyDir.sizeLimit),
    podLimits(input.pod).get("memory"),
    input.node.allocatable["memory"] === undefined
      ? undefined
      : toWhole(input.node.allocatable["memory"]),
  ].filter((bytes) => bytes !== undefined && bytes > 0);
  return limits.length === 0 ? undefined : Math.min(...limits.map(Number));
}

async function mountTmpfs(input: VolumeInput): Promise<void> {
  const { host, directory } = input;
  const mounted = await host.mounts();
  if (mounted.some((one) => one.target === directory)) return;
  const bytes = sizeBytes(input);
  const options = bytes === undefined ? [] : [`size=${bytes}`];
  await host.mount({ source: "tmpfs", target: directory, type: "tmpfs", options });
}

export const emptyDir: VolumePlugin = {
  name: "empty-dir",
  live: false,
  handles: (volume) => volume.emptyDir !== undefined,
  async setUp(input) {
    const { host, directory, pod } = input;
    const gid = fsGroupOf(pod);
    const mode = 0o777;
    if ((await host.stat(directory)) === undefined) await host.makeDirectory(directory, mode);
    if (input.volume.emptyDir?.medium === "Memory") {
      await mountTmpfs(input);
    }
    // The umask took bits away, or a fresh tmpfs has its own.
    await host.setMode(directory, mode);
    if (gid !== undefined) await host.setOwner(directory, gid, { recursive: false, mode });
    return { hostPath: directory };
  },
};
