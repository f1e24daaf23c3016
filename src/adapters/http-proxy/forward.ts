/**
 * One request on its way to a backend and the answer on its way back, both streamed. It is sent again elsewhere only where that is safe:
 * no connection was made; or nothing came back of a request that may be repeated and has no body.
 */
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Backends, Endpoint } from "./backends.ts";
import { type Again, type Exchange, statuses } from "./exchange.ts";
import { responseHeaders } from "./forward-headers.ts";
import { sendHttp1 } from "./http1-upstream.ts";
import { sendHttp2 } from "./http2-upstream.ts";
import { connectMsMax, isSilence, type Waiting } from "./vigil.ts";

const answerMsMax = 60_000;
const triesMax = 5;
/** As ingress-nginx has it. */
const sentMax = 3;
const repeatable: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "OPTIONS",
  "TRACE",
  "PUT",
  "DELETE",
]);

/** What HTTP/2 may carry in a path and HTTP/1.1 could take for the end of it. */
const isPlain = /^[!-~]+$/;

export function forward(exchange: Exchange, backends: Backends): void {
  if (!isPlain.test(exchange.target) || !isPlain.test(exchange.method)) {
    exchange.refuse(statuses.badRequest);
    return;
  }
  attempt(exchange, backends, {
    endpoints: new Set(),
    sent: 0,
    refusal: statuses.unavailable,
  });
}

/** What was tried for one request. */
interface Tries {
  readonly endpoints: Set<Endpoint>;
  /** How often it was sent whole and may have been worked on. */
  sent: number;
  /** What is said if nobody is left. */
  refusal: number;
}

function attempt(exchange: Exchange, backends: Backends, tries: Tries): void {
  const endpoint = backends.choose(exchange.backend, tries.endpoints);
  if (endpoint === undefined) {
    exchange.refuse(tries.refusal);
    return;
  }
  tries.endpoints.add(endpoint);
  const again: Again = (why) => {
    tries.refusal = why === "late" || why === "silent" ? statuses.timeout : statuses.badGateway;
    // A kept connection that was closed may be the endpoint's only fault.
    if (why === "stale") tries.endpoints.delete(endpoint);
    else endpoint.failed();
    if (why === "broken" || why === "late") tries.sent++;
    if (tries.endpoints.size >= triesMax || tries.sent >= sentMax) exchange.refuse(tries.refusal);
    else attempt(exchange, backends, tries);
  };
  const { body, isUpgrade, method } = exchange;
  const mayRepeat = body === undefined && !isUpgrade && repeatable.has(method);
  if (endpoint.protocol === "h2c" && !isUpgrade) sendHttp2(exchange, endpoint, mayRepeat, again);
  else if (endpoint.protocol === "http" && body === undefined && !isUpgrade) {
    sendHttp1(exchange, endpoint, mayRepeat, again);
  } else send(exchange, endpoint, mayRepeat, again);
}

function send(exchange: Exchange, endpoint: Endpoint, mayRepeat: boolean, again: Again): void {
  const { method, target, headers, body } = exchange;
  const open = endpoint.protocol === "https" ? requestHttps : requestHttp;
  const upstream = open({
    ...(exchange.isUpgrade ? { agent: false as const } : { agent: endpoint.agent }),
    host: endpoint.address,
    port: endpoint.port,
    method,
    path: target,
    headers: headers as string[],
    setHost: false,
    ...(endpoint.protocol === "https" ? { rejectUnauthorized: false } : {}),
  });
  let isConnected = false;
  let isOver = false;
  let isGone = false;
  let isCut = false;
  const waiting: Waiting = {
    sinceMs: 0,
    giveUp() {
      if (!mayRepeat) return;
      isCut = true;
      upstream.destroy(new Error("nobody is there"));
    },
  };
  const answered = (): void => {
    isOver = true;
    clearTimeout(late);
    endpoint.vigil.remove(waiting);
  };
  const late = setTimeout(() => upstream.destroy(timeout(isConnected)), answerMsMax);
  upstream.once("socket", (socket) => {
    socket.setNoDelay(true);
    const begin = (): void => {
      isConnected = true;
      endpoint.vigil.add(waiting);
      if (body === undefined) return;
      // Whoever waits for the head before he sends more gets it.
      if (body.readableLength === 0) upstream.flushHeaders();
      body.pipe(upstream);
    };
    if (!socket.connecting) {
      begin();
      return;
    }
    const slow = setTimeout(() => upstream.destroy(timeout(false)), connectMsMax);
    socket.once("connect", () => {
      clearTimeout(slow);
      begin();
    });
    socket.once("close", () => clearTimeout(slow));
  });
  if (body === undefined) upstream.end();
  exchange.onGone(() => {
    isGone = true;
    endpoint.vigil.remove(waiting);
    upstream.destroy();
  });
  upstream.once("response", (response) => {
    answered();
    relay(exchange, response);
  });
  upstream.once("upgrade", (response, socket, head) => {
    answered();
    if (exchange.upgraded === undefined) socket.destroy();
    else exchange.upgraded(response, socket, head);
  });
  upstream.on("error", (error: NodeJS.ErrnoException) => {
    clearTimeout(late);
    endpoint.vigil.remove(waiting);
    if (isGone) return;
    if (isOver) {
      exchange.broke();
      return;
    }
    isOver = true;
    if (body !== undefined) body.unpipe(upstream);
    if (!isConnected) {
      const isSilent = isTimeout(error) || isSilence(error.code);
      if (isSilent) endpoint.fellSilent();
      if (isSilent || error.code === "ECONNREFUSED") again(isSilent ? "silent" : "refused");
      else exchange.refuse(statuses.badGateway);
    } else if (!mayRepeat) {
      exchange.refuse(isTimeout(error) ? statuses.timeout : statuses.badGateway);
    } else if (isTimeout(error)) again("late");
    else again(upstream.reusedSocket && !isCut ? "stale" : "broken");
  });
}

const timeoutCode = "EPROXYTIMEOUT";
function timeout(isConnected: boolean): NodeJS.ErrnoException {
  const what = isConnected
    ? `answer within ${answerMsMax} ms`
    : `connection within ${connectMsMax} ms`;
  return Object.assign(new Error(`no ${what}`), { code: timeoutCode });
}
const isTimeout = (error: NodeJS.ErrnoException): boolean => error.code === timeoutCode;

function relay(exchange: Exchange, response: IncomingMessage): void {
  const headers = responseHeaders(response.rawHeaders, response.headers.connection);
  const out = exchange.respond(
    response.statusCode ?? statuses.badGateway,
    response.statusMessage ?? "",
    headers,
    () => response.rawTrailers,
  );
  response.once("error", () => exchange.broke());
  response.once("aborted", () => exchange.broke());
  if (response.readableLength === 0 && !response.complete) exchange.flush();
  response.pipe(out);
}
