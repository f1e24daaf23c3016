/**
 * Pod certificate requests: what is asked for must be a request signed with its own key, of a kind that workloads may have; what is
 * issued must be a certificate for that key and that time, by somebody who may sign for the signer. Upstream has this in the kind itself.
 */
import { certificatesGroup } from "#api/certificates/v1/certificatesigningrequest.ts";
import { PodCertificateRequest, verdictOf } from "#api/certificates/v1/podcertificaterequest.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import {
  type FieldError,
  forbidden,
  invalid,
  invalidWithoutValue,
  required,
  tooLong,
} from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import { armour, pemBlocks } from "#machinery/pem.ts";
import { invalidObject } from "#machinery/status-error.ts";
import { parseTime } from "#machinery/time.ts";
import type { CertificateFacts, CertificateRequest, Crypto } from "#ports/crypto.ts";
import { type AdmissionPlugin, isAbout } from "./admission.ts";
import { mayOnSigner } from "./certificates.ts";

const plural = "podcertificaterequests";
const requestBytesMax = 10 * 1024;
const chainBytesMax = 100 * 1024;
const minuteMs = 60_000;
const lifeMsMin = 60 * minuteMs;
const skewMs = 5 * minuteMs;
/** A refresh begins no earlier than this after the certificate's begin, and no later than this before its end. */
const refreshMarginMs = 10 * minuteMs;
const requestPath = "spec.stubPKCS10Request";
const chainPath = "status.certificateChain";

function bytesOf(text: string): Uint8Array {
  const decoded = decodeBase64(text);
  return "bytes" in decoded ? decoded.bytes : new Uint8Array();
}

const readStub = (
  stub: string,
  crypto: Crypto,
): CertificateRequest | { readonly refused: string } =>
  crypto.readRequest(armour("CERTIFICATE REQUEST", bytesOf(stub)));

function validateStub(stub: string, crypto: Crypto): FieldError[] {
  if (stub === "") {
    const detail =
      "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set";
    return [invalidWithoutValue("spec", detail)];
  }
  if (bytesOf(stub).length > requestBytesMax) return [tooLong(requestPath, requestBytesMax)];
  const read = readStub(stub, crypto);
  if ("refused" in read) {
    const detail = read.refused.includes("signature")
      ? "invalid signature"
      : "must be a valid PKCS#10 CSR";
    return [invalidWithoutValue(requestPath, detail)];
  }
  const { keyType } = read;
  if (keyType.startsWith("curve ")) {
    const detail = "elliptic public keys must use curve P256, P384, or P521";
    return [invalid(requestPath, keyType, detail)];
  }
  if (keyType.endsWith("-bit modulus")) {
    return [invalid(requestPath, keyType, "RSA keys must have modulus size 3072 or 4096")];
  }
  if (/^(RSA|ECDSA|ED25519)/.test(keyType)) return [];
  const detail = "unknown public key type; supported types are Ed25519, ECDSA, and RSA";
  return [invalidWithoutValue(requestPath, detail)];
}

function nameProblems({ names }: CertificateFacts): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of names) {
    const say = (detail: string): void => void errors.push(invalid(chainPath, name, detail));
    if (name === "") say("leaf certificate should not contain empty DNSName");
    if (name.includes("..")) say("leaf certificate's DNSName should not contain '..'");
    if (name.startsWith(".") || name.endsWith("."))
      say("leaf certificate's DNSName should not start or end with '.'");
  }
  return errors;
}

/** The facts of a chain's first certificate, if all of it is certificates and the first is for this key. */
function readChain(
  chain: string,
  publicKey: string,
  crypto: Crypto,
): CertificateFacts | FieldError[] {
  const refuse = (detail: string): FieldError[] => [invalid(chainPath, chain, detail)];
  const [leaf, ...others] = pemBlocks(chain);
  if (leaf === undefined)
    return refuse("issued certificate chain must contain at least one certificate");
  if (leaf.label !== "CERTIFICATE")
    return refuse("issued certificate chain must consist entirely of CERTIFICATE PEM blocks");
  const read = (bytes: Uint8Array): CertificateFacts | undefined => {
    try {
      return crypto.readCertificate(armour("CERTIFICATE", bytes));
    } catch {
      return undefined;
    }
  };
  const facts = read(leaf.bytes);
  if (facts === undefined) return refuse("leaf certificate does not parse as valid X.509");
  const errors = nameProblems(facts);
  if (errors.length > 0) return errors;
  if (crypto.publicKeyOf(armour("CERTIFICATE", leaf.bytes)) !== publicKey)
    return refuse("leaf certificate was not issued to the requested public key");
  for (const { label, bytes } of others) {
    // Upstream: so misspelt.
    if (label !== "CERTIFICATE")
      return refuse("issued certificate chain must consist entirely of CERTFICATE PEM blocks");
    if (read(bytes) === undefined)
      return refuse("intermediate certificate does not parse as valid X.509");
  }
  return facts;
}

