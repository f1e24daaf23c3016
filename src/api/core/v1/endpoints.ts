/** Endpoints: the addresses behind a Service, as they were told before EndpointSlices. */
import type * as g from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

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

export const Endpoints = defineResource<g.Endpoints>({
  group: "",
  version: "v1",
  plural: "endpoints",
  storagePrefix: "/registry/services/endpoints",
  printerColumns: [{ name: "Endpoints", value: endpointsCell }, ageColumn],
  strategy: {
    allowCreateOnUpdate: true,
    defaults: setEndpointsDefaults,
  },
});
