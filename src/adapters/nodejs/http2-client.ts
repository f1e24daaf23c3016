/** The HTTP/2 client: requests to one address share a connection; another is opened when the server takes no more streams on it. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { type Address, type ClientTls, type HttpClient, NetworkError } from "#ports/network.ts";
import { noBody, type PulledBody, pullBody, pump } from "./http-body.ts";
import { badHeader, http2Headers, incomingHeaders, trailerHeaders } from "./http-headers.ts";
import { headBytesMax, headerCountMax } from "./http-request.ts";
import { type Answer, authorityOf, type Request } from "./http1-client.ts";
import { nameOf, networkError } from "./network-error.ts";
import { connectMsMax, dial } from "./network-listen.ts";

const connectionsDefault = 16;
/** Until the server says what it takes. */
const streamsAssumed = 100;
/** As Go's client: streams are bounded one by one, the connection is not what holds them back. */
const streamWindowBytes = 4 * 1024 * 1024;
const connectionWindowBytes = 1024 * 1024 * 1024;
const sessionMemoryMb = 256;
/** As upstream's clients: a connection that was silent so long is asked for a sign of life, and given up without. */
const silenceMsMax = 30_000;
const pingMsMax = 15_000;

export interface Http2ClientOptions {
  readonly tls?: ClientTls;
  readonly connections?: number;
  /** Ask for signs of life only while requests run: gRPC servers shut out who asks without. */
  readonly pingsOnlyBusy?: boolean;
}

export function http2Client(to: Address, options: Http2ClientOptions): HttpClient {
  const { tls, connections = connectionsDefault } = options;
  const sessions: Connection[] = [];
  let isClosed = false;
  /** The connection with room for a stream; a new one if all are full; the least busy if that is not allowed. */
  const choose = (): Connection => {
    const free = sessions.find((one) => one.streams < one.streamsMax() && !one.session.closed);
    if (free !== undefined) return free;
    const [busy] = sessions.toSorted((a, b) => a.streams - b.streams);
    if (busy !== undefined && sessions.length >= connections) return busy;
    const fresh = openConnection(to, options, () => {
      const at = sessions.indexOf(fresh);
      if (at >= 0) sessions.splice(at, 1);
    });
    sessions.push(fresh);
    return fresh;
  };
  return {
    async send(request) {
      if (isClosed)
        throw new NetworkError("ECANCELED", `the HTTP client of ${nameOf(to)} was closed`);
      const name = `${request.method} ${request.target.split("?")[0]} at ${nameOf(to)}`;
      if (request.signal?.aborted === true) {
        throw new NetworkError("ECANCELED", `${name}: it was cancelled (ECANCELED)`);
      }
      try {
        return await exchange(choose(), request, name, to, tls !== undefined);
      } catch (error) {
        throw networkError(error, name);
      }
    },
    close() {
      isClosed = true;
      const why = new NetworkError(
        "ECANCELED",
        `the HTTP client of ${nameOf(to)} was closed (ECANCELED)`,
      );
      for (const one of sessions.splice(0)) one.session.destroy(why);
    },
  };
}

interface Connection {
  readonly session: ClientHttp2Session;
  streams: number;
  streamsMax(): number;
  /** Why the session broke, once it has. */
  failure: Error | undefined;
}

/** `gone` is called as soon as no further request may use it. */
function openConnection(to: Address, options: Http2ClientOptions, gone: () => void): Connection {
  const { tls, pingsOnlyBusy = false } = options;
  const socket = dial(to, tls, { timeoutMs: connectMsMax, protocols: ["h2"] }, () => {
    if (!("alpnProtocol" in socket) || socket.alpnProtocol === "h2") return;
    socket.destroy(new NetworkError("EBADHTTP", `${nameOf(to)} does not speak HTTP/2 (EBADHTTP)`));
  });
  // Half a connection is no use to HTTP/2: once the server has ended, all of it ends.
  socket.allowHalfOpen = false;
  const session = connect(`${tls === undefined ? "http" : "https"}://${authorityOf(to)}`, {
    createConnection: () => socket,
    settings: {
      enablePush: false,
      initialWindowSize: streamWindowBytes,
      maxHeaderListSize: headBytesMax,
    },
    maxHeaderListPairs: headerCountMax,
    maxSessionMemory: sessionMemoryMb,
    peerMaxConcurrentStreams: streamsAssumed,
  });
  const connection: Connection = {
    session,
    streams: 0,
    failure: undefined,
    streamsMax: () => session.remoteSettings?.maxConcurrentStreams ?? streamsAssumed,
  };
  socket.on("error", (error) => {
    connection.failure ??= error;
    gone();
  });
  session.on("error", (error) => {
    connection.failure ??= error;
    gone();
  });
  session.once("goaway", gone);
  session.once("close", gone);
  session.once("connect", () => session.setLocalWindowSize(connectionWindowBytes));
  // The peer of a unix socket cannot vanish unnoticed.
  if (!("unix" in to)) watchSilence(connection, to, pingsOnlyBusy);
  return connection;
}

