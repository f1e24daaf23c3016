/** A steady stream of HTTP requests, each on a connection of its own, and what became of them. */
import {
  type ClientRequest,
  type RequestOptions as HttpOptions,
  type IncomingMessage,
  request as requestHttp,
} from "node:http";
import { type RequestOptions, request as requestHttps } from "node:https";

export interface LoadResult {
  readonly sent: number;
  readonly failed: readonly string[];
  /** Those that failed, by number: the first that was sent is 0. */
  readonly lost: readonly number[];
  /** How often each body came. */
  readonly bodies: ReadonlyMap<string, number>;
}

type Ask = (
  url: string,
  options: RequestOptions & HttpOptions,
  answered: (response: IncomingMessage) => void,
) => ClientRequest;

function once(
  url: string,
  more: RequestOptions = {},
): Promise<{ body: string } | { failed: string }> {
  const request: Ask = url.startsWith("https:") ? requestHttps : requestHttp;
  return new Promise((resolve) => {
    const asked = request(url, { agent: false, timeout: 10_000, ...more }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      response.on("end", () =>
        resolve(
          response.statusCode === 200 ? { body } : { failed: `status ${response.statusCode}` },
        ),
      );
      response.on("error", (error) => resolve({ failed: error.message }));
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer within 10 s")));
    asked.on("error", (error) => resolve({ failed: error.message }));
    asked.end();
  });
}

export interface Load {
  /** How many so far. */
  sent(): number;
  /** Those without an answer, by number, the oldest first. */
  underWay(): ReadonlySet<number>;
  stop(): Promise<LoadResult>;
}

/** `more`: of TLS, or headers. */
export function startLoad(url: string, perSecond: number, more: RequestOptions = {}): Load {
  const failed: string[] = [];
  const lost: number[] = [];
  const bodies = new Map<string, number>();
  const open = new Map<number, Promise<void>>();
  let sent = 0;
  const began = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
    for (; sent < due; sent++) {
      const number = sent;
      const one = once(url, more).then((result) => {
        open.delete(number);
        if ("failed" in result) {
          failed.push(result.failed);
          lost.push(number);
        } else bodies.set(result.body, (bodies.get(result.body) ?? 0) + 1);
      });
      open.set(number, one);
    }
  }, 5);
  return {
    sent: () => sent,
    underWay: () => new Set(open.keys()),
    async stop() {
      clearInterval(timer);
      await Promise.all(open.values());
      return { sent, failed, lost, bodies };
    },
  };
}

export async function fetchText(url: string, more: RequestOptions = {}): Promise<string> {
  const result = await once(url, more);
  if ("failed" in result) throw new Error(`${url}: ${result.failed}`);
  return result.body;
}
