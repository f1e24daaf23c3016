/** The Service under which pods find the cluster's DNS: kube-system/kube-dns on the tenth address of the Service range, as everywhere. */
import { Service } from "#api/core/v1/service.ts";
import type { Client } from "#client/client.ts";
import { formatIp, nthAddress, parseCidr } from "#machinery/ip.ts";
import { isStatus } from "#machinery/status-error.ts";

export function dnsAddress(serviceCidr: string): string {
  const parsed = parseCidr(serviceCidr);
  const address = parsed === undefined ? undefined : nthAddress(parsed.cidr, 10);
  if (address === undefined) throw new Error(`${serviceCidr} has no tenth address for DNS`);
  return formatIp(address);
}

/** Made once; whoever changes it later is left alone. Its endpoints are written by the nodes' DNS servers. */
export async function provideDnsService(client: Client, serviceCidr: string): Promise<void> {
  const clusterIP = dnsAddress(serviceCidr);
  const port = (name: string, protocol: "TCP" | "UDP") => ({
    name,
    protocol,
    port: 53,
    targetPort: 53,
  });
  const name = "kube-dns";
  const namespace = "kube-system";
  try {
    await client.get(Service, { name, namespace });
    return;
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
  }
  await client.create(Service, {
    metadata: {
      name,
      namespace,
      labels: { "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true" },
    },
    spec: {
      clusterIP,
      // Every node has a DNS server of its own: no query waits for a node that is gone.
      internalTrafficPolicy: "Local",
      ports: [port("dns", "UDP"), port("dns-tcp", "TCP")],
    },
  });
}
