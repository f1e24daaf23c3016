/** A bare HTTPS client of the API, with the administrator's certificate of a kubeconfig: for tests that count acknowledgements. */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { readYaml } from "#machinery/yaml.ts";

interface Kubeconfig {
  clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  users: { user: { "client-certificate-data": string; "client-key-data": string } }[];
}
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}
export interface WatchedEvent {
  readonly type: string;
  readonly object: { metadata: { name?: string; resourceVersion: string }; code?: number };
}

export class ApiClient {
  readonly #server: URL;
  readonly #tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly #agent: Agent;

  constructor(kubeconfig: string) {
    const { clusters, users } = readYaml(readFileSync(kubeconfig, "utf8")) as Kubeconfig;
    const [cluster, user] = [clusters[0]?.cluster, users[0]?.user];
    if (cluster === undefined || user === undefined) throw new Error("the kubeconfig is empty");
    const pem = (data: string): string => Buffer.from(data, "base64").toString();
    this.#server = new URL(cluster.server);
    this.#tls = {
      ca: pem(cluster["certificate-authority-data"]),
      cert: pem(user["client-certificate-data"]),
      key: pem(user["client-key-data"]),
    };
    this.#agent = new Agent({ keepAlive: true, ...this.#tls });
  }

  /** Rejects when the connection breaks: then nobody knows whether it was done. */
  send(method: string, path: string, body?: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const asked = request(
        new URL(path, this.#server),
        { method, agent: this.#agent, headers: { "content-type": "application/json" } },
        (response) => {
          let text = "";
          response.setEncoding("utf8").on("data", (part: string) => {
            text += part;
          });
          response.on("end", () => {
            if (!response.complete) return reject(new Error("the answer broke off"));
            let parsed: unknown = text;
            if (response.headers["content-type"]?.includes("json")) parsed = JSON.parse(text);
            resolve({ status: response.statusCode ?? 0, body: parsed });
          });
          response.on("error", reject);
        },
      );
      asked.on("error", reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Calls `each` for every whole event until the watch ends; resolves then, whatever ended it. */
  watch(path: string, each: (event: WatchedEvent) => void): { ended: Promise<void>; stop(): void } {
    const asked = request(new URL(path, this.#server), { agent: false, ...this.#tls });
    const ended = new Promise<void>((resolve) => {
      asked.on("error", () => resolve());
      asked.on("response", (response) => {
        let rest = "";
        response.setEncoding("utf8").on("data", (text: string) => {
          const lines = (rest + text).split("\n");
          rest = lines.pop() ?? "";
          for (const line of lines) if (line !== "") each(JSON.parse(line) as WatchedEvent);
        });
        response.on("close", () => resolve());
        response.on("error", () => resolve());
      });
    });
    asked.end();
    return { ended, stop: () => asked.destroy() };
  }
  close(): void {
    this.#agent.destroy();
  }
}
