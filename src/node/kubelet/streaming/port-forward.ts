/**
 * Port-forward as the kubelet serves it: connections of a client, multiplexed over SPDY (plain or
 * tunnelled in a websocket) or websocket channels, each spliced to a port of the pod.
 */
import { BytePipe } from "#machinery/byte-pipe.ts";
import type { SpdyStream } from "#machinery/spdy/connection.ts";
import { SpdyConnection } from "#machinery/spdy/connection.ts";
import { resetStatus } from "#machinery/spdy/frames.ts";
import { asksWebSocket, tunnel, WebSocket } from "#machinery/websocket.ts";
import type { Clock } from "#ports/clock.ts";
import type { HttpRequest, HttpResponse } from "#ports/network.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import type { Writable } from "./client-streams.ts";
import { channelCodec, streamCreationMsMax } from "./client-streams.ts";
import { isTunnel, negotiate, refusal } from "./negotiate.ts";
import type { StreamingContext } from "./remote-command.ts";

export interface PortForward {
  /** For messages. */
  readonly podName: string;
  readonly podUid: string;
  /** A connection to a port of the pod. */
  connect(port: number): Promise<Duplex>;
}

const protocol = "portforward.k8s.io";
const portsMax = 64;
const lingerMs = 1000;
const pipeBytesMax = 256 * 1024;

export function servePortForward(
  request: HttpRequest,
  forward: PortForward,
  context: StreamingContext,
): HttpResponse {
  const negotiated = negotiate(request.headers, {
    spdy: [protocol],
    websocket: ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""],
    tunnelled: [protocol],
  });
  if (negotiated.type === "refused") return negotiated.response;
  const channelled = asksWebSocket(request.headers) && !isTunnel(request.headers);
  const ports = channelled ? readPorts(request.target) : [];
  if (typeof ports === "string") return refusal(400, ports);
  return {
    status: 101,
    headers: negotiated.headers,
    upgrade: (raw) => {
      if (negotiated.type === "websocket") {
        serveChannels(new WebSocket(raw), negotiated.protocol, ports, forward, context);
      } else {
        const below = negotiated.type === "tunnel" ? tunnel(new WebSocket(raw)) : raw;
        new StreamPairs(below, forward, context).start();
      }
    },
  };
}

/** The ports of a websocket's query: `port` (the kubelet's word) or `ports` (the API's). */
function readPorts(target: string): readonly number[] | string {
  const query = new URL(target, "http://kubelet").searchParams;
  const texts = [...query.getAll("port"), ...query.getAll("ports")];
  if (texts.length === 0) return 'query parameter "port" is required';
  const ports: number[] = [];
  for (const text of texts.flatMap((item) => item.split(","))) {
    if (text === "") return 'query parameter "port" cannot be empty';
    const port = readPort(text);
    if (port === undefined) return `unable to parse "${text}" as a port`;
    ports.push(port);
  }
  return ports.length > portsMax ? `at most ${portsMax} ports can be forwarded` : ports;
}

