/** What a claim to devices may ask for. Wording and order are upstream's. */
import { type FieldError, invalid, notSupported, required } from "#machinery/field-error.ts";
import type {
  DeviceClaim,
  DeviceConstraint,
  DeviceRequest,
  DeviceSubRequest,
  ExactDeviceRequest,
  ResourceClaimSpec,
} from "../../generated/resource/v1.ts";
import {
  validateFullyQualifiedName,
  validateLabelName,
  validateSubdomain,
} from "./device-names.ts";
import {
  configurationsMax,
  validateConfiguration,
  validateSelectors,
  validateToleration,
} from "./device-parts.ts";
import { eachOf, eachOfSet, Findings } from "./findings.ts";

const requestsMax = 32;
const constraintsMax = 32;
const alternativesMax = 8;
const modes = ["All", "ExactCount"];

/** "request" and "request/alternative": whether a claim has a request of such a name. */
export type RequestNames = ReadonlyMap<string, readonly string[]>;

export function requestNamesOf({ requests }: DeviceClaim): RequestNames {
  return new Map(
    (requests ?? []).map(({ name, firstAvailable = [] }) => [
      name,
      firstAvailable.map((one) => one.name),
    ]),
  );
}

export function validateRequestName(name: string, path: string, known: RequestNames): FieldError[] {
  const why =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
  const segments = name.split("/");
  const unknown = invalid(path, name, why);
  if (segments.length > 2) return [unknown];
  const [request = "", alternative] = segments;
  const alternatives = known.get(request);
  const isKnown =
    alternatives !== undefined && (alternative === undefined || alternatives.includes(alternative));
  const errors = segments.flatMap((segment) => validateLabelName(segment, path));
  return isKnown ? errors : [...errors, unknown];
}

export const validateRequestNames = (
  found: Findings,
  names: readonly string[],
  path: string,
  known: RequestNames,
): void =>
  eachOfSet(
    found,
    names,
    path,
    requestsMax,
    (name) => name,
    (name, at) => found.tell(...validateRequestName(name, at, known)),
  );

function validateAmount(
  found: Findings,
  { allocationMode = "", count = 0 }: ExactDeviceRequest | DeviceSubRequest,
  path: string,
): void {
  const at = `${path}.count`;
  if (allocationMode === "All" && count !== 0) {
    const why = "must not be specified when allocationMode is 'All'";
    found.tell(invalid(at, count, why));
  } else if (allocationMode === "ExactCount" && count <= 0)
    found.tell(invalid(at, count, "must be greater than zero"));
  if (!modes.includes(allocationMode))
    found.declare(notSupported(`${path}.allocationMode`, allocationMode, modes));
}

function validateWanted(
  found: Findings,
  request: ExactDeviceRequest | DeviceSubRequest,
  path: string,
): void {
  validateSelectors(found, request.selectors ?? [], `${path}.selectors`);
  validateAmount(found, request, path);
  for (const [index, toleration] of (request.tolerations ?? []).entries())
    validateToleration(found, toleration, `${path}.tolerations[${index}]`);
}

const classProblems = (name: string, path: string): FieldError[] =>
  name === "" ? [required(path)] : validateSubdomain(name, path);

function validateRequest(found: Findings, request: DeviceRequest, path: string): void {
  const { name, exactly, firstAvailable = [] } = request;
  found.tell(...validateLabelName(name, `${path}.name`));
  const why = "exactly one of `exactly` or `firstAvailable` is required";
  if (exactly === undefined && firstAvailable.length === 0) found.tell(required(path, why));
  else if (exactly !== undefined && firstAvailable.length > 0)
    found.tell(invalid(path, null, `${why}, but multiple fields are set`));
  else if (exactly !== undefined) {
    const at = `${path}.exactly`;
    found.tell(...classProblems(exactly.deviceClassName, `${at}.deviceClassName`));
    validateWanted(found, exactly, at);
  } else
    eachOfSet(
      found,
      firstAvailable,
      `${path}.firstAvailable`,
      alternativesMax,
      (one) => one.name,
      (one, at) => {
        found.tell(...validateLabelName(one.name, `${at}.name`));
        found.declare(...classProblems(one.deviceClassName, `${at}.deviceClassName`));
        validateWanted(found, one, at);
      },
    );
}

function validateConstraint(
  found: Findings,
  { requests = [], matchAttribute, distinctAttribute }: DeviceConstraint,
  path: string,
  known: RequestNames,
): void {
  validateRequestNames(found, requests, `${path}.requests`, known);
  if (matchAttribute === undefined && distinctAttribute === undefined) {
    // Upstream: the words are those of the other mistake.
    const why =
      'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set';
    found.tell(required(path, why));
  }
  if (matchAttribute !== undefined)
    found.declare(...validateFullyQualifiedName(matchAttribute, `${path}.matchAttribute`));
  if (distinctAttribute !== undefined)
    found.declare(...validateFullyQualifiedName(distinctAttribute, `${path}.distinctAttribute`));
}

export function validateClaimSpec(spec: ResourceClaimSpec, path: string): FieldError[] {
  const found = new Findings();
  findInClaimSpec(found, spec, path);
  return found.all();
}

export function findInClaimSpec(
  found: Findings,
  { devices }: ResourceClaimSpec,
  path: string,
): void {
  const { constraints = [], config = [] } = devices;
  const at = `${path}.devices`;
  const known = requestNamesOf(devices);
  eachOfSet(
    found,
    devices.requests ?? [],
    `${at}.requests`,
    requestsMax,
    ({ name }) => name,
    (request, where) => validateRequest(found, request, where),
  );
  eachOf(found, constraints, `${at}.constraints`, constraintsMax, (constraint, where) =>
    validateConstraint(found, constraint, where, known),
  );
  eachOf(found, config, `${at}.config`, configurationsMax, (one, where) => {
    validateRequestNames(found, one.requests ?? [], `${where}.requests`, known);
    validateConfiguration(found, one, where);
  });
}

/** One device of those that match, if nothing else is said. */
export function setClaimDefaults({ devices }: ResourceClaimSpec): void {
  for (const { exactly, firstAvailable = [] } of devices.requests ?? [])
    for (const request of exactly === undefined ? firstAvailable : [exactly, ...firstAvailable]) {
      request.allocationMode ||= "ExactCount";
      if (request.allocationMode === "ExactCount") request.count ||= 1;
    }
}

/** Upstream has these behind a switch that is off: what a claim says of them is not kept. */
export function dropClaimFields({ devices }: ResourceClaimSpec): void {
  const given: Partial<DeviceClaim> = devices;
  // Upstream: an empty list is not kept.
  if (given.requests?.length === 0) delete given.requests;
  for (const { exactly, firstAvailable = [] } of devices.requests ?? [])
    for (const request of exactly === undefined ? firstAvailable : [exactly, ...firstAvailable])
      delete request.derivedAttributes;
}
