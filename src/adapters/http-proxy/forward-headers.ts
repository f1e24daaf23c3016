/** Headers on their way through a proxy: what belongs to one connection stays on it, and who asked is told on. Pure. */

/** Where a request came in. */
export interface Origin {
  /** The client's address. */
  readonly address: string;
  readonly tls: boolean;
  /** The port that it came to. */
  readonly port: number;
}
/** Name, value, name, value. */
export type RawHeaders = readonly string[];

const ofConnection: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);
/** What only we say. */
const ofProxy: ReadonlySet<string> = new Set([
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-real-ip",
]);

/** Further headers that the Connection header takes for itself. */
function named(connection: string | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === "keep-alive" || connection === "close") {
    return undefined;
  }
  return new Set(connection.split(",").map((name) => name.trim().toLowerCase()));
}

const plainAddress = (address: string): string =>
  address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;

/** For the backend. `isStreamed`: a body without a length follows. */
export function requestHeaders(
  raw: RawHeaders,
  host: string,
  connection: string | undefined,
  origin: Origin,
  isStreamed: boolean,
): string[] {
  const also = named(connection);
  const headers: string[] = ["Host", host];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    const lower = name.toLowerCase();
    if (lower === "host" || lower.startsWith(":")) continue;
    if (ofConnection.has(lower) || ofProxy.has(lower) || also?.has(lower) === true) continue;
    headers.push(name, raw[i + 1] as string);
  }
  if (isStreamed) headers.push("Transfer-Encoding", "chunked");
  const address = plainAddress(origin.address);
  headers.push(
    "X-Forwarded-For",
    address,
    "X-Forwarded-Host",
    host,
    "X-Forwarded-Port",
    String(origin.port),
    "X-Forwarded-Proto",
    origin.tls ? "https" : "http",
    "X-Real-IP",
    address,
  );
  return headers;
}

/** For the client. */
export function responseHeaders(raw: RawHeaders, connection: string | undefined): string[] {
  const also = named(connection);
  const headers: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    const lower = name.toLowerCase();
    if (ofConnection.has(lower) || also?.has(lower) === true) continue;
    headers.push(name, raw[i + 1] as string);
  }
  return headers;
}

/** HTTP/2 wants small letters, and one value a name but for some. */
export function http2Headers(status: number, raw: RawHeaders): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = { ":status": String(status) };
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    const value = raw[i + 1] as string;
    const known = headers[name];
    if (known === undefined) headers[name] = value;
    else if (Array.isArray(known)) known.push(value);
    else headers[name] = [known, value];
  }
  return headers;
}
