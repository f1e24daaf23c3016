/**
 * The local path provisioner: for claims that ask for one it has the chosen node make a directory and describes it as a
 * PersistentVolume; released volumes it removes with their data. Reads claims, volumes, classes and nodes; writes volumes; asks
 * nodes through their kubelets.
 */
import { Node } from "#api/core/v1/node.ts";
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { storageClassOf } from "#api/core/v1/storage-names.ts";
import { selectedNodeAnnotation } from "#api/core/v1/volume-binding.ts";
import { StorageClass } from "#api/storage/v1/storageclass.ts";
import type { Client } from "#client/client.ts";
import { createEventRecorder, type EventRecorder } from "#client/events.ts";
import type { Informer, Informers } from "#client/informer.ts";
import { WorkQueue } from "#client/work-queue.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { cloneJson } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import { askNode } from "./node-request.ts";
import { provisionerName } from "./storage-class.ts";
import {
  endOf,
  impossibleWish,
  isForUs,
  newVolume,
  nodeAnnotation,
  volumeFinalizer,
  volumeNameOf,
} from "./volume-plan.ts";

type Claim = Stored<PersistentVolumeClaim>;
type Volume = Stored<PersistentVolume>;

export interface ProvisionerOptions {
  /** Speaks as the ServiceAccount kube-system/local-path-provisioner. */
  readonly client: Client;
  readonly informers: Informers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}
export interface Provisioner {
  /** Resolves when no work is under way any more. */
  stop(): Promise<void>;
}

/** A node that does not answer holds up one of them. */
const workersMax = 4;
const askMsMax = 30_000;
const claimPrefix = "claim ";
const volumePrefix = "volume ";

