/** A socket (TCP, unix or TLS) as a Duplex: reads are pulled, so a slow reader slows the peer down. */
import { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { NetworkError } from "#ports/network.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import { networkError, plainBytes } from "./network-error.ts";

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** Takes the socket over, data that it has already read included. `name` says in errors whose it is. */
export function socketDuplex(socket: Socket, name: string): Duplex {
  return new SocketDuplex(socket, name);
}

class SocketDuplex implements Duplex {
  readonly #socket: Socket;
  readonly #name: string;
  #reader: Waiter<Bytes | undefined> | undefined;
  #writers: Waiter<void>[] = [];
  #failure: Error | undefined;
  #hasEnded = false;

  constructor(socket: Socket, name: string) {
    this.#socket = socket;
    this.#name = name;
    socket.setTimeout(0);
    socket.on("readable", () => this.#serveReader());
    socket.on("end", () => {
      this.#hasEnded = true;
      this.#serveReader();
    });
    socket.on("drain", () => {
      for (const writer of this.#writers.splice(0)) writer.resolve();
    });
    socket.on("error", (error) => this.#fail(networkError(error, this.#name)));
    socket.on("close", () =>
      this.#fail(new NetworkError("ECONNRESET", `${this.#name}: the connection was closed`)),
    );
    if (socket.destroyed) {
      this.#fail(new NetworkError("ECONNRESET", `${name}: the connection was closed`));
    }
  }

  read(): Promise<Bytes | undefined> {
    if (this.#reader !== undefined) throw new Error("one read at a time");
    const chunk = this.#take();
    if (chunk !== undefined) return Promise.resolve(chunk);
    if (this.#hasEnded) return Promise.resolve(undefined);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(bytes: Bytes): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#socket.writableEnded) {
      return Promise.reject(new NetworkError("EPIPE", `${this.#name}: our side has ended`));
    }
    if (this.#socket.write(bytes)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#writers.push({ resolve, reject });
    });
  }

  end(): void {
    if (this.#failure === undefined && !this.#socket.writableEnded) this.#socket.end();
  }

  abort(error: Error): void {
    this.#fail(error, true);
    // A reset tells the peer that this was no orderly end; only plain TCP has one.
    const isTcp = !(this.#socket instanceof TLSSocket) && this.#socket.remoteAddress !== undefined;
    if (isTcp && this.#socket instanceof Socket) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  #take(): Bytes | undefined {
    if (this.#failure !== undefined && this.#socket.readableLength === 0) return undefined;
    const chunk: unknown = this.#socket.read();
    return chunk instanceof Uint8Array ? plainBytes(chunk) : undefined;
  }

  #serveReader(): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    const chunk = this.#take();
    if (chunk === undefined && !this.#hasEnded) return;
    this.#reader = undefined;
    reader.resolve(chunk);
  }

  /** The first failure counts, save that an abort of our own replaces what the socket said. */
  #fail(error: Error, isOurs = false): void {
    if (isOurs) this.#hasEnded = false;
    this.#failure ??= error;
    for (const writer of this.#writers.splice(0)) writer.reject(this.#failure);
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(this.#failure);
  }
}
