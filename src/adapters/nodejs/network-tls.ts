/** TLS for both sides. Certificates are asked for at each handshake; what was parsed for them is kept while it stays the same. */
import { constants } from "node:crypto";
import { isIP, type Socket } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from "node:tls";
import type { ClientTls, ServerTls } from "#ports/network.ts";
import type { Bytes } from "#ports/stream.ts";
import { plainBytes } from "./network-error.ts";

/** As long as upstream waits for the head of a request, the handshake before it included. */
export const handshakeMsMax = 32_000;
const contextsMax = 128;
const chainLengthMax = 16;

const contexts = new Map<string, SecureContext>();

type Parts = SecureContextOptions & {
  readonly cert?: string;
  readonly key?: string;
  /** Empty: nobody is trusted; left out: the system's roots are. */
  readonly ca?: string | never[];
};

function contextOf(options: Parts): SecureContext {
  const roots = typeof options.ca === "object" ? "none" : options.ca;
  const key = [options.cert, options.key, roots, options.secureOptions].join("\0");
  const known = contexts.get(key);
  if (known !== undefined) return known;
  const fresh = createSecureContext({ minVersion: "TLSv1.2", ...options });
  if (contexts.size >= contextsMax) contexts.clear();
  contexts.set(key, fresh);
  return fresh;
}

function serverContext(tls: ServerTls, serverName: string | undefined): SecureContext {
  const { chain, key } = tls.identity(serverName);
  return contextOf({
    cert: chain,
    key,
    // Clients' chains are judged above: the system's roots need not be loaded for it.
    ca: [],
    sessionIdContext: "wherry",
    // A resumed session has lost the client's intermediate certificates: with them in play each handshake is whole.
    ...(tls.askClient === true ? { secureOptions: constants.SSL_OP_NO_TICKET } : {}),
  });
}

/** Throws if there is no usable certificate: whoever starts to listen should hear of it at once. */
export const checkServerTls = (tls: ServerTls): void => {
  serverContext(tls, undefined);
};

/** Shakes hands on an accepted connection; undefined if that failed, in which case the connection is closed. */
export function acceptTls(
  raw: Socket,
  tls: ServerTls,
  protocols: readonly string[] | undefined,
): Promise<TLSSocket | undefined> {
  let secureContext: SecureContext;
  try {
    secureContext = serverContext(tls, undefined);
  } catch {
    // No certificate just now (one is being replaced, say): this client is turned away, the next one asks again.
    raw.destroy();
    return Promise.resolve(undefined);
  }
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext,
    requestCert: tls.askClient === true,
    rejectUnauthorized: false,
    SNICallback: (serverName, done) => {
      try {
        done(null, serverContext(tls, serverName));
      } catch (error) {
        done(error instanceof Error ? error : new Error("there is no certificate"));
      }
    },
    ...(protocols === undefined ? {} : { ALPNProtocols: protocolList(protocols) }),
  });
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(), handshakeMsMax);
    const finish = (result: TLSSocket | undefined): void => {
      clearTimeout(timer);
      resolve(result);
    };
    socket.once("secure", () => {
      // What tls.Server does for its own sockets; HTTP/2 would wait for ever for a handshake that is over.
      Reflect.set(socket, "secureConnecting", false);
      finish(socket);
    });
    socket.once("close", () => finish(undefined));
    // Also keeps a connection that breaks between two owners from being an uncaught error.
    socket.on("error", () => socket.destroy());
  });
}

/** As ALPN has it on the wire: each name behind its length. */
const protocolList = (protocols: readonly string[]): Uint8Array =>
  Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));

/** Options for tls.connect. `host` is what the certificate must name, unless serverName says otherwise. */
export function clientOptions(
  tls: ClientTls,
  host: string,
  protocols: readonly string[] | undefined,
): ConnectionOptions {
  const identity = tls.identity?.();
  const name = tls.serverName ?? host;
  const offered = protocols ?? tls.protocols;
  return {
    secureContext: contextOf({
      ...(tls.roots === undefined ? {} : { ca: tls.roots }),
      ...(identity === undefined ? {} : { cert: identity.chain, key: identity.key }),
    }),
    // An address must not stand in SNI.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
    rejectUnauthorized: tls.insecure !== true,
    ...(offered === undefined ? {} : { ALPNProtocols: [...offered] }),
  };
}

/** The peer's certificates as it sent them, leaf first; none if it sent none. */
export function peerCertificates(socket: TLSSocket): readonly Bytes[] {
  const certificates: Bytes[] = [];
  const seen = new Set<string>();
  let at = socket.getPeerCertificate(true);
  while (at?.raw !== undefined && !seen.has(at.fingerprint256)) {
    if (certificates.length >= chainLengthMax) break;
    seen.add(at.fingerprint256);
    certificates.push(plainBytes(at.raw));
    at = at.issuerCertificate;
  }
  return certificates;
}
