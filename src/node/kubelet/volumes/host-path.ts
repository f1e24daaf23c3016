/** hostPath: a file or directory of the host itself. */
import type { HostPathVolumeSource } from "#api/generated/core/v1.ts";
import type { FileFacts } from "#ports/host.ts";
import { type MountedVolume, VolumeError, type VolumeInput, type VolumePlugin } from "./volume.ts";

const wanted: Readonly<
  Record<string, { readonly type: FileFacts["type"]; readonly word: string }>
> = {
  Directory: { type: "directory", word: "directory" },
  DirectoryOrCreate: { type: "directory", word: "directory" },
  File: { type: "file", word: "file" },
  FileOrCreate: { type: "file", word: "file" },
  Socket: { type: "socket", word: "socket file" },
  CharDevice: { type: "character", word: "character device" },
  BlockDevice: { type: "block", word: "block device" },
};

async function check(input: VolumeInput, path: string, type: string): Promise<void> {
  const expected = wanted[type];
  if (expected === undefined) throw new VolumeError(`${type} is an invalid volume type`);
  const facts = await input.host.stat(path);
  // A link is what it points at: the runtime will judge that.
  if (facts?.type === "link" || facts?.type === expected.type) return;
  if (facts === undefined && type === "DirectoryOrCreate") {
    await input.host.makeDirectory(path, 0o755);
    return;
  }
  if (facts === undefined && type === "FileOrCreate") {
    await input.host.write(path, new Uint8Array(), { mode: 0o644 });
    return;
  }
  const what = facts === undefined ? "" : `, it's a ${facts.type}`;
  throw new VolumeError(`hostPath type check failed: ${path} is not a ${expected.word}${what}`);
}

export async function setUpHostPath(
  input: VolumeInput,
  { path, type = "" }: HostPathVolumeSource,
): Promise<MountedVolume> {
  if (!path.startsWith("/") || path.split("/").includes("..")) {
    throw new VolumeError(`invalid HostPath \`${path}\`: must be absolute and without ".."`);
  }
  if (type !== "") await check(input, path, type);
  return { hostPath: path };
}

export const hostPath: VolumePlugin = {
  name: "host-path",
  live: false,
  handles: (volume) => volume.hostPath !== undefined,
  setUp: (input) => setUpHostPath(input, input.volume.hostPath ?? { path: "" }),
};
