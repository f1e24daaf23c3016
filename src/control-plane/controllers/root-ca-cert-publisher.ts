/**
 * Root CA publisher: every namespace has the cluster's CA in a ConfigMap, so that Pods can trust
 * the API server.
 */
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Namespace } from "#api/core/v1/namespace.ts";
import { isStatus } from "#machinery/status-error.ts";
import { type Controller, watch } from "./controller.ts";
import { defineController, isEnding } from "./runner.ts";

const configMapName = "kube-root-ca.crt";
const descriptionAnnotation = "kubernetes.io/description";
const description =
  "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

export const rootCaCertPublisher: Controller = {
  name: "root-ca-cert-publisher",
  start(world) {
    const { rootCa } = world.settings;
    // Nothing to publish: someone else does.
    if (rootCa === undefined) return { stop: () => Promise.resolve() };
    return publisher(rootCa).start(world);
  },
};

const publisher = (rootCa: string): Controller =>
  defineController<Namespace>({
    name: "root-ca-cert-publisher",
    account: "root-ca-cert-publisher",
    reconciles: Namespace,
    watches: [
      watch(ConfigMap, ({ metadata: { name, namespace } }) =>
        name === configMapName && namespace !== undefined ? [namespace] : [],
      ),
    ],
    async reconcile({ metadata: { name: namespace, deletionTimestamp } }, context) {
      const { client } = context;
      if (deletionTimestamp !== undefined) return;
      const data = { "ca.crt": rootCa };
      const annotations = { [descriptionAnnotation]: description };
      const old = context.cache(ConfigMap).get(`${namespace}/${configMapName}`);
      try {
        if (old === undefined) {
          const metadata = { name: configMapName, namespace, annotations };
          await client.create(ConfigMap, { metadata, data });
          return;
        }
        const entries = Object.entries(old.data ?? {});
        const asWanted =
          entries.length === 1 &&
          old.data?.["ca.crt"] === rootCa &&
          old.metadata.annotations?.[descriptionAnnotation] === description;
        if (asWanted) return;
        const metadata = {
          ...old.metadata,
          annotations: { ...old.metadata.annotations, ...annotations },
        };
        await client.update(ConfigMap, { ...old, metadata, data });
      } catch (error) {
        if (!isStatus(error, "AlreadyExists") && !isEnding(error)) throw error;
      }
    },
  });
