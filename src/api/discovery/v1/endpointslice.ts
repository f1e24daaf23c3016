/** EndpointSlice: some of the addresses behind a Service. */
import type * as g from "../../generated/discovery/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type EndpointSlice = g.EndpointSlice;

const shownMax = 3;

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
  strategy: { defaults: setEndpointSliceDefaults, tracksGeneration: true },
});
