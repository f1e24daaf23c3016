/** The HTTP front end: HttpRequest to ApiRequest and back. What the chain sees of a connection is what it proved. */
import type { ApiRequest, ApiResponse, Handler } from "#api/request.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "#ports/network.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { bodyBytesMax } from "./body.ts";
import { concat } from "./bytes.ts";

const targetLengthMax = 64 * 1024;

function decodeQueryPart(text: string): string {
  const spaced = text.replaceAll("+", " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

export function parseTarget(target: string): Pick<ApiRequest, "path" | "query"> {
  const mark = target.indexOf("?");
  const path = mark === -1 ? target : target.slice(0, mark);
  const text = mark === -1 ? "" : target.slice(mark + 1);
  const query: (readonly [string, string])[] = [];
  for (const pair of text.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = equals === -1 ? pair : pair.slice(0, equals);
    const value = equals === -1 ? "" : pair.slice(equals + 1);
    query.push([decodeQueryPart(name), decodeQueryPart(value)]);
  }
  return { path: path === "" ? "/" : path, query };
}

/** Undefined: longer than the limit. */
async function readWhole(source: Source<Bytes>): Promise<Bytes | undefined> {
  const chunks: Bytes[] = [];
  let size = 0;
  for (;;) {
    const batch = await source.next();
    if (batch === undefined) return concat(chunks);
    for (const chunk of batch) {
      size += chunk.length;
      if (size > bodyBytesMax) {
        source.stop();
        return undefined;
      }
      chunks.push(chunk);
    }
  }
}

const encoder = new TextEncoder();

/** What is refused before there is a request to speak of, as a Status. */
function refusal(status: number, reason: string, message: string): HttpResponse {
  const body = {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    code: status,
  };
  return {
    status,
    headers: { "content-type": "application/json" },
    body: encoder.encode(JSON.stringify(body)),
  };
}

/** What a body over the limit is answered: here, or by the network before it comes here. */
export const bodyTooLarge = refusal(
  413,
  "RequestEntityTooLarge",
  `Request entity too large: limit is ${bodyBytesMax}`,
);

async function apiRequest(request: HttpRequest): Promise<ApiRequest | HttpResponse> {
  if (request.target.length > targetLengthMax)
    return refusal(414, "", "the request URI is too long");
  let body: Bytes | undefined;
  if (request.body !== undefined) {
    body = "next" in request.body ? await readWhole(request.body) : request.body;
    if (body === undefined) return bodyTooLarge;
  }
  return {
    method: request.method,
    ...parseTarget(request.target),
    headers: request.headers,
    ...(body === undefined ? {} : { body: { bytes: body } }),
    gone: request.gone,
    direct: false,
    ...(request.peer === undefined ? {} : { peer: request.peer }),
  };
}

function httpResponse(response: ApiResponse, head: boolean): HttpResponse {
  const { status, headers, content } = response;
  switch (content.type) {
    case "bytes": {
      const typed = { "content-type": content.mediaType, ...headers };
      if (status === 304) return { status, headers };
      if (head) return { status, headers: typed };
      return { status, headers: typed, body: content.bytes, gzip: true };
    }
    case "stream": {
      const typed = { "content-type": content.mediaType, ...headers };
      if (!head) return { status, headers: typed, body: content.bytes };
      content.bytes.stop();
      return { status, headers: typed };
    }
    case "upgrade":
      return { status, headers, upgrade: content.run };
    default:
      throw new Error("the chain answered a request over HTTP with values");
  }
}

export function httpFront(handler: Handler): HttpHandler {
  return async (request) => {
    const asked = await apiRequest(request);
    if (!("path" in asked)) return asked;
    return httpResponse(await handler(asked), request.method === "HEAD");
  };
}
