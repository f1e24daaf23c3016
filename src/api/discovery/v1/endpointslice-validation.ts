/** What is wrong with an EndpointSlice, in upstream's words and order. */
import {
  duplicate,
  type FieldError,
  invalid,
  notSupported,
  required,
  tooMany,
} from "#machinery/field-error.ts";
import { immutableMessage } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { validateLabels } from "#machinery/selector.ts";
import {
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
  isValidIp,
  isValidIpForLegacyField,
} from "#machinery/validation.ts";
import { isIpv4Text, isIpv6Text, validateEndpointIp } from "../../core/v1/endpoint-ip.ts";
import type * as g from "../../generated/discovery/v1.ts";

const addressTypes: readonly string[] = ["FQDN", "IPv4", "IPv6"];
const protocols: readonly string[] = ["SCTP", "TCP", "UDP"];
const topologyLabelsMax = 16;
const addressesMax = 100;
const portsMax = 20_000;
const endpointsMax = 1000;
const hintsMax = 8;
const zoneLabel = "topology.kubernetes.io/zone";

const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

/** A name of at least two labels; a dot at the end is fine. */
function validateFqdn(path: string, text: string): FieldError[] {
  if (text === "") return [required(path)];
  const name = text.replace(/\.$/, "");
  const messages = isDns1123Subdomain(name);
  if (messages.length > 0) return [invalid(path, name, messages.join(","))];
  const labels = name.split(".");
  if (labels.length < 2) {
    const detail = "should be a domain with at least two segments separated by dots";
    return [invalid(path, name, detail)];
  }
  for (const label of labels) {
    const problems = isDns1123Label(label);
    if (problems.length > 0) return [invalid(path, label, problems.join(","))];
  }
  return [];
}

/** An address of a type that nobody knows is not judged. */
function validateAddress(list: string, index: number, address: string, type: string): FieldError[] {
  const path = `${list}[${index}]`;
  if (type === "FQDN") return validateFqdn(path, address);
  if (type !== "IPv4" && type !== "IPv6") return [];
  const malformed =
    type === "IPv4" ? isValidIpForLegacyField(path, address, true) : isValidIp(path, address);
  if (malformed.length > 0) return malformed;
  const fits = type === "IPv4" ? isIpv4Text(address) : isIpv6Text(address);
  const errors = fits ? [] : [invalid(list, address, `must be an ${type} address`)];
  return [...errors, ...validateEndpointIp(path, address)];
}

function validateNames(
  targets: readonly { readonly name: string }[] | undefined,
  path: string,
  problems: (name: string) => string[],
): FieldError[] {
  const names = (targets ?? []).map(({ name }) => name);
  return names.flatMap((name, index) => {
    const at = `${path}[${index}].name`;
    const twice = names.indexOf(name) < index ? [duplicate(at, name)] : [];
    return [...twice, ...each(at, name, problems(name))];
  });
}

function validateHints({ forZones = [], forNodes = [] }: g.EndpointHints, path: string) {
  if (forZones.length > hintsMax) return [tooMany(`${path}.forZones`, forZones.length, hintsMax)];
  const errors = validateNames(forZones, `${path}.forZones`, isLabelValue);
  if (forNodes.length > hintsMax) {
    return [...errors, tooMany(`${path}.forNodes`, forNodes.length, hintsMax)];
  }
  return [...errors, ...validateNames(forNodes, `${path}.forNodes`, isDns1123Subdomain)];
}

function validateTopology(topology: Readonly<Record<string, string>>, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const size = Object.keys(topology).length;
  if (size > topologyLabelsMax) errors.push(tooMany(path, size, topologyLabelsMax));
  errors.push(...validateLabels(topology, path));
  if (topology[zoneLabel] !== undefined) {
    errors.push({
      path: `${path}[${zoneLabel}]`,
      type: "InternalError",
      message: "Internal error: reserved key was not removed in conversion",
    });
  }
  return errors;
}

function validateEndpoint(endpoint: g.Endpoint, path: string, type: string): FieldError[] {
  const { addresses, nodeName, deprecatedTopology = {}, hostname, hints } = endpoint;
  const errors = (addresses ?? []).flatMap((address, index) =>
    validateAddress(`${path}.addresses`, index, address, type),
  );
  if (nodeName !== undefined) {
    errors.push(...each(`${path}.nodeName`, nodeName, isDns1123Subdomain(nodeName)));
  }
  errors.push(...validateTopology(deprecatedTopology, `${path}.deprecatedTopology`));
  if (hostname !== undefined) {
    errors.push(...each(`${path}.hostname`, hostname, isDns1123Label(hostname)));
  }
  if (hints !== undefined) errors.push(...validateHints(hints, `${path}.hints`));
  return errors;
}

function validateEndpoints({ endpoints, addressType }: g.EndpointSlice): FieldError[] {
  const list = endpoints ?? [];
  if (list.length > endpointsMax) return [tooMany("endpoints", list.length, endpointsMax)];
  return list.flatMap((endpoint, index) =>
    validateEndpoint(endpoint, `endpoints[${index}]`, addressType),
  );
}

function validatePorts({ ports }: g.EndpointSlice): FieldError[] {
  const list = ports ?? [];
  if (list.length > portsMax) return [tooMany("ports", list.length, portsMax)];
  const seen = new Set<string>();
  return list.flatMap((port, index) => {
    const path = `ports[${index}]`;
    const { name = "", protocol, appProtocol } = port;
    const errors = name === "" ? [] : each(`${path}.name`, name, isDns1123Label(name));
    if (seen.has(name)) errors.push(duplicate(`${path}.name`, name));
    seen.add(name);
    if (protocol === undefined) errors.push(required(`${path}.protocol`));
    else if (!protocols.includes(protocol)) {
      errors.push(notSupported(`${path}.protocol`, protocol, protocols));
    }
    if (appProtocol !== undefined) {
      errors.push(...each(`${path}.appProtocol`, appProtocol, isQualifiedName(appProtocol)));
    }
    return errors;
  });
}

/** Upstream: these rules are declared beside the fields: they come last, and do not look again at what has not changed. */
function validateDeclared(slice: g.EndpointSlice, old: g.EndpointSlice | undefined): FieldError[] {
  const { addressType: type, endpoints } = slice;
  const errors: FieldError[] = [];
  if (type !== old?.addressType) {
    if (type === "") errors.push(required("addressType"));
    else if (!addressTypes.includes(type)) {
      errors.push(notSupported("addressType", type, addressTypes));
    }
    if (old !== undefined) errors.push(invalid("addressType", null, immutableMessage));
  }
  if (old !== undefined && equalObjects(endpoints, old.endpoints)) return errors;
  for (const [index, { addresses }] of (endpoints ?? []).entries()) {
    const path = `endpoints[${index}].addresses`;
    const size = (addresses ?? []).length;
    if (size === 0) errors.push(required(path));
    if (size > addressesMax) errors.push(tooMany(path, size, addressesMax));
  }
  return errors;
}

export function validateEndpointSlice(
  slice: g.EndpointSlice,
  old: g.EndpointSlice | undefined,
): FieldError[] {
  const found = validateEndpoints(slice);
  // What was stored under older rules may stay as it is.
  const kept =
    found.length > 0 && old !== undefined && equalObjects(slice.endpoints, old.endpoints);
  return [...validatePorts(slice), ...(kept ? [] : found), ...validateDeclared(slice, old)];
}
