/**
 * TLS as the memory network has it: nothing is encrypted, but certificates are shown, and judged where there is a Crypto to
 * judge them by, so that a world that wires its certificates wrongly fails here as it would for real.
 */

import { unarmour } from "#machinery/pem.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import { type ClientTls, NetworkError, type ServerTls } from "#ports/network.ts";
import type { Bytes } from "#ports/stream.ts";

export const isAddress = (host: string): boolean =>
  host.includes(":") || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);

export interface Judges {
  readonly clock: Clock;
  readonly crypto: Crypto | undefined;
}

/** What the client showed; throws a NetworkError if the handshake fails. */
export function shakeHands(
  host: string,
  client: ClientTls | undefined,
  server: ServerTls | undefined,
  judges: Judges,
): readonly Bytes[] {
  const fail = (why: string): NetworkError =>
    new NetworkError("ETLS", `the TLS handshake with ${host} failed: ${why} (ETLS)`);
  if (client === undefined && server === undefined) return [];
  if (server === undefined) throw fail("the server does not speak TLS");
  if (client === undefined) throw fail("the server speaks TLS only");
  const name = client.serverName ?? host;
  let identity: ReturnType<ServerTls["identity"]>;
  try {
    identity = server.identity(isAddress(name) ? undefined : name);
  } catch {
    throw fail("the server has no certificate");
  }
  const chain = unarmour("CERTIFICATE", identity.chain);
  const { crypto, clock } = judges;
  if (crypto !== undefined && client.insecure !== true) {
    const verdict = crypto.judge(chain, client.roots ?? "", clock.now());
    if ("refused" in verdict) throw fail(verdict.refused);
    if (!verdict.uses.includes("server auth")) throw fail("the certificate is not for servers");
    if (!verdict.names.some((known) => matches(known, name))) {
      throw fail(`the certificate is for ${verdict.names.join(", ")}, not for ${name}`);
    }
  }
  if (server.askClient !== true) return [];
  const shown = client.identity?.();
  return shown === undefined ? [] : unarmour("CERTIFICATE", shown.chain);
}

/** A star stands for one label. */
function matches(known: string, name: string): boolean {
  if (known === name) return true;
  return known.startsWith("*.") && name.slice(name.indexOf(".")) === known.slice(1);
}
