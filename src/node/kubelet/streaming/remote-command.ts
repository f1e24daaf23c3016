/**
 * Exec and attach as the kubelet serves them: a client's upgraded connection on one side, a session
 * of the runtime on the other. Knows no pods; the server that calls it has found the container.
 */

import { WebSocket } from "#machinery/websocket.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { HttpRequest, HttpResponse } from "#ports/network.ts";
import type { Session, StreamOptions } from "#ports/runtime.ts";
import type { Duplex } from "#ports/stream.ts";
import type { ClientStreams, Readable, Writable } from "./client-streams.ts";
import { overSpdy, overWebSocket, spdyProtocols, webSocketProtocols } from "./client-streams.ts";
import { negotiate, refusal } from "./negotiate.ts";

export interface StreamingContext {
  readonly clock: Clock;
  readonly log: Log;
}

export interface RemoteCommand {
  readonly kind: "exec" | "attach";
  /** For messages; empty when attaching. */
  readonly command: readonly string[];
  readonly options: StreamOptions;
  /** Starts it; called once, when the client's streams stand. */
  open(): Promise<Session>;
}

/**
 * The streams that a request's query asks for, in the kubelet's words (input, output, error, tty) or
 * the API server's (stdin, stdout, stderr, tty); a text says what is wrong with them.
 */
export function readStreamOptions(target: string): StreamOptions | string {
  const query = new URL(target, "http://kubelet").searchParams;
  const asks = (...names: readonly string[]): boolean =>
    names.some((name) => query.get(name) === "1" || query.get(name) === "true");
  const tty = asks("tty");
  // Upstream: with a terminal standard error is dropped, not refused.
  const stderr = asks("error", "stderr") && !tty;
  const options = { stdin: asks("input", "stdin"), stdout: asks("output", "stdout"), stderr, tty };
  if (!options.stdin && !options.stdout && !options.stderr) {
    return "you must specify at least 1 of stdin, stdout, stderr";
  }
  return options;
}

/** Answers an exec or attach request: the head of the upgrade, or the refusal. */
export function serveRemoteCommand(
  request: HttpRequest,
  remote: RemoteCommand,
  context: StreamingContext,
): HttpResponse {
  const negotiated = negotiate(request.headers, {
    spdy: spdyProtocols,
    websocket: webSocketProtocols,
    tunnelled: [],
  });
  if (negotiated.type === "refused") return negotiated.response;
  if (negotiated.type === "tunnel") {
    return refusal(403, "unable to upgrade: remote commands are not tunnelled");
  }
  const streams = (raw: Duplex): Promise<ClientStreams | undefined> =>
    negotiated.type === "spdy"
      ? overSpdy(raw, negotiated.protocol, remote.options, context.clock)
      : overWebSocket(new WebSocket(raw), negotiated.protocol, remote.options);
  return {
    status: 101,
    headers: negotiated.headers,
    upgrade: (raw) => {
      run(raw, streams, remote, context).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        context.log.write("debug", `${remote.kind} ended with its connection`, { error: message });
        raw.abort(error instanceof Error ? error : new Error(message));
      });
    },
  };
}

async function run(
  raw: Duplex,
  open: (raw: Duplex) => Promise<ClientStreams | undefined>,
  remote: RemoteCommand,
  context: StreamingContext,
): Promise<void> {
  const client = await open(raw);
  if (client === undefined) {
    context.log.write("warn", "timed out waiting for client to create streams", {
      kind: remote.kind,
    });
    raw.end();
    return;
  }
  await writeStatus(client, await bridge(client, remote));
  client.close();
}

