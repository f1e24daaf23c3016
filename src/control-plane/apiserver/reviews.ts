/** Reviews: questions about who one is and what one may do, answered by the same authenticator and authorizer that guard the server. */

import { kindSchema, type ResourceFacts, resourceFactsOf } from "#api/facts.ts";
import type { SelfSubjectReview, TokenReview } from "#api/generated/authentication/v1.ts";
import type {
  SelfSubjectRulesReview,
  SubjectAccessReview,
  SubjectAccessReviewSpec,
} from "#api/generated/authorization/v1.ts";
import type { ApiResponse, User } from "#api/request.ts";
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { badRequest, invalidObject } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import { answerPlain, plainFormOf } from "./answer.ts";
import type { ServiceAccountTokens } from "./authn/service-account-token.ts";
import type { Attributes, Authorizer } from "./authz/authorizer.ts";
import { readBody, writeOptions } from "./body.ts";
import type { ChainContext } from "./chain.ts";
import { notAllowed, type VerbWorld } from "./resource-verbs.ts";

const authentication = "authentication.k8s.io";
const authorization = "authorization.k8s.io";

export interface ReviewParts {
  readonly authorizer: Authorizer;
  readonly tokens: ServiceAccountTokens | undefined;
}
type Answer = (
  object: ApiObject,
  context: ChainContext,
  parts: ReviewParts,
  now: number,
) => object | Promise<object>;

function extraOf(user: User): Record<string, string[]> | undefined {
  if (user.extra === undefined || Object.keys(user.extra).length === 0) return undefined;
  return Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]]));
}

function userInfo(user: User): object {
  const extra = extraOf(user);
  return {
    username: user.name,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: [...user.groups],
    ...(extra === undefined ? {} : { extra }),
  };
}

const answerSelf: Answer = (object, { user }, _parts, now) => {
  const review = object as SelfSubjectReview;
  const metadata = { ...review.metadata, creationTimestamp: formatTime(now) };
  return { ...review, metadata, status: { userInfo: userInfo(user) } };
};

const answerToken: Answer = async (object, _context, { tokens }) => {
  const review = object as TokenReview;
  const { token = "", audiences = [] } = review.spec;
  if (token === "")
    throw invalidObject({ group: authentication, kind: "TokenReview" }, "", [
      required("spec.token"),
    ]);
  if (tokens === undefined) return { ...review, status: { user: {} } };
  const wanted = audiences.length === 0 ? tokens.audiences : audiences;
  const result = await tokens.review(token, wanted);
  if ("refused" in result) return { ...review, status: { user: {}, error: result.refused } };
  const groups = [...result.user.groups, "system:authenticated"];
  const user = userInfo({ ...result.user, groups });
  return { ...review, status: { authenticated: true, user, audiences: [...result.audiences] } };
};

type Spec = Pick<SubjectAccessReviewSpec, "resourceAttributes" | "nonResourceAttributes">;

function attributes(spec: Spec, user: User): Attributes {
  const wanted = spec.resourceAttributes;
  const path = spec.nonResourceAttributes;
  return {
    user,
    verb: wanted?.verb ?? path?.verb ?? "",
    isResource: wanted !== undefined,
    group: wanted?.group ?? "",
    version: wanted?.version ?? "",
    resource: wanted?.resource ?? "",
    subresource: wanted?.subresource ?? "",
    namespace: wanted?.namespace ?? "",
    name: wanted?.name ?? "",
    path: path?.path ?? "",
  };
}

function validateAccess(kind: string, spec: Spec, extra: readonly FieldError[]): void {
  const errors = [...extra];
  const { resourceAttributes, nonResourceAttributes } = spec;
  if (resourceAttributes !== undefined && nonResourceAttributes !== undefined) {
    errors.push(
      invalid(
        "spec.nonResourceAttributes",
        nonResourceAttributes,
        "cannot be specified in combination with resourceAttributes",
      ),
    );
  }
  if (resourceAttributes === undefined && nonResourceAttributes === undefined) {
    errors.push(
      invalid(
        "spec.resourceAttributes",
        undefined,
        "exactly one of nonResourceAttributes or resourceAttributes must be specified",
      ),
    );
  }
  if (errors.length > 0) throw invalidObject({ group: authorization, kind }, "", errors);
}