function watchSilence(connection: Connection, to: Address, onlyBusy: boolean): void {
  const { session } = connection;
  let answer: NodeJS.Timeout | undefined;
  session.setTimeout(silenceMsMax);
  session.on("timeout", () => {
    if (session.destroyed || session.closed) return;
    if (onlyBusy && connection.streams === 0) {
      session.setTimeout(silenceMsMax);
      return;
    }
    answer = setTimeout(() => {
      const silence = `no sign of life for ${(silenceMsMax + pingMsMax) / 1000} s`;
      session.destroy(new NetworkError("ETIMEDOUT", `${nameOf(to)}: ${silence} (ETIMEDOUT)`));
    }, pingMsMax);
    session.ping(() => {
      clearTimeout(answer);
      if (!session.destroyed) session.setTimeout(silenceMsMax);
    });
  });
  session.once("close", () => clearTimeout(answer));
}

async function exchange(
  connection: Connection,
  request: Request,
  name: string,
  to: Address,
  isSecure: boolean,
): Promise<Answer> {
  const { method, target, headers = {}, body, signal } = request;
  const { session } = connection;
  const bad = badHeader(headers);
  if (bad !== undefined)
    throw new NetworkError("EINVAL", `${name}: the header ${bad} is not valid (EINVAL)`);
  const wire: Record<string, string | string[]> = {
    ...http2Headers(headers),
    ":method": method,
    ":path": target,
    ":scheme": isSecure ? "https" : "http",
    ":authority": headers["host"] ?? authorityOf(to),
  };
  if (body instanceof Uint8Array) wire["content-length"] ??= String(body.length);
  const stream = session.request(wire, { endStream: body === undefined });
  connection.streams++;
  return new Promise((resolve, reject) => {
    let pulled: PulledBody | undefined;
    let isOver = false;
    const finish = (): void => {
      isOver = true;
      signal?.removeEventListener("abort", onAbort);
    };
    const fail = (error: NetworkError): void => {
      if (isOver) return;
      finish();
      reject(error);
      pulled?.fail(error);
      giveUp(stream);
    };
    const onAbort = (): void =>
      fail(new NetworkError("ECANCELED", `${name}: it was cancelled (ECANCELED)`));
    signal?.addEventListener("abort", onAbort);
    stream.on("error", (error) => fail(networkError(reasonOf(connection, error), name)));
    stream.once("close", () => {
      connection.streams--;
      if (pulled !== undefined) return;
      const broken = new NetworkError("ECONNRESET", `${name}: the stream was closed (ECONNRESET)`);
      fail(connection.failure === undefined ? broken : networkError(connection.failure, name));
    });
    stream.once("response", (incoming, flags) => {
      const answer = { status: Number(incoming[":status"]), headers: incomingHeaders(incoming) };
      if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) {
        finish();
        stream.resume();
        resolve({ ...answer, body: noBody, trailers: Promise.resolve({}) });
        return;
      }
      pulled = pullAnswer(stream, name, finish);
      resolve({ ...answer, body: pulled.source, trailers: pulled.trailers });
    });
    if (body === undefined) return;
    if (body instanceof Uint8Array) {
      stream.end(body);
      return;
    }
    pump(body, stream).then(
      (isWhole) => isWhole && stream.end(),
      (error: unknown) => fail(networkError(error, `${name}: the request's body broke off`)),
    );
  });
}

/** A stream that went down with its connection is told by what the connection died of. */
function reasonOf(connection: Connection, error: Error): Error {
  return Reflect.get(error, "code") === "ERR_HTTP2_STREAM_CANCEL"
    ? (connection.failure ?? error)
    : error;
}

function pullAnswer(stream: ClientHttp2Stream, name: string, finish: () => void): PulledBody {
  let trailers = {};
  stream.once("trailers", (headers) => {
    trailers = trailerHeaders(headers);
  });
  return pullBody({
    stream,
    name,
    // A stream that goes down with its session ends, too; one that ended by itself lives on until that was seen.
    isWhole: () => !stream.destroyed && (stream.rstCode ?? 0) === constants.NGHTTP2_NO_ERROR,
    trailers: () => trailers,
    drop: () => giveUp(stream),
    over: finish,
  });
}

/** Cancels. A body that is still being sent must not look whole, which close() would make of it. */
function giveUp(stream: ClientHttp2Stream): void {
  if (stream.destroyed) return;
  if (stream.writableEnded) stream.close(constants.NGHTTP2_CANCEL);
  else stream.destroy(new Error("the request was given up"));
}
