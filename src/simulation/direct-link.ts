/**
 * The direct transport of a simulated node: calls the API server in this process, and yet depends on the network between the two as
 * a remote transport does: what is asked and answered waits while the link is cut, and breaks with it.
 */
import { Connection, type Link } from "#adapters/memory/network-link.ts";
import type { ApiResponse, Handler, WatchEvent } from "#api/request.ts";
import { serviceUnavailable } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import { NetworkError } from "#ports/network.ts";
import type { Source } from "#ports/stream.ts";

/** A component's way to the API server. */
export interface ApiConnection {
  readonly handler: Handler;
  close(): void;
}

/** As long as a remote transport waits for a connection. */
const waitMsMax = 30_000;

/** `linkNow` is asked for each request: a machine that comes back has a new one. */
export function directConnection(
  handler: Handler,
  linkNow: () => Link | undefined,
  clock: Clock,
): ApiConnection {
  const open = new Set<Connection>();
  let closed = false;
  return {
    handler: async (request) => {
      const link = linkNow();
      if (closed || link === undefined) {
        throw serviceUnavailable("the API server cannot be reached: this machine has no network");
      }
      const connection = new Connection(link);
      open.add(connection);
      connection.onOver(() => open.delete(connection));
      try {
        await crossing(connection, clock);
        const response = await unlessBroken(connection, handler(request));
        await crossing(connection, clock);
        return carried(connection, response);
      } catch (error) {
        connection.finish();
        if (!(error instanceof NetworkError)) throw error;
        throw serviceUnavailable(`the API server cannot be reached: ${error.message}`);
      }
    },
    close() {
      closed = true;
      const gone = new NetworkError("ECANCELED", "the connection was closed (ECANCELED)");
      for (const connection of open) connection.break(gone);
    },
  };
}

/** Resolves once the link lets it through; rejects when the connection breaks first, or after a while. */
function crossing(connection: Connection, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    if (connection.failure !== undefined) {
      reject(connection.failure);
      return;
    }
    const { link } = connection;
    const late = new NetworkError("ETIMEDOUT", "no answer from the API server (ETIMEDOUT)");
    const cancel = link.isCut ? clock.after(waitMsMax, () => reject(late)) : () => {};
    const forget = connection.onBreak((error) => {
      cancel();
      reject(error);
    });
    link.carry(() => {
      cancel();
      forget();
      resolve();
    });
  });
}

function unlessBroken<T>(connection: Connection, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = connection.onBreak(reject);
    work.then(
      (value) => {
        forget();
        resolve(value);
      },
      (error: Error) => {
        forget();
        reject(error);
      },
    );
  });
}

/** What goes on behind the answer's head: a watch ends with the connection, and the connection with the watch. */
function carried(connection: Connection, response: ApiResponse): ApiResponse {
  const { content } = response;
  if (content.type !== "watch") {
    connection.finish();
    return response;
  }
  return {
    ...response,
    content: { type: "watch", events: new CarriedWatch(content.events, connection) },
  };
}

class CarriedWatch implements Source<WatchEvent> {
  readonly #source: Source<WatchEvent>;
  readonly #connection: Connection;

  constructor(source: Source<WatchEvent>, connection: Connection) {
    this.#source = source;
    this.#connection = connection;
    connection.onBreak(() => source.stop());
  }

  async next(): Promise<readonly WatchEvent[] | undefined> {
    const batch = await this.#source.next();
    const connection = this.#connection;
    if (connection.failure === undefined && connection.link.isCut) await this.#healed();
    if (connection.failure !== undefined) {
      throw serviceUnavailable(`the watch broke off: ${connection.failure.message}`);
    }
    if (batch === undefined) connection.finish();
    return batch;
  }

  stop(): void {
    this.#source.stop();
    this.#connection.finish();
  }

  /** Or broken, or stopped by the reader. */
  #healed(): Promise<void> {
    return new Promise((resolve) => {
      this.#connection.onBreak(() => resolve());
      this.#connection.onOver(resolve);
      this.#connection.link.carry(resolve);
    });
  }
}
