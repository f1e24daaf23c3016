/** CEL's authorizer: `authorizer.group('').resource('pods').check('get').allowed()`. Who answers is handed in. */

import { type Overload, overload } from "#machinery/cel/environment.ts";
import { CelError, Opaque } from "#machinery/cel/value.ts";

/** One question, as it is being put together. */
export interface AuthorizerQuestion {
  /** "system:serviceaccount:…"; absent: whoever makes the request. */
  readonly serviceAccount?: { readonly namespace: string; readonly name: string };
  readonly path?: string;
  readonly group?: string;
  readonly resource?: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}
export interface AuthorizerAnswer {
  readonly allowed: boolean;
  readonly reason: string;
}
/** What the value named authorizer holds. */
export interface AskAuthorizer {
  readonly ask: (question: AuthorizerQuestion, verb: string) => AuthorizerAnswer;
  /** The request's own resource, as a question. */
  readonly requested: AuthorizerQuestion;
}
interface Asking {
  readonly by: AskAuthorizer;
  readonly question: AuthorizerQuestion;
}
type Value = Opaque<Asking>;

const prefix = "kubernetes.authorization.";
const never = (): boolean => false;
const make = (kind: string, by: AskAuthorizer, question: AuthorizerQuestion): Value =>
  new Opaque(`${prefix}${kind}`, { by, question }, never);

export const authorizerValue = (by: AskAuthorizer): Value => make("Authorizer", by, {});
/** authorizer.requestResource: the request's own resource. */
export const requestResourceValue = (by: AskAuthorizer): Value =>
  make("ResourceCheck", by, by.requested);

const next =
  (kind: string, field: keyof AuthorizerQuestion) =>
  ({ value }: Value, text: string): Value =>
    make(kind, value.by, { ...value.question, [field]: text });

const mustHave =
  (kind: string, field: "path" | "resource") =>
  ({ value }: Value, text: string): Value => {
    if (text === "") throw new CelError(`${field} must not be empty`);
    return make(kind, value.by, { ...value.question, [field]: text });
  };

const check = ({ value }: Value, verb: string): Opaque<AuthorizerAnswer> =>
  new Opaque(`${prefix}Decision`, value.by.ask(value.question, verb), never);

type Decision = Opaque<AuthorizerAnswer>;
const signature = (text: string): string => text.replace(/\$/g, prefix);

export const authorizerFunctions: readonly Overload[] = [
  overload(signature("$Authorizer.path(string):$PathCheck"), mustHave("PathCheck", "path")),
  overload(signature("$PathCheck.check(string):$Decision"), check),
  overload(signature("$Authorizer.group(string):$GroupCheck"), next("GroupCheck", "group")),
  overload(
    signature("$Authorizer.serviceAccount(string,string):$Authorizer"),
    ({ value }: Value, namespace: string, name: string) =>
      make("Authorizer", value.by, { serviceAccount: { namespace, name } }),
  ),
  overload(
    signature("$GroupCheck.resource(string):$ResourceCheck"),
    mustHave("ResourceCheck", "resource"),
  ),
  overload(
    signature("$ResourceCheck.subresource(string):$ResourceCheck"),
    next("ResourceCheck", "subresource"),
  ),
  overload(
    signature("$ResourceCheck.namespace(string):$ResourceCheck"),
    next("ResourceCheck", "namespace"),
  ),
  overload(signature("$ResourceCheck.name(string):$ResourceCheck"), next("ResourceCheck", "name")),
  overload(signature("$ResourceCheck.check(string):$Decision"), check),
  overload(signature("$Decision.allowed():bool"), ({ value }: Decision) => value.allowed),
  overload(signature("$Decision.reason():string"), ({ value }: Decision) => value.reason),
  overload(signature("$Decision.errored():bool"), () => false),
  overload(signature("$Decision.error():string"), () => ""),
];
