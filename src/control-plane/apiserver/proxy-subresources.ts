/** Subresources that connect: log, exec, attach, portforward of pods; proxy of pods, services and nodes. Which kubelet path they become. */

import type { Container, Endpoints, Node, Pod, Service } from "#api/generated/core/v1.ts";
import type { ApiRequest, ApiResponse } from "#api/request.ts";
import { type FieldError, forbidden, invalid } from "#machinery/field-error.ts";
import {
  badRequest,
  invalidObject,
  notFound,
  StatusError,
  serviceUnavailable,
} from "#machinery/status-error.ts";
import { parseTime } from "#machinery/time.ts";
import type { Admission } from "./admission/admission.ts";
import type { ChainContext } from "./chain.ts";
import { admitConnect } from "./connect-admission.ts";
import { linkThrough } from "./html-links.ts";
import { kubeletOf, type NodeProxy, type ProxyTarget } from "./node-proxy.ts";
import { asForwarded, isPlainRead, seenFromOutside } from "./proxied-answer.ts";
import type { Reader } from "./reader.ts";
import { queryValue } from "./request-info.ts";
import { notAllowed } from "./resource-verbs.ts";
import { overWebSocket, withoutUpgrade } from "./websocket-answer.ts";

export interface ProxyParts {
  readonly proxy: NodeProxy | undefined;
  readonly reader: Reader;
  readonly admission: Admission;
}

const pods = { group: "", plural: "pods" };
const nodes = { group: "", plural: "nodes" };
const services = { group: "", plural: "services" };
const endpoints = { group: "", plural: "endpoints" };

async function find<T>(
  { reader }: ProxyParts,
  resource: { readonly group: string; readonly plural: string },
  namespace: string,
  name: string,
): Promise<T> {
  await reader.fresh();
  const object = reader.get(resource, namespace, name);
  if (object === undefined) throw notFound(resource, name);
  return object as T;
}

function proxyOf({ proxy }: ProxyParts): NodeProxy {
  if (proxy === undefined)
    throw serviceUnavailable(
      "this API server has no way to reach nodes: it was started without a network",
    );
  return proxy;
}

async function kubelet(parts: ProxyParts, nodeName: string): Promise<ProxyTarget> {
  return kubeletOf(await find<Node>(parts, nodes, "", nodeName));
}

const containersOf = ({ spec }: Pod): readonly Pick<Container, "name">[] => [
  ...spec.containers,
  ...(spec.initContainers ?? []),
  ...(spec.ephemeralContainers ?? []),
];

