/** ServiceAccount tokens for pods, asked for with TokenRequest and kept until four fifths of their life are over. */
import { ServiceAccount } from "#api/core/v1/serviceaccount.ts";
import type { Client } from "#client/client.ts";
import { isObject } from "#machinery/object.ts";
import { parseTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { NodePod } from "./pod-spec.ts";
import type { Token } from "./volumes/volume.ts";

const refreshAfterMsMax = 24 * 3600 * 1000;

export class TokenStore {
  readonly #client: Client;
  readonly #clock: Clock;
  /** By pod uid, audience and life; forget() takes a pod's out. */
  readonly #tokens = new Map<string, Token>();

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  async get(pod: NodePod, audience: string, expirationSeconds: number): Promise<Token> {
    const key = `${pod.metadata.uid}/${audience}/${expirationSeconds}`;
    const known = this.#tokens.get(key);
    if (known !== undefined && known.refreshAtMs > this.#clock.now()) return known;
    const token = await this.#request(pod, audience, expirationSeconds);
    this.#tokens.set(key, token);
    return token;
  }

  forget(podUid: string): void {
    for (const key of this.#tokens.keys()) {
      if (key.startsWith(`${podUid}/`)) this.#tokens.delete(key);
    }
  }

  async #request(pod: NodePod, audience: string, expirationSeconds: number): Promise<Token> {
    const { namespace, name, uid } = pod.metadata;
    const account = pod.spec.serviceAccountName || "default";
    const asked = this.#clock.now();
    const answer = await this.#client.post(ServiceAccount, { namespace, name: account }, "token", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      metadata: {},
      spec: {
        audiences: audience === "" ? [] : [audience],
        expirationSeconds,
        boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
      },
    });
    const status = isObject(answer) && "status" in answer ? answer["status"] : undefined;
    if (!isObject(status) || typeof status["token"] !== "string") {
      throw new Error(`the answer to a token request for ServiceAccount ${account} has no token`);
    }
    const { expirationTimestamp } = status;
    const until =
      typeof expirationTimestamp === "string" ? parseTime(expirationTimestamp) : undefined;
    const lifeMs = until === undefined ? expirationSeconds * 1000 : until - asked;
    return {
      token: status["token"],
      refreshAtMs: asked + Math.min(lifeMs * 0.8, refreshAfterMsMax),
    };
  }
}
