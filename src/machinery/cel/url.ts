/** URLs as Go's url.ParseRequestURI reads them: absolute, or a path that begins with a slash. */

export interface ParsedUrl {
  readonly text: string;
  readonly scheme: string;
  /** With the port. */
  readonly host: string;
  readonly hostname: string;
  readonly port: string;
  /** As written. */
  readonly path: string;
  readonly query: ReadonlyMap<string, readonly string[]>;
}

const goodHost = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:<>"]|%[0-9A-Fa-f]{2}|[^\0-\x7f])*$/;
const badEscape = /%(?![0-9A-Fa-f]{2})/;

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

function queryOf(text: string): Map<string, string[]> {
  const query = new Map<string, string[]>();
  for (const part of text.split("&")) {
    if (part === "" || part.includes(";")) continue;
    const at = part.indexOf("=");
    const key = decode(at === -1 ? part : part.slice(0, at));
    const value = decode(at === -1 ? "" : part.slice(at + 1));
    if (key === undefined || value === undefined) continue;
    query.set(key, [...(query.get(key) ?? []), value]);
  }
  return query;
}

export function compileUrl(text: string): ParsedUrl | { readonly problem: string } {
  const fail = (why: string) => ({ problem: `parse ${JSON.stringify(text)}: ${why}` });
  for (const char of text)
    if (char < " " || char === "\x7f") return fail("net/url: invalid control character in URL");
  if (text === "") return fail("empty url");
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text)?.[1]?.toLowerCase() ?? "";
  if (scheme === "" && /^[^/?#]*:/.test(text)) {
    const isMissing = text.startsWith(":");
    return fail(
      isMissing ? "missing protocol scheme" : "first path segment in URL cannot contain colon",
    );
  }
  const rest = scheme === "" ? text : text.slice(scheme.length + 1);
  const mark = rest.indexOf("?");
  const before = mark === -1 ? rest : rest.slice(0, mark);
  const query = queryOf(mark === -1 ? "" : rest.slice(mark + 1));
  if (!before.startsWith("/")) {
    if (scheme === "") return fail("invalid URI for request");
    // What has no slash behind the scheme is opaque.
    return { text, scheme, host: "", hostname: "", port: "", path: "", query };
  }
  const hasHost = scheme !== "" && before.startsWith("//");
  const authority = hasHost ? (/^\/\/([^/]*)/.exec(before)?.[1] ?? "") : "";
  const path = hasHost ? before.slice(2 + authority.length) : before;
  const escape = badEscape.exec(path);
  if (escape !== null) {
    const shown = path.slice(escape.index, escape.index + 3);
    return fail(`invalid URL escape ${JSON.stringify(shown)}`);
  }
  const host = authority.slice(authority.lastIndexOf("@") + 1);
  const split = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(host);
  if (split === null) return fail(`invalid port after host`);
  const [, name = "", port = ""] = split;
  if (!/^\d*$/.test(port)) return fail(`invalid port ${JSON.stringify(`:${port}`)} after host`);
  const hostname = name.replace(/^\[|\]$/g, "");
  if (!goodHost.test(hostname)) return fail("invalid character in host name");
  return { text, scheme, host, hostname, port, path, query };
}
