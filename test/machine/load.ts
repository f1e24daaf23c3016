/** A steady stream of HTTP requests, each on a connection of its own, and what became of them. */
import { request } from "node:http";

export interface LoadResult {
  readonly sent: number;
  readonly failed: readonly string[];
  /** How often each body came. */
  readonly bodies: ReadonlyMap<string, number>;
}

function once(url: string): Promise<{ body: string } | { failed: string }> {
  return new Promise((resolve) => {
    const asked = request(url, { agent: false, timeout: 10_000 }, (response) => {
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

export function startLoad(url: string, perSecond: number): { stop(): Promise<LoadResult> } {
  const failed: string[] = [];
  const bodies = new Map<string, number>();
  const open = new Set<Promise<void>>();
  let sent = 0;
  const began = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
    for (; sent < due; sent++) {
      const one: Promise<void> = once(url).then((result) => {
        open.delete(one);
        if ("failed" in result) failed.push(result.failed);
        else bodies.set(result.body, (bodies.get(result.body) ?? 0) + 1);
      });
      open.add(one);
    }
  }, 5);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
      return { sent, failed, bodies };
    },
  };
}

export async function fetchText(url: string): Promise<string> {
  const result = await once(url);
  if ("failed" in result) throw new Error(`${url}: ${result.failed}`);
  return result.body;
}
