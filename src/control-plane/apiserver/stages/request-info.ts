/** Stage: reads from method and path what the request asks for. */
import type { Stage } from "../chain.ts";
import { requestInfoOf } from "../request-info.ts";

export const readRequestInfo: Stage = (next) => (context) => {
  context.info = requestInfoOf(context.request);
  return next(context);
};
