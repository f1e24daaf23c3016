/**
 * StatusError: every error that the API can answer, with upstream's code, reason and wording (clients match on them).
 * Facts from k8s.io/apimachinery/pkg/api/errors and the API conventions ("Response Status Kind").
 */
import { type FieldError, formatFieldError } from "./field-error.ts";

export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}
export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}
/** The Status kind of meta/v1. */
export interface Status {
  kind: "Status";
  apiVersion: "v1";
  metadata: object;
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code: number;
}

/** What a message names: upstream says `pods "x"`, or `deployments.apps "x"`. */
export interface ResourceName {
  readonly group: string;
  readonly plural: string;
}
const qualified = (resource: ResourceName): string =>
  resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;

export class StatusError extends Error {
  readonly status: Status;
  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = "StatusError";
    this.status = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message,
      ...(reason === "" ? {} : { reason }),
      ...(details === undefined ? {} : { details }),
      code,
    };
  }
  get code(): number {
    return this.status.code;
  }
  get reason(): string {
    return this.status.reason ?? "";
  }
  /** The error that a Status object received from a server stands for. */
  static from(status: Status): StatusError {
    return new StatusError(status.code, status.reason ?? "", status.message ?? "", status.details);
  }
}

const detailsOf = (resource: ResourceName, name: string): StatusDetails => ({
  ...(name === "" ? {} : { name }),
  ...(resource.group === "" ? {} : { group: resource.group }),
  kind: resource.plural,
});

export const notFound = (resource: ResourceName, name: string): StatusError =>
  new StatusError(
    404,
    "NotFound",
    `${qualified(resource)} "${name}" not found`,
    detailsOf(resource, name),
  );

export const alreadyExists = (resource: ResourceName, name: string): StatusError =>
  new StatusError(
    409,
    "AlreadyExists",
    `${qualified(resource)} "${name}" already exists`,
    detailsOf(resource, name),
  );

export const conflict = (resource: ResourceName, name: string, why: string): StatusError =>
  new StatusError(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`,
    detailsOf(resource, name),
  );

/** Upstream's wording of the optimistic-lock failure. */
export const staleVersion = (resource: ResourceName, name: string): StatusError =>
  conflict(
    resource,
    name,
    "the object has been modified; please apply your changes to the latest version and try again",
  );

export const forbiddenError = (resource: ResourceName, name: string, why: string): StatusError => {
  const what = name === "" ? qualified(resource) : `${qualified(resource)} "${name}"`;
  const message = resource.plural === "" ? `forbidden: ${why}` : `${what} is forbidden: ${why}`;
  return new StatusError(403, "Forbidden", message, detailsOf(resource, name));
};

export const invalidObject = (
  kind: { readonly group: string; readonly kind: string },
  name: string,
  errors: readonly FieldError[],
): StatusError => {
  const qualifiedKind = kind.group === "" ? kind.kind : `${kind.kind}.${kind.group}`;
  const texts = [...new Set(errors.map(formatFieldError))];
  const all = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  return new StatusError(422, "Invalid", `${qualifiedKind} "${name}" is invalid: ${all}`, {
    ...(name === "" ? {} : { name }),
    ...(kind.group === "" ? {} : { group: kind.group }),
    kind: kind.kind,
    causes: errors.map((error) => ({
      reason: error.type,
      message: error.message,
      field: error.path,
    })),
  });
};

export const badRequest = (message: string): StatusError =>
  new StatusError(400, "BadRequest", message);

export const unauthorized = (): StatusError => new StatusError(401, "Unauthorized", "Unauthorized");

export const methodNotSupported = (resource: ResourceName, verb: string): StatusError =>
  new StatusError(
    405,
    "MethodNotAllowed",
    `${verb} is not supported on resources of kind "${qualified(resource)}"`,
    { ...(resource.group === "" ? {} : { group: resource.group }), kind: resource.plural },
  );

/** 410: the history that was asked for is compacted; clients list anew. */
export const expired = (message: string): StatusError => new StatusError(410, "Expired", message);

export const tooLargeResourceVersion = (asked: number, current: number): StatusError =>
  new StatusError(504, "Timeout", `Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });

export const tooManyRequests = (message: string, retryAfterSeconds: number): StatusError =>
  new StatusError(429, "TooManyRequests", message, { retryAfterSeconds });

export const requestTooLarge = (message: string): StatusError =>
  new StatusError(413, "RequestEntityTooLarge", `Request entity too large: ${message}`);

export const unsupportedMediaType = (message: string): StatusError =>
  new StatusError(415, "UnsupportedMediaType", message);

export const notAcceptable = (message: string): StatusError =>
  new StatusError(406, "NotAcceptable", message);

export const internalError = (message: string): StatusError =>
  new StatusError(500, "InternalError", `Internal error occurred: ${message}`, {
    causes: [{ message }],
  });

export const serviceUnavailable = (message: string): StatusError =>
  new StatusError(503, "ServiceUnavailable", message);

export const timeoutError = (message: string): StatusError =>
  new StatusError(504, "Timeout", message);

export const isStatus = (error: unknown, reason: string): boolean =>
  error instanceof StatusError && error.reason === reason;
