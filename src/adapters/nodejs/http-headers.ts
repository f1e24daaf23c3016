/** Headers between the port's form (lower case, one string a name, Unicode) and the wire's (bytes that Node shows as latin1). */
import type { IncomingHttpHeaders } from "node:http";
import type { Headers } from "#ports/network.ts";

const beyondAscii = /[^\t\x20-\x7e]/;

/** Go and browsers put UTF-8 on the wire (in Warning texts, say); Node takes and gives one character a byte. */
const toWire = (value: string): string =>
  beyondAscii.test(value) ? Buffer.from(value, "utf8").toString("latin1") : value;
const fromWire = (value: string): string =>
  beyondAscii.test(value) ? Buffer.from(value, "latin1").toString("utf8") : value;

/** HTTP/2 has no headers of the connection; Node refuses them. */
const ofConnection: ReadonlySet<string> = new Set([
  "connection",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** The name of a header that cannot be sent; undefined: all can. */
export function badHeader(headers: Headers): string | undefined {
  for (const name in headers) {
    const value = headers[name] ?? "";
    if (!token.test(name)) return name;
    if (
      beyondAscii.test(value) &&
      hasControl(hasLines(name) ? value.replaceAll("\n", "") : value)
    ) {
      return name;
    }
  }
  return undefined;
}

/** Each of its values is a line of its own on the wire. */
const hasLines = (name: string): boolean => name === "set-cookie" || name.startsWith("x-remote-");

const token = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

function hasControl(value: string): boolean {
  return Array.from(value).some(
    (character) => (character < " " && character !== "\t") || character === "\x7f",
  );
}

/** What came in. HTTP/2's pseudo headers are left out; its :authority is the host. */
export function incomingHeaders(headers: IncomingHttpHeaders): Headers {
  for (const name in headers) {
    const value = headers[name];
    if (typeof value !== "string" || name.startsWith(":") || beyondAscii.test(value)) {
      return decodedHeaders(headers);
    }
  }
  // As they should be already, which nearly all are: no copy.
  return headers as Headers;
}

function decodedHeaders(headers: IncomingHttpHeaders): Headers {
  const result: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined) continue;
    if (name === ":authority") result["host"] ??= fromWire(String(value));
    if (name.startsWith(":")) continue;
    result[name] = fromWire(typeof value === "string" ? value : value.join("\n"));
  }
  return result;
}

/** For HTTP/1.1: names and values in turn. Names in `except` are left out. */
export function http1Headers(headers: Headers, except?: string): string[] {
  const result: string[] = [];
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || name === except) continue;
    if (hasLines(name)) for (const cookie of value.split("\n")) result.push(name, toWire(cookie));
    else result.push(name, toWire(value));
  }
  return result;
}

/** For HTTP/2, whatever belongs to an HTTP/1.1 connection left out. */
export function http2Headers(headers: Headers): Record<string, string | string[]> {
  const result: Record<string, string | string[]> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined) continue;
    // The one value that "te" may have there.
    if (ofConnection.has(name) && !(name === "te" && value === "trailers")) continue;
    result[name] = hasLines(name) ? value.split("\n").map(toWire) : toWire(value);
  }
  return result;
}

export const trailerHeaders = (trailers: NodeJS.Dict<string | string[]>): Headers =>
  decodedHeaders(trailers);
