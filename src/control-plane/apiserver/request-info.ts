/** RequestInfo: what a request asks for, read from its method and path alone. Stage "request info" of the handler chain. */
import type { ApiRequest } from "#api/request.ts";
import { badRequest } from "#machinery/status-error.ts";

export interface RequestInfo {
  /** About an API object or a list of them; else about a path. */
  readonly isResource: boolean;
  /** Decoded path. */
  readonly path: string;
  /** get list watch create update patch delete deletecollection; the lower-case method for other paths. */
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  readonly resource: string;
  readonly subresource: string;
  readonly name: string;
  /** resource, name, subresource and whatever follows them, still percent-encoded. */
  readonly parts: readonly string[];
}

const verbs: Readonly<Record<string, string>> = {
  POST: "create",
  GET: "get",
  HEAD: "get",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

export function queryValue(request: ApiRequest, name: string): string | undefined {
  for (const [key, value] of request.query) if (key === name) return value;
  return undefined;
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw badRequest(`the path segment "${part}" is not valid percent-encoding`);
  }
}

/** Upstream: a boolean parameter is true unless it is "false" or "0"; `?watch` alone counts. */
export function queryFlag(request: ApiRequest, name: string): boolean {
  const value = queryValue(request, name);
  return value !== undefined && value.toLowerCase() !== "false" && value !== "0";
}

export function requestInfoOf(request: ApiRequest): RequestInfo {
  const trimmed = request.path.replace(/^\/+|\/+$/g, "");
  let parts = trimmed === "" ? [] : trimmed.split("/");
  const path = parts.length === 0 ? "/" : decodePart(request.path);
  const plain: RequestInfo = {
    isResource: false,
    path,
    verb: request.method.toLowerCase(),
    group: "",
    version: "",
    namespace: "",
    resource: "",
    subresource: "",
    name: "",
    parts: [],
  };
  const prefix = parts[0];
  if (parts.length < 3 || (prefix !== "api" && prefix !== "apis")) return plain;
  let group = "";
  parts = parts.slice(1);
  if (prefix === "apis") {
    if (parts.length < 3) return plain;
    group = decodePart(parts[0] as string);
    parts = parts.slice(1);
  }
  const version = decodePart(parts[0] as string);
  parts = parts.slice(1);
  let verb = verbs[request.method] ?? "";
  const byPath = parts[0] === "watch" || parts[0] === "proxy";
  if (byPath) {
    if (parts.length < 2)
      throw badRequest(`unable to determine kind and namespace from url, ${request.path}`);
    verb = parts[0] as string;
    parts = parts.slice(1);
  }
  let namespace = "";
  if (parts[0] === "namespaces" && parts.length > 1) {
    namespace = decodePart(parts[1] as string);
    const third = parts[2];
    if (third !== undefined && third !== "status" && third !== "finalize") parts = parts.slice(2);
  }
  const resource = decodePart(parts[0] ?? "");
  let name = decodePart(parts[1] ?? "");
  const subresource = parts.length >= 3 && !byPath ? decodePart(parts[2] as string) : "";
  if (name === "" && verb === "get") {
    verb = queryFlag(request, "watch") ? "watch" : "list";
    name = nameOfSelector(queryValue(request, "fieldSelector"));
  }
  if (name === "" && verb === "delete") verb = "deletecollection";
  return {
    isResource: true,
    path,
    verb,
    group,
    version,
    namespace,
    resource,
    subresource,
    name,
    parts,
  };
}

/** Upstream: a list or watch that is narrowed to one name is authorized for that name. */
function nameOfSelector(selector: string | undefined): string {
  if (selector === undefined) return "";
  for (const term of selector.split(",")) {
    const match = /^metadata\.name==?([^=!]+)$/.exec(term.trim());
    if (match?.[1] !== undefined) return match[1];
  }
  return "";
}
