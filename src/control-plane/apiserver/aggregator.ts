/**
 * The aggregator: follows the APIServices. It makes those of the groups that this server serves itself; of those behind a Service it says
 * whether they are available, knows what they serve and how they document it, and sends their requests on. Reads Services and endpoints;
 * writes APIServices. A program in this process may serve a group version too: a delegate.
 */
import {
  type APIService,
  type APIServiceCondition,
  apiregistrationGroup,
  availableOf,
  isAvailable,
} from "#api/apiregistration/v1/apiservice.ts";
import { groupOrder } from "#api/facts.ts";
import type { ApiRequest, ApiResponse, User } from "#api/request.ts";
import { parseJson } from "#machinery/json.ts";
import { equalObjects, isObject, type JsonObject } from "#machinery/object.ts";
import { serviceUnavailable } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import { servedFactsOf } from "./aggregated-resources.ts";
import type { ChainContext } from "./chain.ts";
import { answerDelegated, type Delegate, delegatedVersion } from "./delegate.ts";
import type { AggregatedVersion, ServedFacts } from "./discovery.ts";
import {
  addressOf,
  type ExtensionParts,
  forwardTo,
  serviceTrouble,
  type Trouble,
} from "./extension-server.ts";
import { type AskOwn, failureOf } from "./own-requests.ts";
import type { Registry } from "./registry.ts";
import { wholeBody } from "./remote-values.ts";
import { SettleQueue } from "./settle-queue.ts";
import type { CacheObserver } from "./watch-cache.ts";

export interface AggregatorParts extends ExtensionParts {
  readonly apiServices: Registry;
  /** Whose changes may make a Service available: services, endpointslices. */
  readonly watched: readonly Registry[];
  readonly delegates: readonly Delegate[];
  readonly ask: AskOwn;
  readonly clock: Clock;
  readonly log: Log;
  /** What others serve has changed. */
  readonly changed: (versions: readonly AggregatedVersion[]) => void;
}

interface Extension {
  readonly service: APIService;
  resources: readonly ServedFacts[];
  /** Of its OpenAPI v3 document; undefined: it has none. */
  openApiHash?: string;
  openApiV2?: JsonObject;
  failures: number;
}

interface Local {
  readonly group: string;
  readonly version: string;
}

const path = `/apis/${apiregistrationGroup}/v1/apiservices`;
const managedLabel = "kube-aggregator.kubernetes.io/automanaged";
const aggregatorUser: User = { name: "system:kube-aggregator", groups: ["system:masters"] };
const checkMsMax = 5000;
const recheckMs = 30_000;
const customPriorities = { groupPriorityMinimum: 1000, versionPriority: 100 };

const nameOf = ({ group, version }: Local): string => `${version}.${group}`;
const rootOf = ({ spec: { group = "", version = "" } }: APIService): string =>
  group === "" ? `/api/${version}` : `/apis/${group}/${version}`;

/** Undefined: no version of ours that upstream knows. */
function prioritiesOf({ group, version }: Local) {
  const known = groupOrder.find((one) => one.group === group)?.versions;
  const found = known?.find((one) => one.version === version);
  if (found === undefined || found.groupPriority === 0) return undefined;
  const { groupPriority: groupPriorityMinimum, versionPriority } = found;
  return { groupPriorityMinimum, versionPriority };
}

export class Aggregator {
  readonly #parts: AggregatorParts;
  readonly #queue: SettleQueue;
  /** By the name of the APIService. */
  readonly #extensions = new Map<string, Extension>();
  readonly #delegates: ReadonlyMap<string, Delegate>;
  #custom: ReadonlyMap<string, Local> = new Map();
  #started = false;

