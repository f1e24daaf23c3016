/** Stage: bounds how many requests are worked on at once, reading and writing ones apart. Administrators always pass, as upstream. */
import { tooManyRequests } from "#machinery/status-error.ts";
import { isLongRunning, type Stage } from "../chain.ts";

const readingVerbs = new Set(["get", "list", "watch", "head", "options"]);

export interface InFlightLimits {
  readonly readingMax: number;
  readonly writingMax: number;
}

export const limitInFlight = (limits: InFlightLimits): Stage => {
  const running = { reading: 0, writing: 0 };
  return (next) => async (context) => {
    if (isLongRunning(context.info) || context.user.groups.includes("system:masters"))
      return next(context);
    const kind = readingVerbs.has(context.info.verb) ? "reading" : "writing";
    const max = kind === "reading" ? limits.readingMax : limits.writingMax;
    if (running[kind] >= max)
      throw tooManyRequests("Too many requests, please try again later.", 1);
    running[kind]++;
    try {
      return await next(context);
    } finally {
      running[kind]--;
    }
  };
};
