/** `kubectl proxy`: the API on a local port, with our credentials. */
import type { HttpResponse } from "#ports/network.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { asError, CommandError } from "./errors.ts";
import { duration, integer, text, toggle } from "./flags.ts";

export const proxyCommand: KubectlCommand = {
  name: "proxy",
  summary: "Run a proxy to the Kubernetes API server",
  usage: "[--port=PORT] [--www=static-dir] [--www-prefix=prefix] [--api-prefix=prefix]",
  flags: [
    text("accept-hosts", "Regular expression for hosts that the proxy should accept", {
      default: "^localhost$,^127\\.0\\.0\\.1$,^\\[::1\\]$",
    }),
    text("accept-paths", "Regular expression for paths that the proxy should accept", {
      default: "^.*",
    }),
    text("address", "The IP address on which to serve on", { default: "127.0.0.1" }),
    text("api-prefix", "Prefix to serve the proxied API under", { default: "/" }),
    toggle("append-server-path", "Accepted and unused"),
    toggle("disable-filter", "Serve every host and path"),
    duration("keepalive", "Accepted and unused"),
    integer("port", "The port on which to run the proxy. Set to 0 to pick a random port", {
      short: "p",
      default: "8001",
    }),
    text("reject-methods", "Regular expression for HTTP methods that the proxy should reject", {
      default: "^$",
    }),
    text("reject-paths", "Regular expression for paths that the proxy should reject", {
      default: "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach",
    }),
    text("unix-socket", "Unix socket on which to run the proxy", { short: "u" }),
    text("www", "Not offered: also serve static files from this directory", { short: "w" }),
    text("www-prefix", "Not offered", { short: "P" }),
  ],
  run: proxy,
};

const bodyBytesMax = 64 * 1024 * 1024;
/** Headers that belong to one connection, not to what is said on it. */
const hopHeaders = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "te",
  "trailer",
  "upgrade",
  "host",
  "content-length",
  "authorization",
]);

function patterns(list: string): RegExp[] {
  return list.split(",").map((one) => {
    try {
      return new RegExp(one);
    } catch (error) {
      throw new CommandError(`error parsing regexp: ${asError(error).message}`);
    }
  });
}
const plain = (status: number, said: string): HttpResponse => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: new TextEncoder().encode(said),
});

async function proxy(given: Invocation): Promise<void> {
  const { session, flags } = given;
  if (flags.text("www") !== "")
    throw new CommandError("--www: static files are not part of wherry kubectl proxy");
  const [hosts, paths, refusedPaths, refusedMethods] = [
    "accept-hosts",
    "accept-paths",
    "reject-paths",
    "reject-methods",
  ].map((flag) => patterns(flags.text(flag)));
  const isOpen = flags.switch("disable-filter");
  if (isOpen)
    session.error(
      "Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious\n",
    );
  const prefix = `/${flags.text("api-prefix").replace(/^\/+|\/+$/g, "")}`.replace(/\/$/, "");
  const rest = await session.rest();
  const allows = (method: string, path: string, host: string): boolean =>
    isOpen ||
    ((hosts ?? []).some((one) => one.test(host)) &&
      (paths ?? []).some((one) => one.test(path)) &&
      !(refusedPaths ?? []).some((one) => one.test(path)) &&
      !(refusedMethods ?? []).some((one) => one.test(method)));
  const socket = flags.text("unix-socket");
  const at =
    socket === "" ? { host: flags.text("address"), port: flags.integer("port") } : { unix: socket };
  const listener = await session.around.network.serve(at, { bodyBytesMax }, async (request) => {
    const host = (request.headers["host"] ?? "").replace(/:\d+$/, "");
    const [path = ""] = request.target.split("?");
    if (!allows(request.method, path, host)) return plain(403, "Forbidden");
    if (!request.target.startsWith(prefix)) return plain(404, "404 page not found\n");
    if (request.headers["upgrade"] !== undefined)
      return plain(501, "this proxy does not pass upgrades on\n");
    const headers = Object.fromEntries(
      Object.entries(request.headers).filter(([name]) => !hopHeaders.has(name)),
    );
    const abort = new AbortController();
    request.gone.addEventListener("abort", () => abort.abort(), { once: true });
    try {
      const answer = await rest.stream(request.method, request.target.slice(prefix.length) || "/", {
        headers,
        accept: request.headers["accept"] ?? "*/*",
        ...(request.body instanceof Uint8Array
          ? {
              body: request.body,
              contentType: request.headers["content-type"] ?? "application/json",
            }
          : {}),
        signal: abort.signal,
      });
      const passed = Object.fromEntries(
        Object.entries(answer.headers).filter(([name]) => !hopHeaders.has(name)),
      );
      return { status: answer.status, headers: passed, body: answer.body };
    } catch (error) {
      return plain(502, `${asError(error).message}\n`);
    }
  });
  const { address } = listener;
  session.out(
    `Starting to serve on ${"unix" in address ? address.unix : `${address.host}:${address.port}`}\n`,
  );
  await new Promise<never>(() => {
    // Until the process ends.
  });
}