export function startProvisioner(options: ProvisionerOptions): Provisioner {
  return new LocalPathProvisioner(options).start();
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

class LocalPathProvisioner implements Provisioner {
  readonly #options: ProvisionerOptions;
  readonly #queue: WorkQueue;
  readonly #recorder: EventRecorder;
  readonly #claims: Informer<PersistentVolumeClaim>;
  readonly #volumes: Informer<PersistentVolume>;
  readonly #classes: Informer<StorageClass>;
  readonly #nodes: Informer<Node>;
  readonly #ends: (() => void)[] = [];
  #workers: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(options: ProvisionerOptions) {
    const { client, informers, clock } = options;
    this.#options = options;
    this.#queue = new WorkQueue(clock);
    this.#recorder = createEventRecorder(client, { component: provisionerName }, options);
    this.#claims = informers.get(PersistentVolumeClaim);
    this.#volumes = informers.get(PersistentVolume);
    this.#classes = informers.get(StorageClass);
    this.#nodes = informers.get(Node);
  }

  start(): this {
    const claim = (object: Claim) => this.#queue.add(claimPrefix + keyOf(object));
    const volume = (object: Volume) => this.#queue.add(volumePrefix + keyOf(object));
    this.#ends.push(
      this.#claims.addHandlers({ added: claim, updated: claim }),
      this.#volumes.addHandlers({ added: volume, updated: volume }),
    );
    this.#workers = this.#work();
    return this;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const end of this.#ends) end();
    this.#queue.stop();
    this.#recorder.stop();
    const informers = [this.#claims, this.#volumes, this.#classes, this.#nodes];
    // Informers that never synced would hold the workers back for ever.
    if (informers.every((one) => one.isSynced)) await this.#workers;
  }

  async #work(): Promise<void> {
    const informers = [this.#claims, this.#volumes, this.#classes, this.#nodes];
    await Promise.all(informers.map((one) => one.synced));
    await Promise.all(Array.from({ length: workersMax }, () => this.#worker()));
  }
  async #worker(): Promise<void> {
    for (;;) {
      const key = await this.#queue.next();
      if (key === undefined || this.#stopped) return;
      try {
        await this.#pass(key);
        this.#queue.forget(key);
      } catch (error) {
        const { log } = this.#options;
        log.write("warn", "a volume could not be provisioned or removed and will be tried again", {
          key,
          error: textOf(error),
        });
        this.#queue.addRateLimited(key);
      }
      this.#queue.done(key);
    }
  }

  async #pass(key: string): Promise<void> {
    if (key.startsWith(claimPrefix)) {
      const claim = this.#claims.get(key.slice(claimPrefix.length));
      if (claim !== undefined) await this.#provision(claim);
      return;
    }
    const volume = this.#volumes.get(key.slice(volumePrefix.length));
    if (volume === undefined) return;
    const end = endOf(volume);
    if (end === "remove") await this.#remove(volume);
    else if (end === "release") await this.#release(volume);
  }

  async #provision(claim: Claim): Promise<void> {
    const storageClass = this.#classes.get(storageClassOf(claim));
    if (storageClass === undefined || !isForUs(claim, storageClass)) return;
    const name = volumeNameOf(claim);
    if (this.#volumes.get(name) !== undefined) return;
    const problem = impossibleWish(claim);
    if (problem !== undefined) {
      this.#tellFailed(claim, problem);
      return;
    }
    const nodeName = claim.metadata.annotations?.[selectedNodeAnnotation] ?? "";
    const node = this.#nodes.get(nodeName);
    if (node === undefined) {
      this.#tellFailed(claim, `node ${JSON.stringify(nodeName)} not found`);
      await this.#giveBack(claim);
      return;
    }
    const message = `External provisioner is provisioning volume for claim ${JSON.stringify(keyOf(claim))}`;
    this.#recorder.event(claim, "Normal", "Provisioning", message);
    try {
      const path = await this.#ask("POST", nodeName, name);
      const place = { name: nodeName, labels: node.metadata.labels };
      await this.#options.client.create(
        PersistentVolume,
        newVolume(claim, storageClass, place, path),
      );
    } catch (error) {
      if (isStatus(error, "AlreadyExists")) return;
      this.#tellFailed(claim, textOf(error));
      throw error;
    }
    const done = `Successfully provisioned volume ${name}`;
    this.#recorder.event(claim, "Normal", "ProvisioningSucceeded", done);
  }

  #tellFailed(claim: Claim, why: string): void {
    const storageClass = JSON.stringify(storageClassOf(claim));
    const message = `failed to provision volume with StorageClass ${storageClass}: ${why}`;
    this.#recorder.event(claim, "Warning", "ProvisioningFailed", message);
  }

  /** The scheduler shall choose again. */
  async #giveBack(claim: Claim): Promise<void> {
    const next = cloneJson(claim);
    delete next.metadata.annotations?.[selectedNodeAnnotation];
    await this.#options.client.update(PersistentVolumeClaim, next);
  }

  async #remove(volume: Volume): Promise<void> {
    const { client } = this.#options;
    const { name, annotations } = volume.metadata;
    const nodeName = annotations?.[nodeAnnotation] ?? "";
    // What a node held that has left the cluster is gone with it.
    if (this.#nodes.get(nodeName) !== undefined) {
      try {
        await this.#ask("DELETE", nodeName, name);
      } catch (error) {
        this.#recorder.event(volume, "Warning", "VolumeFailedDelete", textOf(error));
        throw error;
      }
    }
    if (volume.metadata.deletionTimestamp === undefined) {
      try {
        const { uid } = volume.metadata;
        await client.delete(PersistentVolume, { name }, { preconditions: { uid } });
      } catch (error) {
        if (!isStatus(error, "NotFound")) throw error;
      }
    } else await this.#release(volume);
  }

  async #release(volume: Volume): Promise<void> {
    const next = cloneJson(volume);
    next.metadata.finalizers = (next.metadata.finalizers ?? []).filter(
      (one) => one !== volumeFinalizer,
    );
    await this.#options.client.update(PersistentVolume, next);
  }

  #ask(method: "POST" | "DELETE", nodeName: string, volume: string): Promise<string> {
    return askNode(this.#options, { method, nodeName, volume, msMax: askMsMax });
  }
}
