/** image: the files of an image, read-only. The image is pulled when a container that mounts it starts, and the runtime mounts it. */
import type { VolumePlugin } from "./volume.ts";

export const image: VolumePlugin = {
  name: "image",
  live: false,
  handles: (volume) => volume.image !== undefined,
  setUp: ({ volume }) =>
    Promise.resolve({
      hostPath: "",
      readOnly: true,
      image: {
        reference: volume.image?.reference ?? "",
        pullPolicy: volume.image?.pullPolicy ?? "IfNotPresent",
      },
    }),
};
