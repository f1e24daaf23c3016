import type { Address } from "./network.ts";
import type { Source } from "./stream.ts";

/** gRPC status other than OK. `code` is gRPC's number (5 NOT_FOUND, 12 UNIMPLEMENTED, 14 UNAVAILABLE, …). */
export class RpcError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.name = "RpcError";
    this.code = code;
  }
}

/** gRPC: messages go in and come out as plain objects; the adapter knows the .proto of each service. */
export interface Rpc {
  call(
    method: string,
    request: object,
    options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<object>;
  stream(method: string, request: object): Source<object>;
  close(): void;
}
export interface RpcDialer {
  /** `proto`: the text of the .proto file (proto3) that declares the services and messages. Methods are named package.Service/Method. */
  dial(to: Address, proto: string): Rpc;
}
