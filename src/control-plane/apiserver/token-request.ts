/** serviceaccounts/NAME/token: signs a token for a service account, bound to a pod or secret if asked. */

import { kindSchema } from "#api/facts.ts";
import type { TokenRequest } from "#api/generated/authentication/v1.ts";
import type { Pod } from "#api/generated/core/v1.ts";
import type { ApiResponse } from "#api/request.ts";
import { applySchemaDefaults } from "#machinery/decode.ts";
import { type FieldError, invalid } from "#machinery/field-error.ts";
import { uuid } from "#machinery/names.ts";
import { badRequest, conflict, invalidObject, notFound } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { Random } from "#ports/random.ts";
import type { Admission } from "./admission/admission.ts";
import { answerPlain, plainFormOf } from "./answer.ts";
import type { BoundObject, ServiceAccountTokens } from "./authn/service-account-token.ts";
import { readBody, writeOptions } from "./body.ts";
import type { ChainContext } from "./chain.ts";
import type { Reader } from "./reader.ts";
import { getObject } from "./registry-read.ts";
import { notAllowed, type VerbWorld } from "./resource-verbs.ts";
import type { ServedResource } from "./served-resource.ts";

const secondsMin = 10 * 60;
const secondsMax = 2 ** 32;
const secondsDefault = 3600;
const kind = { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" };

export interface TokenParts {
  readonly tokens: ServiceAccountTokens;
  readonly reader: Reader;
  readonly random: Random;
  readonly admission: Admission;
}

function validate(request: TokenRequest): void {
  const errors: FieldError[] = [];
  const seconds = request.spec.expirationSeconds ?? secondsDefault;
  const path = "spec.expirationSeconds";
  if (seconds < secondsMin)
    errors.push(invalid(path, seconds, "may not specify a duration less than 10 minutes"));
  if (seconds > secondsMax)
    errors.push(invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"));
  if (errors.length > 0) throw invalidObject(kind, "", errors);
}

type Reference = NonNullable<TokenRequest["spec"]["boundObjectRef"]>;

interface Bound {
  readonly bound: BoundObject;
  readonly node?: { readonly name: string; readonly uid: string };
}

function bind(reader: Reader, reference: Reference, namespace: string, account: string): Bound {
  const { kind: refKind = "", name = "", uid = "", apiVersion = "" } = reference;
  const known = { Pod: "pods", Secret: "secrets", Node: "nodes" } as const;
  if (apiVersion !== "v1" || !Object.hasOwn(known, refKind)) {
    throw badRequest(`cannot bind token to object of type ${apiVersion}, Kind=${refKind}`);
  }
  const boundKind = refKind as keyof typeof known;
  const resource = { group: "", plural: known[boundKind] };
  const object = reader.get(resource, boundKind === "Node" ? "" : namespace, name);
  if (object === undefined) throw notFound(resource, name);
  const actual = object.metadata.uid ?? "";
  if (uid !== "" && uid !== actual) {
    throw conflict(
      { group: "", plural: boundKind },
      name,
      `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  }
  const bound = { kind: boundKind, name, uid: actual };
  if (boundKind !== "Pod") return { bound };
  const { spec } = object as Pod;
  if (spec.serviceAccountName !== account) {
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(account)} to pod running with different serviceaccount name.`,
    );
  }
  const nodeName = spec.nodeName ?? "";
  if (nodeName === "") return { bound };
  const node = reader.get({ group: "", plural: "nodes" }, "", nodeName);
  return { bound, node: { name: nodeName, uid: node?.metadata.uid ?? "" } };
}

export async function handleTokenRequest(
  context: ChainContext,
  accounts: ServedResource,
  world: VerbWorld,
  { tokens, reader, random, admission }: TokenParts,
): Promise<ApiResponse> {
  const { info, request, warnings } = context;
  if (info.verb !== "create" || info.namespace === "") throw notAllowed();
  const form = plainFormOf(context, world.now());
  const schema = kindSchema(kind.group, kind.version, kind.kind);
  if (schema === undefined) throw new Error("no facts about TokenRequest");
  const { fieldValidation, dryRun } = writeOptions(request);
  const asked = readBody(request, { ...kind, schema }, fieldValidation, warnings) as TokenRequest;
  applySchemaDefaults(schema, asked);
  const account = await getObject(accounts.registry, info.namespace, info.name, "");
  const { metadata } = account.object;
  const { uid = "" } = asked.metadata;
  if (uid !== "" && uid !== metadata.uid) {
    throw conflict(
      { group: kind.group, plural: kind.kind },
      info.name,
      `the UID in the token request (${uid}) does not match the UID of the service account (${metadata.uid ?? ""})`,
    );
  }
  validate(asked);
  await admission.review({
    operation: "CREATE",
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    subresource: "token",
    namespace: info.namespace,
    name: info.name,
    object: asked,
    oldObject: undefined,
    user: context.user,
    dryRun,
    warnings,
  });
  const reference = asked.spec.boundObjectRef ?? undefined;
  const binding =
    reference === undefined ? undefined : bind(reader, reference, info.namespace, info.name);
  const seconds = asked.spec.expirationSeconds ?? secondsDefault;
  const given = asked.spec.audiences ?? [];
  const audiences = given.length === 0 ? tokens.audiences : given;
  const { token, toMs } = await tokens.sign({
    namespace: info.namespace,
    name: info.name,
    uid: metadata.uid ?? "",
    audiences,
    seconds,
    ...binding,
    id: uuid(random),
  });
  const answer = {
    ...asked,
    metadata: {
      ...asked.metadata,
      name: info.name,
      namespace: info.namespace,
      uid: metadata.uid,
      creationTimestamp: formatTime(world.now()),
    },
    spec: { ...asked.spec, audiences: [...audiences], expirationSeconds: seconds },
    status: { token: dryRun ? "" : token, expirationTimestamp: formatTime(toMs) },
  };
  return answerPlain(201, answer, form);
}
