import { expect, test } from "vitest";
import type { Node } from "#api/generated/core/v1.ts";
import type { ApiRequest } from "#api/request.ts";
import { type Address, type HttpClient, type Network, NetworkError } from "#ports/network.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import { kubeletOf, nodeProxy, splice } from "./node-proxy.ts";

const node = (addresses: object[], port?: number): Node =>
  ({
    metadata: { name: "n1" },
    status: {
      addresses,
      ...(port === undefined ? {} : { daemonEndpoints: { kubeletEndpoint: { Port: port } } }),
    },
  }) as unknown as Node;

test("the kubelet is where the node's status says", () => {
  const hostname = { type: "Hostname", address: "n1" };
  const internal = { type: "InternalIP", address: "192.0.2.5" };
  expect(kubeletOf(node([hostname, internal], 10300))).toEqual({
    host: "192.0.2.5",
    port: 10300,
    scheme: "https",
    node: "n1",
  });
  expect(kubeletOf(node([hostname])).port).toBe(10250);
  expect(() => kubeletOf(node([]))).toThrow("node n1 has no address");
});

const request = (headers: Record<string, string>): ApiRequest => ({
  method: "POST",
  path: "/",
  query: [],
  headers,
  gone: new AbortController().signal,
  direct: false,
});

type Send = HttpClient["send"];
function network(send: Send, dialed: Address[] = []): Network {
  const http = (to: Address): HttpClient => {
    dialed.push(to);
    return { send, close: () => {} };
  };
  return { http } as Partial<Network> as Network;
}
const identity = () => ({ chain: "chain", key: "key" });

/** One end of a connection: what is given to it, and what it says. */
class End implements Duplex {
  readonly said: string[] = [];
  ended = false;
  aborted: Error | undefined;
  readonly #lines: (string | Error)[];
  constructor(lines: (string | Error)[]) {
    this.#lines = lines;
  }
  read(): Promise<Bytes | undefined> {
    const line = this.#lines.shift();
    if (line instanceof Error) return Promise.reject(line);
    return Promise.resolve(line === undefined ? undefined : new TextEncoder().encode(line));
  }
  write(bytes: Bytes): Promise<void> {
    this.said.push(new TextDecoder().decode(bytes));
    return Promise.resolve();
  }
  end(): void {
    this.ended = true;
  }
  abort(error: Error): void {
    this.aborted = error;
  }
}

test("an upgrade is carried through: headers of one hop are replaced, bytes are spliced", async () => {
  const kubelet = new End(["hello", "bye"]);
  const sent: Record<string, string>[] = [];
  const dialed: Address[] = [];
  const send: Send = ({ headers = {} }) => {
    sent.push({ ...headers });
    return Promise.resolve({
      status: 101,
      headers: { connection: "Upgrade", upgrade: "SPDY/3.1" },
      body: { next: () => Promise.resolve(undefined), stop: () => {} },
      trailers: Promise.resolve({}),
      raw: kubelet,
    });
  };
  const proxy = nodeProxy({ network: network(send, dialed), identity, roots: "" });
  const to = { host: "192.0.2.5", port: 10250, scheme: "https", node: "n1" } as const;
  const answer = await proxy.forward(
    to,
    "/exec/a/b/c",
    request({
      connection: "Upgrade",
      upgrade: "SPDY/3.1",
      authorization: "Bearer x",
      host: "api",
      accept: "*/*",
    }),
  );
  expect(sent).toEqual([{ accept: "*/*", connection: "Upgrade", upgrade: "SPDY/3.1" }]);
  expect(dialed).toEqual([{ host: "192.0.2.5", port: 10250 }]);
  if (answer.content.type !== "upgrade") throw new Error("an upgrade was expected");
  const client = new End(["ls"]);
  answer.content.run(client);
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  expect([client.said, client.ended]).toEqual([["hello", "bye"], true]);
  expect([kubelet.said, kubelet.ended]).toEqual([["ls"], true]);
});

test("what breaks one side breaks the other", async () => {
  const broken = new End([new Error("reset")]);
  const other = new End([]);
  await splice(broken, other);
  expect([broken.aborted?.message, other.aborted?.message]).toEqual(["reset", "reset"]);
});

test("a kubelet that does not answer is named", async () => {
  const send: Send = () => Promise.reject(new NetworkError("ECONNREFUSED", "connection refused"));
  const proxy = nodeProxy({ network: network(send), identity, roots: "" });
  const to = { host: "192.0.2.5", port: 10250, scheme: "https", node: "n1" } as const;
  await expect(proxy.forward(to, "/", request({}))).rejects.toThrow(
    "the kubelet of node n1 can not be reached at https://192.0.2.5:10250: connection refused",
  );
});
