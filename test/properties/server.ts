/** A whole API server in memory that is asked in bytes, as over HTTP, and a valid object of every kind to ask it with. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { type MemoryLog, memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { builtInResources } from "#api/index.ts";
import { apiVersionOf, type Resource } from "#api/resource.ts";
import { httpFront } from "#control-plane/apiserver/http-front.ts";
import { createApiServer } from "#control-plane/apiserver/server.ts";
import { openStore } from "#control-plane/store/store.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { readYamlDocuments } from "#machinery/yaml.ts";
import type { HttpResponse } from "#ports/network.ts";

const user = { name: "admin", groups: ["system:masters", "system:authenticated"] };
export const namespace = "properties";
export const protobuf = "application/vnd.kubernetes.protobuf";
const corpus = join(import.meta.dirname, "../oracle/corpus");

export interface Answer {
  readonly status: number;
  readonly headers: HttpResponse["headers"];
  readonly bytes: Uint8Array;
  readonly text: string;
  /** The body read as JSON; empty where it is none. */
  readonly object: JsonObject;
}
export interface Asked {
  readonly body?: Uint8Array | string | object;
  readonly type?: string;
  readonly accept?: string;
}
export interface TestServer {
  readonly log: MemoryLog;
  readonly clock: SteppedClock;
  readonly revision: () => Promise<number>;
  readonly ask: (method: string, target: string, asked?: Asked) => Promise<Answer>;
  /** What the server calls bugs of its own. */
  readonly bugs: () => string[];
  readonly close: () => Promise<void>;
}

async function wholeBody(body: HttpResponse["body"]): Promise<Uint8Array> {
  if (body === undefined) return new Uint8Array();
  if (body instanceof Uint8Array) return body;
  const chunks: Uint8Array[] = [];
  for (let batch = await body.next(); batch !== undefined; batch = await body.next())
    chunks.push(...batch);
  return Buffer.concat(chunks);
}

const bytesOf = (body: Asked["body"]): Uint8Array | undefined => {
  if (body === undefined || body instanceof Uint8Array) return body;
  return new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body));
};

function jsonOf(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

export async function startServer(): Promise<TestServer> {
  const clock = new SteppedClock({ startMs: Date.UTC(2026, 10, 22) });
  const random = seededRandom(5);
  const log = memoryLog();
  const store = await openStore({ storage: new MemoryStorage(), clock });
  const server = await createApiServer({
    store,
    clock,
    random,
    crypto: memoryCrypto(random.fork("crypto")),
    log,
    resources: builtInResources,
    serviceCidr: "10.96.0.0/16",
    clientCa: () => "",
  });
  const handle = httpFront((request) => server.handler({ ...request, user }));
  const ask: TestServer["ask"] = async (method, target, asked = {}) => {
    const { type = "application/json", accept = "application/json" } = asked;
    const body = bytesOf(asked.body);
    const headers = { "user-agent": "properties/v1", accept, "content-type": type };
    const gone = new AbortController();
    const sent = body === undefined ? {} : { body };
    const answer = await handle({ method, target, headers, gone: gone.signal, ...sent });
    const { status, headers: said } = answer;
    const reading = wholeBody(answer.body);
    // Who watches is answered as long as he is there: here he leaves after what there is now.
    await clock.settle();
    if (/[?&]watch=/.test(target)) gone.abort();
    const bytes = await reading;
    const text = new TextDecoder().decode(bytes);
    return { status, headers: said, bytes, text, object: jsonOf(text) };
  };
  for (const [path, metadata] of [
    ["/api/v1/namespaces", { name: namespace }],
    [`/api/v1/namespaces/${namespace}/serviceaccounts`, { name: "default" }],
  ] as const)
    await ask("POST", path, { body: { metadata } });
  return {
    log,
    clock,
    revision: () => store.revision(),
    ask,
    bugs: () =>
      log.lines
        .filter(({ message }) => message.includes("bug of the server"))
        .map(({ facts }) => JSON.stringify(facts)),
    close: () => server.close(0),
  };
}

export interface Example {
  readonly resource: Resource;
  readonly collection: string;
  readonly name: string;
  readonly object: JsonObject;
}

export function collectionOf(resource: Resource): string {
  const { group, version, namespaced, plural } = resource;
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  return `${root}${namespaced ? `/namespaces/${namespace}` : ""}/${plural}`;
}

/** The oracle's objects: all of them were accepted by the original. */
export function examples(): Example[] {
  return readdirSync(corpus)
    .filter((file) => file.endsWith(".yaml"))
    .flatMap((file) =>
      readYamlDocuments(readFileSync(join(corpus, file), "utf8")).flatMap(({ value }, at) => {
        if (!isObject(value)) return [];
        const resource = builtInResources.find(
          (one) => one.kind === value["kind"] && apiVersionOf(one) === value["apiVersion"],
        );
        if (resource === undefined) return [];
        const metadata = isObject(value["metadata"]) ? value["metadata"] : {};
        const given = metadata["name"];
        const name = typeof given === "string" ? given : `${resource.plural}-${at}`;
        const object = { ...value, metadata: { ...metadata, name } };
        return [{ resource, collection: collectionOf(resource), name, object }];
      }),
    );
}
