/** OwnRequests: how the server's own loops write what every cluster has: through the whole chain, as the server itself. */
import type { ApiResponse, Handler } from "#api/request.ts";
import { isObject } from "#machinery/object.ts";
import { type Status, StatusError } from "#machinery/status-error.ts";

export type OwnMethod = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface OwnOptions {
  readonly manager?: string;
  /** Of a patch; default: merge. */
  readonly patch?: "merge" | "apply";
}

export type AskOwn = (
  method: OwnMethod,
  path: string,
  body?: object,
  options?: OwnOptions,
) => Promise<ApiResponse>;

const never = new AbortController().signal;
const agent = "kube-apiserver";

export function ownRequests(handler: Handler): AskOwn {
  return (method, path, body, { manager = agent, patch = "merge" } = {}) => {
    const applies = patch === "apply" && method === "PATCH";
    const patchType = applies ? "application/apply-patch+yaml" : "application/merge-patch+json";
    return handler({
      method,
      path,
      query: [
        ...(body === undefined ? [] : [["fieldManager", manager] as const]),
        ...(applies ? [["force", "true"] as const] : []),
      ],
      headers: {
        "content-type": method === "PATCH" ? patchType : "application/json",
        "user-agent": agent,
      },
      ...(body === undefined ? {} : { body: { object: body } }),
      gone: never,
      direct: true,
    });
  };
}

/** What an answer that was not hoped for says. */
export function failureOf(answer: ApiResponse): StatusError {
  const object = answer.content.type === "object" ? answer.content.object : undefined;
  if (isObject(object) && object.kind === "Status")
    return StatusError.from(object as unknown as Status);
  return new StatusError(answer.status, "", `unexpected answer ${answer.status}`);
}
