/** The metrics API: served in the control plane's process, which reaches the kubelets as the API server does. */
import { MetricsApi } from "#addons/metrics/metrics-api.ts";
import type { Handler } from "#api/request.ts";
import { createClient } from "#client/client.ts";
import { kubeletOf, type NodeProxy } from "#control-plane/apiserver/node-proxy.ts";
import { bodyOf } from "#control-plane/apiserver/response-body.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";

const metricsAccount = "system:serviceaccount:kube-system:metrics-server";
const answerBytesMax = 32 * 1024 * 1024;

/** `as`: how a component reaches the API server, once there is one. Nothing is asked of it before somebody asks for metrics. */
export function serveMetrics(
  nodeProxy: NodeProxy,
  as: () => (name: string) => Handler,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): MetricsApi {
  const handler: Handler = (request) => as()(metricsAccount)(request);
  return new MetricsApi({
    client: createClient(handler, { userAgent: "metrics-server" }),
    clock,
    log: log.child("metrics"),
    async scrape(node, gone) {
      const answer = await nodeProxy.forward(kubeletOf(node), "/metrics/resource", {
        method: "GET",
        path: "/metrics/resource",
        query: [],
        headers: { accept: "text/plain", "user-agent": "metrics-server" },
        gone,
        direct: false,
      });
      const body = await bodyOf(answer, answerBytesMax, () => new Error("the answer is too long"));
      const text = new TextDecoder().decode(body);
      if (answer.status === 200) return text;
      throw new Error(`the kubelet answered ${answer.status}: ${text.slice(0, 200).trim()}`);
    },
  });
}
