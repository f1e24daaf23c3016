/** secret: the keys of a Secret as files, in memory only. */
import { defaultMode, projectKeys } from "./projection.ts";
import { fsGroupOf, VolumeError, type VolumePlugin } from "./volume.ts";

export const secret: VolumePlugin = {
  name: "secret",
  live: true,
  inMemory: true,
  handles: (volume) => volume.secret !== undefined,
  async setUp(input) {
    const {
      secretName = "",
      items,
      optional = false,
      defaultMode: mode,
    } = input.volume.secret ?? {};
    const payload = await input.secret(input.pod.metadata.namespace, secretName);
    if (payload === undefined && !optional)
      throw new VolumeError(`secret "${secretName}" not found`);
    const files = projectKeys(
      payload ?? new Map(),
      items,
      mode ?? defaultMode,
      optional,
      (key) => `references non-existent secret key: ${key}`,
    );
    await input.writer.write(input.directory, files, fsGroupOf(input.pod));
    return { hostPath: input.directory, readOnly: true, atomic: true };
  },
};
