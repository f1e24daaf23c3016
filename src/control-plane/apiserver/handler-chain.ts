/** The handler chain: the ordered list of stages that every request passes, direct or over HTTP, and what they are wrapped around. */
import type { Handler } from "#api/request.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import { type Authenticator, authenticate } from "./authn/authenticator.ts";
import { type Authorizer, authorize } from "./authz/authorizer.ts";
import type { ChainContext, ChainHandler, Stage } from "./chain.ts";
import { requestInfoOf } from "./request-info.ts";
import type { RequestMetrics } from "./request-metrics.ts";
import { answerErrors } from "./stages/answer-errors.ts";
import { impersonate } from "./stages/impersonate.ts";
import { type InFlightLimits, limitInFlight } from "./stages/limits.ts";
import { measure } from "./stages/measure.ts";
import { readRequestInfo } from "./stages/request-info.ts";
import { timeOut } from "./stages/timeout.ts";

export interface ChainParts {
  readonly log: Log;
  readonly clock: Clock;
  readonly authenticators: readonly Authenticator[];
  readonly authorizer: Authorizer;
  readonly limits: InFlightLimits;
  readonly metrics: RequestMetrics;
  readonly routes: ChainHandler;
}

/** From the outside in. */
const stagesOf = (parts: ChainParts): readonly Stage[] => [
  answerErrors(parts.log),
  readRequestInfo,
  measure(parts.metrics, parts.clock),
  timeOut(parts.clock),
  authenticate(parts.authenticators, parts.log),
  impersonate(parts.authorizer),
  limitInFlight(parts.limits),
  authorize(parts.authorizer),
];

const nobody = { name: "", groups: [] };
const nothing = requestInfoOf({
  method: "GET",
  path: "/",
  query: [],
  headers: {},
  gone: new AbortController().signal,
  direct: false,
});

export function handlerChain(parts: ChainParts): Handler {
  const chain = stagesOf(parts).reduceRight<ChainHandler>(
    (next, stage) => stage(next),
    parts.routes,
  );
  return (request) => {
    const context: ChainContext = {
      request,
      warnings: [],
      info: nothing,
      protobuf: true,
      user: nobody,
    };
    return chain(context);
  };
}
