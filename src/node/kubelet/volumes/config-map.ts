/** configMap: the keys of a ConfigMap as files. */
import { defaultMode, projectKeys } from "./projection.ts";
import { fsGroupOf, VolumeError, type VolumePlugin } from "./volume.ts";

export const configMap: VolumePlugin = {
  name: "configmap",
  live: true,
  handles: (volume) => volume.configMap !== undefined,
  async setUp(input) {
    const { name = "", items, optional = false, defaultMode: mode } = input.volume.configMap ?? {};
    const payload = await input.configMap(input.pod.metadata.namespace, name);
    if (payload === undefined && !optional) throw new VolumeError(`configmap "${name}" not found`);
    const files = projectKeys(
      payload ?? new Map(),
      items,
      mode ?? defaultMode,
      optional,
      (key) => `configmap references non-existent config key: ${key}`,
    );
    await input.writer.write(input.directory, files, fsGroupOf(input.pod));
    return { hostPath: input.directory, readOnly: true, atomic: true };
  },
};
