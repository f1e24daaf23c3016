/** Images for containers: present or pulled, by policy, with credentials, and with back-off when a registry refuses. */
import type { Container } from "#api/generated/core/v1.ts";
import { msToGoDuration } from "#machinery/go-duration.ts";
import type { Clock } from "#ports/clock.ts";
import type { Image, Runtime } from "#ports/runtime.ts";
import type { Backoff } from "./backoff.ts";
import { decodeData } from "./environment.ts";
import type { EventSink } from "./events.ts";
import { type Credentials, credentialsFor, parseImage } from "./image-reference.ts";
import type { NodePod } from "./pod-spec.ts";
import type { StartFailure } from "./pod-status.ts";
import type { ReferenceStore } from "./references.ts";
import { Semaphore } from "./semaphore.ts";
import type { ImageSource } from "./volumes/volume.ts";

/** What one pod remembers of its failed pulls. */
export interface PullMemory {
  readonly backoff: Backoff;
  /** The last failure by image. */
  readonly failures: Map<string, string>;
}

export type ImageOutcome =
  | { readonly reference: string; readonly image: Image | undefined }
  | { readonly failure: StartFailure; readonly retryAtMs?: number };

/** How long ErrImagePull stands before ImagePullBackOff takes its place. */
const showErrorMs = 2000;

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

type Tell = (type: "Normal" | "Warning", reason: string, message: string) => void;

export class ImageManager {
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  readonly #events: EventSink;
  readonly #references: ReferenceStore;
  readonly #pulls: Semaphore;

  constructor(
    runtime: Runtime,
    clock: Clock,
    events: EventSink,
    references: ReferenceStore,
    parallelPullsMax: number,
  ) {
    this.#runtime = runtime;
    this.#clock = clock;
    this.#events = events;
    this.#references = references;
    this.#pulls = new Semaphore(parallelPullsMax);
  }

  /** The image that a container is made of. */
  ensure(pod: NodePod, container: Container, memory: PullMemory): Promise<ImageOutcome> {
    const { image = "", imagePullPolicy = "" } = container;
    return this.#ensure(pod, image, imagePullPolicy, memory, (...event) => {
      this.#events.container(pod, container.name, ...event);
    });
  }

  /** An image whose files are a volume. */
  ensureVolume(pod: NodePod, image: ImageSource, memory: PullMemory): Promise<ImageOutcome> {
    return this.#ensure(pod, image.reference, image.pullPolicy, memory, (...event) => {
      this.#events.pod(pod, ...event);
    });
  }

  async #ensure(
    pod: NodePod,
    wanted: string,
    pullPolicy: string,
    memory: PullMemory,
    tell: Tell,
  ): Promise<ImageOutcome> {
    const parsed = parseImage(wanted);
    if ("problem" in parsed) {
      const message = `Failed to apply default image tag "${wanted}": ${parsed.problem}`;
      tell("Warning", "InspectFailed", message);
      return { failure: { reason: "InvalidImageName", message } };
    }
    const { reference, repository } = parsed;
    if (pullPolicy !== "Always") {
      let image: Image | undefined;
      try {
        image = await this.#runtime.imageStatus(reference);
      } catch (error) {
        const message = `Failed to inspect image "${reference}": ${textOf(error)}`;
        tell("Warning", "InspectFailed", message);
        return { failure: { reason: "ImageInspectError", message } };
      }
      if (image !== undefined) {
        const where = "already present on machine and can be accessed by the pod";
        tell("Normal", "Pulled", `Container image "${wanted}" ${where}`);
        return { reference, image };
      }
      if (pullPolicy === "Never") {
        const message = `Container image "${wanted}" is not present with pull policy of Never`;
        tell("Warning", "ErrImageNeverPull", message);
        return { failure: { reason: "ErrImageNeverPull", message } };
      }
    }
    return await this.#pull(pod, wanted, reference, repository, memory, tell);
  }

  async #pull(
    pod: NodePod,
    wanted: string,
    reference: string,
    repository: string,
    memory: PullMemory,
    tell: Tell,
  ): Promise<ImageOutcome> {
    const waitUntil = memory.backoff.waitAfterNoteUntilMs(wanted);
    if (waitUntil !== undefined) {
      const message = `Back-off pulling image "${wanted}"`;
      tell("Normal", "BackOff", message);
      const before = memory.failures.get(wanted);
      return {
        failure: {
          reason: "ImagePullBackOff",
          message: before === undefined ? message : `${message}: ${before}`,
        },
        retryAtMs: waitUntil,
      };
    }
    memory.failures.delete(wanted);
    tell("Normal", "Pulling", `Pulling image "${wanted}"`);
    const asked = this.#clock.monotonicMs();
    let began = asked;
    try {
      const credentials = await this.#credentials(pod, repository);
      await this.#pulls.run(async () => {
        began = this.#clock.monotonicMs();
        await this.#pullWith(reference, credentials);
      });
    } catch (error) {
      const why = textOf(error);
      tell("Warning", "Failed", `Failed to pull image "${wanted}": ${why}`);
      memory.backoff.note(wanted, this.#clock.now());
      memory.failures.set(wanted, `ErrImagePull: ${why}`);
      return {
        failure: { reason: "ErrImagePull", message: why },
        // The next look finds the back-off and says so; the pull itself waits for its end.
        retryAtMs: this.#clock.now() + showErrorMs,
      };
    }
    const image = await this.#runtime.imageStatus(reference);
    const now = this.#clock.monotonicMs();
    const took = msToGoDuration(Math.floor(now - began));
    const all = msToGoDuration(Math.floor(now - asked));
    const size = image?.sizeBytes ?? 0;
    tell(
      "Normal",
      "Pulled",
      `Successfully pulled image "${wanted}" in ${took} (${all} including waiting). ` +
        `Image size: ${size} bytes.`,
    );
    return { reference, image };
  }

  /** Each of the credentials in turn, then none. */
  async #pullWith(reference: string, credentials: readonly Credentials[]): Promise<void> {
    const failures: string[] = [];
    for (const auth of [...credentials, undefined]) {
      try {
        await this.#runtime.pullImage(reference, auth);
        return;
      } catch (error) {
        failures.push(textOf(error));
        if (credentials.length === 0) throw error;
      }
    }
    throw new Error([...new Set(failures)].join(", "));
  }

  async #credentials(pod: NodePod, repository: string): Promise<Credentials[]> {
    const found: Credentials[] = [];
    const missing: string[] = [];
    for (const { name = "" } of pod.spec.imagePullSecrets ?? []) {
      const secret = await this.#references.secretObject(pod.metadata.namespace, name);
      if (secret === undefined) missing.push(name);
      else found.push(...credentialsFor(repository, secret.type, decodeData(secret.data)));
    }
    if (missing.length > 0) {
      const names = missing.join(", ");
      this.#events.pod(
        pod,
        "Warning",
        "FailedToRetrieveImagePullSecret",
        `Unable to retrieve some image pull secrets (${names}); attempting to pull the image may not succeed.`,
      );
    }
    return found;
  }
}
