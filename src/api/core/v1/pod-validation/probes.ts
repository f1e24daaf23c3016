/** Probes and lifecycle hooks: exactly one handler each, and numbers that make sense. */
import { type FieldError, forbidden, invalid, required } from "#machinery/field-error.ts";
import { isHttpHeaderName } from "#machinery/validation.ts";
import type {
  Container,
  HTTPGetAction,
  LifecycleHandler,
  Probe,
  ProbeHandler,
} from "../../../generated/core/v1.ts";
import { each, nonNegative, notEmpty, oneOf, portNumberOrName } from "./fields.ts";

function validateHttpGet({ path: target, port, scheme, httpHeaders }: HTTPGetAction, path: string) {
  return [
    ...notEmpty(`${path}.path`, target),
    ...portNumberOrName(`${path}.port`, port),
    ...oneOf(`${path}.scheme`, scheme, ["HTTP", "HTTPS"]),
    ...(httpHeaders ?? []).flatMap(({ name }) =>
      each(`${path}.httpHeaders`, name, isHttpHeaderName(name)),
    ),
  ];
}

type Handler = ProbeHandler & LifecycleHandler;
const handlerFields = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] as const;

function validateAction(
  field: (typeof handlerFields)[number],
  handler: Handler,
  graceSeconds: number | undefined,
  path: string,
): FieldError[] {
  const { exec, httpGet, tcpSocket, grpc, sleep } = handler;
  switch (field) {
    case "exec":
      return (exec?.command ?? []).length === 0 ? [required(`${path}.command`)] : [];
    case "httpGet":
      return httpGet === undefined ? [] : validateHttpGet(httpGet, path);
    case "tcpSocket":
      return tcpSocket === undefined ? [] : portNumberOrName(`${path}.port`, tcpSocket.port);
    case "grpc":
      return grpc === undefined ? [] : portNumberOrName(`${path}.port`, grpc.port);
    default: {
      if (sleep === undefined || graceSeconds === undefined) return [];
      if (sleep.seconds >= 0 && sleep.seconds <= graceSeconds) return [];
      const detail = `must be non-negative and less than terminationGracePeriodSeconds (${graceSeconds})`;
      return [invalid(path, sleep.seconds, detail)];
    }
  }
}

function validateHandler(
  handler: Handler,
  graceSeconds: number | undefined,
  path: string,
): FieldError[] {
  const present = handlerFields.filter((field) => handler[field] !== undefined);
  const [first, ...others] = present;
  if (first === undefined) return [required(path, "must specify a handler type")];
  return [
    ...validateAction(first, handler, graceSeconds, `${path}.${first}`),
    ...others.map((field) =>
      forbidden(`${path}.${field}`, "may not specify more than 1 handler type"),
    ),
  ];
}

function validateProbe(probe: Probe, graceSeconds: number | undefined, path: string): FieldError[] {
  const errors = validateHandler(probe, graceSeconds, path);
  const numbers = [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
  ] as const;
  for (const field of numbers) errors.push(...nonNegative(`${path}.${field}`, probe[field]));
  const grace = probe.terminationGracePeriodSeconds;
  if (grace !== undefined && grace <= 0) {
    errors.push(invalid(`${path}.terminationGracePeriodSeconds`, grace, "must be greater than 0"));
  }
  return errors;
}

/** Of regular containers and sidecars. */
export function validateProbesAndHooks(
  container: Container,
  graceSeconds: number | undefined,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const { lifecycle } = container;
  for (const hook of ["postStart", "preStop"] as const) {
    const handler = lifecycle?.[hook];
    if (handler === undefined) continue;
    errors.push(...validateHandler(handler, graceSeconds, `${path}.lifecycle.${hook}`));
  }
  for (const field of ["livenessProbe", "readinessProbe", "startupProbe"] as const) {
    const probe = container[field];
    if (probe === undefined) continue;
    const at = `${path}.${field}`;
    errors.push(...validateProbe(probe, graceSeconds, at));
    const { successThreshold = 0, terminationGracePeriodSeconds } = probe;
    if (field !== "readinessProbe") {
      if (successThreshold !== 1) {
        errors.push(invalid(`${at}.successThreshold`, successThreshold, "must be 1"));
      }
    } else if (terminationGracePeriodSeconds !== undefined) {
      const where = `${at}.terminationGracePeriodSeconds`;
      const detail = "must not be set for readinessProbes";
      errors.push(invalid(where, terminationGracePeriodSeconds, detail));
    }
  }
  return errors;
}
