/**
 * URLs as Go's net/url takes them apart: lenient, and with its words for what it can't read. Facts from net/url: which characters
 * end which part.
 */

import { quote } from "./quote.ts";

export interface UrlParts {
  readonly scheme: string;
  /** Absent: nothing stands before an @. */
  readonly user?: string;
  /** With the port. */
  readonly host: string;
  readonly path: string;
  readonly query: string;
  readonly fragment: string;
}
export interface UnreadableUrl {
  readonly problem: string;
}

function splitAt(text: string, mark: string): readonly [string, string] {
  const at = text.indexOf(mark);
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + mark.length)];
}

const badEscape = /%(?![0-9A-Fa-f]{2}).{0,2}/;
const controls = /\p{Cc}/u;
const isControl = (text: string): boolean =>
  Array.from(text).some((char) => controls.test(char) && char < "\u0080");

export function readUrl(text: string): UrlParts | UnreadableUrl {
  const wrong = (why: string): UnreadableUrl => ({
    problem: `parse ${quote(text)}: ${why}`,
  });
  const [whole, fragment] = splitAt(text, "#");
  if (isControl(whole)) return wrong("net/url: invalid control character in URL");
  if (whole.startsWith(":")) return wrong("missing protocol scheme");
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(whole)?.[1] ?? "";
  const afterScheme = scheme === "" ? whole : whole.slice(scheme.length + 1);
  const [rest, query] = splitAt(afterScheme, "?");
  if (scheme === "" && !rest.startsWith("/") && (rest.split("/")[0] ?? "").includes(":"))
    return wrong("first path segment in URL cannot contain colon");
  const hasAuthority = rest.startsWith("//");
  const slash = hasAuthority ? rest.indexOf("/", 2) : 0;
  const authority = hasAuthority ? rest.slice(2, slash === -1 ? undefined : slash) : "";
  const path = slash === -1 ? "" : rest.slice(slash);
  const at = authority.lastIndexOf("@");
  const host = authority.slice(at + 1);
  const port = /:([^\]]*)$/.exec(host)?.[1] ?? "";
  if (!/^[0-9]*$/.test(port)) return wrong(`invalid port ${quote(`:${port}`)} after host`);
  if (host.includes(" ")) return wrong('invalid character " " in host name');
  const escape = badEscape.exec(host) ?? badEscape.exec(path) ?? badEscape.exec(fragment);
  if (escape !== null) return wrong(`invalid URL escape ${quote(escape[0])}`);
  const user = at === -1 ? {} : { user: authority.slice(0, at) };
  return { scheme: scheme.toLowerCase(), ...user, host, path, query, fragment };
}
