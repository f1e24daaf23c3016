/** Which route a request takes: hosts with wildcards, paths by element, the most specific first. */

export interface Route {
  readonly match: "exact" | "prefix";
  readonly path: string;
  readonly backend: string;
}
export interface HostRoutes {
  /** A name; "*.example.com"; "" for every other host. */
  readonly host: string;
  readonly routes: readonly Route[];
}
/** The backend's key; undefined: nothing matches. */
export type Router = (host: string, target: string) => string | undefined;

/** Of a Host header: without its port, in small letters. */
export function hostName(header: string): string {
  const bracket = header.startsWith("[") ? header.indexOf("]") + 1 : 0;
  const colon = header.indexOf(":", bracket);
  const name = (colon < 0 ? header : header.slice(0, colon)).toLowerCase();
  return name.endsWith(".") ? name.slice(0, -1) : name;
}

/** The names under which what is said for `name` may stand, the most specific first: itself, its wildcard, every host. */
export function hostCandidates(name: string): readonly string[] {
  const dot = name.indexOf(".");
  return dot <= 0 ? [name, ""] : [name, `*${name.slice(dot)}`, ""];
}

/** The path as it is matched: without query, dot segments resolved, so that nobody walks around a route. */
export function matchedPath(target: string): string {
  const end = target.search(/[?#]/);
  let path = end < 0 ? target : target.slice(0, end);
  if (!path.startsWith("/")) {
    // The absolute form that is meant for proxies.
    const origin = /^https?:\/\/[^/]*/i.exec(path);
    path = origin === null ? "/" : path.slice(origin[0].length) || "/";
  }
  if (!path.includes("/.")) return path;
  const kept: string[] = [];
  const parts = path.split("/").slice(1);
  for (const [i, part] of parts.entries()) {
    const isLast = i === parts.length - 1;
    if (part === "..") kept.pop();
    if (part !== "." && part !== "..") kept.push(part);
    else if (isLast) kept.push("");
  }
  return `/${kept.join("/")}`;
}

interface Compiled {
  readonly exact: ReadonlyMap<string, string>;
  /** Without a slash at the end; the longest first. */
  readonly prefixes: readonly { readonly path: string; readonly backend: string }[];
}

function compile(routes: readonly Route[]): Compiled {
  const exact = new Map<string, string>();
  const prefixes = new Map<string, string>();
  for (const { match, path, backend } of routes) {
    const key = match === "exact" ? path : path.replace(/\/+$/, "");
    const into = match === "exact" ? exact : prefixes;
    // Of two the first one holds.
    if (!into.has(key)) into.set(key, backend);
  }
  const sorted = [...prefixes]
    .map(([path, backend]) => ({ path, backend }))
    .toSorted((a, b) => b.path.length - a.path.length);
  return { exact, prefixes: sorted };
}

const isBelow = (path: string, prefix: string): boolean =>
  path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === "/");

/** The longest path that matches wins; of an exact one and an equal prefix the exact one. */
function find({ exact, prefixes }: Compiled, path: string): string | undefined {
  return exact.get(path) ?? prefixes.find((one) => isBelow(path, one.path))?.backend;
}

/** A host that has routes of its own answers for itself: what they do not match goes to nobody else's. */
export function compileRoutes(hosts: readonly HostRoutes[]): Router {
  const byHost = new Map<string, Compiled>();
  for (const { host, routes } of hosts) byHost.set(host, compile(routes));
  return (host, target) => {
    for (const candidate of hostCandidates(host)) {
      const compiled = byHost.get(candidate);
      if (compiled !== undefined) return find(compiled, matchedPath(target));
    }
    return undefined;
  };
}
