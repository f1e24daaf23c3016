/**
 * ClusterTrustBundles that this node's pods show in projected volumes: one watch of all of them, as long as some pod here wants any.
 * Reads through the client; tells the pods when one changed.
 */
import { ClusterTrustBundle } from "#api/certificates/v1/clustertrustbundle.ts";
import type { ClusterTrustBundleProjection } from "#api/generated/core/v1.ts";
import type { Client } from "#client/client.ts";
import { createInformer, type Informer, type InformerPorts } from "#client/informer.ts";
import { armour, unarmour } from "#machinery/pem.ts";
import { compileLabelSelector } from "#machinery/selector.ts";
import type { NodePod } from "./pod-spec.ts";

export type TrustSource = Pick<
  ClusterTrustBundleProjection,
  "labelSelector" | "name" | "signerName"
>;

/** The authorities of several bundles, each once, in an order that says nothing about where they come from. */
export function mergeAnchors(bundles: readonly ClusterTrustBundle[]): string {
  const anchors = bundles.flatMap(({ spec }) => unarmour("CERTIFICATE", spec.trustBundle));
  const texts = new Set(anchors.map((bytes) => armour("CERTIFICATE", bytes)));
  return [...texts].toSorted().join("");
}

const wantsAny = (pod: NodePod): boolean =>
  (pod.spec.volumes ?? []).some(({ projected }) =>
    projected?.sources?.some((source) => source.clusterTrustBundle !== undefined),
  );

export class TrustBundles {
  readonly #client: Client;
  readonly #ports: InformerPorts;
  readonly #changed: (podUid: string) => void;
  readonly #pods = new Set<string>();
  #informer: Informer<ClusterTrustBundle> | undefined;

  /** `changed`: what this pod shows may have changed. */
  constructor(client: Client, ports: InformerPorts, changed: (podUid: string) => void) {
    this.#client = client;
    this.#ports = ports;
    this.#changed = changed;
  }

  register(pod: NodePod): void {
    if (!wantsAny(pod)) return;
    this.#pods.add(pod.metadata.uid);
    if (this.#informer !== undefined) return;
    this.#informer = createInformer(ClusterTrustBundle, this.#client, this.#ports);
    const tell = (): void => {
      for (const uid of this.#pods) this.#changed(uid);
    };
    this.#informer.addHandlers({
      // What is there at the beginning was waited for.
      added: (_bundle, initial) => {
        if (!initial) tell();
      },
      updated: tell,
      deleted: tell,
    });
  }
  release(podUid: string): void {
    if (this.#pods.delete(podUid) && this.#pods.size === 0) this.stop();
  }
  stop(): void {
    this.#informer?.stop();
    this.#informer = undefined;
  }

  /** PEM; undefined: there is no such bundle, or none of that signer which the labels choose. */
  async anchors({ name, signerName, labelSelector }: TrustSource): Promise<string | undefined> {
    const informer = this.#informer;
    if (informer === undefined) return undefined;
    await informer.synced;
    if (name !== undefined) {
      const bundle = informer.get(name);
      return bundle === undefined ? undefined : mergeAnchors([bundle]);
    }
    // Upstream: without a selector nothing is chosen, with an empty one everything.
    const isChosen = compileLabelSelector(labelSelector);
    const chosen = [...informer.list()].filter(
      ({ metadata, spec }) => spec.signerName === signerName && isChosen(metadata.labels),
    );
    return chosen.length === 0 ? undefined : mergeAnchors(chosen);
  }
}
