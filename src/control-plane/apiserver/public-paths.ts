/** Paths that are no API objects: health, version, the list of paths, keys of service account tokens. */
import type { ApiResponse } from "#api/request.ts";
import type { ChainContext } from "./chain.ts";
import { encodeJson } from "./object-codec.ts";

const encoder = new TextEncoder();

/** Which Kubernetes this is. Clients parse gitVersion as a semantic version. */
export const serverVersion = {
  major: "1",
  minor: "37",
  gitVersion: "v1.37.2",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "",
  compiler: "",
  platform: "linux/amd64",
};

export interface HealthCheck {
  readonly name: string;
  /** Undefined: fine. Else why not: for the log, never for the client. */
  readonly check: () => string | undefined;
  /** Asked by these endpoints. */
  readonly on: readonly ("healthz" | "livez" | "readyz")[];
}

export function plainText(status: number, text: string): ApiResponse {
  return {
    status,
    headers: { "x-content-type-options": "nosniff" },
    content: {
      type: "bytes",
      mediaType: "text/plain; charset=utf-8",
      bytes: encoder.encode(text),
    },
  };
}

/** In Prometheus' text form. */
export const metricsText = (text: string): ApiResponse => ({
  status: 200,
  headers: {},
  content: {
    type: "bytes",
    mediaType: "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
    bytes: encoder.encode(text),
  },
});

export function jsonDocument(value: object, pretty: boolean): ApiResponse {
  const bytes = pretty ? encoder.encode(JSON.stringify(value, undefined, 2)) : encodeJson(value);
  const content = { type: "bytes", mediaType: "application/json", bytes } as const;
  return { status: 200, headers: {}, content };
}

/** /healthz, /livez, /readyz and the single checks below them. Undefined: no such path. */
export function health(
  context: ChainContext,
  checks: readonly HealthCheck[],
): ApiResponse | undefined {
  const match = /^\/(healthz|livez|readyz)(?:\/(.+?))?\/?$/.exec(context.info.path);
  if (match === null) return undefined;
  const endpoint = match[1] as "healthz" | "livez" | "readyz";
  const known = checks.filter(({ on }) => on.includes(endpoint));
  if (match[2] !== undefined) {
    const one = known.find(({ name }) => name === match[2]);
    if (one === undefined) return undefined;
    return one.check() === undefined
      ? plainText(200, "ok")
      : plainText(500, `internal server error: ${one.name}: reason withheld\n`);
  }
  const query = context.request.query;
  const excluded = new Set(query.filter(([name]) => name === "exclude").map(([, value]) => value));
  const lines: string[] = [];
  let failed = false;
  for (const { name, check } of known) {
    if (excluded.has(name)) lines.push(`[+]${name} excluded: ok\n`);
    else if (check() === undefined) lines.push(`[+]${name} ok\n`);
    else {
      failed = true;
      lines.push(`[-]${name} failed: reason withheld\n`);
    }
  }
  for (const { name } of known) excluded.delete(name);
  if (excluded.size > 0) {
    const names = [...excluded].sort().map((name) => JSON.stringify(name));
    lines.push(`warn: some health checks cannot be excluded: no matches for ${names.join(",")}\n`);
  }
  if (failed) return plainText(500, `${lines.join("")}${endpoint} check failed\n`);
  const verbose = query.some(([name]) => name === "verbose");
  return plainText(200, verbose ? `${lines.join("")}${endpoint} check passed\n` : "ok");
}
