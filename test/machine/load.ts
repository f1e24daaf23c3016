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
  /** By performance.now(): when each of those that failed was sent. */
  readonly failedSentMs: readonly number[];
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

/** `more`: of TLS, or headers. */
export function startLoad(
  url: string,
  perSecond: number,
  more: RequestOptions = {},
): { stop(): Promise<LoadResult> } {
  const failed: string[] = [];
  const failedSentMs: number[] = [];
  const bodies = new Map<string, number>();
  const open = new Set<Promise<void>>();
  let sent = 0;
  const began = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
    for (; sent < due; sent++) {
      const sentMs = performance.now();
      const one: Promise<void> = once(url, more).then((result) => {
        open.delete(one);
        if ("failed" in result) {
          failed.push(result.failed);
          failedSentMs.push(sentMs);
        } else bodies.set(result.body, (bodies.get(result.body) ?? 0) + 1);
      });
      open.add(one);
    }
  }, 5);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
      return { sent, failed, failedSentMs, bodies };
    },
  };
}

export async function fetchText(url: string, more: RequestOptions = {}): Promise<string> {
  const result = await once(url, more);
  if ("failed" in result) throw new Error(`${url}: ${result.failed}`);
  return result.body;
}
