/**
 * Running and attaching: standard input, output and error of a container, over SPDY. The connection is the API server's answer to an
 * upgrade; what the command ended with comes on a stream of its own.
 */
import { isObject } from "#machinery/object.ts";
import { SpdyConnection, type SpdyStream } from "#machinery/spdy/connection.ts";
import type { Duplex } from "#ports/stream.ts";
import { asError, CommandError, ExitError } from "./errors.ts";
import { objectsAt, textAt } from "./objects.ts";
import { type Query, readWhole, statusErrorOf } from "./rest.ts";
import type { Session } from "./session.ts";

/** Asks the server to hand over the connection. */
export async function upgrade(
  session: Session,
  path: string,
  query: Query,
  protocol: string,
): Promise<Duplex> {
  const rest = await session.rest();
  const answer = await rest.stream("POST", path, {
    query,
    accept: "*/*",
    headers: {
      connection: "Upgrade",
      upgrade: "SPDY/3.1",
      "x-stream-protocol-version": protocol,
    },
  });
  if (answer.status === 101 && answer.raw !== undefined) return answer.raw;
  const text = new TextDecoder().decode(await readWhole(answer.body));
  const refused = statusErrorOf(answer.status, text);
  if (
    refused.reason === "Forbidden" ||
    refused.reason === "NotFound" ||
    refused.reason === "BadRequest"
  )
    throw refused;
  throw new CommandError(`unable to upgrade connection: ${refused.message}`);
}

export interface Sink {
  write(bytes: Uint8Array): void | Promise<void>;
}
export interface RemoteCommand {
  /** Pulled until it ends; then the command's input is closed. */
  readonly stdin?: { next(): Promise<readonly Uint8Array[] | undefined> };
  readonly stdout?: Sink;
  readonly stderr?: Sink;
  readonly tty: boolean;
}

async function pour(stream: SpdyStream | undefined, sink: Sink | undefined): Promise<void> {
  if (stream === undefined || sink === undefined) return;
  for (;;) {
    const bytes = await stream.read();
    if (bytes === undefined) return;
    await sink.write(bytes);
  }
}

async function feed(
  stream: SpdyStream,
  source: NonNullable<RemoteCommand["stdin"]>,
): Promise<void> {
  try {
    for (;;) {
      const batch = await source.next();
      if (batch === undefined) break;
      for (const bytes of batch) await stream.write(bytes);
    }
    stream.end();
  } catch {
    // The command is over and takes no more; how it ended is told on its own stream.
  }
}

/** What the error stream says; undefined: all went well. */
function outcomeOf(text: string): Error | undefined {
  if (text === "") return undefined;
  let status: unknown;
  try {
    status = JSON.parse(text);
  } catch {
    return new CommandError(`error stream protocol error: unknown error: ${text}`);
  }
  if (!isObject(status) || status["status"] === "Success") return undefined;
  const message = textAt(status, "message");
  if (status["reason"] !== "NonZeroExitCode") return new CommandError(message);
  const cause = objectsAt(status, "details", "causes").find((one) => one["reason"] === "ExitCode");
  const code = Number(textAt(cause, "message"));
  return new ExitError(code, `command terminated with exit code ${code}`);
}

/** Runs until the remote side has ended; throws ExitError with the command's code. */
export async function runRemote(
  session: Session,
  path: string,
  query: Query,
  command: RemoteCommand,
): Promise<void> {
  const raw = await upgrade(session, path, query, "v4.channel.k8s.io");
  const connection = new SpdyConnection(raw, "client", () => "the server opens no streams");
  const open = (type: string): Promise<SpdyStream> => connection.open({ streamtype: type });
  const failed = await open("error");
  const stdin = command.stdin === undefined ? undefined : await open("stdin");
  const stdout = command.stdout === undefined ? undefined : await open("stdout");
  const stderr = command.stderr === undefined || command.tty ? undefined : await open("stderr");
  const resize = command.tty ? await open("resize") : undefined;
  const stopResizing = resize === undefined ? () => {} : followSize(session, resize);
  if (stdin !== undefined && command.stdin !== undefined) void feed(stdin, command.stdin);
  let said = "";
  const decoder = new TextDecoder();
  try {
    await Promise.all([
      pour(stdout, command.stdout),
      pour(stderr, command.stderr),
      pour(failed, {
        write: (bytes) => {
          said += decoder.decode(bytes, { stream: true });
        },
      }),
    ]);
  } finally {
    stopResizing();
    connection.close();
  }
  const outcome = outcomeOf(said);
  if (outcome !== undefined) throw outcome;
}

function followSize(session: Session, stream: SpdyStream): () => void {
  const { terminal } = session.around;
  const send = (): void => {
    const size = terminal.size();
    if (size === undefined) return;
    const line = `${JSON.stringify({ Width: size.columns, Height: size.rows })}\n`;
    stream.write(new TextEncoder().encode(line)).catch(() => undefined);
  };
  send();
  return terminal.resized(send);
}

export interface TerminalUse {
  readonly stdin: boolean;
  readonly tty: boolean;
}

/** A terminal that is asked for and not there is said, and done without. */
export function terminalUse(session: Session, wants: TerminalUse, quiet: boolean): TerminalUse {
  if (!wants.tty || session.around.terminal.inputIsTerminal) return wants;
  if (!quiet)
    session.error("Unable to use a TTY - input is not a terminal or the right kind of file\n");
  return { stdin: wants.stdin, tty: false };
}

/** Our own terminal's streams on a remote command; the terminal is as it was afterwards. */
export async function runOnTerminal(
  session: Session,
  path: string,
  query: Query,
  use: TerminalUse,
): Promise<void> {
  const { terminal } = session.around;
  const input = use.stdin ? terminal.input() : undefined;
  const out = async (bytes: Uint8Array): Promise<void> => {
    terminal.out(bytes);
    await terminal.drained();
  };
  if (use.tty) terminal.raw(true);
  try {
    await runRemote(session, path, query, {
      ...(input === undefined ? {} : { stdin: input }),
      stdout: { write: out },
      stderr: { write: (bytes) => terminal.error(bytes) },
      tty: use.tty,
    });
  } catch (error) {
    throw asError(error);
  } finally {
    if (use.tty) terminal.raw(false);
    input?.stop();
  }
}

export const streamQuery = (container: string, use: TerminalUse): Query => [
  ["container", container],
  ...(use.stdin ? [["stdin", "true"] as const] : []),
  ["stdout", "true"],
  ...(use.tty ? [["tty", "true"] as const] : [["stderr", "true"] as const]),
];
