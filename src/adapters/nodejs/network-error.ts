/** Node's many errors of sockets, TLS, HTTP/1.1 and HTTP/2, told as the one error of the network port. */
import { type Address, NetworkError } from "#ports/network.ts";
import type { Bytes } from "#ports/stream.ts";

export const nameOf = (address: Address): string =>
  "unix" in address
    ? address.unix
    : `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;

/** The system's buffers are handed out as plain arrays: a Buffer's slice() shares memory, theirs copies. */
export const plainBytes = (bytes: Uint8Array): Bytes =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function networkError(error: unknown, doing: string): NetworkError {
  if (error instanceof NetworkError) return error;
  const said = codeOf(error);
  // The error of a stream that went down with its session says no more than that; its cause does.
  const cause = error instanceof Error ? error.cause : undefined;
  if (said === "ERR_HTTP2_STREAM_CANCEL" && cause !== undefined) return networkError(cause, doing);
  const code = portCode(said, messageOf(error));
  return new NetworkError(code, `${doing}: ${messageOf(error)} (${code})`, { cause: error });
}

function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  return typeof code === "string" ? code : "";
}

function messageOf(error: unknown): string {
  // Several addresses were tried: the message is that of the first.
  if (error instanceof AggregateError && error.message === "") return messageOf(error.errors[0]);
  return error instanceof Error ? error.message : "failed";
}

function portCode(code: string, message: string): string {
  if (code === "EPROTO" || /^ERR_(TLS|SSL|OSSL)/.test(code)) return "ETLS";
  if (code === "ABORT_ERR") return "ECANCELED";
  if (code === "ERR_HTTP2_STREAM_ERROR" && message.includes("REFUSED_STREAM"))
    return "EREFUSEDSTREAM";
  if (code.startsWith("HPE_") || code === "ERR_HTTP2_PROTOCOL_ERROR") return "EBADHTTP";
  if (/^ERR_(INVALID|UNESCAPED|HTTP2_INVALID|HTTP2_CONNECTION_HEADERS|HTTP2_HEADER)/.test(code)) {
    return "EINVAL";
  }
  if (/^E(AI_)?[A-Z0-9]+$/.test(code)) return code;
  // OpenSSL's reasons for refusing a certificate: CERT_HAS_EXPIRED, SELF_SIGNED_CERT_IN_CHAIN, …
  if (/^[A-Z]+_[A-Z_]+$/.test(code) && !code.startsWith("ERR_")) return "ETLS";
  return "ECONNRESET";
}