/** The container that is meant: the named one, the annotated default, or the only one. */
function containerOf(pod: Pod, asked: string): string {
  const name = pod.metadata.name ?? "";
  const all = containersOf(pod);
  if (asked !== "") {
    if (all.some((one) => one.name === asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${name}`);
  }
  const names = (list: readonly Pick<Container, "name">[]): string =>
    list.map((one) => one.name).join(" ");
  const { containers, initContainers = [] } = pod.spec;
  if (containers.length === 1) return containers[0]?.name ?? "";
  if (containers.length === 0)
    throw badRequest(`a container name must be specified for pod ${name}`);
  const inits =
    initContainers.length === 0 ? "" : ` or one of the init containers: [${names(initContainers)}]`;
  throw badRequest(
    `a container name must be specified for pod ${name}, choose one of: [${names(containers)}]${inits}`,
  );
}

const queryText = (pairs: readonly (readonly [string, string])[]): string =>
  pairs.length === 0
    ? ""
    : `?${pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&")}`;

function pick(request: ApiRequest, names: readonly string[]): (readonly [string, string])[] {
  return request.query.filter(([name]) => names.includes(name));
}

const logFlags = ["follow", "previous", "timestamps"];
const logNumbers = ["tailLines", "limitBytes", "sinceSeconds"];

/** Upstream's rules about log options; the refusal is a 422 of kind PodLogOptions. */
function validateLog(request: ApiRequest, name: string): void {
  const errors: FieldError[] = [];
  const number = (key: string): number | undefined => {
    const text = queryValue(request, key);
    if (text === undefined || text === "") return undefined;
    const value = Number(text);
    if (!Number.isSafeInteger(value))
      throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
    return value;
  };
  const tail = number("tailLines");
  const limit = number("limitBytes");
  const since = number("sinceSeconds");
  const sinceTime = queryValue(request, "sinceTime");
  if (tail !== undefined && tail < 0)
    errors.push(invalid("tailLines", tail, "must be greater than or equal to 0"));
  if (limit !== undefined && limit < 1)
    errors.push(invalid("limitBytes", limit, "must be greater than 0"));
  if (since !== undefined && sinceTime !== undefined)
    errors.push(forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
  else if (since !== undefined && since < 1)
    errors.push(invalid("sinceSeconds", since, "must be greater than 0"));
  const stream = queryValue(request, "stream");
  if (stream !== undefined && !["All", "Stdout", "Stderr"].includes(stream))
    errors.push({
      path: "stream",
      type: "FieldValueNotSupported",
      message: `Unsupported value: ${JSON.stringify(stream)}: supported values: "All", "Stderr", "Stdout"`,
    });
  if (tail !== undefined && stream !== undefined && stream !== "All")
    errors.push(forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now"));
  if (sinceTime !== undefined && parseTime(sinceTime) === undefined)
    throw badRequest(`parsing time ${JSON.stringify(sinceTime)} as "2006-01-02T15:04:05Z07:00"`);
  if (errors.length > 0) throw invalidObject({ group: "", kind: "PodLogOptions" }, name, errors);
}

async function handleLog(context: ChainContext, parts: ProxyParts): Promise<ApiResponse> {
  const { request, info } = context;
  if (info.verb !== "get") throw notAllowed();
  validateLog(request, info.name);
  const pod = await find<Pod>(parts, pods, info.namespace, info.name);
  const container = containerOf(pod, queryValue(request, "container") ?? "");
  const nodeName = pod.spec.nodeName ?? "";
  if (nodeName === "") {
    // Nothing runs yet: an empty log.
    const bytes = new Uint8Array();
    return { status: 200, headers: {}, content: { type: "bytes", mediaType: "text/plain", bytes } };
  }
  const query = pick(request, [...logFlags, ...logNumbers, "sinceTime", "stream"]);
  const path = `/containerLogs/${info.namespace}/${info.name}/${container}${queryText(query)}`;
  const target = await kubelet(parts, nodeName);
  const answer = await proxyOf(parts).forward(target, path, withoutUpgrade(request));
  return answer.status === 200 ? overWebSocket(request, answer) : await refusedByKubelet(answer);
}

/** Upstream: what a kubelet refuses comes as a Status; its text is the message. */
async function refusedByKubelet(answer: ApiResponse): Promise<never> {
  const { content } = answer;
  let text = "";
  if (content.type === "stream") {
    const decoder = new TextDecoder();
    for (;;) {
      const batch = await content.bytes.next();
      if (batch === undefined || text.length > 4096) break;
      for (const bytes of batch) text += decoder.decode(bytes);
    }
    content.bytes.stop();
  }
  const reasons: Readonly<Record<number, string>> = { 400: "BadRequest", 404: "NotFound" };
  const reason = reasons[answer.status] ?? "InternalError";
  throw new StatusError(answer.status, reason, text.trim());
}

/** Parameters of exec and attach as clients name them, and as the kubelet does. */
const streamNames = { stdin: "input", stdout: "output", stderr: "error", tty: "tty" } as const;

function streamQuery(request: ApiRequest, kind: "exec" | "attach"): (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  let wanted = 0;
  for (const [name, kubeletName] of Object.entries(streamNames)) {
    const value = queryValue(request, name);
    if (value !== "true" && value !== "1") continue;
    pairs.push([kubeletName, "1"]);
    if (name !== "tty") wanted++;
  }
  if (wanted === 0) throw badRequest("you must specify at least one of stdin, stdout, stderr");
  if (kind === "exec") {
    const command = request.query.filter(([name]) => name === "command");
    if (command.length === 0)
      throw badRequest("you must specify at least one command for the container");
    pairs.push(...command);
  }
  return pairs;
}

async function handleStream(
  context: ChainContext,
  parts: ProxyParts,
  kind: "exec" | "attach",
): Promise<ApiResponse> {
  const { request, info } = context;
  if (info.verb !== "create" && info.verb !== "get") throw notAllowed();
  const pod = await find<Pod>(parts, pods, info.namespace, info.name);
  const container = containerOf(pod, queryValue(request, "container") ?? "");
  const nodeName = pod.spec.nodeName ?? "";
  if (nodeName === "") throw badRequest(`pod ${info.name} does not have a host assigned`);
  const query = streamQuery(request, kind);
  const path = `/${kind}/${info.namespace}/${info.name}/${container}${queryText(query)}`;
  return await proxyOf(parts).forward(await kubelet(parts, nodeName), path, request);
}

async function handlePortForward(context: ChainContext, parts: ProxyParts): Promise<ApiResponse> {
  const { request, info } = context;
  if (info.verb !== "create" && info.verb !== "get") throw notAllowed();
  const pod = await find<Pod>(parts, pods, info.namespace, info.name);
  const nodeName = pod.spec.nodeName ?? "";
  if (nodeName === "") throw badRequest(`pod ${info.name} does not have a host assigned`);
  const ports = request.query
    .filter(([name]) => name === "ports")
    .map(([, value]) => ["port", value] as const);
  const path = `/portForward/${info.namespace}/${info.name}${queryText(ports)}`;
  return await proxyOf(parts).forward(await kubelet(parts, nodeName), path, request);
}

/** "[scheme:]name[:port]" as the last part of a proxy path. */
function splitName(text: string): { scheme: "http" | "https"; name: string; port: string } {
  const parts = text.split(":");
  if (parts.length === 1) return { scheme: "http", name: text, port: "" };
  if (parts.length === 2) return { scheme: "http", name: parts[0] ?? "", port: parts[1] ?? "" };
  const [scheme = "", name = "", port = ""] = parts;
  if (parts.length > 3 || (scheme !== "http" && scheme !== "https" && scheme !== ""))
    throw badRequest(`invalid pod or service request ${JSON.stringify(text)}`);
  return { scheme: scheme === "https" ? "https" : "http", name, port };
}

function podTarget(pod: Pod, scheme: "http" | "https", port: string): ProxyTarget {
  const host = pod.status.podIP ?? "";
  if (host === "")
    throw badRequest(`address not allowed: pod ${pod.metadata.name ?? ""} has no IP address yet`);
  let number = Number(port);
  if (port === "") {
    const first = pod.spec.containers.flatMap((one) => one.ports ?? [])[0];
    number = first?.containerPort ?? (scheme === "https" ? 443 : 80);
  }
  if (!Number.isInteger(number) || number < 1 || number > 65535)
    throw badRequest(`invalid port ${JSON.stringify(port)}`);
  return { host, port: number, scheme };
}

/** One of the service's ready endpoints, for the port that is asked by name or number. */
export function serviceTarget(
  service: Service,
  found: Endpoints | undefined,
  scheme: "http" | "https",
  port: string,
): ProxyTarget {
  const name = service.metadata.name ?? "";
  const ports = service.spec.ports ?? [];
  const wanted =
    port === "" ? ports[0] : ports.find((one) => one.name === port || String(one.port) === port);
  if (wanted === undefined)
    throw serviceUnavailable(
      `no service port ${JSON.stringify(port)} found for service ${JSON.stringify(name)}`,
    );
  for (const subset of found?.subsets ?? []) {
    const address = subset.addresses?.[0];
    const match = subset.ports?.find((one) => (one.name ?? "") === (wanted.name ?? ""));
    if (address !== undefined && match !== undefined)
      return { host: address.ip, port: match.port, scheme };
  }
  throw serviceUnavailable(`no endpoints available for service ${JSON.stringify(name)}`);
}

async function handleProxy(context: ChainContext, parts: ProxyParts): Promise<ApiResponse> {
  const { request, info } = context;
  const { scheme, name, port } = splitName(info.name);
  const rest = info.parts.slice(3).join("/");
  const slash = request.path.endsWith("/") && rest !== "" ? "/" : "";
  if (rest === "" && !request.path.endsWith("/") && isPlainRead(request)) {
    // Relative links of the page would lead astray.
    const headers = { location: `${request.path}/${queryText(request.query)}` };
    const bytes = new Uint8Array();
    return { status: 301, headers, content: { type: "bytes", mediaType: "text/plain", bytes } };
  }
  const below = `/${rest}${slash}`;
  let target: ProxyTarget;
  if (info.resource === "nodes") {
    const own = await kubelet(parts, name);
    target =
      port === "" || Number(port) === own.port ? own : { ...own, port: Number(port), scheme };
  } else if (info.resource === "pods") {
    target = podTarget(await find<Pod>(parts, pods, info.namespace, name), scheme, port);
  } else {
    const service = await find<Service>(parts, services, info.namespace, name);
    const backends = parts.reader.get(endpoints, info.namespace, name);
    target = serviceTarget(service, backends, scheme, port);
  }
  const prefix = request.path.endsWith(below) ? request.path.slice(0, -below.length) : request.path;
  const forwarded = asForwarded(request, `${prefix}${below}`);
  const path = `${below}${queryText(request.query)}`;
  const answer = await proxyOf(parts).forward(target, path, forwarded);
  const { host = "" } = request.headers;
  return seenFromOutside(answer, linkThrough(prefix, [`${target.host}:${target.port}`, host]));
}

type Connect = (context: ChainContext, parts: ProxyParts) => Promise<ApiResponse>;
const connects: Readonly<Record<string, Connect>> = {
  "pods/exec": (context, parts) => handleStream(context, parts, "exec"),
  "pods/attach": (context, parts) => handleStream(context, parts, "attach"),
  "pods/portforward": handlePortForward,
  "pods/proxy": handleProxy,
  "services/proxy": handleProxy,
  "nodes/proxy": handleProxy,
};

async function admitted(
  connect: Connect,
  context: ChainContext,
  parts: ProxyParts,
): Promise<ApiResponse> {
  await admitConnect(context, parts.admission);
  return await connect(context, parts);
}

/** Undefined: not a subresource that connects. */
export function handleConnect(
  context: ChainContext,
  parts: ProxyParts,
): Promise<ApiResponse> | undefined {
  const { resource, subresource, group } = context.info;
  if (group !== "") return undefined;
  const id = `${resource}/${subresource}`;
  if (id === "pods/log") return handleLog(context, parts);
  const connect = connects[id];
  return connect === undefined ? undefined : admitted(connect, context, parts);
}
