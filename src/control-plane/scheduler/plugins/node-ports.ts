/** NodePorts: two Pods cannot share a host port. */
import { definePlugin, reject } from "../plugin.ts";

export const nodePorts = definePlugin({
  name: "NodePorts",
  preFilter: (pod) => (pod.hostPorts.length === 0 ? "skip" : { state: undefined }),
  filter(pod, node) {
    if (pod.hostPorts.every((port) => node.isPortFree(port))) return undefined;
    return reject("node(s) didn't have free ports for the requested pod ports");
  },
  wakes(pod, event) {
    if (event.on === "nodeAdded" || event.on === "itselfUpdated") return true;
    if (event.on !== "podRemoved") return false;
    const freed = (event.old.spec.containers ?? []).flatMap((container) => container.ports ?? []);
    return pod.hostPorts.some((port) =>
      freed.some((one) => one.hostPort === port.port && (one.protocol ?? "TCP") === port.protocol),
    );
  },
});
