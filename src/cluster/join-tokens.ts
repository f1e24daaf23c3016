/** Bootstrap tokens as Secrets: makes them, lists them, takes them away. */
import { Secret } from "#api/core/v1/secret.ts";
import type { Client } from "#client/client.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import { newTokenParts } from "./join-token.ts";

export interface TokenShown {
  readonly id: string;
  readonly secret: string;
  /** Undefined: it never expires. */
  readonly expiration: string | undefined;
  readonly usages: readonly string[];
  readonly groups: readonly string[];
  readonly description: string;
}

const namespace = "kube-system";
const secretType = "bootstrap.kubernetes.io/token";
const group = "system:bootstrappers:wherry:default-node-token";
export const nameOfToken = (id: string): string => `bootstrap-token-${id}`;

export async function createToken(
  client: Client,
  { crypto, clock }: { readonly crypto: Crypto; readonly clock: Clock },
  options: {
    /** 0: for ever. */
    readonly ttlMs: number;
    readonly description: string;
    readonly parts?: { readonly id: string; readonly secret: string };
  },
): Promise<{ readonly id: string; readonly secret: string }> {
  const { id, secret } = options.parts ?? newTokenParts(crypto);
  const { ttlMs, description } = options;
  await client.create(Secret, {
    metadata: { name: nameOfToken(id), namespace },
    type: secretType,
    stringData: {
      "token-id": id,
      "token-secret": secret,
      "usage-bootstrap-authentication": "true",
      "usage-bootstrap-signing": "true",
      "auth-extra-groups": group,
      ...(ttlMs === 0 ? {} : { expiration: formatTime(clock.now() + ttlMs) }),
      ...(description === "" ? {} : { description }),
    },
  });
  return { id, secret };
}

export async function listTokens(client: Client): Promise<TokenShown[]> {
  const fieldSelector = `type=${secretType}`;
  const { items } = await client.list(Secret, { namespace, fieldSelector });
  return items.map(({ data }) => {
    const text = (key: string): string => {
      const decoded = decodeBase64(data?.[key] ?? "");
      return "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : "";
    };
    const usages = ["authentication", "signing"];
    return {
      id: text("token-id"),
      secret: text("token-secret"),
      expiration: text("expiration") || undefined,
      usages: usages.filter((usage) => text(`usage-bootstrap-${usage}`) === "true"),
      groups: text("auth-extra-groups").split(",").filter(Boolean),
      description: text("description"),
    };
  });
}

export const deleteToken = (client: Client, id: string): Promise<void> =>
  client.delete(Secret, { namespace, name: nameOfToken(id) });