function validateTimes(
  { spec, status }: PodCertificateRequest,
  { fromMs, toMs }: CertificateFacts,
  now: number,
): FieldError[] {
  const { notBefore = "", notAfter = "", beginRefreshAt = "" } = status;
  const consistent = "must be present and consistent with the issued certificate";
  const within = "must be present and in the range [notbefore+10min, notafter-10min]";
  const missing = [
    ...(notBefore === "" ? [required("status.notBefore", consistent)] : []),
    ...(notAfter === "" ? [required("status.notAfter", consistent)] : []),
    ...(beginRefreshAt === "" ? [required("status.beginRefreshAt", within)] : []),
  ];
  if (missing.length > 0) return missing;
  const refuse = (field: string, value: unknown, detail: string): FieldError[] => [
    invalid(`status.${field}`, value, detail),
  ];
  if (parseTime(notBefore) !== fromMs) {
    const detail = "must be set to the NotBefore time encoded in the leaf certificate";
    return refuse("notBefore", notBefore, detail);
  }
  if (Math.abs(fromMs - now) >= skewMs) {
    const detail = "must be set to within 5 minutes of kube-apiserver's current time";
    return refuse("notBefore", notBefore, detail);
  }
  if (parseTime(notAfter) !== toMs) {
    const detail = "must be set to the NotAfter time encoded in the leaf certificate";
    return refuse("notAfter", notAfter, detail);
  }
  const lifeMs = toMs - fromMs;
  if (lifeMs < lifeMsMin) {
    const detail = "leaf certificate lifetime must be >= 1 hour";
    return refuse("certificateChain", lifeMs * 1e6, detail);
  }
  const seconds = spec.maxExpirationSeconds ?? 0;
  if (lifeMs > seconds * 1000) {
    const detail = `leaf certificate lifetime must be <= spec.maxExpirationSeconds (${seconds})`;
    return refuse("certificateChain", lifeMs * 1e6, detail);
  }
  const refreshMs = parseTime(beginRefreshAt) ?? 0;
  if (refreshMs < fromMs + refreshMarginMs) {
    const detail = "must be at least 10 minutes after status.notBefore";
    return refuse("beginRefreshAt", beginRefreshAt, detail);
  }
  if (refreshMs > toMs - refreshMarginMs) {
    const detail = "must be at least 10 minutes before status.notAfter";
    return refuse("beginRefreshAt", beginRefreshAt, detail);
  }
  return [];
}

function validateIssued(request: PodCertificateRequest, crypto: Crypto, now: number): FieldError[] {
  const { certificateChain = "" } = request.status;
  if (certificateChain.length > chainBytesMax) return [tooLong(chainPath, chainBytesMax)];
  const stub = readStub(request.spec.stubPKCS10Request, crypto);
  if ("refused" in stub) return [invalidWithoutValue(requestPath, "must be a valid PKCS#10 CSR")];
  const facts = readChain(certificateChain, stub.publicKey, crypto);
  return Array.isArray(facts) ? facts : validateTimes(request, facts, now);
}

export const podCertificateRequests: AdmissionPlugin = {
  name: "PodCertificateRequest",
  handles: (request) =>
    (request.operation === "CREATE" && isAbout(request, certificatesGroup, plural)) ||
    (request.operation === "UPDATE" && isAbout(request, certificatesGroup, plural, "status")),
  validate(request, world) {
    const now = request.object as PodCertificateRequest;
    const refuseIf = (errors: readonly FieldError[]): void => {
      if (errors.length > 0)
        throw invalidObject(PodCertificateRequest, now.metadata.name ?? "", errors);
    };
    if (request.operation === "CREATE") {
      refuseIf(validateStub(now.spec.stubPKCS10Request, world.crypto));
      return;
    }
    const old = request.oldObject as PodCertificateRequest;
    if (equalObjects(old.status, now.status)) return;
    if (verdictOf(now) === "Issued") refuseIf(validateIssued(now, world.crypto, world.clock.now()));
    const { signerName } = old.spec;
    if (mayOnSigner(request, world, "sign", signerName)) return;
    const why = `User "${request.user.name}" is not permitted to "sign" for signer "${signerName}"`;
    refuseIf([forbidden("spec.signerName", why)]);
  },
};
