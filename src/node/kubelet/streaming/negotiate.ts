/**
 * What a client asks for when it wants a stream of its own (exec, attach, port-forward), and the
 * answer's head: SPDY/3.1, websocket channels, or SPDY tunnelled in a websocket.
 * Pure: headers in, a decision out.
 */

import { acceptKey, asksWebSocket } from "#machinery/websocket.ts";
import type { Headers, HttpResponse } from "#ports/network.ts";

export type Negotiated =
  | { readonly type: "spdy"; readonly protocol: string; readonly headers: Headers }
  | { readonly type: "websocket"; readonly protocol: string; readonly headers: Headers }
  | { readonly type: "tunnel"; readonly protocol: string; readonly headers: Headers }
  | { readonly type: "refused"; readonly response: HttpResponse };

export interface Supported {
  /** Best first; the client's order decides. */
  readonly spdy: readonly string[];
  /** "" stands for a client that names no protocol. */
  readonly websocket: readonly string[];
  /** Protocols that may be tunnelled as SPDY/3.1+PROTOCOL. */
  readonly tunnelled: readonly string[];
}

const tunnelPrefix = "SPDY/3.1+";

const listOf = (value: string | undefined): readonly string[] =>
  (value ?? "")
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");

/** As Go's http.Error answers: plain text with a line end. */
export function refusal(status: number, message: string, headers: Headers = {}): HttpResponse {
  return {
    status,
    headers: {
      "content-type": "text/plain; charset=utf-8",
      "x-content-type-options": "nosniff",
      ...headers,
    },
    body: new TextEncoder().encode(`${message}\n`),
  };
}
const refused = (status: number, message: string, headers?: Headers): Negotiated => ({
  type: "refused",
  response: refusal(status, message, headers),
});

export function isTunnel(headers: Headers): boolean {
  return (
    asksWebSocket(headers) &&
    listOf(headers["sec-websocket-protocol"]).some((name) => name.startsWith(tunnelPrefix))
  );
}

function negotiateSpdy(headers: Headers, supported: Supported): Negotiated {
  const asked = headers["x-stream-protocol-version"];
  if (asked === undefined) {
    const count = Object.keys(headers).length;
    return refused(
      400,
      `unable to upgrade: header X-Stream-Protocol-Version does not exist in request with ${count} headers`,
    );
  }
  const names = listOf(asked);
  const protocol = names.find((name) => supported.spdy.includes(name));
  if (protocol === undefined) {
    return refused(
      403,
      `unable to upgrade: unable to negotiate protocol: client supports [${names.join(" ")}], server accepts [${supported.spdy.join(" ")}]`,
      { "x-accepted-stream-protocol-versions": supported.spdy.join(", ") },
    );
  }
  const wantsUpgrade = (headers["connection"] ?? "").toLowerCase().includes("upgrade");
  if (!wantsUpgrade || !(headers["upgrade"] ?? "").toLowerCase().includes("spdy/3.1")) {
    return refused(400, "unable to upgrade: missing upgrade headers in request");
  }
  return {
    type: "spdy",
    protocol,
    headers: {
      connection: "Upgrade",
      upgrade: "SPDY/3.1",
      "x-stream-protocol-version": protocol,
    },
  };
}

function negotiateWebSocket(headers: Headers, supported: Supported): Negotiated {
  const key = headers["sec-websocket-key"];
  if (key === undefined || headers["sec-websocket-version"] !== "13") {
    return refused(400, "unable to upgrade: a websocket needs a key and version 13");
  }
  const named = listOf(headers["sec-websocket-protocol"]);
  const asked = named.length > 0 ? named : [""];
  const common = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-accept": acceptKey(key),
  };
  for (const name of asked) {
    const inner = name.startsWith(tunnelPrefix) ? name.slice(tunnelPrefix.length) : undefined;
    if (inner !== undefined && supported.tunnelled.includes(inner)) {
      const answer = { ...common, "sec-websocket-protocol": name };
      return { type: "tunnel", protocol: inner, headers: answer };
    }
    if (supported.websocket.includes(name)) {
      const answer = name === "" ? common : { ...common, "sec-websocket-protocol": name };
      return { type: "websocket", protocol: name, headers: answer };
    }
  }
  return refused(
    403,
    `requested protocol(s) are not supported: [${named.join(" ")}]; supports [${supported.websocket.join(" ")}]`,
  );
}

export function negotiate(headers: Headers, supported: Supported): Negotiated {
  return asksWebSocket(headers)
    ? negotiateWebSocket(headers, supported)
    : negotiateSpdy(headers, supported);
}
