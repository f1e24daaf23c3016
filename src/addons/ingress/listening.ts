/** How a node says where its ingress listens: an EndpointSlice without a Service, which who writes Ingresses' status reads. */
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { ProxyPort } from "#ports/http-proxy.ts";

const namespace = "kube-system";
const label = "kubernetes.io/service-name";
const name = "wherry-ingress";
/** "cluster": machines without an ingress lead what comes to their ports here. */
const forLabel = "wherry.io/ingress-for";

export function listeningSlice(
  nodeName: string,
  address: string,
  ports: readonly ProxyPort[],
  forCluster = false,
): EndpointSlice & { readonly metadata: { readonly name: string; readonly namespace: string } } {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-${nodeName}`,
      namespace,
      labels: {
        [label]: name,
        "endpointslice.kubernetes.io/managed-by": "ingress.wherry",
        ...(forCluster ? { [forLabel]: "cluster" } : {}),
      },
    },
    addressType: "IPv4",
    ports: ports.flatMap(({ port, tls, protocol }) =>
      port === undefined ? [] : [{ name: tls ? "https" : "http", port, protocol }],
    ),
    endpoints: [
      {
        addresses: [address],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName,
      },
    ],
  };
}
