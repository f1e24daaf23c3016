/**
 * ImageLocality: prefers nodes that already have the Pod's images, the larger the more, unless only
 * few nodes have them.
 */
import { normalizedImage } from "../node-info.ts";
import { definePlugin, scoreMax } from "../plugin.ts";

const mebibyte = 1024 * 1024;
const bytesMin = 23 * mebibyte;
const bytesPerImageMax = 1000 * mebibyte;

export const imageLocality = definePlugin<undefined, readonly string[]>({
  name: "ImageLocality",
  preScore({ pod }, nodes) {
    if (nodes.every((node) => node.images.size === 0)) return "skip";
    const { containers, initContainers = [], volumes = [] } = pod.spec;
    const references = [
      ...[...initContainers, ...containers].map((container) => container.image ?? ""),
      ...volumes.flatMap((volume) => volume.image?.reference ?? []),
    ];
    return { state: references.map(normalizedImage) };
  },
  score(_pod, node, images, view) {
    let sum = 0;
    for (const image of images) {
      const size = node.images.get(image);
      if (size === undefined) continue;
      sum += Math.trunc(size * (view.imageNodes(image) / view.nodes.length));
    }
    const bytesMax = bytesPerImageMax * images.length;
    const bounded = Math.min(Math.max(sum, bytesMin), bytesMax);
    return Math.trunc((scoreMax * (bounded - bytesMin)) / (bytesMax - bytesMin));
  },
});
