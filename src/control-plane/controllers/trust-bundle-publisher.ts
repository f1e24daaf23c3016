/**
 * Trust bundle publisher: the authority behind the API server's serving certificate as a ClusterTrustBundle of its signer, named after
 * its content. Bundles of that signer with other content go away.
 */
import { ClusterTrustBundle } from "#api/certificates/v1/clustertrustbundle.ts";
import { Namespace } from "#api/core/v1/namespace.ts";
import { sha256Hex } from "#machinery/hash.ts";
import { isStatus } from "#machinery/status-error.ts";
import { type Controller, watch } from "./controller.ts";
import { defineController } from "./runner.ts";

const name = "kube-apiserver-serving-clustertrustbundle-publisher";
const signerName = "kubernetes.io/kube-apiserver-serving";
/** The bundle is the cluster's: it is looked at with this namespace, which every cluster has. */
const home = "kube-system";
const hashLength = 24;

/** "kubernetes.io:kube-apiserver-serving:" and the beginning of the content's SHA-256. */
export const trustBundleName = (content: string): string =>
  `${signerName.replaceAll("/", ":")}:${sha256Hex(content).slice(0, hashLength)}`;

export const trustBundlePublisher: Controller = {
  name,
  start(world) {
    const { rootCa } = world.settings;
    // Nothing to publish: someone else does.
    if (rootCa === undefined) return { stop: () => Promise.resolve() };
    return publisher(rootCa).start(world);
  },
};

const publisher = (trustBundle: string): Controller =>
  defineController<Namespace>({
    name,
    account: name,
    reconciles: Namespace,
    watches: [
      watch(ClusterTrustBundle, ({ spec }) => (spec.signerName === signerName ? [home] : [])),
    ],
    async reconcile({ metadata }, context) {
      if (metadata.name !== home) return;
      const wanted = trustBundleName(trustBundle);
      const { client } = context;
      const bundles = context.cache(ClusterTrustBundle);
      const old = bundles.get(wanted);
      try {
        if (old === undefined) {
          const spec = { signerName, trustBundle };
          await client.create(ClusterTrustBundle, { metadata: { name: wanted }, spec });
        } else if (old.spec.trustBundle !== trustBundle) {
          await client.update(ClusterTrustBundle, { ...old, spec: { signerName, trustBundle } });
        }
      } catch (error) {
        if (!isStatus(error, "AlreadyExists")) throw error;
      }
      for (const { metadata: other, spec } of bundles.list()) {
        if (spec.signerName !== signerName || other.name === wanted) continue;
        try {
          await client.delete(ClusterTrustBundle, { name: other.name });
        } catch (error) {
          if (!isStatus(error, "NotFound")) throw error;
        }
      }
    },
  });
