/** The shape of an admission plugin, and how the list of them is run. The ordered list is in plugins.ts. */
import type { User } from "#api/request.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { equalObjects, type JsonObject } from "#machinery/object.ts";
import type { ObjectSchema } from "#machinery/schema.ts";
import { forbiddenError, type StatusError } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Random } from "#ports/random.ts";
import type { Authorizer } from "../authz/authorizer.ts";
import type { Reader, ResourceRef } from "../reader.ts";
import type { CallWebhook } from "../webhook-client.ts";
import { Rounds } from "./reinvocation.ts";

export type Operation = "CREATE" | "UPDATE" | "DELETE" | "CONNECT";

export interface ObjectChanges {
  /** Reads, as the request's kind, what became of the object, and sets its defaults. `strict`: fields that are not known are refused. */
  readonly revise: (changed: unknown, strict?: boolean) => ApiObject;
  readonly schema: ObjectSchema;
}

/** One write on its way to the store. `object` may be changed by admit(); undefined on DELETE. */
export interface AdmissionRequest {
  readonly operation: Operation;
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** How somebody outside may change the object; absent: not at all. */
  readonly changes?: ObjectChanges;
  readonly object: ApiObject | undefined;
  readonly oldObject: ApiObject | undefined;
  readonly user: User;
  /** As it was authorized: "update" or "patch"; absent where nobody asked by HTTP. */
  readonly verb?: string;
  readonly dryRun: boolean;
  readonly warnings: string[];
}

/** What plugins may look at, and the one way in which they may write. */
export interface AdmissionWorld {
  readonly reader: Reader;
  /**
   * Changes a stored object by compare-and-put, past its strategy: `change` sees the newest state, perhaps several times, and refuses by
   * throwing. An object that is gone is left alone.
   */
  readonly change: (
    resource: ResourceRef,
    namespace: string,
    name: string,
    change: (object: ApiObject) => void,
  ) => Promise<void>;
  readonly callWebhook: CallWebhook;
  /** The resource of a kind that is served: "v1" and "ConfigMap" give configmaps. */
  readonly kindOf: (
    apiVersion: string,
    kind: string,
  ) => (ResourceRef & { readonly namespaced: boolean }) | undefined;
  readonly clock: Clock;
  readonly random: Random;
  /** For plugins that ask whether the user may do something besides the write itself. */
  readonly authorizer: Authorizer;
  readonly crypto: Crypto;
}

/** admit() may change the object; validate() sees it as it will be stored. Both refuse by throwing a StatusError. */
export interface AdmissionPlugin {
  readonly name: string;
  readonly handles: (request: AdmissionRequest) => boolean;
  readonly admit?: (
    request: AdmissionRequest,
    world: AdmissionWorld,
    rounds: Rounds,
  ) => Promise<void> | void;
  readonly validate?: (request: AdmissionRequest, world: AdmissionWorld) => Promise<void> | void;
}

export class Admission {
  readonly #plugins: readonly AdmissionPlugin[];
  readonly #world: AdmissionWorld;

  constructor(plugins: readonly AdmissionPlugin[], world: AdmissionWorld) {
    this.#plugins = plugins;
    this.#world = world;
  }

  /** Once, and a second time if webhooks or policies changed the object behind somebody. */
  async admit(request: AdmissionRequest): Promise<void> {
    const rounds = new Rounds();
    await this.#admitRound(request, rounds);
    if (!rounds.isWanted) return;
    rounds.isSecond = true;
    await this.#admitRound(request, rounds);
  }

  async #admitRound(request: AdmissionRequest, rounds: Rounds): Promise<void> {
    for (const plugin of this.#plugins) {
      if (plugin.admit !== undefined && plugin.handles(request))
        await plugin.admit(request, this.#world, rounds);
    }
  }

  /** Both, for what is answered without being stored. */
  async review(request: AdmissionRequest): Promise<void> {
    await this.admit(request);
    await this.validate(request);
  }

  async validate(request: AdmissionRequest): Promise<void> {
    for (const plugin of this.#plugins) {
      if (plugin.validate !== undefined && plugin.handles(request))
        await plugin.validate(request, this.#world);
    }
  }
}

/** Upstream's wording of a refusal by a plugin. */
export function refuse(request: AdmissionRequest, why: string): StatusError {
  const metadata = request.object?.metadata;
  const name = request.name || metadata?.name || metadata?.generateName || "Unknown";
  return forbiddenError({ group: request.group, plural: request.plural }, name, why);
}

/** Puts what somebody made of it in the object's place; false: it is as it was. */
export function replaceObject(request: AdmissionRequest, next: ApiObject): boolean {
  const { object } = request;
  if (object === undefined || equalObjects(next, object)) return false;
  const target = object as unknown as JsonObject;
  for (const key of Object.keys(target)) delete target[key];
  Object.assign(target, next);
  return true;
}

/** Whether the write is about this kind itself, or about one of its subresources. */
export const isAbout = (
  request: AdmissionRequest,
  group: string,
  plural: string,
  subresource = "",
): boolean =>
  request.group === group && request.plural === plural && request.subresource === subresource;
