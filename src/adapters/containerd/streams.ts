/**
 * Sessions with containerd's streaming server: exec, attach and port-forward over SPDY/3.1, which,
 * unlike its websockets, can half-close standard input. Reads and writes the Network port.
 */

import type { SpdyStream } from "#machinery/spdy/connection.ts";
import { SpdyConnection } from "#machinery/spdy/connection.ts";
import type { HttpClient, Network } from "#ports/network.ts";
import type { Session, StreamOptions } from "#ports/runtime.ts";
import { RuntimeError } from "#ports/runtime.ts";
import type { Bytes, Duplex, Source } from "#ports/stream.ts";

const remoteCommandProtocol = "v4.channel.k8s.io";
const portForwardProtocol = "portforward.k8s.io";
const statusBytesMax = 64 * 1024;

const failed = (message: string): RuntimeError => new RuntimeError("failed", message);
const ignore = (): void => undefined;

/** What a stream gives, as a source that can be stopped. */
export function sourceOf(stream: Pick<Duplex, "read">): Source<Bytes> {
  let stopped = false;
  let stop = ignore;
  const stopping = new Promise<undefined>((resolve) => {
    stop = () => {
      stopped = true;
      resolve(undefined);
    };
  });
  return {
    next: async () => {
      if (stopped) return undefined;
      const bytes = await Promise.race([stream.read(), stopping]);
      return bytes === undefined ? undefined : [bytes];
    },
    stop: () => stop(),
  };
}

async function readText(stream: Pick<Duplex, "read">): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const bytes = await stream.read();
    if (bytes === undefined) return text + decoder.decode();
    if (text.length < statusBytesMax) text += decoder.decode(bytes, { stream: true });
  }
}

/** The exit code that a status of the error stream tells; throws if the session failed. */
export function exitCodeOf(text: string): number {
  if (text === "") throw failed("the session ended without a status: the connection broke");
  const status: unknown = JSON.parse(text);
  const field = (from: unknown, name: string): unknown =>
    typeof from === "object" && from !== null ? Reflect.get(from, name) : undefined;
  if (field(status, "status") === "Success") return 0;
  if (field(status, "reason") === "NonZeroExitCode") {
    const causes = field(field(status, "details"), "causes");
    const cause = Array.isArray(causes)
      ? causes.find((item: unknown) => field(item, "reason") === "ExitCode")
      : undefined;
    const code = Number(field(cause, "message"));
    if (Number.isInteger(code)) return code;
  }
  const message = field(status, "message");
  throw failed(typeof message === "string" ? message : text);
}

/** containerd's streaming server, by the URLs that CRI's Exec, Attach and PortForward give. */
export class StreamingClient {
  readonly #network: Network;
  #client: { readonly origin: string; readonly http: HttpClient } | undefined;

  constructor(network: Network) {
    this.#network = network;
  }

  close(): void {
    this.#client?.http.close();
    this.#client = undefined;
  }

  async session(url: string, options: StreamOptions, kind: "exec" | "attach"): Promise<Session> {
    const connection = await this.#connect(url, remoteCommandProtocol);
    try {
      const open = (type: string): Promise<SpdyStream> => connection.open({ streamtype: type });
      const error = await open("error");
      const stdin = options.stdin ? await open("stdin") : undefined;
      const stdout = options.stdout ? await open("stdout") : undefined;
      const stderr = options.stderr && !options.tty ? await open("stderr") : undefined;
      const resize = options.tty ? await open("resize") : undefined;
      return session(connection, { error, stdin, stdout, stderr, resize }, kind);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async forward(url: string, port: number): Promise<Duplex> {
    const connection = await this.#connect(url, portForwardProtocol);
    try {
      const headers = { port: String(port), requestid: "0" };
      const error = await connection.open({ streamtype: "error", ...headers });
      error.end();
      const data = await connection.open({ streamtype: "data", ...headers });
      return forwarded(connection, data, error);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async #connect(url: string, protocol: string): Promise<SpdyConnection> {
    const { hostname, port, pathname, search } = new URL(url);
    const reply = await this.#http(hostname, Number(port)).send({
      method: "POST",
      target: `${pathname}${search}`,
      headers: {
        connection: "Upgrade",
        upgrade: "SPDY/3.1",
        "x-stream-protocol-version": protocol,
      },
    });
    if (reply.status !== 101 || reply.raw === undefined) {
      const read = async (): Promise<Bytes | undefined> => (await reply.body.next())?.[0];
      const text = await readText({ read });
      throw failed(`the engine refused the stream with status ${reply.status}: ${text.trim()}`);
    }
    return new SpdyConnection(reply.raw, "client", () => "the engine opens no streams");
  }

  /** The server's port changes only when the engine was restarted. */
  #http(host: string, port: number): HttpClient {
    const origin = `${host}:${port}`;
    if (this.#client?.origin !== origin) {
      this.#client?.http.close();
      const http = this.#network.http({ host, port }, { version: 1 });
      this.#client = { origin, http };
    }
    return this.#client.http;
  }
}

interface SessionStreams {
  readonly error: SpdyStream;
  readonly stdin: SpdyStream | undefined;
  readonly stdout: SpdyStream | undefined;
  readonly stderr: SpdyStream | undefined;
  readonly resize: SpdyStream | undefined;
}

function session(
  connection: SpdyConnection,
  streams: SessionStreams,
  kind: "exec" | "attach",
): Session {
  const { stdin, stdout, stderr, resize } = streams;
  const status = readText(streams.error).then((text) =>
    kind === "attach" && text === "" ? 0 : exitCodeOf(text),
  );
  // Who only aborts a session does not wait for its end.
  status.catch(ignore);
  return {
    stdin:
      stdin === undefined
        ? undefined
        : { write: (bytes) => stdin.write(bytes), end: () => stdin.end() },
    stdout: stdout === undefined ? undefined : sourceOf(stdout),
    stderr: stderr === undefined ? undefined : sourceOf(stderr),
    resize: (columns, rows) => {
      const size = JSON.stringify({ Width: columns, Height: rows });
      // A size for a terminal that has just gone is of no use to anyone.
      resize?.write(new TextEncoder().encode(size)).catch(ignore);
    },
    exit: status,
    abort: () => connection.abort(failed("the session was aborted")),
  };
}

function forwarded(connection: SpdyConnection, data: SpdyStream, error: SpdyStream): Duplex {
  const complaint = readText(error);
  complaint.catch(ignore);
  return {
    read: async () => {
      const bytes = await data.read();
      if (bytes !== undefined) return bytes;
      // The engine ends both streams together, the one with its complaint first.
      const text = await complaint;
      if (text !== "") throw failed(text);
      return undefined;
    },
    write: (bytes) => data.write(bytes),
    end: () => data.end(),
    abort: (reason) => {
      data.abort(reason);
      connection.abort(reason);
    },
  };
}
