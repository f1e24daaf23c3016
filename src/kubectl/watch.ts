/** Following changes: watch events as they come, until the server ends the watch or nobody wants more. */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { type Status, StatusError } from "#machinery/status-error.ts";
import { type Query, type Rest, readWhole, statusErrorOf } from "./rest.ts";

export interface WatchEvent {
  readonly type: string;
  readonly object: JsonObject;
}

/** Throws StatusError for an error event. Ends when the server closes, or at once when `signal` fires. */
export async function* watchEvents(
  rest: Rest,
  path: string,
  query: Query,
  options: { readonly accept?: string; readonly signal?: AbortSignal } = {},
): AsyncGenerator<WatchEvent> {
  const answer = await rest.stream("GET", path, {
    query: [...query, ["watch", "true"]],
    ...options,
  });
  if (answer.status !== 200) {
    throw statusErrorOf(answer.status, new TextDecoder().decode(await readWhole(answer.body)));
  }
  const stop = (): void => answer.body.stop();
  options.signal?.addEventListener("abort", stop, { once: true });
  const decoder = new TextDecoder();
  let unread = "";
  try {
    for (;;) {
      const batch = options.signal?.aborted === true ? undefined : await answer.body.next();
      if (batch === undefined) return;
      for (const bytes of batch) {
        const lines = (unread + decoder.decode(bytes, { stream: true })).split("\n");
        unread = lines.pop() ?? "";
        for (const line of lines) {
          const event = line === "" ? undefined : readEvent(line);
          if (event !== undefined) yield event;
        }
      }
    }
  } finally {
    options.signal?.removeEventListener("abort", stop);
    answer.body.stop();
  }
}

function readEvent(line: string): WatchEvent | undefined {
  const event: unknown = JSON.parse(line);
  if (!isObject(event) || !isObject(event["object"])) return undefined;
  if (event["type"] === "ERROR") {
    throw StatusError.from(event["object"] as unknown as Status);
  }
  return { type: String(event["type"]), object: event["object"] };
}
