/** Stage: acting as somebody else (`kubectl --as`): allowed to whom the authorizer allows to impersonate that user and those groups. */
import type { User } from "#api/request.ts";
import { badRequest } from "#machinery/status-error.ts";
import { type Attributes, type Authorizer, forbiddenBy } from "../authz/authorizer.ts";
import type { Stage } from "../chain.ts";

const extraPrefix = "impersonate-extra-";
const serviceAccount = /^system:serviceaccount:([^:]+):([^:]+)$/;

/** The user that the headers ask for; undefined: none. */
function wantedUser(headers: Readonly<Record<string, string>>): User | undefined {
  const name = headers["impersonate-user"] ?? "";
  const list = (text: string | undefined): string[] =>
    text === undefined ? [] : text.split(",").map((one) => one.trim());
  const groups = list(headers["impersonate-group"]);
  const uid = headers["impersonate-uid"];
  const extra: Record<string, string[]> = {};
  for (const [header, value] of Object.entries(headers)) {
    if (header.startsWith(extraPrefix))
      extra[decodeURIComponent(header.slice(extraPrefix.length))] = list(value);
  }
  if (name === "") {
    if (groups.length > 0 || uid !== undefined || Object.keys(extra).length > 0)
      throw badRequest("requested impersonation without impersonating a user");
    return undefined;
  }
  const account = serviceAccount.exec(name);
  if (groups.length === 0 && account !== null)
    groups.push("system:serviceaccounts", `system:serviceaccounts:${account[1] ?? ""}`);
  if (name === "system:anonymous") groups.push("system:unauthenticated");
  else if (!groups.includes("system:authenticated")) groups.push("system:authenticated");
  const withUid = uid === undefined ? {} : { uid };
  return { name, groups, ...withUid, ...(Object.keys(extra).length === 0 ? {} : { extra }) };
}

/** Everything that one must be allowed to impersonate. */
function* permissions(user: User, wanted: User, asked: Readonly<Record<string, string>>) {
  const base = {
    user,
    verb: "impersonate",
    isResource: true,
    version: "v1",
    subresource: "",
    namespace: "",
    path: "",
  };
  const account = serviceAccount.exec(wanted.name);
  if (account !== null) {
    const [, namespace = "", name = ""] = account;
    yield { ...base, group: "", resource: "serviceaccounts", namespace, name };
  } else yield { ...base, group: "", resource: "users", name: wanted.name };
  // Groups that come with the user by themselves need no permission of their own.
  if (asked["impersonate-group"] !== undefined) {
    for (const name of wanted.groups)
      if (name !== "system:authenticated") yield { ...base, group: "", resource: "groups", name };
  }
  const group = "authentication.k8s.io";
  if (wanted.uid !== undefined) yield { ...base, group, resource: "uids", name: wanted.uid };
  for (const [key, values] of Object.entries(wanted.extra ?? {})) {
    for (const name of values)
      yield { ...base, group, resource: "userextras", subresource: key, name };
  }
}

export const impersonate =
  (authorizer: Authorizer): Stage =>
  (next) =>
  (context) => {
    const { headers } = context.request;
    const wanted = wantedUser(headers);
    if (wanted === undefined) return next(context);
    for (const attributes of permissions(context.user, wanted, headers)) {
      const { decision, reason } = authorizer.authorize(attributes satisfies Attributes);
      if (decision !== "allow") throw forbiddenBy(attributes, reason);
    }
    context.user = wanted;
    return next(context);
  };
