/** One HTTP GET as probes and lifecycle hooks need it: a time limit, no body kept beyond a little, Go's wording of failures. */
import type { Container, HTTPGetAction } from "#api/generated/core/v1.ts";
import type { Clock } from "#ports/clock.ts";
import { type HttpClient, type Network, NetworkError } from "#ports/network.ts";

export interface HttpTarget {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

const redirectsMax = 10;
const bodyBytesMax = 10 * 1024;

/** A number, a number as text, or the name of one of the container's ports. */
export function resolvePort(
  port: number | string,
  container: Container,
): number | { readonly problem: string } {
  const named = container.ports?.find((one) => one.name === port)?.containerPort;
  const number = named ?? (typeof port === "number" ? port : Number(port));
  if (Number.isInteger(number) && number > 0 && number < 65536) return number;
  return typeof port === "string" && Number.isNaN(number)
    ? { problem: `couldn't find port by name: ${port}` }
    : { problem: `invalid port number: ${number}` };
}

export function httpTarget(
  action: HTTPGetAction,
  container: Container,
  podIp: string,
  userAgent: string,
): HttpTarget | { readonly problem: string } {
  const port = resolvePort(action.port, container);
  if (typeof port !== "number") return port;
  const headers: Record<string, string> = { "user-agent": userAgent, accept: "*/*" };
  for (const { name, value } of action.httpHeaders ?? []) {
    const key = name.toLowerCase();
    headers[key] = value;
  }
  if (headers["accept"] === "") delete headers["accept"];
  const path = action.path ?? "/";
  return {
    scheme: action.scheme === "HTTPS" ? "https" : "http",
    host: (action.host ?? "") === "" ? podIp : (action.host ?? ""),
    port,
    path: path.startsWith("/") ? path : `/${path}`,
    headers,
  };
}

const hostPort = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

export const urlOf = (target: HttpTarget): string =>
  `${target.scheme}://${hostPort(target.host, target.port)}${target.path}`;

/** What Go says when a connection fails; `where`: host:port. */
export function dialFailure(error: unknown, where: string): string {
  if (!(error instanceof NetworkError)) {
    return error instanceof Error ? error.message : String(error);
  }
  switch (error.code) {
    case "ECONNREFUSED":
      return `dial tcp ${where}: connect: connection refused`;
    case "EHOSTUNREACH":
      return `dial tcp ${where}: connect: no route to host`;
    case "ENETUNREACH":
      return `dial tcp ${where}: connect: network is unreachable`;
    case "ECONNRESET":
      return `read tcp ${where}: read: connection reset by peer`;
    case "ETIMEDOUT":
      return `dial tcp ${where}: i/o timeout`;
    case "ENOTFOUND":
      return `dial tcp: lookup ${where.replace(/:\d+$/, "")}: no such host`;
    default:
      return error.message;
  }
}

export interface HttpAnswer {
  readonly status: number;
  /** It redirected to another host: not followed. */
  readonly redirectedAway: boolean;
}

/** Rejects with an Error whose message is Go's: `Get "http://…": dial tcp …: connect: connection refused`. */
export async function httpGet(
  network: Network,
  clock: Clock,
  target: HttpTarget,
  timeoutMs: number,
): Promise<HttpAnswer> {
  const limit = new AbortController();
  const cancel = clock.after(timeoutMs, () => limit.abort());
  let at = target;
  try {
    for (let hop = 0; ; hop += 1) {
      const answer = await ask(network, at, limit.signal);
      const next = redirect(at, answer.status, answer.location);
      if (next === undefined) return { status: answer.status, redirectedAway: false };
      if (next === "away") return { status: answer.status, redirectedAway: true };
      if (hop >= redirectsMax) throw new Error("stopped after 10 redirects");
      at = next;
    }
  } catch (error) {
    const why = limit.signal.aborted
      ? "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
      : dialFailure(error, hostPort(at.host, at.port));
    throw new Error(`Get "${urlOf(at)}": ${why}`, { cause: error });
  } finally {
    cancel();
  }
}

async function ask(
  network: Network,
  target: HttpTarget,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly location: string | undefined }> {
  const client: HttpClient = network.http(
    { host: target.host, port: target.port },
    {
      version: 1,
      connections: 1,
      // Upstream: probes don't verify certificates; a pod's serving certificate is its own affair.
      ...(target.scheme === "https" ? { tls: { insecure: true } } : {}),
    },
  );
  try {
    const response = await client.send({
      method: "GET",
      target: target.path,
      headers: { host: hostPort(target.host, target.port), ...target.headers },
      signal,
    });
    let read = 0;
    while (read < bodyBytesMax) {
      const chunks = await response.body.next();
      if (chunks === undefined) break;
      for (const chunk of chunks) read += chunk.length;
    }
    response.body.stop();
    return { status: response.status, location: response.headers["location"] };
  } finally {
    client.close();
  }
}

function redirect(
  from: HttpTarget,
  status: number,
  location: string | undefined,
): HttpTarget | "away" | undefined {
  if (status < 300 || status >= 400 || location === undefined) return undefined;
  let url: URL;
  try {
    url = new URL(location, urlOf(from));
  } catch {
    return undefined;
  }
  if (url.hostname.replace(/^\[|\]$/g, "") !== from.host) return "away";
  const scheme = url.protocol === "https:" ? "https" : "http";
  const port = url.port === "" ? (scheme === "https" ? 443 : 80) : Number(url.port);
  return { ...from, scheme, port, path: `${url.pathname}${url.search}` };
}
