import { expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { IssuerDocuments } from "./issuer-documents.ts";

async function documents(advertised?: string) {
  const crypto = memoryCrypto(seededRandom("issuer"));
  const key = { algorithm: "ES256", ...(await crypto.generateKey("ES256")) } as const;
  const issuer = new IssuerDocuments({
    crypto,
    issuer: "https://kubernetes.default.svc",
    keys: [key],
    keyId: () => "one",
    advertised: () => advertised,
  });
  return (path: string) => {
    const content = issuer.answer(path)?.content;
    if (content?.type !== "bytes") return undefined;
    const text = new TextDecoder().decode(content.bytes);
    return { type: content.mediaType, value: JSON.parse(text) as unknown };
  };
}

test("the metadata names the issuer and where its keys are read", async () => {
  const read = await documents("192.0.2.1:6443");
  expect(read("/.well-known/openid-configuration")).toEqual({
    type: "application/json",
    value: {
      issuer: "https://kubernetes.default.svc",
      jwks_uri: "https://192.0.2.1:6443/openid/v1/jwks",
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: ["ES256"],
    },
  });
  const alone = await documents();
  expect(alone("/.well-known/openid-configuration/")?.value).toMatchObject({
    jwks_uri: "https://kubernetes.default.svc/openid/v1/jwks",
  });
});

test("the keys are public ones, with the id that tokens carry", async () => {
  const read = await documents();
  const text = expect.any(String);
  expect(read("/openid/v1/jwks")).toEqual({
    type: "application/jwk-set+json",
    value: {
      keys: [{ use: "sig", kty: "EC", kid: "one", alg: "ES256", crv: "P-256", x: text, y: text }],
    },
  });
  expect(read("/openid")).toBeUndefined();
});
