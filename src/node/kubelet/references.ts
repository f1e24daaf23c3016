/**
 * ConfigMaps and Secrets that this node's pods refer to: one watch for each object, as long as some pod here wants it (a node
 * may not read any others), and the trust bundles that they show. Reads through the client; tells when one changed.
 */
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Secret } from "#api/core/v1/secret.ts";
import type { Kind } from "#api/resource.ts";
import type { Client } from "#client/client.ts";
import { createInformer, type Informer, type InformerPorts } from "#client/informer.ts";
import type { ApiObject, Stored } from "#machinery/meta.ts";
import { decodeData, type Keys, type References } from "./environment.ts";
import { allContainersOf, type NodePod } from "./pod-spec.ts";
import { TrustBundles, type TrustSource } from "./trust-bundles.ts";

/** Data of either kind as bytes, by key. */
export type Payload = ReadonlyMap<string, Uint8Array>;

/** Which objects a pod names. */
export interface ReferencedNames {
  readonly configMaps: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
}

export function referencedNames(pod: NodePod): ReferencedNames {
  const configMaps = new Set<string>();
  const secrets = new Set<string>();
  const add = (to: Set<string>, name: string | undefined): void => {
    if (name !== undefined && name !== "") to.add(name);
  };
  for (const { name } of pod.spec.imagePullSecrets ?? []) add(secrets, name);
  for (const container of allContainersOf(pod)) {
    for (const from of container.envFrom ?? []) {
      add(configMaps, from.configMapRef?.name);
      add(secrets, from.secretRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      add(configMaps, valueFrom?.configMapKeyRef?.name);
      add(secrets, valueFrom?.secretKeyRef?.name);
    }
  }
  for (const volume of pod.spec.volumes ?? []) {
    add(configMaps, volume.configMap?.name);
    add(secrets, volume.secret?.secretName);
    for (const source of volume.projected?.sources ?? []) {
      add(configMaps, source.configMap?.name);
      add(secrets, source.secret?.name);
    }
  }
  return { configMaps, secrets };
}

interface Watched<T extends ApiObject> {
  readonly informer: Informer<T>;
  readonly pods: Set<string>;
}

class ObjectCache<T extends ApiObject> {
  readonly #kind: Kind<T>;
  readonly #client: Client;
  readonly #ports: InformerPorts;
  readonly #changed: (podUid: string) => void;
  /** By "namespace/name"; bounded by what the node's pods name. */
  readonly #watched = new Map<string, Watched<T>>();

  constructor(
    kind: Kind<T>,
    client: Client,
    ports: InformerPorts,
    changed: (podUid: string) => void,
  ) {
    this.#kind = kind;
    this.#client = client;
    this.#ports = ports;
    this.#changed = changed;
  }

  want(namespace: string, name: string, podUid: string): void {
    const key = `${namespace}/${name}`;
    const known = this.#watched.get(key);
    if (known !== undefined) {
      known.pods.add(podUid);
      return;
    }
    const informer = createInformer(this.#kind, this.#client, this.#ports, {
      namespace,
      fieldSelector: `metadata.name=${name}`,
    });
    const watched: Watched<T> = { informer, pods: new Set([podUid]) };
    this.#watched.set(key, watched);
    const tell = (): void => {
      for (const uid of watched.pods) this.#changed(uid);
    };
    informer.addHandlers({
      // What is there at the beginning was waited for.
      added: (_object, initial) => {
        if (!initial) tell();
      },
      updated: tell,
    });
  }

  release(podUid: string): void {
    for (const [key, watched] of this.#watched) {
      if (!watched.pods.delete(podUid) || watched.pods.size > 0) continue;
      watched.informer.stop();
      this.#watched.delete(key);
    }
  }

  /** Undefined: there is none. */
  async get(namespace: string, name: string): Promise<Stored<T> | undefined> {
    const watched = this.#watched.get(`${namespace}/${name}`);
    if (watched === undefined) return undefined;
    await watched.informer.synced;
    return watched.informer.get(`${namespace}/${name}`);
  }

  stop(): void {
    for (const { informer } of this.#watched.values()) informer.stop();
    this.#watched.clear();
  }
}

const utf8 = new TextEncoder();

export class ReferenceStore implements References {
  readonly #configMaps: ObjectCache<ConfigMap>;
  readonly #secrets: ObjectCache<Secret>;
  readonly #bundles: TrustBundles;
  /** What each registered pod asked for, so that a pod that gained a container can ask for more. */
  readonly #pods = new Set<string>();

  /** `changed`: an object that this pod names came or changed. */
  constructor(client: Client, ports: InformerPorts, changed: (podUid: string) => void) {
    this.#configMaps = new ObjectCache(ConfigMap, client, ports, changed);
    this.#secrets = new ObjectCache(Secret, client, ports, changed);
    this.#bundles = new TrustBundles(client, ports, changed);
  }

  register(pod: NodePod): void {
    const { namespace, uid } = pod.metadata;
    const names = referencedNames(pod);
    this.#pods.add(uid);
    for (const name of names.configMaps) this.#configMaps.want(namespace, name, uid);
    for (const name of names.secrets) this.#secrets.want(namespace, name, uid);
    this.#bundles.register(pod);
  }
  release(podUid: string): void {
    if (!this.#pods.delete(podUid)) return;
    this.#configMaps.release(podUid);
    this.#secrets.release(podUid);
    this.#bundles.release(podUid);
  }
  stop(): void {
    this.#configMaps.stop();
    this.#secrets.stop();
    this.#bundles.stop();
  }

  async configMap(namespace: string, name: string): Promise<Keys | undefined> {
    const found = await this.#configMaps.get(namespace, name);
    return found === undefined ? undefined : { text: new Map(Object.entries(found.data ?? {})) };
  }
  async secret(namespace: string, name: string): Promise<Keys | undefined> {
    const payload = await this.secretPayload(namespace, name);
    if (payload === undefined) return undefined;
    const decoder = new TextDecoder();
    return { text: new Map([...payload].map(([key, bytes]) => [key, decoder.decode(bytes)])) };
  }

  async configMapPayload(namespace: string, name: string): Promise<Payload | undefined> {
    const found = await this.#configMaps.get(namespace, name);
    if (found === undefined) return undefined;
    const text = Object.entries(found.data ?? {});
    return new Map([
      ...text.map(([key, value]) => [key, utf8.encode(value)] as const),
      ...decodeData(found.binaryData),
    ]);
  }
  async secretPayload(namespace: string, name: string): Promise<Payload | undefined> {
    const found = await this.#secrets.get(namespace, name);
    return found === undefined ? undefined : decodeData(found.data);
  }
  /** PEM; undefined: there is no such bundle, or none of that signer which the labels choose. */
  trustAnchors(from: TrustSource): Promise<string | undefined> {
    return this.#bundles.anchors(from);
  }
  /** With its type: pull secrets are told apart by it. */
  async secretObject(namespace: string, name: string): Promise<Secret | undefined> {
    return await this.#secrets.get(namespace, name);
  }
}
