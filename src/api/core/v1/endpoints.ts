/** Endpoints: the addresses behind a Service, as they were told before EndpointSlices. */
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import { ipWarnings } from "#machinery/ip-warnings.ts";
import { equalObjects } from "#machinery/object.ts";
import {
  isDns1123Label,
  isDns1123Subdomain,
  isPortNumber,
  isQualifiedName,
  isValidIpForLegacyField,
} from "#machinery/validation.ts";
import type * as g from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateEndpointIp } from "./endpoint-ip.ts";
import { oneOf, portProtocols } from "./service-validation.ts";

export type Endpoints = g.Endpoints;

const shownMax = 3;
/** Whoever has it makes no malformed addresses. */
const managedByLabel = "endpoints.kubernetes.io/managed-by";
const controllerName = "endpoint-controller";

function setEndpointsDefaults({ subsets }: Endpoints): void {
  for (const { ports } of subsets ?? []) {
    for (const port of ports ?? []) if ((port.protocol ?? "") === "") port.protocol = "TCP";
  }
}

function endpointsCell({ subsets = [] }: Endpoints): string {
  if (subsets.length === 0) return "<none>";
  const texts = subsets.flatMap(({ addresses = [], ports = [] }) =>
    ports.length === 0
      ? addresses.map(({ ip }) => ip)
      : ports.flatMap(({ port }) =>
          addresses.map(({ ip }) => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`)),
        ),
  );
  const shown = texts.slice(0, shownMax).join(",");
  return texts.length > shownMax ? `${shown} + ${texts.length - shownMax} more...` : shown;
}

const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

function validateAddress({ ip, hostname = "", nodeName }: g.EndpointAddress, path: string) {
  const errors = isValidIpForLegacyField(`${path}.ip`, ip, true);
  if (hostname !== "") errors.push(...each(`${path}.hostname`, hostname, isDns1123Label(hostname)));
  if (nodeName !== undefined) {
    errors.push(...each(`${path}.nodeName`, nodeName, isDns1123Subdomain(nodeName)));
  }
  return [...errors, ...validateEndpointIp(`${path}.ip`, ip)];
}

function validatePort(one: g.EndpointPort, path: string, alone: boolean): FieldError[] {
  const { name = "", port, protocol = "", appProtocol } = one;
  const errors: FieldError[] = [];
  if (name !== "") errors.push(...each(`${path}.name`, name, isDns1123Label(name)));
  else if (!alone) errors.push(required(`${path}.name`));
  errors.push(...each(`${path}.port`, port, isPortNumber(port)));
  errors.push(...oneOf(`${path}.protocol`, protocol, portProtocols));
  if (appProtocol !== undefined) {
    errors.push(...each(`${path}.appProtocol`, appProtocol, isQualifiedName(appProtocol)));
  }
  return errors;
}

function validateSubset(subset: g.EndpointSubset, path: string): FieldError[] {
  const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
  const errors: FieldError[] = [];
  if (addresses.length === 0 && notReadyAddresses.length === 0) {
    errors.push(required(path, "must specify `addresses` or `notReadyAddresses`"));
  }
  const all = { addresses, notReadyAddresses };
  for (const field of ["addresses", "notReadyAddresses"] as const) {
    for (const [index, address] of all[field].entries()) {
      errors.push(...validateAddress(address, `${path}.${field}[${index}]`));
    }
  }
  for (const [index, port] of ports.entries()) {
    errors.push(...validatePort(port, `${path}.ports[${index}]`, ports.length === 1));
  }
  return errors;
}

/** What was stored under older rules may stay as it is. */
function validateEndpoints({ subsets = [] }: Endpoints, old: Endpoints | undefined): FieldError[] {
  const errors = subsets.flatMap((subset, index) => validateSubset(subset, `subsets[${index}]`));
  if (errors.length === 0 || old === undefined) return errors;
  return equalObjects(subsets, old.subsets ?? []) ? [] : errors;
}

function endpointsWarnings({ metadata, subsets = [] }: Endpoints): string[] {
  if (metadata.labels?.[managedByLabel] === controllerName) return [];
  return subsets.flatMap((subset, index) =>
    (["addresses", "notReadyAddresses"] as const).flatMap((field) =>
      (subset[field] ?? []).flatMap(({ ip }, at) =>
        ipWarnings(`subsets[${index}].${field}[${at}].ip`, ip),
      ),
    ),
  );
}

export const Endpoints = defineResource<g.Endpoints>({
  group: "",
  version: "v1",
  plural: "endpoints",
  storagePrefix: "/registry/services/endpoints",
  deprecation: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
  printerColumns: [{ name: "Endpoints", value: endpointsCell }, ageColumn],
  strategy: {
    allowCreateOnUpdate: true,
    defaults: setEndpointsDefaults,
    validate: (endpoints) => validateEndpoints(endpoints, undefined),
    validateUpdate: validateEndpoints,
    warnings: endpointsWarnings,
  },
});