  constructor(parts: AggregatorParts) {
    this.#parts = parts;
    this.#delegates = new Map(parts.delegates.map((one) => [nameOf(one), one]));
    this.#queue = new SettleQueue({
      clock: parts.clock,
      log: parts.log,
      trouble: "An APIService can not be settled; trying again.",
      settle: (name) => this.#settle(name),
    });
    parts.apiServices.cache.observe(this.#observe);
    for (const { cache } of parts.watched) cache.observe(this.#observeBackend);
  }

  readonly #observe: CacheObserver = (now, before) => {
    const name = ((now ?? before)?.key ?? "").replace(/^.*\//, "");
    const service = now?.object as APIService | undefined;
    const known = this.#extensions.get(name);
    if (service?.spec.service === undefined) {
      if (known !== undefined) {
        this.#extensions.delete(name);
        this.#tell();
      }
    } else {
      const same =
        known !== undefined && equalObjects({ ...known.service.spec }, { ...service.spec });
      const wasAvailable = known !== undefined && isAvailable(known.service);
      this.#extensions.set(name, {
        resources: [],
        failures: 0,
        ...(same ? known : {}),
        service,
      });
      if (!same || wasAvailable !== isAvailable(service)) this.#tell();
      // Its status is our own word: it needs no second look.
      if (same) return;
    }
    this.#queue.add(name);
  };

  readonly #observeBackend: CacheObserver = (now, before) => {
    if (this.#extensions.size === 0) return;
    const { namespace, name = "", labels } = (now ?? before)?.object.metadata ?? {};
    const service = labels?.["kubernetes.io/service-name"] ?? name;
    for (const [
      id,
      {
        service: { spec },
      },
    ] of this.#extensions)
      if (spec.service?.namespace === namespace && spec.service?.name === service)
        this.#queue.add(id);
  };

  /** Makes the APIServices of what is served from the start. */
  async start(builtIn: readonly Local[]): Promise<void> {
    const own = [...builtIn, ...this.#parts.delegates];
    await Promise.all(own.map((one) => this.#makeLocal(one, "onstart")));
    this.#started = true;
    if (this.#delegates.size > 0) this.#tell();
    this.#queue.start();
  }

  stop(): void {
    this.#queue.stop();
  }

  /** The group versions of custom resources, from now on. */
  setCustom(versions: readonly Local[]): void {
    const next = new Map(versions.map((one) => [nameOf(one), one]));
    const changed = [
      ...[...next.keys()].filter((name) => !this.#custom.has(name)),
      ...[...this.#custom.keys()].filter((name) => !next.has(name)),
    ];
    this.#custom = next;
    for (const name of changed) this.#queue.add(name);
  }

  /** Creates what is not there. Who changed it may keep it so. */
  async #makeLocal(one: Local | Delegate, managed: "onstart" | "true"): Promise<void> {
    const { apiServices, ask } = this.#parts;
    const name = nameOf(one);
    const found = managed === "true" ? customPriorities : prioritiesOf(one);
    const priorities = "resources" in one ? one : found;
    if (priorities === undefined || apiServices.cache.get(apiServices.key("", name)) !== undefined)
      return;
    const { group, version } = one;
    const { groupPriorityMinimum, versionPriority } = priorities;
    const object = {
      metadata: { name, labels: { [managedLabel]: managed } },
      spec: { group, version, groupPriorityMinimum, versionPriority },
    };
    const made = await ask("POST", path, object);
    if (made.status !== 201 && made.status !== 409) throw failureOf(made);
  }

  async #settle(name: string): Promise<void> {
    const { apiServices, ask } = this.#parts;
    const stored = await apiServices.current("", name);
    const service = stored?.object as APIService | undefined;
    const custom = this.#custom.get(name);
    if (custom !== undefined) await this.#makeLocal(custom, "true");
    else if (service?.metadata.labels?.[managedLabel] === "true") {
      const preconditions = { uid: service.metadata.uid };
      const gone = await ask("DELETE", `${path}/${name}`, { preconditions });
      if (gone.status >= 300 && gone.status !== 404) throw failureOf(gone);
      return;
    }
    if (service?.spec.service !== undefined) await this.#check(name, service);
  }

  /** Says whether it is available; looks again after a while, sooner while it is not. */
  async #check(name: string, service: APIService): Promise<void> {
    const trouble =
      serviceTrouble(service, this.#parts.reader) ?? (await this.#visit(name, service));
    const extension = this.#extensions.get(name);
    if (extension !== undefined) {
      extension.failures = trouble?.reason === "FailedDiscoveryCheck" ? extension.failures + 1 : 0;
      const soon = 1000 * 2 ** Math.min(extension.failures, 5);
      if (trouble === undefined) this.#queue.addAfter(name, recheckMs);
      // What the Service lacks is announced when it comes.
      else if (extension.failures > 0) this.#queue.addAfter(name, Math.min(soon, recheckMs));
    }
    await this.#say(service, trouble);
  }

  async #visit(name: string, service: APIService): Promise<Trouble | undefined> {
    const { group = "", version = "" } = service.spec;
    const root = rootOf(service);
    try {
      const answer = await this.#fetch(service, root);
      if (answer.status < 200 || answer.status > 299) {
        const where = addressOf(service, this.#parts, root);
        const message = `failing or missing response from ${where}: bad status from ${where}: ${answer.status}`;
        return { reason: "FailedDiscoveryCheck", message };
      }
      const resources = servedFactsOf(answer.body, group, version) ?? [];
      await this.#readOpenApi(name, service);
      const extension = this.#extensions.get(name);
      if (extension !== undefined && !equalObjects(extension.resources, resources)) {
        extension.resources = resources;
        this.#tell();
      }
      return undefined;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const message = `failing or missing response from ${root}: ${why}`;
      return { reason: "FailedDiscoveryCheck", message };
    }
  }

  async #fetch(service: APIService, target: string) {
    const gone = new AbortController();
    const cancel = this.#parts.clock.after(checkMsMax, () => gone.abort());
    try {
      const request: ApiRequest = {
        method: "GET",
        path: target,
        query: [],
        headers: { accept: "application/json" },
        gone: gone.signal,
        direct: false,
      };
      const answer = await forwardTo(service, request, aggregatorUser, this.#parts);
      const bytes = await wholeBody(answer);
      return { status: answer.status, body: answer.status === 200 ? parseJson(bytes) : undefined };
    } finally {
      cancel();
    }
  }

  /** Without a document of its own an extension is served all the same: it only can not be explained. */
  async #readOpenApi(name: string, service: APIService): Promise<void> {
    const extension = this.#extensions.get(name);
    if (extension === undefined) return;
    const index = await this.#fetch(service, "/openapi/v3");
    const paths = isObject(index.body) && isObject(index.body.paths) ? index.body.paths : {};
    const entry = paths[rootOf(service).slice(1)];
    const url = isObject(entry) ? entry.serverRelativeURL : undefined;
    const hash = typeof url === "string" ? /[?&]hash=([^&]*)/.exec(url)?.[1] : undefined;
    const isNew = hash === undefined || hash !== extension.openApiHash;
    if (hash !== undefined) extension.openApiHash = hash;
    if (!isNew || extension.openApiV2 !== undefined) return;
    const v2 = await this.#fetch(service, "/openapi/v2");
    if (isObject(v2.body)) extension.openApiV2 = v2.body;
    this.#tell();
  }

  async #say(service: APIService, trouble: Trouble | undefined): Promise<void> {
    const wanted = {
      type: "Available",
      status: trouble === undefined ? "True" : "False",
      reason: trouble?.reason ?? "Passed",
      message: trouble?.message ?? "all checks passed",
    };
    const had = availableOf(service);
    const { lastTransitionTime = "", ...before } = had ?? {};
    if (equalObjects({ ...before }, wanted)) return;
    const now = formatTime(this.#parts.clock.now());
    const since = had?.status === wanted.status ? lastTransitionTime : now;
    const condition: APIServiceCondition = { ...wanted, lastTransitionTime: since };
    const others = (service.status?.conditions ?? []).filter(({ type }) => type !== "Available");
    const object = {
      ...service,
      status: { ...service.status, conditions: [...others, condition] },
    };
    const name = service.metadata.name ?? "";
    const put = await this.#parts.ask("PUT", `${path}/${name}/status`, object);
    if (put.status >= 300 && put.status !== 404) throw failureOf(put);
  }

  #tell(): void {
    if (!this.#started) return;
    const remote = [...this.#extensions.values()].map(({ service, ...rest }): AggregatedVersion => {
      const { group = "", version = "", groupPriorityMinimum, versionPriority } = service.spec;
      const { resources, openApiHash, openApiV2 } = rest;
      return {
        group,
        version,
        groupPriorityMinimum,
        versionPriority,
        resources,
        isStale: !isAvailable(service),
        ...(openApiHash === undefined ? {} : { openApiHash }),
        ...(openApiV2 === undefined ? {} : { openApiV2 }),
      };
    });
    const delegates = [...this.#delegates].filter(([name]) => !this.#extensions.has(name));
    this.#parts.changed([...delegates.map(([, one]) => delegatedVersion(one)), ...remote]);
  }

  /** Undefined: this server answers itself. An extension server goes before the program of this process that serves the same. */
  handle(context: ChainContext): Promise<ApiResponse> | undefined {
    if (this.#extensions.size === 0 && this.#delegates.size === 0) return undefined;
    const match = /^\/(?:openapi\/v3\/)?(?:apis\/([^/]+)|api)\/([^/]+)/.exec(context.request.path);
    if (match === null) return undefined;
    const [, group = "", version = ""] = match;
    const name = `${version}.${group}`;
    const extension = this.#extensions.get(name);
    if (extension !== undefined) return this.#forward(context, extension.service);
    const delegate = this.#delegates.get(name);
    if (delegate === undefined || !context.info.isResource) return undefined;
    return answerDelegated(context, delegate, this.#parts.clock.now());
  }

  async #forward({ request, user }: ChainContext, service: APIService): Promise<ApiResponse> {
    if (!isAvailable(service)) throw serviceUnavailable("service unavailable");
    return await forwardTo(service, request, user, this.#parts);
  }
}
