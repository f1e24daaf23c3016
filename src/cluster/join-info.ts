/**
 * What a machine must know to join: where the API server is and whom to trust (kube-public/cluster-info, for everyone, as kubeadm has
 * it), and the cluster's address ranges (kube-system/wherry-cluster, for who has shown a token).
 */
import { ConfigMap } from "#api/core/v1/configmap.ts";
import type { Client } from "#client/client.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { isStatus } from "#machinery/status-error.ts";
import { printYaml } from "#machinery/yaml-print.ts";

export interface ClusterFacts {
  readonly podCidr: string;
  readonly serviceCidr: string;
  readonly domain: string;
}

export const clusterInfoRef = { namespace: "kube-public", name: "cluster-info" };
export const clusterFactsRef = { namespace: "kube-system", name: "wherry-cluster" };

async function settle(
  client: Client,
  ref: { readonly namespace: string; readonly name: string },
  data: Readonly<Record<string, string>>,
): Promise<void> {
  try {
    await client.patch(ConfigMap, ref, "merge", { data });
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
    await client.create(ConfigMap, { metadata: { ...ref }, data: { ...data } });
  }
}

/** Keys that others put there stay (the signatures of the bootstrap signer). */
export async function provideJoinInfo(
  client: Client,
  facts: ClusterFacts,
  server: string,
  authority: string,
): Promise<void> {
  const encoded = encodeBase64(new TextEncoder().encode(authority));
  const kubeconfig = {
    apiVersion: "v1",
    clusters: [{ cluster: { "certificate-authority-data": encoded, server }, name: "" }],
    contexts: [],
    "current-context": "",
    kind: "Config",
    users: [],
  };
  await settle(client, clusterInfoRef, { kubeconfig: printYaml(kubeconfig) });
  const { podCidr, serviceCidr, domain } = facts;
  await settle(client, clusterFactsRef, { podCidr, serviceCidr, domain });
}

export function readClusterFacts(data: Readonly<Record<string, string>> | undefined): ClusterFacts {
  const { podCidr, serviceCidr, domain } = data ?? {};
  if (podCidr === undefined || serviceCidr === undefined || domain === undefined)
    throw new Error(
      "the cluster does not say its address ranges (kube-system/wherry-cluster); is it a Wherry cluster?",
    );
  return { podCidr, serviceCidr, domain };
}
