/**
 * What others need to check service account tokens by themselves, as OpenID Connect has it: which server issues them, and its
 * public keys. Paths that are no API objects.
 */
import type { ApiResponse } from "#api/request.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { ServiceAccountKey } from "./authn/service-account-token.ts";

const configurationPath = "/.well-known/openid-configuration";
const keysPath = "/openid/v1/jwks";
export const issuerPaths: readonly string[] = [configurationPath, keysPath];

const ageSecondsMax = 3600;
const encoder = new TextEncoder();

export interface IssuerOptions {
  readonly crypto: Crypto;
  readonly issuer: string;
  readonly keys: readonly ServiceAccountKey[];
  readonly keyId: (key: ServiceAccountKey) => string;
  /** "HOST:PORT" where others reach this server, as far as that is known. */
  readonly advertised: () => string | undefined;
}

export class IssuerDocuments {
  readonly #options: IssuerOptions;

  constructor(options: IssuerOptions) {
    this.#options = options;
  }

  /** Undefined: no such path. */
  answer(path: string): ApiResponse | undefined {
    const plain = path.replace(/\/$/, "");
    if (plain === configurationPath) return this.#document("application/json", this.#metadata());
    if (plain === keysPath) return this.#document("application/jwk-set+json", this.#keySet());
    return undefined;
  }

  #document(mediaType: string, value: object): ApiResponse {
    const bytes = encoder.encode(JSON.stringify(value));
    return {
      status: 200,
      headers: { "cache-control": `public, max-age=${ageSecondsMax}` },
      content: { type: "bytes", mediaType, bytes },
    };
  }

  #metadata(): object {
    const { issuer, keys, advertised } = this.#options;
    const at = advertised();
    return {
      issuer,
      jwks_uri: `${at === undefined ? issuer : `https://${at}`}${keysPath}`,
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: [
        ...new Set(keys.map(({ algorithm }) => algorithm)),
      ].toSorted(),
    };
  }

  #keySet(): object {
    const { crypto, keys, keyId } = this.#options;
    return {
      keys: keys.map((key) => {
        const { kty, ...numbers } = crypto.publicJwk(key.publicKey);
        return { use: "sig", kty, kid: keyId(key), alg: key.algorithm, ...numbers };
      }),
    };
  }
}
