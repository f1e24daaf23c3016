/** EndpointSlice: some of the addresses behind a Service. */
import { ipWarnings } from "#machinery/ip-warnings.ts";
import { equalObjects } from "#machinery/object.ts";
import { isDns1123Subdomain } from "#machinery/validation.ts";
import type * as g from "../../generated/discovery/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateEndpointSlice } from "./endpointslice-validation.ts";

export type EndpointSlice = g.EndpointSlice;

const shownMax = 3;
const hostnameLabel = "kubernetes.io/hostname";
const managedByLabel = "endpointslice.kubernetes.io/managed-by";
/** They make no malformed addresses. */
const controllers: readonly string[] = [
  "endpointslice-controller.k8s.io",
  "endpointslicemirroring-controller.k8s.io",
];

function setEndpointSliceDefaults({ ports }: EndpointSlice): void {
  for (const port of ports ?? []) {
    port.name ??= "";
    port.protocol ??= "TCP";
  }
}

function shortList(texts: readonly string[]): string {
  const shown = texts.slice(0, shownMax).join(",");
  if (texts.length > shownMax) return `${shown} + ${texts.length - shownMax} more...`;
  return shown === "" ? "<unset>" : shown;
}
const portsCell = ({ ports }: EndpointSlice): string =>
  shortList((ports ?? []).map(({ port, name = "*" }) => (port === undefined ? name : `${port}`)));
const endpointsCell = ({ endpoints }: EndpointSlice): string =>
  shortList((endpoints ?? []).flatMap(({ addresses }) => addresses ?? []));

/** deprecatedTopology cannot be written in this version; but a node's name that stood there before is kept, where it belongs. */
function dropTopology(slice: EndpointSlice, old: EndpointSlice | undefined): void {
  if (old !== undefined && equalObjects(slice.endpoints, old.endpoints)) return;
  const known = (old?.endpoints ?? []).map((one) => one.deprecatedTopology?.[hostnameLabel]);
  for (const endpoint of slice.endpoints ?? []) {
    const name = endpoint.deprecatedTopology?.[hostnameLabel];
    const keeps = endpoint.nodeName === undefined && name !== undefined && name !== "";
    if (keeps && known.includes(name) && isDns1123Subdomain(name).length === 0) {
      endpoint.nodeName = name;
    }
    delete endpoint.deprecatedTopology;
  }
}

function prepareForUpdate(slice: EndpointSlice, old: EndpointSlice): void {
  // Labels say whose endpoints these are: they count for the generation as well.
  if (!equalObjects(slice.metadata.labels ?? {}, old.metadata.labels ?? {})) {
    slice.metadata.generation = (old.metadata.generation ?? 0) + 1;
  }
  dropTopology(slice, old);
}

function endpointSliceWarnings(slice: EndpointSlice, old: EndpointSlice | undefined): string[] {
  const { metadata, addressType, endpoints } = slice;
  const warnings: string[] = [];
  if (old === undefined && addressType === "FQDN") {
    warnings.push("spec.addressType: FQDN endpoints are deprecated");
  }
  if (controllers.includes(metadata.labels?.[managedByLabel] ?? "")) return warnings;
  for (const [index, { addresses }] of (endpoints ?? []).entries()) {
    for (const [at, address] of (addresses ?? []).entries()) {
      warnings.push(...ipWarnings(`endpoints[${index}].addresses[${at}]`, address));
    }
  }
  return warnings;
}

export const EndpointSlice = defineResource<g.EndpointSlice>({
  group: "discovery.k8s.io",
  version: "v1",
  plural: "endpointslices",
  printerColumns: [
    { name: "AddressType", value: ({ addressType }) => addressType },
    { name: "Ports", value: portsCell },
    { name: "Endpoints", value: endpointsCell },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    defaults: setEndpointSliceDefaults,
    prepareForCreate: (slice) => dropTopology(slice, undefined),
    prepareForUpdate,
    validate: (slice) => validateEndpointSlice(slice, undefined),
    validateUpdate: validateEndpointSlice,
    warnings: endpointSliceWarnings,
  },
});
