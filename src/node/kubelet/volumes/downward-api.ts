/** downwardAPI: the pod's own fields as files. */
import { defaultMode, projectDownward } from "./projection.ts";
import { fsGroupOf, type VolumePlugin } from "./volume.ts";

export const downwardApi: VolumePlugin = {
  name: "downward-api",
  live: true,
  handles: (volume) => volume.downwardAPI !== undefined,
  async setUp(input) {
    const { items, defaultMode: mode } = input.volume.downwardAPI ?? {};
    const files = projectDownward(items, mode ?? defaultMode, input.pod, input.node);
    await input.writer.write(input.directory, files, fsGroupOf(input.pod));
    return { hostPath: input.directory, readOnly: true, atomic: true };
  },
};
