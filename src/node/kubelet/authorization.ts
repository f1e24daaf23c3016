/**
 * Who may ask the kubelet's server for what: the API server always (it has judged already), anyone else as the cluster says: tokens
 * are reviewed and access is reviewed at the API server, as upstream's webhook modes do. Answers are kept for a while.
 */

import type { TokenReview } from "#api/generated/authentication/v1.ts";
import type { SubjectAccessReview } from "#api/generated/authorization/v1.ts";
import type { User } from "#api/request.ts";
import type { Kind } from "#api/resource.ts";
import type { Client } from "#client/client.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { HttpRequest } from "#ports/network.ts";

export interface AuthorizationWorld {
  readonly client: Client;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly nodeName: string;
  /** PEM: who signs the certificates that may come in. */
  readonly clientRoots: string;
}

export type Verdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly status: 401 | 403; readonly message: string };

const tokenReviews: Kind<TokenReview> = {
  group: "authentication.k8s.io",
  version: "v1",
  kind: "TokenReview",
  plural: "tokenreviews",
  namespaced: false,
};
const accessReviews: Kind<SubjectAccessReview> = {
  group: "authorization.k8s.io",
  version: "v1",
  kind: "SubjectAccessReview",
  plural: "subjectaccessreviews",
  namespaced: false,
};

const apiServerUser = "kube-apiserver-kubelet-client";
const administrators = new Set(["system:masters", "kubeadm:cluster-admins"]);
/** As long as upstream's kubelet keeps such answers by default. */
const keptMs = { token: 120_000, allowed: 300_000, denied: 30_000 } as const;
const keptMax = 1000;

/** What was answered, for a while; the oldest go first. */
class Kept<T> {
  readonly #entries = new Map<string, { readonly untilMs: number; readonly value: T }>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }
  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.untilMs <= this.#clock.monotonicMs()) return undefined;
    return entry.value;
  }
  set(key: string, value: T, ms: number): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, untilMs: this.#clock.monotonicMs() + ms });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= keptMax) break;
      this.#entries.delete(oldest);
    }
  }
}

const verbs: Readonly<Record<string, string>> = {
  POST: "create",
  GET: "get",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};
/** By the first part of the path; any one of them will do. Upstream: some have a finer one beside "proxy". */
const subresources: Readonly<Record<string, readonly string[]>> = {
  stats: ["stats"],
  metrics: ["metrics"],
  logs: ["log"],
  pods: ["pods", "proxy"],
  runningpods: ["pods", "proxy"],
  healthz: ["healthz", "proxy"],
};

/** What a request wants, in the words of access reviews. */
export function accessWanted(request: Pick<HttpRequest, "method" | "target">): {
  readonly verb: string;
  readonly subresources: readonly string[];
} {
  const first = /^\/([^/?]*)/.exec(request.target)?.[1] ?? "";
  const found = Object.hasOwn(subresources, first) ? subresources[first] : undefined;
  return { verb: verbs[request.method] ?? "", subresources: found ?? ["proxy"] };
}

export class Authorization {
  readonly #world: AuthorizationWorld;
  readonly #users: Kept<User | "refused">;
  readonly #access: Kept<boolean>;

  constructor(world: AuthorizationWorld) {
    this.#world = world;
    this.#users = new Kept(world.clock);
    this.#access = new Kept(world.clock);
  }

  async judge(request: HttpRequest): Promise<Verdict> {
    const user = await this.#userOf(request);
    if (user === undefined) return { allowed: false, status: 401, message: "Unauthorized" };
    if (user.name === apiServerUser || user.groups.some((group) => administrators.has(group)))
      return { allowed: true };
    const wanted = accessWanted(request);
    for (const subresource of wanted.subresources)
      if (await this.#mayDo(user, wanted.verb, subresource)) return { allowed: true };
    const names = wanted.subresources.join(" ");
    const what = `user=${user.name}, verb=${wanted.verb}, resource=nodes, subresource(s)=[${names}]`;
    return { allowed: false, status: 403, message: `Forbidden (${what})` };
  }

  /** Undefined: nobody that the cluster knows. */
  async #userOf({ peer, headers }: HttpRequest): Promise<User | undefined> {
    const { crypto, clock, clientRoots } = this.#world;
    const chain = peer?.certificates ?? [];
    if (chain.length > 0) {
      const judged = crypto.judge(chain, clientRoots, clock.now());
      if ("refused" in judged) return undefined;
      return { name: judged.user, groups: [...judged.groups, "system:authenticated"] };
    }
    const token = /^Bearer +(\S+) *$/i.exec(headers["authorization"] ?? "")?.[1];
    return token === undefined ? undefined : await this.#tokenUser(token);
  }

  async #tokenUser(token: string): Promise<User | undefined> {
    const known = this.#users.get(token);
    if (known !== undefined) return known === "refused" ? undefined : known;
    const { status } = await this.#world.client.create(tokenReviews, {
      metadata: {},
      spec: { token },
    });
    const { username = "", uid, groups = [], extra } = status.user;
    const user: User | undefined =
      status.authenticated === true
        ? {
            name: username,
            groups,
            ...(uid === undefined ? {} : { uid }),
            ...(extra === undefined ? {} : { extra }),
          }
        : undefined;
    this.#users.set(token, user ?? "refused", keptMs.token);
    return user;
  }

  async #mayDo(user: User, verb: string, subresource: string): Promise<boolean> {
    const { name, uid, groups, extra } = user;
    const key = JSON.stringify([name, uid, groups, extra, verb, subresource]);
    const known = this.#access.get(key);
    if (known !== undefined) return known;
    const resource = { version: "v1", resource: "nodes", name: this.#world.nodeName };
    const { status } = await this.#world.client.create(accessReviews, {
      metadata: {},
      spec: {
        user: name,
        groups: [...groups],
        ...(uid === undefined ? {} : { uid }),
        ...(extra === undefined ? {} : { extra: copied(extra) }),
        resourceAttributes: { ...resource, subresource, verb },
      },
    });
    this.#access.set(key, status.allowed, status.allowed ? keptMs.allowed : keptMs.denied);
    return status.allowed;
  }
}

const copied = (extra: Readonly<Record<string, readonly string[]>>): Record<string, string[]> =>
  Object.fromEntries(Object.entries(extra).map(([name, values]) => [name, [...values]]));