function access(object: ApiObject, wanted: Attributes, { authorizer }: ReviewParts): object {
  const { decision, reason } = authorizer.authorize(wanted);
  return {
    ...object,
    status: {
      allowed: decision === "allow",
      ...(decision === "deny" ? { denied: true } : {}),
      ...(reason === "" ? {} : { reason }),
    },
  };
}

const answerSelfAccess: Answer = (object, { user }, parts) => {
  const { spec } = object as SubjectAccessReview;
  validateAccess("SelfSubjectAccessReview", spec, []);
  return access(object, attributes(spec, user), parts);
};

const answerAccess: Answer = (object, { info }, parts) => {
  const { spec, kind } = object as SubjectAccessReview;
  const { user: name = "", groups = [], uid } = spec;
  const errors: FieldError[] = [];
  if (name === "" && groups.length === 0) {
    errors.push(invalid("spec.user", name, "at least one of user or group must be specified"));
  }
  validateAccess(kind, spec, errors);
  if (kind === "LocalSubjectAccessReview" && spec.resourceAttributes?.namespace !== info.namespace)
    throw badRequest("spec.resourceAttributes.namespace must match namespace");
  const user = { name, groups, ...(uid === undefined ? {} : { uid }) };
  return access(object, attributes(spec, user), parts);
};

const answerRules: Answer = (object, { user }, { authorizer }) => {
  const review = object as SelfSubjectRulesReview;
  const namespace = review.spec.namespace ?? "";
  if (namespace === "") throw badRequest("no namespace on request");
  const { resourceRules, nonResourceRules, incomplete } = authorizer.rulesFor(user, namespace);
  const resource = resourceRules.map(({ resourceNames, ...rule }) =>
    resourceNames.length === 0 ? rule : { ...rule, resourceNames },
  );
  return { ...review, status: { resourceRules: resource, nonResourceRules, incomplete } };
};

const answers: Readonly<Record<string, Answer>> = {
  [`${authentication}/v1/selfsubjectreviews`]: answerSelf,
  [`${authentication}/v1/tokenreviews`]: answerToken,
  [`${authorization}/v1/selfsubjectaccessreviews`]: answerSelfAccess,
  [`${authorization}/v1/subjectaccessreviews`]: answerAccess,
  [`${authorization}/v1/localsubjectaccessreviews`]: answerAccess,
  [`${authorization}/v1/selfsubjectrulesreviews`]: answerRules,
};

/** Resources that nothing is stored of. */
export const reviewFacts: readonly ResourceFacts[] = Object.keys(answers).map((id) => {
  const [group = "", version = "", plural = ""] = id.split("/");
  const facts = resourceFactsOf(group, version, plural);
  if (facts === undefined) throw new Error(`no facts about ${id}`);
  return facts;
});

export async function handleReview(
  context: ChainContext,
  facts: ResourceFacts,
  world: VerbWorld,
  parts: ReviewParts,
): Promise<ApiResponse> {
  const { group, version, kind, plural } = facts;
  if (context.info.verb !== "create") throw notAllowed();
  const answer = answers[`${group}/${version}/${plural}`];
  const schema = kindSchema(group, version, kind);
  if (answer === undefined || schema === undefined) throw new Error(`no facts about ${kind}`);
  const form = plainFormOf(context, world.now());
  const { fieldValidation } = writeOptions(context.request);
  const expected = { group, version, kind, schema };
  const object = readBody(context.request, expected, fieldValidation, context.warnings);
  return answerPlain(201, await answer(object, context, parts, world.now()), form);
}
