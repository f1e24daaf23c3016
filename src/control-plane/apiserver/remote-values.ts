/**
 * What an extension server answers, as values: for those who ask in this process, who get objects and events and never bytes. Bodies go
 * out as JSON; a watch is a line an event.
 */
import type { ApiRequest, ApiResponse, WatchEvent } from "#api/request.ts";
import { parseJson } from "#machinery/json.ts";
import { deepFreeze, isObject } from "#machinery/object.ts";
import { internalError, StatusError, serviceUnavailable } from "#machinery/status-error.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { concat } from "./bytes.ts";
import { bodyOf } from "./response-body.ts";

const answerBytesMax = 64 * 1024 * 1024;
const newline = 0x0a;

/** Whole; an answer that is too long is refused. */
export const wholeBody = (answer: ApiResponse): Promise<Bytes> =>
  bodyOf(answer, answerBytesMax, () =>
    serviceUnavailable(`the extension server's answer is longer than ${answerBytesMax} bytes`),
  );

/** The request as bytes, asking for JSON. */
export function asBytes(request: ApiRequest): ApiRequest {
  const { body, headers, user: _, ...rest } = request;
  const bytes =
    body === undefined
      ? undefined
      : "bytes" in body
        ? body
        : { bytes: new TextEncoder().encode(JSON.stringify(body.object)) };
  const asked = headers.accept ?? "";
  return {
    ...rest,
    direct: false,
    headers: { ...headers, accept: asked === "" ? "application/json" : asked },
    ...(bytes === undefined ? {} : { body: bytes }),
  };
}

/** Events of a stream of lines. */
function eventsOf(source: Source<Bytes>): Source<WatchEvent> {
  let rest: Bytes = new Uint8Array();
  return {
    async next() {
      for (;;) {
        const batch = await source.next();
        if (batch === undefined) return undefined;
        let bytes = concat([rest, ...batch]);
        const events: WatchEvent[] = [];
        for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline)) {
          const event = parseJson(bytes.subarray(0, end));
          if (!isObject(event)) throw new Error("the extension server's watch told no event");
          events.push(deepFreeze(event) as unknown as WatchEvent);
          bytes = bytes.subarray(end + 1);
        }
        rest = bytes.slice();
        if (rest.length > answerBytesMax)
          throw new Error("an event of the extension server is too long");
        if (events.length > 0) return events;
      }
    },
    stop: () => source.stop(),
  };
}

export async function asValues(answer: ApiResponse, isWatch: boolean): Promise<ApiResponse> {
  const { content, status } = answer;
  if (content.type === "object" || content.type === "watch" || content.type === "upgrade")
    return answer;
  if (isWatch && status === 200 && content.type === "stream")
    return { ...answer, content: { type: "watch", events: eventsOf(content.bytes) } };
  const bytes = await wholeBody(answer);
  const text = new TextDecoder().decode(bytes);
  let object: unknown;
  try {
    object = parseJson(bytes);
  } catch {
    object = undefined;
  }
  if (isObject(object))
    return { ...answer, content: { type: "object", object: deepFreeze(object) } };
  if (status < 400)
    throw internalError(`the extension server answered with no object: ${text.slice(0, 200)}`);
  throw new StatusError(status, status === 503 ? "ServiceUnavailable" : "", text.trim());
}
