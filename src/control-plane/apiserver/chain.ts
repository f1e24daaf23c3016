/** The shape of the handler chain: a stage wraps what comes after it. The ordered list of stages is in handler-chain.ts. */
import type { ApiRequest, ApiResponse, User } from "#api/request.ts";
import type { RequestInfo } from "./request-info.ts";

/** One request on its way. Stages fill it in, in the order of the list. */
export interface ChainContext {
  readonly request: ApiRequest;
  /** `Warning` headers of the answer. */
  readonly warnings: string[];
  info: RequestInfo;
  /** Answers may be protobuf. Routing says no for kinds that have no field numbers. */
  protobuf: boolean;
  /** Set by authentication. */
  user: User;
}

export type ChainHandler = (context: ChainContext) => Promise<ApiResponse>;
export type Stage = (next: ChainHandler) => ChainHandler;

/** Requests that stay open as long as the client likes: no time limit, no count against the limits. */
export function isLongRunning(info: RequestInfo): boolean {
  if (!info.isResource) return false;
  return (
    info.verb === "watch" ||
    info.verb === "proxy" ||
    ["log", "exec", "attach", "portforward", "proxy"].includes(info.subresource)
  );
}
