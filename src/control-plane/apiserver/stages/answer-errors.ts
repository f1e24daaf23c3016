/** Stage: every error becomes a Status; what is not an API error is a bug: 500 to the client, a line in the log, never a crash. */
import type { ApiResponse } from "#api/request.ts";
import { deepFreeze } from "#machinery/object.ts";
import { internalError, StatusError } from "#machinery/status-error.ts";
import type { Log } from "#ports/log.ts";
import type { ChainContext, Stage } from "../chain.ts";
import { encodeObject } from "../encode.ts";
import { negotiate } from "../media-type.ts";
import { queryValue } from "../request-info.ts";

const warningBytesMax = 4 * 1024;

/** The answer that an error stands for, in the format that the request likes best. */
export function answerError(context: ChainContext, error: StatusError): ApiResponse {
  const headers: Record<string, string> = {};
  const seconds = error.status.details?.retryAfterSeconds;
  if (seconds !== undefined && seconds > 0) headers["retry-after"] = String(seconds);
  if (context.request.direct) {
    const object = deepFreeze(error.status);
    return { status: error.code, headers, content: { type: "object", object } };
  }
  const mediaType = formatFor(context);
  const { bytes, contentType } = encodeObject(error.status, mediaType);
  headers["x-content-type-options"] = "nosniff";
  return {
    status: error.code,
    headers,
    content: { type: "bytes", mediaType: contentType, bytes },
  };
}

function formatFor(context: ChainContext) {
  const { request } = context;
  try {
    return negotiate({
      accept: request.headers.accept,
      pretty: queryValue(request, "pretty"),
      userAgent: request.headers["user-agent"],
      allows: () => true,
      stream: false,
      protobuf: context.protobuf,
    });
  } catch {
    // Nothing it accepts can be had: an error is told in JSON all the same.
    return { format: "json", pretty: false } as const;
  }
}

/** `Warning: 299 - "…"`, one value per warning, bounded as upstream bounds them. */
function warningHeader(warnings: readonly string[]): string | undefined {
  const seen = new Set<string>();
  let size = 0;
  for (const warning of warnings) {
    const text = warning.replace(/[\r\n]+/g, " ").replace(/["\\]/g, (char) => `\\${char}`);
    if (seen.has(text) || size + text.length > warningBytesMax) continue;
    size += text.length;
    seen.add(text);
  }
  if (seen.size === 0) return undefined;
  return [...seen].map((text) => `299 - "${text}"`).join(", ");
}

export const answerErrors =
  (log: Log): Stage =>
  (next) =>
  async (context) => {
    let response: ApiResponse;
    try {
      response = await next(context);
    } catch (thrown) {
      let error = thrown;
      if (!(error instanceof StatusError)) {
        const { method, path } = context.request;
        const stack = error instanceof Error ? error.stack : String(error);
        log.write("error", "A request met a bug of the server.", { method, path, stack });
        error = internalError(thrown instanceof Error ? thrown.message : String(thrown));
      }
      response = answerError(context, error as StatusError);
    }
    const headers: Record<string, string> = {
      "cache-control": "no-cache, private",
      ...response.headers,
    };
    const warning = warningHeader(context.warnings);
    if (warning !== undefined) headers.warning = warning;
    return { ...response, headers };
  };
