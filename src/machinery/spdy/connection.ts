/**
 * A SPDY/3.1 connection over a raw duplex: streams that open, carry bytes both ways and end.
 * Both sides are here: the client of containerd's streaming server, and the kubelet's server.
 *
 * Upstream: moby/spdystream (in kubectl, kubelet and containerd) neither sends WINDOW_UPDATE nor heeds
 * it, so a sender that kept to SPDY's windows would stop for good after 64 KiB. Back-pressure is the
 * connection's: while one stream's buffer is full, nothing more is read.
 */
import { BytePipe } from "../byte-pipe.ts";
import type { Frame, SpdyHeaders } from "./frames.ts";
import { FrameDecoder, FrameEncoder, resetStatus, SpdyError } from "./frames.ts";

/** What a connection needs below it (the ports' Duplex is one). */
export interface Transport {
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
  end(): void;
  abort(error: Error): void;
}

const streamsMax = 2048;
const bufferBytesMax = 256 * 1024;
const frameBytesMax = 64 * 1024;

/** One stream; itself a duplex of bytes. A reset by the peer reads as an end. */
export class SpdyStream implements Transport {
  readonly id: number;
  readonly headers: SpdyHeaders;
  readonly #connection: SpdyConnection;
  readonly #incoming = new BytePipe(bufferBytesMax);
  readonly #cut: { readonly promise: Promise<void>; readonly resolve: () => void };
  #localEnded = false;
  #broken: Error | undefined;

  constructor(connection: SpdyConnection, id: number, headers: SpdyHeaders) {
    this.#connection = connection;
    this.id = id;
    this.headers = headers;
    let resolve = (): void => undefined;
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    this.#cut = { promise, resolve };
  }

  /** Resolves when the peer reset the stream or the connection is over. */
  get cut(): Promise<void> {
    return this.#cut.promise;
  }

