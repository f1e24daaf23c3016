/**
 * One request on its way to a backend and the answer on its way back, both streamed. It is sent again elsewhere only where that is safe:
 * no connection was made; or one that was kept broke before anything came back, of a request that may be repeated and has no body.
 */
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Backends, Endpoint } from "./backends.ts";
import { type Exchange, statuses } from "./exchange.ts";
import { responseHeaders } from "./forward-headers.ts";
import { sendHttp1 } from "./http1-upstream.ts";
import { sendHttp2 } from "./http2-upstream.ts";

const connectMsMax = 3000;
const answerMsMax = 60_000;
const triesMax = 5;
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
  attempt(exchange, backends, new Set());
}

function attempt(exchange: Exchange, backends: Backends, tried: Set<Endpoint>): void {
  const endpoint = backends.choose(exchange.backend, tried);
  if (endpoint === undefined) {
    exchange.refuse(tried.size === 0 ? statuses.unavailable : statuses.badGateway);
    return;
  }
  tried.add(endpoint);
  /** Elsewhere if anybody is left; a kept connection that broke may be the endpoint's only fault. */
  const again = (sameToo: boolean): boolean => {
    if (sameToo) tried.delete(endpoint);
    else endpoint.failed();
    if (tried.size >= triesMax) return false;
    attempt(exchange, backends, tried);
    return true;
  };
  if (endpoint.protocol === "h2c" && !exchange.isUpgrade) sendHttp2(exchange, endpoint, again);
  else if (endpoint.protocol === "http" && exchange.body === undefined && !exchange.isUpgrade) {
    sendHttp1(exchange, endpoint.connections, repeatable.has(exchange.method), again);
  } else send(exchange, endpoint, again);
}

const refusals: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ETIMEDOUT",
]);

function send(exchange: Exchange, endpoint: Endpoint, again: (sameToo: boolean) => boolean): void {
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
  const late = setTimeout(() => upstream.destroy(timeout(isConnected)), answerMsMax);
  upstream.once("socket", (socket) => {
    socket.setNoDelay(true);
    const begin = (): void => {
      isConnected = true;
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
    upstream.destroy();
  });
  upstream.once("response", (response) => {
    isOver = true;
    clearTimeout(late);
    relay(exchange, response);
  });
  upstream.once("upgrade", (response, socket, head) => {
    isOver = true;
    clearTimeout(late);
    if (exchange.upgraded === undefined) socket.destroy();
    else exchange.upgraded(response, socket, head);
  });
  upstream.on("error", (error: NodeJS.ErrnoException) => {
    clearTimeout(late);
    if (isGone) return;
    if (isOver) {
      exchange.broke();
      return;
    }
    isOver = true;
    if (body !== undefined) body.unpipe(upstream);
    const isRefused = !isConnected && (refusals.has(error.code ?? "") || isTimeout(error));
    if (isRefused && again(false)) return;
    const isStale = upstream.reusedSocket && !isTimeout(error);
    const mayRepeat = body === undefined && repeatable.has(method);
    if (isStale && mayRepeat && again(true)) return;
    exchange.refuse(isTimeout(error) ? statuses.timeout : statuses.badGateway);
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
