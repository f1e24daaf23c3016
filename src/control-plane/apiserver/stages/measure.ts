/** Stage: counts requests and their times. What stays open is counted when it ends. */
import type { ApiResponse } from "#api/request.ts";
import { StatusError } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Source } from "#ports/stream.ts";
import { isLongRunning, type Stage } from "../chain.ts";
import { queryValue } from "../request-info.ts";
import type { RequestMetrics, RequestRecord } from "../request-metrics.ts";

/** Tells once when the stream is over, whichever way, and how much came with each batch. */
function watched<T>(source: Source<T>, batch: (size: number) => void, over: () => void): Source<T> {
  let isOver = false;
  const end = (): void => {
    if (!isOver) over();
    isOver = true;
  };
  return {
    async next() {
      try {
        const found = await source.next();
        if (found === undefined) end();
        else batch(found.length);
        return found;
      } catch (error) {
        end();
        throw error;
      }
    },
    stop() {
      end();
      source.stop();
    },
  };
}

function whileOpen(
  response: ApiResponse,
  record: RequestRecord,
  isWatch: boolean,
  over: () => void,
): ApiResponse {
  const batch = (size: number): void => {
    if (isWatch) record.watchEvents.add(size);
  };
  const { content } = response;
  if (content.type === "watch")
    return { ...response, content: { ...content, events: watched(content.events, batch, over) } };
  if (content.type === "stream")
    return { ...response, content: { ...content, bytes: watched(content.bytes, batch, over) } };
  over();
  return response;
}

/** As it will be answered. */
const codeOf = (error: unknown): number => (error instanceof StatusError ? error.code : 500);

export const measure =
  (metrics: RequestMetrics, clock: Clock): Stage =>
  (next) =>
  async (context) => {
    const { info, request } = context;
    const record = metrics.recordOf(info, queryValue(request, "dryRun") === "All");
    const started = clock.monotonicMs();
    const finish = (status: number): void => {
      record.count(status);
      record.duration.observe((clock.monotonicMs() - started) / 1000);
    };
    if (isLongRunning(info)) {
      record.longRunning.add(1);
      let response: ApiResponse;
      try {
        response = await next(context);
      } catch (error) {
        record.longRunning.add(-1);
        finish(codeOf(error));
        throw error;
      }
      return whileOpen(response, record, info.verb === "watch", () => {
        record.longRunning.add(-1);
        finish(response.status);
      });
    }
    const inFlight = metrics.inFlight(info);
    inFlight.add(1);
    try {
      const response = await next(context);
      finish(response.status);
      record.sli.observe((clock.monotonicMs() - started) / 1000);
      return response;
    } catch (error) {
      finish(codeOf(error));
      throw error;
    } finally {
      inFlight.add(-1);
    }
  };
