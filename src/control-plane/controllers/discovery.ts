/**
 * What the API server serves, asked of it: for controllers that work on kinds they do not know.
 * Reads discovery only.
 */
import type { ApiResponse } from "#api/request.ts";
import type { Kind } from "#api/resource.ts";
import type { Client } from "#client/client.ts";
import { JsonSyntaxError, parseJson } from "#machinery/json.ts";
import { isObject } from "#machinery/object.ts";
import { type Status, StatusError } from "#machinery/status-error.ts";

interface ResourceLine {
  readonly name: string;
  readonly namespaced: boolean;
  readonly kind: string;
  readonly verbs: readonly string[];
}
export interface DiscoveredKind extends Kind {
  readonly verbs: readonly string[];
  /** Whether clients should prefer this of the versions of its group. */
  readonly preferred: boolean;
}
export interface Discovery {
  readonly kinds: readonly DiscoveredKind[];
  /** Group versions that did not answer, and why. */
  readonly failed: ReadonlyMap<string, string>;
}

/** The object at a path. */
export const ask = <T>(client: Client, path: string): Promise<T> => readPath<T>(client, path, []);

/** What a request was about, for what is told of its refusal: "pods.metrics.k8s.io". */
export interface Asked {
  readonly resource: string;
  readonly name?: string;
}

/** An answer that is longer is none that a controller asks for. */
const answerBytesMax = 64 * 1024 * 1024;

async function textOf({ content }: ApiResponse): Promise<string> {
  if (content.type === "bytes") return new TextDecoder().decode(content.bytes);
  if (content.type !== "stream") return "";
  const decoder = new TextDecoder();
  const parts: string[] = [];
  let size = 0;
  for (;;) {
    const batch = await content.bytes.next();
    if (batch === undefined) return parts.join("") + decoder.decode();
    for (const chunk of batch) {
      size += chunk.length;
      parts.push(decoder.decode(chunk, { stream: true }));
    }
    if (size > answerBytesMax) {
      content.bytes.stop();
      throw new StatusError(500, "", `the answer is longer than ${answerBytesMax} bytes`);
    }
  }
}

function parsed(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof JsonSyntaxError) return undefined;
    throw error;
  }
}

/** The object that any path answers with, also one that somebody behind the API server serves. */
export async function readPath<T>(
  client: Client,
  path: string,
  query: readonly (readonly [string, string])[],
  asked?: Asked,
): Promise<T> {
  const response = await client.handler({
    method: "GET",
    path,
    query,
    headers: { accept: "application/json", "user-agent": "kube-controller-manager" },
    gone: new AbortController().signal,
    direct: true,
  });
  const { content, status } = response;
  const text = content.type === "object" ? "" : await textOf(response);
  const object = content.type === "object" ? content.object : parsed(text);
  if (status === 200 && isObject(object)) return object as T;
  if (isObject(object) && object["kind"] === "Status") {
    throw StatusError.from(object as unknown as Status);
  }
  if (asked === undefined) {
    throw new StatusError(status, "", `GET ${path} was answered with ${status}`);
  }
  const { resource, name } = asked;
  const about = name === undefined ? resource : `${resource} ${name}`;
  throw new StatusError(status, "", `${refusal(status, text)} (get ${about})`);
}

/** Upstream: what client-go makes of an answer that is no Status. */
function refusal(status: number, text: string): string {
  if (status === 404) return "the server could not find the requested resource";
  if (status === 503) return "the server is currently unable to handle the request";
  if (status === 504) {
    return "the server was unable to return a response in the time allotted, but may still be processing the request";
  }
  if (status === 403) return text;
  if (status >= 500) {
    return `an error on the server (${JSON.stringify(text)}) has prevented the request from succeeding`;
  }
  return `the server responded with the status code ${status} but did not return more information`;
}

/** Kinds that have a name of their own (no subresources), of every version. */
export async function discover(client: Client): Promise<Discovery> {
  interface Group {
    readonly name: string;
    readonly versions: readonly { readonly groupVersion: string; readonly version: string }[];
    readonly preferredVersion?: { readonly version: string };
  }
  const core = await ask<{ readonly versions: readonly string[] }>(client, "/api");
  const named = await ask<{ readonly groups: readonly Group[] }>(client, "/apis");
  const wanted = [
    ...core.versions.map((version) => ({
      group: "",
      version,
      preferred: true,
      path: `/api/${version}`,
    })),
    ...named.groups.flatMap(({ name, versions, preferredVersion }) =>
      versions.map(({ groupVersion, version }) => ({
        group: name,
        version,
        preferred: version === (preferredVersion?.version ?? versions[0]?.version),
        path: `/apis/${groupVersion}`,
      })),
    ),
  ];
  const failed = new Map<string, string>();
  const lists = await Promise.all(
    wanted.map(async ({ group, version, preferred, path }) => {
      try {
        const list = await ask<{ readonly resources: readonly ResourceLine[] }>(client, path);
        return list.resources
          .filter(({ name }) => !name.includes("/"))
          .map(({ name: plural, namespaced, kind, verbs }): DiscoveredKind => {
            return { group, version, plural, namespaced, kind, verbs, preferred };
          });
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        failed.set(path.replace(/^\/apis?\//, ""), text);
        return [];
      }
    }),
  );
  return { kinds: lists.flat(), failed };
}

/** Each resource once, in its preferred version where that has it. */
export function oncePerResource(kinds: readonly DiscoveredKind[]): readonly DiscoveredKind[] {
  const chosen = new Map<string, DiscoveredKind>();
  for (const kind of kinds) {
    const id = `${kind.group}/${kind.plural}`;
    const known = chosen.get(id);
    if (known === undefined || (kind.preferred && !known.preferred)) chosen.set(id, kind);
  }
  return [...chosen.values()];
}

/** The kinds of this name in a group, the preferred version first; a group that nobody serves has none. */
export async function kindsNamed(
  client: Client,
  group: string,
  kind: string,
): Promise<readonly Kind[]> {
  interface Versions {
    readonly versions: readonly { readonly version: string }[];
    readonly preferredVersion?: { readonly version: string };
  }
  let versions: readonly string[] = ["v1"];
  if (group !== "") {
    try {
      const found = await ask<Versions>(client, `/apis/${group}`);
      const { preferredVersion } = found;
      const all = [
        ...(preferredVersion === undefined ? [] : [preferredVersion]),
        ...found.versions,
      ];
      versions = [...new Set(all.map(({ version }) => version))];
    } catch (error) {
      if (error instanceof StatusError && error.code === 404) return [];
      throw error;
    }
  }
  const kinds: Kind[] = [];
  for (const version of versions) {
    const path = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
    const { resources } = await ask<{ readonly resources: readonly ResourceLine[] }>(client, path);
    const line = resources.find((one) => one.kind === kind && !one.name.includes("/"));
    if (line === undefined) continue;
    kinds.push({ group, version, kind, plural: line.name, namespaced: line.namespaced });
  }
  return kinds;
}
