/** Stage: a request that is not answered in time is answered 504. `timeout` in the query may only shorten that. */

import { parseGoDuration } from "#machinery/go-duration.ts";
import { badRequest, timeoutError } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import { isLongRunning, type Stage } from "../chain.ts";
import { queryValue } from "../request-info.ts";

const requestMsMax = 60_000;

function limitOf(asked: string | undefined): number {
  if (asked === undefined || asked === "") return requestMsMax;
  const parsed = parseGoDuration(asked);
  if ("problem" in parsed)
    throw badRequest(`invalid timeout specified in the request URL - ${parsed.problem}`);
  const ms = Number(parsed.nanos) / 1e6;
  return ms > 0 ? Math.min(ms, requestMsMax) : requestMsMax;
}

export const timeOut =
  (clock: Clock): Stage =>
  (next) =>
  async (context) => {
    if (isLongRunning(context.info)) return next(context);
    const ms = limitOf(queryValue(context.request, "timeout"));
    return await new Promise((resolve, reject) => {
      const cancel = clock.after(ms, () =>
        reject(timeoutError("Timeout: request did not complete within the allotted timeout")),
      );
      next(context).then(
        (response) => {
          cancel();
          resolve(response);
        },
        (error: unknown) => {
          cancel();
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  };
