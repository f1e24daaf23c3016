/**
 * Certificates for pods (podCertificate in projected volumes): makes a key that never leaves the node, asks the signer with a
 * PodCertificateRequest, keeps what was issued until it is due for renewal. Writes PodCertificateRequests; reads those of this node
 * while a pod here wants any. Nothing outlives the kubelet: after its restart everything is asked for anew, as upstream does.
 */
import { PodCertificateRequest, verdictOf } from "#api/certificates/v1/podcertificaterequest.ts";
import { ServiceAccount } from "#api/core/v1/serviceaccount.ts";
import type { PodCertificateProjection } from "#api/generated/core/v1.ts";
import type { Client } from "#client/client.ts";
import { createInformer, type Informer, type InformerPorts } from "#client/informer.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { armour, unarmour } from "#machinery/pem.ts";
import { parseTime } from "#machinery/time.ts";
import type { Crypto, KeyType } from "#ports/crypto.ts";
import type { EventSink } from "./events.ts";
import type { NodePod } from "./pod-spec.ts";
import { VolumeError } from "./volumes/volume.ts";

const minuteMs = 60_000;
/** Requests of many pods are spread by this much. */
const jitterMsMax = 5 * minuteMs;
/** A request that is not to be seen for so long was deleted. */
const abandonMs = 10 * minuteMs;
const overdueMs = 10 * minuteMs;

/** A key and the certificates for it, PEM. */
export interface Credentials {
  readonly key: string;
  readonly chain: string;
  readonly refreshAtMs: number;
}
interface Issued extends Credentials {
  readonly endMs: number;
  toldOverdue: boolean;
  toldExpired: boolean;
}
interface Pending {
  readonly key: string;
  readonly name: string;
  readonly abandonAtMs: number;
}
interface Entry {
  issued?: Issued;
  pending?: Pending;
  /** Denied or failed, for good. */
  ended?: string;
  /** One request at a time. */
  asking?: Promise<void>;
}

export interface CertificateWorld extends InformerPorts {
  readonly client: Client;
  readonly crypto: Crypto;
  readonly events: EventSink;
  readonly nodeName: string;
  readonly nodeUid: () => Promise<string>;
  /** There is news for this pod. */
  readonly changed: (podUid: string) => void;
}

export class PodCertificates {
  readonly #world: CertificateWorld;
  /** By pod uid, then by volume and place in it. */
  readonly #pods = new Map<string, Map<string, Entry>>();
  #informer: Informer<PodCertificateRequest> | undefined;

  constructor(world: CertificateWorld) {
    this.#world = world;
  }

  /** Rejects with VolumeError while there is no certificate yet, and when there will be none. */
  async get(
    pod: NodePod,
    volume: string,
    index: number,
    source: PodCertificateProjection,
  ): Promise<Credentials> {
    const { uid } = pod.metadata;
    const entries = this.#pods.get(uid) ?? new Map<string, Entry>();
    this.#pods.set(uid, entries);
    const key = `${volume}/${index}`;
    const entry = entries.get(key) ?? {};
    entries.set(key, entry);
    this.#watch();
    this.#settle(pod, entry);
    const now = this.#world.clock.now();
    const { issued } = entry;
    const due = issued === undefined || issued.refreshAtMs <= now;
    if (due && entry.pending === undefined && entry.ended === undefined) {
      entry.asking ??= this.#ask(pod, source, entry).finally(() => delete entry.asking);
      await entry.asking;
    }
    if (entry.ended !== undefined) throw new VolumeError(entry.ended);
    if (issued === undefined) throw new VolumeError("credential bundle is not issued yet");
    this.#tellLate(pod, issued);
    return issued.refreshAtMs > now ? issued : { ...issued, refreshAtMs: now + minuteMs };
  }

  forget(podUid: string): void {
    if (!this.#pods.delete(podUid) || this.#pods.size > 0) return;
    this.stop();
  }
  stop(): void {
    this.#informer?.stop();
    this.#informer = undefined;
  }

  #watch(): void {
    if (this.#informer !== undefined) return;
    const { client, nodeName, changed } = this.#world;
    this.#informer = createInformer(PodCertificateRequest, client, this.#world, {
      fieldSelector: `spec.nodeName=${nodeName}`,
    });
    const tell = ({ spec }: PodCertificateRequest): void => {
      if (this.#pods.has(spec.podUID)) changed(spec.podUID);
    };
    this.#informer.addHandlers({ added: tell, updated: tell, deleted: tell });
  }

