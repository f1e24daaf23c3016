/** The shape of an authenticator, and the stage that asks them one after the other: who is this? */
import type { ApiRequest, User } from "#api/request.ts";
import { unauthorized } from "#machinery/status-error.ts";
import type { Log } from "#ports/log.ts";
import type { Stage } from "../chain.ts";

/** A user; or nothing to go by; or something that does not hold, and why (told to the log, never to the client). */
export type Authentication = User | { readonly refused: string } | undefined;

export interface Authenticator {
  readonly name: string;
  authenticate(request: ApiRequest): Promise<Authentication>;
}

const authenticatedGroup = "system:authenticated";

const anonymous: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };

const withGroup = (user: User): User =>
  user.groups.includes(authenticatedGroup) || user.groups.includes("system:unauthenticated")
    ? user
    : { ...user, groups: [...user.groups, authenticatedGroup] };

/** Credentials that do not hold are 401; none at all is the anonymous user. A direct transport has fixed the user already. */
export const authenticate =
  (authenticators: readonly Authenticator[], log: Log): Stage =>
  (next) =>
  async (context) => {
    const { request } = context;
    if (request.user !== undefined) {
      context.user = withGroup(request.user);
      return next(context);
    }
    const refusals: string[] = [];
    for (const authenticator of authenticators) {
      const result = await authenticator.authenticate(request);
      if (result === undefined) continue;
      if ("refused" in result) {
        refusals.push(`${authenticator.name}: ${result.refused}`);
        continue;
      }
      context.user = withGroup(result);
      return next(context);
    }
    if (refusals.length > 0) {
      log.write("warn", "Unable to authenticate the request.", { why: refusals.join("; ") });
      throw unauthorized();
    }
    context.user = anonymous;
    return next(context);
  };