  read(): Promise<Uint8Array | undefined> {
    return this.#incoming.read();
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += frameBytesMax) {
      if (this.#broken !== undefined) throw this.#broken;
      if (this.#localEnded) throw new SpdyError("the stream is closed for writing");
      const piece = bytes.subarray(at, at + frameBytesMax);
      await this.#connection.send({ type: "data", streamId: this.id, bytes: piece, fin: false });
    }
  }

  end(): void {
    if (this.#localEnded) return;
    this.#localEnded = true;
    const bytes = new Uint8Array(0);
    this.#connection.sendSoon({ type: "data", streamId: this.id, bytes, fin: true });
    this.#forgetIfDone();
  }

  abort(error: Error): void {
    if (this.#localEnded && this.#incoming.ended) return;
    const { cancel } = resetStatus;
    this.#connection.sendSoon({ type: "reset", streamId: this.id, status: cancel });
    this.breakWith(error);
  }

  /** Tells the peer that neither side may use it any more. */
  reset(status: number): void {
    if (this.#localEnded && this.#incoming.ended) return;
    this.#connection.sendSoon({ type: "reset", streamId: this.id, status });
    this.#localEnded = true;
    this.endRemote();
  }

  /** For the connection: bytes came. The promise, if any, resolves when there is room for more. */
  receive(bytes: Uint8Array): Promise<void> | undefined {
    return this.#incoming.push(bytes);
  }

  /** For the connection: no more bytes will come. */
  endRemote(): void {
    this.#incoming.end();
    this.#forgetIfDone();
  }

  /** For the connection: the peer reset the stream. */
  resetByPeer(): void {
    this.#localEnded = true;
    this.endRemote();
    this.#cut.resolve();
  }

  /** For the connection: it broke. */
  breakWith(error: Error): void {
    this.#broken ??= error;
    this.#localEnded = true;
    this.#incoming.fail(error);
    this.#cut.resolve();
    this.#connection.forget(this.id);
  }

  #forgetIfDone(): void {
    if (this.#localEnded && this.#incoming.ended) this.#connection.forget(this.id);
  }
}

/** Judges a stream that the peer opens: a text refuses it, a function takes it (after our reply). */
export type AcceptStream = (stream: SpdyStream) => string | (() => void);

export class SpdyConnection {
  readonly #transport: Transport;
  readonly #accept: AcceptStream;
  readonly #encoder = new FrameEncoder();
  readonly #decoder = new FrameDecoder();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #opening = new Map<
    number,
    { resolve(stream: SpdyStream): void; reject(error: Error): void }
  >();
  readonly #oddIds: boolean;
  #nextId: number;
  #lastRemoteId = 0;
  #failure: Error | undefined;
  #over = false;
  /** Resolves when the peer is gone or the connection was closed; with the error if it broke. */
  readonly closed: Promise<Error | undefined>;

  constructor(transport: Transport, role: "client" | "server", accept: AcceptStream) {
    this.#transport = transport;
    this.#accept = accept;
    this.#oddIds = role === "client";
    this.#nextId = role === "client" ? 1 : 2;
    this.closed = this.#readLoop();
  }

  /** Opens a stream; resolves once the peer took it. */
  open(headers: SpdyHeaders): Promise<SpdyStream> {
    if (this.#over) {
      return Promise.reject(this.#failure ?? new SpdyError("the connection is closed"));
    }
    if (this.#streams.size >= streamsMax) {
      return Promise.reject(new SpdyError(`${streamsMax} streams are open, no more are allowed`));
    }
    const streamId = this.#nextId;
    this.#nextId += 2;
    const stream = new SpdyStream(this, streamId, headers);
    this.#streams.set(streamId, stream);
    // Upstream: spdystream drops data that comes before its own reply, so an opener must wait for it.
    const opened = new Promise<SpdyStream>((resolve, reject) => {
      this.#opening.set(streamId, { resolve, reject });
    });
    this.sendSoon({ type: "synStream", streamId, headers, fin: false, unidirectional: false });
    return opened;
  }

  /** Says goodbye and half-closes; what was written before still arrives. */
  close(): void {
    if (this.#over) return;
    this.sendSoon({ type: "goAway", lastStreamId: this.#lastRemoteId, status: 0 });
    this.#over = true;
    this.#transport.end();
    this.#breakAll(new SpdyError("the connection was closed"));
  }

  abort(error: Error): void {
    this.#fail(error);
    this.#transport.abort(error);
  }

  /** For the streams. */
  send(frame: Exclude<Frame, { type: "other" }>): Promise<void> {
    if (this.#over) {
      return Promise.reject(this.#failure ?? new SpdyError("the connection is closed"));
    }
    return this.#transport.write(this.#encoder.encode(frame));
  }
  /** For the streams: a frame whose fate only the connection's own failure tells. */
  sendSoon(frame: Exclude<Frame, { type: "other" }>): void {
    if (this.#over) return;
    this.send(frame).catch((error: unknown) => this.#fail(asError(error)));
  }
  forget(streamId: number): void {
    this.#streams.delete(streamId);
  }

  async #readLoop(): Promise<Error | undefined> {
    try {
      for (;;) {
        const bytes = await this.#transport.read();
        if (bytes === undefined) break;
        for (const frame of this.#decoder.push(bytes)) {
          const room = this.#receive(frame);
          if (room !== undefined) await room;
        }
      }
      this.#end();
    } catch (error) {
      this.#fail(asError(error));
      this.#transport.abort(asError(error));
    }
    return this.#failure;
  }

  #receive(frame: Frame): Promise<void> | undefined {
    switch (frame.type) {
      case "synStream":
        this.#opened(frame.streamId, frame.headers, frame.fin);
        return undefined;
      case "synReply": {
        const stream = this.#streams.get(frame.streamId);
        const waiting = this.#opening.get(frame.streamId);
        this.#opening.delete(frame.streamId);
        if (stream !== undefined) waiting?.resolve(stream);
        if (frame.fin) stream?.endRemote();
        return undefined;
      }
      case "data": {
        const stream = this.#streams.get(frame.streamId);
        const room = stream?.receive(frame.bytes);
        if (frame.fin) stream?.endRemote();
        return frame.fin ? undefined : room;
      }
      case "reset": {
        const refused = new SpdyError(`the peer reset the stream (status ${frame.status})`);
        this.#opening.get(frame.streamId)?.reject(refused);
        this.#opening.delete(frame.streamId);
        this.#streams.get(frame.streamId)?.resetByPeer();
        return undefined;
      }
      case "headers":
        if (frame.fin) this.#streams.get(frame.streamId)?.endRemote();
        return undefined;
      case "ping":
        // Ids of the client's pings are odd, of the server's even; the other side's are echoed.
        if ((frame.id % 2 === 1) !== this.#oddIds) this.sendSoon(frame);
        return undefined;
      // goAway: the peer ends the connection itself. SETTINGS and WINDOW_UPDATE: see above.
      default:
        return undefined;
    }
  }

  #opened(streamId: number, headers: SpdyHeaders, fin: boolean): void {
    const ours = (streamId % 2 === 1) === this.#oddIds;
    if (ours || streamId <= this.#lastRemoteId) {
      this.sendSoon({ type: "reset", streamId, status: resetStatus.protocolError });
      return;
    }
    this.#lastRemoteId = streamId;
    if (this.#streams.size >= streamsMax) {
      this.sendSoon({ type: "reset", streamId, status: resetStatus.refusedStream });
      return;
    }
    const stream = new SpdyStream(this, streamId, headers);
    this.#streams.set(streamId, stream);
    if (fin) stream.endRemote();
    const taken = this.#accept(stream);
    if (typeof taken === "string") {
      stream.reset(resetStatus.cancel);
      return;
    }
    this.sendSoon({ type: "synReply", streamId, headers: {}, fin: false });
    taken();
  }

  /** The peer's bytes ended: every stream ends with them. */
  #end(): void {
    this.#over = true;
    this.#transport.end();
    const gone = new SpdyError("the peer closed the connection");
    for (const waiting of this.#opening.values()) waiting.reject(gone);
    this.#opening.clear();
    for (const stream of this.#streams.values()) stream.resetByPeer();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#over = true;
    this.#breakAll(error);
  }

  #breakAll(error: Error): void {
    for (const waiting of this.#opening.values()) waiting.reject(error);
    this.#opening.clear();
    for (const stream of this.#streams.values()) stream.breakWith(error);
  }
}

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new Error(String(error));
