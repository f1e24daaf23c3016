/** The HttpProxy port in memory: one machine's, on the memory network. What it does to a request is what the real one does. */
import { compileRoutes, hostCandidates, hostName, type Router } from "#machinery/http-route.ts";
import type {
  HttpProxy,
  ProxyBackend,
  ProxyCertificate,
  ProxyEndpoint,
  ProxyPort,
  ProxyTable,
} from "#ports/http-proxy.ts";
import {
  type Headers,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  type Listener,
  type Network,
  NetworkError,
  type ServerTls,
} from "#ports/network.ts";

export interface MemoryHttpProxyOptions {
  readonly network: () => Network;
  readonly ports: readonly [usual: number, ...instead: number[]];
  readonly tlsPorts: readonly [usual: number, ...instead: number[]];
}

const bodyBytesMax = 16 << 20;
const ofConnection: ReadonlySet<string> = new Set(["connection", "keep-alive", "te", "upgrade"]);
const refusals: ReadonlySet<string> = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ETIMEDOUT"]);

export class MemoryHttpProxy implements HttpProxy {
  readonly #options: MemoryHttpProxyOptions;
  readonly #backends = new Map<string, ProxyBackend>();
  readonly #next = new Map<string, number>();
  #router: Router = () => undefined;
  #certificates: readonly ProxyCertificate[] = [];
  #listeners: Listener[] = [];
  #ports: readonly ProxyPort[] | undefined;

  constructor(options: MemoryHttpProxyOptions) {
    this.#options = options;
  }

  async setTable({ hosts, certificates }: ProxyTable): Promise<void> {
    this.#router = compileRoutes(hosts);
    this.#certificates = certificates;
  }
  async setBackends(changes: ReadonlyMap<string, ProxyBackend | undefined>): Promise<void> {
    for (const [key, backend] of changes) {
      if (backend === undefined) this.#backends.delete(key);
      else this.#backends.set(key, backend);
    }
  }
  async listen(): Promise<readonly ProxyPort[]> {
    const { ports, tlsPorts } = this.#options;
    this.#ports ??= [await this.#bind(ports, undefined), await this.#bind(tlsPorts, this.#tls())];
    return this.#ports;
  }
  async close(graceMs: number): Promise<void> {
    this.#ports = undefined;
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close(graceMs)));
  }
  /** Its machine lost power: nobody listens any more. */
  forget(): void {
    this.#ports = undefined;
    this.#listeners = [];
    this.#backends.clear();
  }

  #tls(): ServerTls {
    return {
      identity: (name) => {
        const names = hostCandidates(hostName(name ?? ""));
        const found = names
          .map((one) =>
            this.#certificates.find(({ hosts }) =>
              one === "" ? hosts.length === 0 : hosts.includes(one),
            ),
          )
          .find((one) => one !== undefined);
        if (found === undefined) throw new Error(`there is no certificate for ${name}`);
        return found;
      },
    };
  }

  async #bind(ports: readonly [number, ...number[]], tls: ServerTls | undefined) {
    const [usual] = ports;
    const isTls = tls !== undefined;
    for (const port of ports) {
      try {
        const options = { bodyBytesMax, ...(tls === undefined ? {} : { tls }) };
        const at = { host: "0.0.0.0", port };
        const listener = await this.#options
          .network()
          .serve(at, options, (request) => this.#handle(request, isTls));
        this.#listeners.push(listener);
        const { address } = listener;
        const bound = "port" in address ? address.port : port;
        return { usual, port: bound, tls: isTls, protocol: "TCP" } as const;
      } catch (error) {
        if (!(error instanceof NetworkError) || error.code !== "EADDRINUSE") throw error;
      }
    }
    return { usual, port: undefined, tls: isTls, protocol: "TCP" } as const;
  }

  async #handle(request: HttpRequest, tls: boolean): Promise<HttpResponse> {
    const key = this.#router(hostName(request.headers["host"] ?? ""), request.target);
    if (key === undefined) return answer(404);
    const endpoints = this.#backends.get(key)?.endpoints ?? [];
    if (endpoints.length === 0) return answer(503);
    const first = this.#next.get(key) ?? 0;
    this.#next.set(key, first + 1);
    for (let step = 0; step < endpoints.length; step++) {
      const endpoint = endpoints[(first + step) % endpoints.length] as ProxyEndpoint;
      const sent = await this.#send(endpoint, request, tls);
      if (sent !== "refused") return sent;
    }
    return answer(502);
  }

  async #send(
    { address, port }: ProxyEndpoint,
    request: HttpRequest,
    tls: boolean,
  ): Promise<HttpResponse | "refused"> {
    const client = this.#options.network().http({ host: address, port }, { version: 1 });
    try {
      const { method, target, body, gone } = request;
      const got = await client.send({
        method,
        target,
        headers: headersFor(request, tls),
        signal: gone,
        ...(body === undefined ? {} : { body }),
      });
      return answerOf(got, client);
    } catch (error) {
      client.close();
      if (error instanceof NetworkError && refusals.has(error.code)) return "refused";
      return answer(502);
    }
  }
}

type Answer = Awaited<ReturnType<HttpClient["send"]>>;

function answerOf({ status, headers, body, raw }: Answer, client: HttpClient): HttpResponse {
  if (status === 101 && raw !== undefined) {
    return {
      status,
      headers,
      upgrade: (ours) => {
        void splice(ours, raw).finally(() => client.close());
      },
    };
  }
  const kept = Object.entries(headers).filter(([name]) => !ofConnection.has(name));
  return {
    status,
    headers: Object.fromEntries(kept),
    body: {
      async next() {
        const batch = await body.next();
        if (batch === undefined) client.close();
        return batch;
      },
      stop() {
        body.stop();
        client.close();
      },
    },
  };
}

const answer = (status: number): HttpResponse => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: new TextEncoder().encode(`${status}\n`),
});

function headersFor({ headers, peer }: HttpRequest, tls: boolean): Headers {
  const { connection = "", upgrade } = headers;
  const own = new Set(connection.split(",").map((name) => name.trim().toLowerCase()));
  const kept = Object.entries(headers).filter(
    ([name]) => !ofConnection.has(name) && !own.has(name) && !name.startsWith("x-forwarded-"),
  );
  const address = peer?.address ?? "";
  return {
    ...Object.fromEntries(kept),
    ...(upgrade === undefined ? {} : { connection: "upgrade", upgrade }),
    "x-forwarded-for": address,
    "x-forwarded-host": headers["host"] ?? "",
    "x-forwarded-port": tls ? "443" : "80",
    "x-forwarded-proto": tls ? "https" : "http",
    "x-real-ip": address,
  };
}

type Raw = Parameters<NonNullable<HttpResponse["upgrade"]>>[0];
async function splice(a: Raw, b: Raw): Promise<void> {
  const pump = async (from: Raw, to: Raw): Promise<void> => {
    try {
      for (;;) {
        const read = await from.read();
        if (read === undefined) break;
        await to.write(read);
      }
      to.end();
    } catch (error) {
      to.abort(error instanceof Error ? error : new Error(String(error)));
    }
  };
  await Promise.all([pump(a, b), pump(b, a)]);
}
