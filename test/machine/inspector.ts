/**
 * Node's own debugger, as a user would attach it to a running process: enough of it to run a line of JavaScript in one of the
 * process's threads. The process must have been started with NODE_OPTIONS=--inspect-port=0.
 */
import { randomBytes } from "node:crypto";
import { get } from "node:http";
import { connect, type Socket } from "node:net";

interface Said {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
}

/** JSON messages over a WebSocket: a client for the debugger on this machine, and no more. */
class Debugger {
  readonly #socket: Socket;
  readonly #heard: Said[] = [];
  #rest = Buffer.alloc(0);
  #wake: () => void = () => {};
  #ids = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes) => this.#take(bytes));
  }
  static async open(url: URL): Promise<Debugger> {
    const socket = connect(Number(url.port), url.hostname);
    const key = randomBytes(16).toString("base64");
    socket.write(
      `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: Upgrade\r\n` +
        `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    // The debugger says nothing more before it is asked.
    await new Promise((resolve, reject) => {
      socket.once("data", resolve);
      socket.once("error", reject);
    });
    return new Debugger(socket);
  }
  #take(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const short = (this.#rest[1] ?? 0) & 0x7f;
      const head = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (this.#rest.length < head) return;
      const length =
        short === 126
          ? this.#rest.readUInt16BE(2)
          : short === 127
            ? Number(this.#rest.readBigUInt64BE(2))
            : short;
      if (this.#rest.length < head + length) return;
      this.#heard.push(JSON.parse(this.#rest.toString("utf8", head, head + length)) as Said);
      this.#rest = this.#rest.subarray(head + length);
      this.#wake();
    }
  }
  ask(method: string, params: object): void {
    this.#ids++;
    const text = Buffer.from(JSON.stringify({ id: this.#ids, method, params }));
    const head = Buffer.alloc(8);
    head[0] = 0x81;
    head[1] = 0x80 | 126;
    head.writeUInt16BE(text.length, 2);
    // The mask is zero: what is masked with it stays as it is.
    this.#socket.write(Buffer.concat([head, text]));
  }
  async hears(method: string): Promise<NonNullable<Said["params"]>> {
    for (;;) {
      const found = this.#heard.find((one) => one.method === method);
      if (found !== undefined) return found.params ?? {};
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
  close(): void {
    this.#socket.destroy();
  }
}

const fetchJson = (url: string): Promise<unknown> =>
  new Promise((resolve, reject) => {
    get(url, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      answer.on("end", () => resolve(JSON.parse(text)));
    }).on("error", reject);
  });

/** Of the address that Node prints when a debugger may come: "Debugger listening on ws://127.0.0.1:PORT/ID". */
export async function runInOnlyThread(address: string, code: string): Promise<void> {
  const { host } = new URL(address);
  const [target] = (await fetchJson(`http://${host}/json/list`)) as {
    webSocketDebuggerUrl: string;
  }[];
  if (target === undefined) throw new Error("the debugger has nothing to debug");
  const process = await Debugger.open(new URL(target.webSocketDebuggerUrl));
  try {
    process.ask("NodeWorker.enable", { waitForDebuggerOnStart: false });
    const { sessionId } = await process.hears("NodeWorker.attachedToWorker");
    const message = { id: 1, method: "Runtime.evaluate", params: { expression: code } };
    process.ask("NodeWorker.sendMessageToWorker", { sessionId, message: JSON.stringify(message) });
    await process.hears("NodeWorker.detachedFromWorker");
  } finally {
    process.close();
  }
}
