/**
 * An extension server: behind a Service, spoken to over TLS with the front proxy's certificate; the user goes along in headers, which it
 * believes because of that certificate. Reads Services and their endpoints; writes nothing.
 */
import type { APIService } from "#api/apiregistration/v1/apiservice.ts";
import type { Service } from "#api/generated/core/v1.ts";
import type { EndpointSlice } from "#api/generated/discovery/v1.ts";
import type { ApiRequest, ApiResponse, User } from "#api/request.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { serviceUnavailable } from "#machinery/status-error.ts";
import type { NodeProxy, ProxyTarget } from "./node-proxy.ts";
import { serviceTarget } from "./proxy-subresources.ts";
import type { Reader } from "./reader.ts";
import { asBytes, asValues } from "./remote-values.ts";

export interface FrontProxy {
  /** PEM: who signs what the front proxy shows; extension servers are told by ConfigMap. */
  readonly ca: string;
  /** The front proxy's client certificate. */
  readonly identity: () => { readonly chain: string; readonly key: string };
}

export interface ExtensionParts {
  readonly reader: Reader;
  readonly proxy: NodeProxy | undefined;
  readonly frontProxy: FrontProxy | undefined;
}

const services = { group: "", plural: "services" };
const endpoints = { group: "", plural: "endpoints" };
const slices = { group: "discovery.k8s.io", plural: "endpointslices" };
const serviceNameLabel = "kubernetes.io/service-name";

/** Headers that say who asks. */
function userHeaders({ name, uid, groups, extra }: User): Record<string, string> {
  const headers: Record<string, string> = { "x-remote-user": name };
  if (uid !== undefined && uid !== "") headers["x-remote-uid"] = uid;
  if (groups.length > 0) headers["x-remote-group"] = groups.join("\n");
  for (const [key, values] of Object.entries(extra ?? {}))
    headers[`x-remote-extra-${encodeURIComponent(key).toLowerCase()}`] = values.join("\n");
  return headers;
}

/** Nobody may say through us that he is somebody else. */
const withUser = (headers: ApiRequest["headers"], user: User): Record<string, string> => ({
  ...Object.fromEntries(
    Object.entries(headers).filter(
      ([name]) => !name.startsWith("x-remote-") && !name.startsWith("impersonate-"),
    ),
  ),
  ...userHeaders(user),
});

/** What is wrong with the Service behind an APIService, as its condition says it. */
export interface Trouble {
  readonly reason: string;
  readonly message: string;
}

export function serviceTrouble({ spec }: APIService, reader: Reader): Trouble | undefined {
  const { namespace = "", name = "", port = 443 } = spec.service ?? {};
  const where = `service/${name} in "${namespace}"`;
  const service = reader.get(services, namespace, name) as Service | undefined;
  if (service === undefined)
    return { reason: "ServiceNotFound", message: `${where} is not present` };
  if ((service.spec.type ?? "ClusterIP") !== "ClusterIP") return undefined;
  const found = service.spec.ports?.find((one) => one.port === port);
  if (found === undefined)
    return { reason: "ServicePortError", message: `${where} is not listening on port ${port}` };
  const own = [...reader.list(slices, namespace)].filter(
    ({ metadata }) => metadata.labels?.[serviceNameLabel] === name,
  ) as EndpointSlice[];
  if (own.length === 0)
    return { reason: "EndpointsNotFound", message: `cannot find endpointslices for ${where}` };
  const portName = found.name ?? "";
  const has = own.some(
    (slice) =>
      (slice.endpoints ?? []).some(({ conditions }) => conditions?.ready !== false) &&
      (slice.ports ?? []).some((one) => one.name === portName && one.port !== undefined),
  );
  if (has) return undefined;
  const message = `endpointslices for ${where} have no addresses with port name "${portName}"`;
  return { reason: "MissingEndpoints", message };
}

function targetOf({ spec }: APIService, { reader, frontProxy }: ExtensionParts): ProxyTarget {
  const { namespace = "", name = "", port = 443 } = spec.service ?? {};
  const service = reader.get(services, namespace, name) as Service | undefined;
  if (service === undefined) throw serviceUnavailable("service unavailable");
  const backends = reader.get(endpoints, namespace, name);
  const bundle = decodeBase64(spec.caBundle ?? "");
  const roots = "bytes" in bundle ? new TextDecoder().decode(bundle.bytes) : "";
  const tls = {
    serverName: `${name}.${namespace}.svc`,
    ...(roots === "" ? {} : { roots }),
    ...(spec.insecureSkipTLSVerify === true ? { insecure: true } : {}),
    ...(frontProxy === undefined ? {} : { identity: frontProxy.identity }),
  };
  return { ...serviceTarget(service, backends, "https", String(port)), tls };
}

/** The address that errors name. */
export function addressOf(service: APIService, parts: ExtensionParts, path: string): string {
  const { host, port } = targetOf(service, parts);
  return `https://${host.includes(":") ? `[${host}]` : host}:${port}${path}`;
}

const queryText = (pairs: ApiRequest["query"]): string =>
  pairs.length === 0
    ? ""
    : `?${pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&")}`;

/** Sends a request on as that user; whoever asks for values gets values. */
export async function forwardTo(
  service: APIService,
  request: ApiRequest,
  user: User,
  parts: ExtensionParts,
): Promise<ApiResponse> {
  const { proxy } = parts;
  if (proxy === undefined)
    throw serviceUnavailable("this API server was started without a network");
  const bytes = asBytes(request);
  const target = targetOf(service, parts);
  const headers = withUser(bytes.headers, user);
  const answer = await proxy.forward(target, `${request.path}${queryText(request.query)}`, {
    ...bytes,
    headers,
  });
  if (!request.direct) return answer;
  return await asValues(
    answer,
    request.query.some(([name, value]) => name === "watch" && value !== "false" && value !== "0"),
  );
}