  /** Takes over what became of the request that is on its way. */
  #settle(pod: NodePod, entry: Entry): void {
    const { pending } = entry;
    const informer = this.#informer;
    if (pending === undefined || informer === undefined) return;
    const { namespace } = pod.metadata;
    const request = informer.get(`${namespace}/${pending.name}`);
    if (request === undefined) {
      if (this.#world.clock.now() > pending.abandonAtMs) delete entry.pending;
      return;
    }
    const verdict = verdictOf(request);
    if (verdict === undefined) return;
    delete entry.pending;
    const { status } = request;
    if (verdict === "Issued") {
      const beginMs = parseTime(status.beginRefreshAt ?? "") ?? 0;
      entry.issued = {
        key: pending.key,
        chain: unarmour("CERTIFICATE", status.certificateChain ?? "")
          .map((bytes) => armour("CERTIFICATE", bytes))
          .join(""),
        refreshAtMs: beginMs + this.#jitterMs(),
        endMs: parseTime(status.notAfter ?? "") ?? 0,
        toldOverdue: false,
        toldExpired: false,
      };
      return;
    }
    const { reason = "", message = "" } =
      status.conditions?.find((condition) => condition.type === verdict) ?? {};
    const why = `reason=${JSON.stringify(reason)}`;
    const said = `${why}, message=${JSON.stringify(message)}`;
    const ending = verdict === "Denied" ? "was denied" : "failed";
    const text = `PodCertificateRequest ${namespace}/${pending.name} ${ending}, ${said}`;
    this.#world.events.pod(pod, "Warning", verdict, text);
    const word = verdict === "Denied" ? "denied" : "failed";
    const told = `${why} message=${JSON.stringify(message)}`;
    entry.ended = `PodCertificateRequest was permanently ${word}: ${told}`;
  }

  #tellLate(pod: NodePod, issued: Issued): void {
    const now = this.#world.clock.now();
    const { events } = this.#world;
    if (now > issued.refreshAtMs + overdueMs && !issued.toldOverdue) {
      issued.toldOverdue = true;
      const text = "PodCertificate refresh overdue";
      events.pod(pod, "Warning", "CertificateOverdueForRefresh", text);
    }
    if (now > issued.endMs && !issued.toldExpired) {
      issued.toldExpired = true;
      events.pod(pod, "Warning", "CertificateExpired", "PodCertificate expired");
    }
  }

  async #ask(pod: NodePod, source: PodCertificateProjection, entry: Entry): Promise<void> {
    const { client, crypto, clock, nodeName, nodeUid } = this.#world;
    const { namespace, name, uid } = pod.metadata;
    const account = pod.spec.serviceAccountName ?? "";
    const owner = await client.get(ServiceAccount, { namespace, name: account });
    const key = await crypto.generateKey(source.keyType as KeyType);
    const request = await crypto.request({ user: "", groups: [], names: [] }, key);
    const [stub = new Uint8Array()] = unarmour("CERTIFICATE REQUEST", request);
    const { maxExpirationSeconds, userAnnotations } = source;
    const made = await client.create(PodCertificateRequest, {
      metadata: {
        namespace,
        generateName: "req-",
        ownerReferences: [{ apiVersion: "v1", kind: "Pod", name, uid }],
      },
      spec: {
        signerName: source.signerName ?? "",
        podName: name,
        podUID: uid,
        serviceAccountName: account,
        serviceAccountUID: owner.metadata.uid,
        nodeName,
        nodeUID: await nodeUid(),
        ...(maxExpirationSeconds === undefined ? {} : { maxExpirationSeconds }),
        stubPKCS10Request: encodeBase64(stub),
        ...(userAnnotations === undefined ? {} : { unverifiedUserAnnotations: userAnnotations }),
      },
      status: {},
    });
    const abandonAtMs = clock.now() + abandonMs + this.#jitterMs();
    entry.pending = { key: key.privateKey, name: made.metadata.name, abandonAtMs };
  }

  #jitterMs(): number {
    return this.#world.random.uint32() % jitterMsMax;
  }
}
