/** A request to a backend that speaks HTTP/2 in clear (gRPC servers): all of them share one connection, trailers included. */
import { constants } from "node:http2";
import type { Endpoint } from "./backends.ts";
import { type Again, type Exchange, statuses } from "./exchange.ts";
import type { Waiting } from "./vigil.ts";

const headersOf = ({ method, target, headers }: Exchange): Record<string, string | string[]> => {
  const all: Record<string, string | string[]> = {
    ":method": method,
    ":path": target,
    te: "trailers",
  };
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase();
    const value = headers[i + 1] as string;
    if (name === "transfer-encoding") continue;
    if (name === "host") {
      all[":authority"] = value;
      continue;
    }
    const known = all[name];
    if (known === undefined) all[name] = value;
    else all[name] = Array.isArray(known) ? [...known, value] : [known, value];
  }
  return all;
};

const raw = (headers: Readonly<Record<string, unknown>>): string[] => {
  const list: string[] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) list.push(name, String(one));
  }
  return list;
};

export function sendHttp2(
  exchange: Exchange,
  endpoint: Endpoint,
  mayRepeat: boolean,
  again: Again,
): void {
  const session = endpoint.session();
  let isConnected = !session.connecting;
  const stream = session.request(headersOf(exchange), { endStream: exchange.body === undefined });
  let isOver = false;
  let isGone = false;
  let trailers: string[] = [];
  const waiting: Waiting = {
    sinceMs: 0,
    giveUp() {
      if (mayRepeat && !isOver) stream.close(constants.NGHTTP2_CANCEL);
    },
  };
  const begin = (): void => {
    isConnected = true;
    endpoint.vigil.add(waiting);
    exchange.body?.pipe(stream);
  };
  if (session.connecting) session.once("connect", begin);
  else begin();
  exchange.onGone(() => {
    isGone = true;
    endpoint.vigil.remove(waiting);
    stream.close(constants.NGHTTP2_CANCEL);
  });
  stream.once("response", (headers) => {
    isOver = true;
    endpoint.vigil.remove(waiting);
    const status = headers[":status"] ?? statuses.badGateway;
    const out = exchange.respond(status, "", raw(headers), () => trailers);
    stream.pipe(out);
  });
  stream.once("trailers", (headers) => {
    trailers = raw(headers);
  });
  const failed = (isRefused: boolean): void => {
    endpoint.vigil.remove(waiting);
    if (isGone) return;
    if (isOver) {
      exchange.broke();
      return;
    }
    isOver = true;
    exchange.body?.unpipe(stream);
    if (isRefused) again("refused");
    else if (mayRepeat) again("broken");
    else exchange.refuse(statuses.badGateway);
  };
  // Refused before it was looked at, or never connected: nothing of it was worked on.
  const wasRefused = (): boolean =>
    !isConnected || stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
  stream.once("error", () => failed(wasRefused()));
  stream.once("close", () => {
    if (!isOver) failed(wasRefused());
  });
}
