/** DefaultBinder: tells the API server which node it is to be. */
import { Pod } from "#api/core/v1/pod.ts";
import { definePlugin } from "../plugin.ts";

export const defaultBinder = definePlugin({
  name: "DefaultBinder",
  async bind({ pod, uid }, nodeName, client) {
    const { name, namespace = "" } = pod.metadata;
    await client.post(Pod, { name, namespace }, "binding", {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name, namespace, uid },
      target: { kind: "Node", name: nodeName },
    });
  },
});
