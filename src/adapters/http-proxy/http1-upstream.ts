/**
 * Requests without a body to a backend that speaks HTTP/1.1 in clear: most of what there is, on connections that are kept, and with as
 * little around them as can be. All else goes through Node's own client; see forward.ts.
 */
import { connect, type Socket } from "node:net";
import type { Writable } from "node:stream";
import type { ProxyEndpoint } from "#ports/http-proxy.ts";
import type { Endpoint } from "./backends.ts";
import { type Again, type Exchange, statuses } from "./exchange.ts";
import { responseHeaders } from "./forward-headers.ts";
import { type AnswerEvents, AnswerReader } from "./http1-answer.ts";
import { connectMsMax, isSilence, type Waiting } from "./vigil.ts";

const answerMsMax = 60_000;
/** Shorter than most servers keep idle connections (Node's 5 s), so that we close before they do. */
const idleMs = 4000;
const idleMax = 64;

/** What a connection that is asked tells. */
interface Asked {
  readonly data: (bytes: Buffer) => void;
  readonly connected: () => void;
  /** It is over; `error`: not in peace. */
  readonly closed: (error: Error | undefined) => void;
}

export class Connection {
  readonly socket: Socket;
  wasUsed = false;
  isConnected = false;
  asked: Asked | undefined;
  #error: Error | undefined;

  constructor(endpoint: ProxyEndpoint, idle: Connection[]) {
    const socket = connect({ host: endpoint.address, port: endpoint.port, noDelay: true });
    this.socket = socket;
    socket.on("connect", () => {
      this.isConnected = true;
      this.asked?.connected();
    });
    socket.on("data", (bytes: Buffer) => {
      // Nobody asked: whatever it is, it belongs to nothing.
      if (this.asked === undefined) socket.destroy();
      else this.asked.data(bytes);
    });
    socket.on("timeout", () => {
      if (this.asked === undefined) socket.destroy();
    });
    socket.on("error", (error) => {
      this.#error = error;
    });
    socket.on("close", () => {
      const at = idle.indexOf(this);
      if (at >= 0) idle.splice(at, 1);
      this.asked?.closed(this.#error);
    });
  }
}

/** The connections to one endpoint that wait for a request. */
export class ConnectionPool {
  readonly #endpoint: ProxyEndpoint;
  readonly #idle: Connection[] = [];
  isClosed = false;

  constructor(endpoint: ProxyEndpoint) {
    this.#endpoint = endpoint;
  }
  take(): Connection {
    const kept = this.#idle.pop();
    if (kept === undefined) return new Connection(this.#endpoint, this.#idle);
    kept.socket.setTimeout(0);
    kept.wasUsed = true;
    return kept;
  }
  give(connection: Connection): void {
    connection.asked = undefined;
    if (this.isClosed || this.#idle.length >= idleMax) {
      connection.socket.destroy();
      return;
    }
    connection.socket.setTimeout(idleMs);
    this.#idle.push(connection);
  }
  close(): void {
    this.isClosed = true;
    this.dropIdle();
  }
  dropIdle(): void {
    for (const { socket } of this.#idle.splice(0)) socket.destroy();
  }
}

function headText({ method, target, headers }: Exchange): string {
  let text = `${method} ${target} HTTP/1.1\r\n`;
  for (let i = 0; i + 1 < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${text}Connection: keep-alive\r\n\r\n`;
}

export function sendHttp1(
  exchange: Exchange,
  endpoint: Endpoint,
  mayRepeat: boolean,
  again: Again,
): void {
  const { connections: pool, vigil } = endpoint;
  const connection = pool.take();
  const { socket } = connection;
  let out: Writable | undefined;
  let isOver = false;
  let isGone = false;
  let isLate = false;
  let isCut = false;
  let hasBody = false;
  let trailers: readonly string[] = [];
  const tooLate = (): void => {
    isLate = true;
    socket.destroy();
  };
  let late = setTimeout(tooLate, connection.isConnected ? answerMsMax : connectMsMax);
  const waiting: Waiting = {
    sinceMs: 0,
    giveUp() {
      if (!mayRepeat || reader.hasBegun) return;
      isCut = true;
      socket.destroy();
    },
  };
  const events: AnswerEvents = {
    head(head) {
      clearTimeout(late);
      const { status, statusText } = head;
      const headers = responseHeaders(head.headers, head.connection);
      out = exchange.respond(status, statusText, headers, () => trailers);
    },
    piece(bytes) {
      hasBody = true;
      if (out?.write(bytes) !== false) return;
      socket.pause();
      out.once("drain", () => socket.resume());
    },
    end(isReusable, last) {
      trailers = last;
      isOver = true;
      out?.end();
      // It may have been held back for whoever reads the answer.
      socket.resume();
      if (isReusable) pool.give(connection);
      else socket.destroy();
    },
  };
  const reader = new AnswerReader(events, exchange.method === "HEAD");
  const failed = (error?: NodeJS.ErrnoException): void => {
    clearTimeout(late);
    vigil.remove(waiting);
    if (isGone || isOver) return;
    isOver = true;
    if (out !== undefined) {
      exchange.broke();
      return;
    }
    if (!connection.isConnected) {
      if (isLate || isSilence(error?.code)) endpoint.fellSilent();
      again(isLate ? "silent" : "refused");
    } else if (!mayRepeat || reader.hasBegun) {
      exchange.refuse(isLate ? statuses.timeout : statuses.badGateway);
    } else if (isLate) again("late");
    else again(connection.wasUsed && !isCut ? "stale" : "broken");
  };
  connection.asked = {
    connected: () => {
      clearTimeout(late);
      late = setTimeout(tooLate, answerMsMax);
      vigil.add(waiting);
    },
    data(bytes) {
      vigil.remove(waiting);
      try {
        reader.push(bytes);
      } catch {
        // It does not speak HTTP as we understand it.
        socket.destroy();
        failed();
        return;
      }
      // Whoever waits for the head gets it, though no body has come yet.
      if (out !== undefined && !isOver && !hasBody) exchange.flush();
    },
    closed(error) {
      if (isOver || reader.close()) return;
      failed(error);
    },
  };
  exchange.onGone(() => {
    isGone = true;
    clearTimeout(late);
    vigil.remove(waiting);
    if (!isOver) socket.destroy();
  });
  if (connection.isConnected) vigil.add(waiting);
  socket.write(headText(exchange), "latin1");
}