/** Runs the session to its end; what it gives is the status that the client gets. */
async function bridge(client: ClientStreams, remote: RemoteCommand): Promise<RemoteStatus> {
  const verb =
    remote.kind === "exec"
      ? "error executing command in container"
      : "error attaching to container";
  let session: Session;
  try {
    session = await remote.open();
  } catch (error) {
    return internalError(`${verb}: ${messageOf(error)}`);
  }
  let over = false;
  void client.gone.then(() => {
    if (!over) session.abort();
  });
  pumpIn(client.stdin, session).catch(() => session.abort());
  pumpSizes(client.resize, session).catch(() => undefined);
  const outputs = Promise.all([
    pumpOut(session.stdout, client.stdout),
    pumpOut(session.stderr, client.stderr),
  ]);
  try {
    const [code] = await Promise.all([session.exit, outputs]);
    return remote.kind === "exec" && code !== 0 ? exited(remote.command, code) : success;
  } catch (error) {
    session.abort();
    return internalError(`${verb}: ${messageOf(error)}`);
  } finally {
    over = true;
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

async function pumpIn(from: Readable | undefined, session: Session): Promise<void> {
  if (from === undefined || session.stdin === undefined) return;
  for (;;) {
    const bytes = await from.read();
    if (bytes === undefined) break;
    await session.stdin.write(bytes);
  }
  session.stdin.end();
}

async function pumpOut(from: Session["stdout"], to: Writable | undefined): Promise<void> {
  for (;;) {
    const batch = await from?.next();
    if (batch === undefined) return;
    for (const bytes of batch) await to?.write(bytes);
  }
}

async function pumpSizes(from: Readable | undefined, session: Session): Promise<void> {
  const sizes = new SizeReader();
  for (;;) {
    const bytes = await from?.read();
    if (bytes === undefined) return;
    for (const size of sizes.push(bytes)) session.resize(size.columns, size.rows);
  }
}

const sizeTextMax = 1024;

/** Terminal sizes out of a stream of JSON objects that may be cut anywhere. */
export class SizeReader {
  readonly #decoder = new TextDecoder();
  #text = "";

  push(bytes: Uint8Array): readonly { readonly columns: number; readonly rows: number }[] {
    this.#text += this.#decoder.decode(bytes, { stream: true });
    const sizes: { columns: number; rows: number }[] = [];
    for (;;) {
      const end = this.#text.indexOf("}");
      if (end < 0) break;
      const size = readSize(this.#text.slice(0, end + 1));
      if (size !== undefined) sizes.push(size);
      this.#text = this.#text.slice(end + 1);
    }
    this.#text = this.#text.slice(-sizeTextMax);
    return sizes;
  }
}

function readSize(text: string): { columns: number; rows: number } | undefined {
  const width = /"width"\s*:\s*(\d{1,5})\b/i.exec(text);
  const height = /"height"\s*:\s*(\d{1,5})\b/i.exec(text);
  if (width === null || height === null) return undefined;
  return { columns: Number(width[1]), rows: Number(height[1]) };
}

/** The part of metav1.Status that remote commands use. */
interface RemoteStatus {
  readonly status: "Success" | "Failure";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: {
    readonly causes: readonly { readonly reason?: string; readonly message: string }[];
  };
  readonly code?: number;
}

const success: RemoteStatus = { status: "Success" };

const exited = (command: readonly string[], code: number): RemoteStatus => ({
  status: "Failure",
  message: `command terminated with non-zero exit code: error executing command [${command.join(" ")}], exit code ${code}`,
  reason: "NonZeroExitCode",
  details: { causes: [{ reason: "ExitCode", message: String(code) }] },
});
const internalError = (message: string): RemoteStatus => ({
  status: "Failure",
  message: `Internal error occurred: ${message}`,
  reason: "InternalError",
  details: { causes: [{ message }] },
  code: 500,
});

async function writeStatus(client: ClientStreams, status: RemoteStatus): Promise<void> {
  if (client.statusAsJson) {
    const text = JSON.stringify({ metadata: {}, ...status });
    await client.error.write(new TextEncoder().encode(text));
  } else if (status.message !== undefined) {
    await client.error.write(new TextEncoder().encode(status.message));
  }
}