function readPort(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

type End = Pick<Duplex, "read" | "write" | "end">;

async function copy(from: Pick<End, "read">, to: Pick<End, "write" | "end">): Promise<void> {
  for (;;) {
    const bytes = await from.read();
    if (bytes === undefined) break;
    await to.write(bytes);
  }
  to.end();
}

/**
 * Copies both ways; rejects when the pod's side broke. When the pod has ended, the client gets a moment
 * to end, too. Upstream: older kubectls wait for the error stream to end before they end theirs.
 */
async function splice(client: End, pod: End, clock: Clock): Promise<void> {
  const outbound = copy(pod, client);
  const inbound = copy(client, pod);
  await Promise.race([outbound, inbound.then(() => outbound)]);
  let cancel = (): void => undefined;
  const lingered = new Promise<void>((resolve) => {
    cancel = clock.after(lingerMs, resolve);
  });
  // What a client still sends to a pod that has closed is nobody's loss.
  await Promise.race([inbound.catch(() => undefined), lingered]);
  cancel();
}

/** Splices one client connection; gives the text for its error stream, if any. */
async function forwardOne(
  forward: PortForward,
  port: number,
  client: End,
  clientCut: Promise<unknown>,
  clock: Clock,
): Promise<string | undefined> {
  let pod: Duplex | undefined;
  const gone = new Error("the client closed its connection");
  try {
    pod = await forward.connect(port);
    // A pod that says nothing would else keep its side open for a client that has gone.
    const cut = clientCut.then(() => pod?.abort(gone));
    await Promise.race([splice(client, pod, clock), cut]);
    pod.abort(gone);
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error : new Error(String(error));
    pod?.abort(reason);
    return `error forwarding port ${port} to pod ${forward.podName}, uid ${forward.podUid}: ${reason.message}`;
  }
}

interface Pair {
  data?: SpdyStream;
  error?: SpdyStream;
  readonly cancelTimer: () => void;
}

/** A client's SPDY connection: a data and an error stream, tied by requestID, for each connection. */
class StreamPairs {
  readonly #forward: PortForward;
  readonly #context: StreamingContext;
  readonly #connection: SpdyConnection;
  readonly #pairs = new Map<string, Pair>();

  constructor(raw: Duplex, forward: PortForward, context: StreamingContext) {
    this.#forward = forward;
    this.#context = context;
    this.#connection = new SpdyConnection(raw, "server", (stream) => this.#accept(stream));
  }

  start(): void {
    void this.#connection.closed.then(() => {
      for (const pair of this.#pairs.values()) pair.cancelTimer();
      this.#pairs.clear();
    });
  }

  #accept(stream: SpdyStream): string | (() => void) {
    const portText = stream.headers["port"] ?? "";
    if (portText === "") return '"port" header is required';
    const port = readPort(portText);
    if (port === undefined) return `unable to parse "${portText}" as a port`;
    const type = stream.headers["streamtype"] ?? "";
    if (type === "") return '"streamType" header is required';
    if (type !== "error" && type !== "data") return `invalid stream type "${type}"`;
    return () => this.#add(stream, type, port);
  }

  #add(stream: SpdyStream, type: "error" | "data", port: number): void {
    const id = requestId(stream, type);
    const pair = this.#pairs.get(id) ?? this.#newPair(id);
    if (pair[type] !== undefined) {
      this.#say(pair, `error processing stream for request ${id}: ${type} stream already assigned`);
      return;
    }
    pair[type] = stream;
    const { data, error } = pair;
    if (data === undefined || error === undefined) return;
    pair.cancelTimer();
    this.#pairs.delete(id);
    void this.#run(port, data, error);
  }

  #newPair(id: string): Pair {
    const pair: Pair = {
      cancelTimer: this.#context.clock.after(streamCreationMsMax, () => {
        this.#say(pair, `(request=${id}) timed out waiting for streams`);
        this.#pairs.delete(id);
      }),
    };
    this.#pairs.set(id, pair);
    return pair;
  }

  #say(pair: Pair, message: string): void {
    this.#context.log.write("warn", message);
    pair.error?.write(new TextEncoder().encode(message)).catch(() => undefined);
  }

  async #run(port: number, data: SpdyStream, error: SpdyStream): Promise<void> {
    const failure = await forwardOne(this.#forward, port, data, data.cut, this.#context.clock);
    if (failure !== undefined) {
      this.#context.log.write("info", failure);
      // The connection itself may be what broke; then nobody is left to tell.
      await error.write(new TextEncoder().encode(failure)).catch(() => undefined);
      data.reset(resetStatus.cancel);
      error.reset(resetStatus.cancel);
    }
    data.end();
    error.end();
  }
}

/** Upstream: clients before 1.3 send no requestID; their error stream's id names the pair. */
function requestId(stream: SpdyStream, type: "error" | "data"): string {
  const id = stream.headers["requestid"] ?? "";
  if (id !== "") return id;
  return String(type === "error" ? stream.id : stream.id - 2);
}

/** Upstream: channel 2n carries port n's bytes, 2n+1 its errors; both start with the port, 2 bytes. */
function serveChannels(
  socket: WebSocket,
  named: string,
  ports: readonly number[],
  forward: PortForward,
  context: StreamingContext,
): void {
  const codec = channelCodec(named);
  const pipes = ports.map(() => new BytePipe(pipeBytesMax));
  const writer = (channel: number): Writable => ({
    write: (bytes) => codec.send(socket, channel, bytes),
  });
  const readLoop = async (): Promise<void> => {
    for (;;) {
      const message = await socket.read();
      if (message === undefined) break;
      if (message.bytes.length === 0) continue;
      const { channel, bytes } = codec.split(message.bytes);
      const room = channel % 2 === 0 ? pipes[channel / 2]?.push(bytes) : undefined;
      if (room !== undefined) await room;
    }
    for (const pipe of pipes) pipe.end();
  };
  const reading = readLoop().catch((error: unknown) => {
    const broken = error instanceof Error ? error : new Error(String(error));
    for (const pipe of pipes) pipe.fail(broken);
  });
  const one = async (port: number, index: number, pipe: BytePipe): Promise<void> => {
    const [data, error] = [writer(index * 2), writer(index * 2 + 1)];
    const portBytes: Bytes = Uint8Array.of(port & 255, port >> 8);
    await data.write(portBytes);
    await error.write(portBytes);
    const client = {
      read: () => pipe.read(),
      write: (bytes: Bytes) => data.write(bytes),
      // Upstream: channels cannot half-close; when the pod is done, so is the channel.
      end: () => pipe.end(),
    };
    const failure = await forwardOne(forward, port, client, reading, context.clock);
    if (failure !== undefined) await error.write(new TextEncoder().encode(failure));
  };
  const running = pipes.map((pipe, index) => one(ports[index] ?? 0, index, pipe));
  void Promise.allSettled(running).then((ends) => {
    for (const end of ends) {
      if (end.status === "rejected") {
        context.log.write("debug", "port-forward ended with its connection");
      }
    }
    socket.close();
  });
}
