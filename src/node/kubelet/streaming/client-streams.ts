/**
 * The client's side of a remote command as streams: standard input, output, errors, terminal sizes
 * and the final status, whatever framing carries them (SPDY streams or websocket channels).
 */
import { BytePipe, joinBytes } from "#machinery/byte-pipe.ts";
import type { SpdyStream } from "#machinery/spdy/connection.ts";
import { SpdyConnection } from "#machinery/spdy/connection.ts";
import type { WebSocket } from "#machinery/websocket.ts";
import type { Clock } from "#ports/clock.ts";
import type { StreamOptions } from "#ports/runtime.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";

export interface Readable {
  read(): Promise<Bytes | undefined>;
}
export interface Writable {
  write(bytes: Bytes): Promise<void>;
}
export interface ClientStreams {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** JSON objects {Width, Height}, one behind the other. */
  readonly resize: Readable | undefined;
  readonly error: Writable;
  /** The error stream takes a Status as JSON (from version 4 on), else the bare text of a failure. */
  readonly statusAsJson: boolean;
  /** Resolves when the client went away. */
  readonly gone: Promise<unknown>;
  close(): void;
}

export const spdyProtocols = [
  "v4.channel.k8s.io",
  "v3.channel.k8s.io",
  "v2.channel.k8s.io",
  "channel.k8s.io",
] as const;
export const webSocketProtocols = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "channel.k8s.io",
  "base64.channel.k8s.io",
  "",
] as const;

export const streamCreationMsMax = 30_000;
const pipeBytesMax = 256 * 1024;

/** Waits for the streams that the client said it would open; undefined: it did not in time. */
export function overSpdy(
  raw: Duplex,
  protocol: string,
  options: StreamOptions,
  clock: Clock,
): Promise<ClientStreams | undefined> {
  const resizes = protocol.startsWith("v4.") || protocol.startsWith("v3.");
  const expected = ["error"];
  if (options.stdin) expected.push("stdin");
  if (options.stdout) expected.push("stdout");
  if (options.stderr) expected.push("stderr");
  if (options.tty && resizes) expected.push("resize");
  const streams = new Map<string, SpdyStream>();
  return new Promise((resolve) => {
    const connection = new SpdyConnection(raw, "server", (stream) => {
      const type = stream.headers["streamtype"] ?? "";
      if (!expected.includes(type)) return `unexpected stream type: "${type}"`;
      if (streams.has(type)) return `a second stream of type "${type}"`;
      return () => {
        streams.set(type, stream);
        const error = streams.get("error");
        if (streams.size < expected.length || error === undefined) return;
        cancel();
        resolve(spdyStreams(connection, streams, error, protocol));
      };
    });
    const give = (): void => {
      connection.close();
      resolve(undefined);
    };
    const cancel = clock.after(streamCreationMsMax, give);
    void connection.closed.then(() => {
      cancel();
      resolve(undefined);
    });
  });
}

function spdyStreams(
  connection: SpdyConnection,
  streams: ReadonlyMap<string, SpdyStream>,
  error: SpdyStream,
  protocol: string,
): ClientStreams {
  return {
    stdin: streams.get("stdin"),
    stdout: streams.get("stdout"),
    stderr: streams.get("stderr"),
    resize: streams.get("resize"),
    error,
    statusAsJson: protocol.startsWith("v4."),
    gone: connection.closed,
    close: () => {
      for (const stream of streams.values()) stream.end();
      connection.close();
    },
  };
}

const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;
const closeSignal = 255;

/** base64 of the standard alphabet, in pieces that fit a call's arguments. */
function toBase64(bytes: Bytes): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8190) {
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + 8190)));
  }
  return text;
}
const fromBase64 = (text: string): Bytes =>
  Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** How a websocket message names its channel: its first byte, or its first letter before base64. */
export function channelCodec(protocol: string): {
  send(socket: WebSocket, channel: number, bytes: Bytes): Promise<void>;
  split(message: Bytes): { readonly channel: number; readonly bytes: Bytes };
} {
  if (protocol.includes("base64")) {
    return {
      send: (socket, channel, bytes) => socket.sendText(`${channel}${toBase64(bytes)}`),
      split: (message) => ({
        channel: (message[0] ?? 0) - 48,
        bytes: fromBase64(new TextDecoder().decode(message.subarray(1))),
      }),
    };
  }
  return {
    send: (socket, channel, bytes) => socket.sendBinary(joinBytes([Uint8Array.of(channel), bytes])),
    split: (message) => ({ channel: message[0] ?? 0, bytes: message.subarray(1) }),
  };
}

export async function overWebSocket(
  socket: WebSocket,
  protocol: string,
  options: StreamOptions,
): Promise<ClientStreams> {
  const codec = channelCodec(protocol);
  const pipes = new Map<number, BytePipe>([[channels.resize, new BytePipe(pipeBytesMax)]]);
  if (options.stdin) pipes.set(channels.stdin, new BytePipe(pipeBytesMax));
  const writer = (channel: number): Writable => ({
    write: (bytes) => codec.send(socket, channel, bytes),
  });
  const halfCloses = protocol.startsWith("v5.");

  const readLoop = async (): Promise<void> => {
    try {
      for (;;) {
        const message = await socket.read();
        if (message === undefined) break;
        if (message.bytes.length === 0) continue;
        if (halfCloses && message.bytes[0] === closeSignal) {
          pipes.get(message.bytes[1] ?? closeSignal)?.end();
          continue;
        }
        const { channel, bytes } = codec.split(message.bytes);
        const room = pipes.get(channel)?.push(bytes);
        if (room !== undefined) await room;
      }
    } catch {
      // A broken connection and a closed one are the same to a session: its client is gone.
    }
    for (const pipe of pipes.values()) pipe.end();
  };

  const streams: ClientStreams = {
    stdin: pipes.get(channels.stdin),
    stdout: options.stdout ? writer(channels.stdout) : undefined,
    stderr: options.stderr ? writer(channels.stderr) : undefined,
    resize: pipes.get(channels.resize),
    error: writer(channels.error),
    statusAsJson: protocol.startsWith("v4.") || protocol.startsWith("v5."),
    gone: readLoop(),
    close: () => {
      for (const pipe of pipes.values()) pipe.end();
      socket.close();
    },
  };
  // Upstream: an empty message on the first writable channel tells the client that it is connected.
  const first = streams.stdout ?? streams.stderr ?? streams.error;
  await first.write(new Uint8Array(0));
  return streams;
}
