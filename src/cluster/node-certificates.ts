/**
 * A node's certificates by request: makes a key, asks the cluster for a certificate by CertificateSigningRequest, and waits until it
 * is issued. The key never leaves the machine.
 */
import {
  type CertificateSigningRequest,
  CertificateSigningRequest as Csr,
  conditionsOf,
  signers,
} from "#api/certificates/v1/certificatesigningrequest.ts";
import type { Client } from "#client/client.ts";
import { decodeBase64, encodeBase64 } from "#machinery/base64.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Identity } from "./certificates.ts";

export interface CertificateOrder {
  readonly nodeName: string;
  readonly kind: "client" | "serving";
  /** Addresses that a serving certificate holds for, besides the node's name. */
  readonly addresses: readonly string[];
}
const watchSeconds = 60;

/** Undefined: not decided yet. */
function outcomeOf(csr: CertificateSigningRequest): string | undefined {
  const { certificate = "" } = csr.status ?? {};
  if (certificate !== "") {
    const decoded = decodeBase64(certificate);
    if (!("bytes" in decoded)) throw new Error("the cluster issued something unreadable");
    return new TextDecoder().decode(decoded.bytes);
  }
  const refused = conditionsOf(csr).find(({ type }) => type === "Denied" || type === "Failed");
  if (refused === undefined) return undefined;
  const why = refused.message ?? refused.reason ?? "";
  throw new Error(`the certificate request was ${refused.type.toLowerCase()}: ${why}`);
}

/** Whether what is issued now comes sooner than the limit. */
async function issued(client: Client, name: string, clock: Clock, msMax: number): Promise<string> {
  const limit = clock.monotonicMs() + msMax;
  for (;;) {
    const csr = await client.get(Csr, { name });
    const now = outcomeOf(csr);
    if (now !== undefined) return now;
    const leftMs = limit - clock.monotonicMs();
    if (leftMs <= 0)
      throw new Error(
        `the certificate request ${name} was not approved within ${msMax / 1000} s. Approve it: kubectl certificate approve ${name}`,
      );
    const events = await client.watch(Csr, {
      fieldSelector: `metadata.name=${name}`,
      resourceVersion: csr.metadata.resourceVersion,
      timeoutSeconds: Math.min(watchSeconds, Math.ceil(leftMs / 1000)),
    });
    try {
      for (;;) {
        const batch = await events.next();
        if (batch === undefined) break;
        for (const { object } of batch) {
          const then = outcomeOf(object);
          if (then !== undefined) return then;
        }
      }
    } catch (error) {
      // The history moved on: look again.
      if (!isStatus(error, "Expired")) throw error;
    } finally {
      events.stop();
    }
  }
}

export async function orderCertificate(
  order: CertificateOrder,
  { client, crypto, clock }: { client: Client; crypto: Crypto; clock: Clock },
  msMax: number,
): Promise<Identity> {
  const { nodeName, kind, addresses } = order;
  const key = await crypto.generateKey("ES256");
  const pem = await crypto.request(
    {
      user: `system:node:${nodeName}`,
      groups: ["system:nodes"],
      names: kind === "client" ? [] : [nodeName, ...addresses],
    },
    key,
  );
  const made = await client.create(Csr, {
    metadata: { generateName: kind === "client" ? "node-csr-" : "csr-" },
    spec: {
      request: encodeBase64(new TextEncoder().encode(pem)),
      signerName: kind === "client" ? signers.kubeletClient : signers.kubeletServing,
      usages: ["digital signature", kind === "client" ? "client auth" : "server auth"],
    },
  });
  const certificate = await issued(client, made.metadata.name, clock, msMax);
  return { certificate, privateKey: key.privateKey };
}

/**
 * When to renew: at 70 to 90 % of a certificate's life, each at a moment of its own, so that a thousand nodes do not come at once.
 * `share`: 0 to 1.
 */
export function renewalMs(crypto: Crypto, certificate: string, share: number): number {
  const { fromMs, toMs } = crypto.readCertificate(certificate);
  return fromMs + (toMs - fromMs) * (0.7 + 0.2 * share);
}
