/** Descriptions of Services, what stands behind them, and Ingresses. */
import type { Endpoints, Service } from "#api/generated/core/v1.ts";
import type { EndpointSlice } from "#api/generated/discovery/v1.ts";
import type { Ingress, IngressBackend } from "#api/generated/networking/v1.ts";
import { StatusError } from "#machinery/status-error.ts";
import { objectsAt } from "../objects.ts";
import { pages } from "../selection.ts";
import type { Describe } from "./describe.ts";
import { writeEvents } from "./events.ts";
import { labelsOrNone, type Page, writeAnnotations, writeHead, writeLabels } from "./page.ts";

const shownMax = 3;
const hostPort = (host: string, port: number): string =>
  `${host.includes(":") ? `[${host}]` : host}:${port}`;

async function slicesOf(page: Page, namespace: string, service: string): Promise<EndpointSlice[]> {
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
  const query = [["labelSelector", `kubernetes.io/service-name=${service}`]] as const;
  const slices: EndpointSlice[] = [];
  for await (const list of pages(page.session, path, query, page.chunkSize)) {
    slices.push(...(objectsAt(list, "items") as unknown as EndpointSlice[]));
  }
  return slices;
}

/** Up to three ready addresses of a port, and how many more there are. */
function endpointsText(slices: readonly EndpointSlice[], portName: string): string {
  if (slices.length === 0) return "<none>";
  const all = slices.flatMap(({ ports, endpoints }) => {
    const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
    const addresses = ready.map(({ addresses }) => addresses[0] ?? "");
    if (ports === undefined || ports.length === 0) return addresses;
    return ports
      .filter(({ name = "" }) => name === portName)
      .flatMap(({ port = 0 }) => addresses.map((address) => hostPort(address, port)));
  });
  const text = all.slice(0, shownMax).join(",");
  return all.length > shownMax ? `${text} + ${all.length - shownMax} more...` : text;
}

export const describeService: Describe = async (page, object) => {
  const service = object as unknown as Service;
  const { metadata, spec, status } = service;
  writeHead(page, service);
  page.line(0, `Selector:\t${labelsOrNone(spec.selector)}`);
  page.line(0, `Type:\t${spec.type ?? ""}`);
  if (spec.ipFamilyPolicy !== undefined) page.line(0, `IP Family Policy:\t${spec.ipFamilyPolicy}`);
  page.line(0, `IP Families:\t${(spec.ipFamilies ?? []).join(",") || "<none>"}`);
  page.line(0, `IP:\t${spec.clusterIP ?? ""}`);
  page.line(0, `IPs:\t${(spec.clusterIPs ?? []).join(",") || "<none>"}`);
  if ((spec.externalIPs ?? []).length > 0)
    page.line(0, `External IPs:\t${(spec.externalIPs ?? []).join(",")}`);
  if (spec.loadBalancerIP) page.line(0, `Desired LoadBalancer IP:\t${spec.loadBalancerIP}`);
  if (spec.externalName) page.line(0, `External Name:\t${spec.externalName}`);
  const ingress = status.loadBalancer?.ingress ?? [];
  if (ingress.length > 0) {
    const texts = ingress.map(({ ip, ipMode, hostname }) =>
      ip ? `${ip}${ipMode === undefined ? "" : ` (${ipMode})`}` : (hostname ?? ""),
    );
    page.line(0, `LoadBalancer Ingress:\t${texts.join(", ")}`);
  }
  const slices = await slicesOf(page, metadata.namespace ?? "", metadata.name ?? "");
  for (const port of spec.ports ?? []) {
    const name = port.name || "<unset>";
    const protocol = port.protocol ?? "";
    page.line(0, `Port:\t${name}\t${port.port}/${protocol}`);
    page.line(0, `TargetPort:\t${port.targetPort}/${protocol}`);
    if (port.appProtocol !== undefined) page.line(0, `AppProtocol:\t${port.appProtocol}`);
    if (port.nodePort) page.line(0, `NodePort:\t${name}\t${port.nodePort}/${protocol}`);
    page.line(0, `Endpoints:\t${endpointsText(slices, port.name ?? "")}`);
  }
  page.line(0, `Session Affinity:\t${spec.sessionAffinity ?? ""}`);
  if (spec.externalTrafficPolicy)
    page.line(0, `External Traffic Policy:\t${spec.externalTrafficPolicy}`);
  if (spec.internalTrafficPolicy !== undefined)
    page.line(0, `Internal Traffic Policy:\t${spec.internalTrafficPolicy}`);
  if (spec.healthCheckNodePort) page.line(0, `HealthCheck NodePort:\t${spec.healthCheckNodePort}`);
  const ranges = spec.loadBalancerSourceRanges ?? [];
  if (ranges.length > 0) page.line(0, `LoadBalancer Source Ranges:\t${ranges.join(",")}`);
  if (spec.trafficDistribution !== undefined)
    page.line(0, `Traffic Distribution:\t${spec.trafficDistribution}`);
  await writeEvents(page, object);
};

export const describeEndpoints: Describe = async (page, object) => {
  const endpoints = object as unknown as Endpoints;
  writeHead(page, endpoints);
  page.line(0, "Subsets:");
  for (const { addresses = [], notReadyAddresses = [], ports = [] } of endpoints.subsets ?? []) {
    page.line(1, `Addresses:\t${addresses.map(({ ip }) => ip).join(",") || "<none>"}`);
    page.line(
      1,
      `NotReadyAddresses:\t${notReadyAddresses.map(({ ip }) => ip).join(",") || "<none>"}`,
    );
    if (ports.length > 0) {
      page.line(1, "Ports:");
      page.line(2, "Name\tPort\tProtocol");
      page.line(2, "----\t----\t--------");
      for (const { name, port, protocol = "" } of ports)
        page.line(2, `${name || "<unset>"}\t${port}\t${protocol}`);
    }
    page.line(0, "");
  }
  await writeEvents(page, object);
};

export const describeEndpointSlice: Describe = async (page, object) => {
  const slice = object as unknown as EndpointSlice;
  const ports = slice.ports ?? [];
  const endpoints = slice.endpoints ?? [];
  writeHead(page, slice);
  page.line(0, `AddressType:\t${slice.addressType}`);
  if (ports.length === 0) page.line(0, "Ports: <unset>");
  else {
    page.line(0, "Ports:");
    page.line(1, "Name\tPort\tProtocol");
    page.line(1, "----\t----\t--------");
    for (const { name, port, protocol = "" } of ports)
      page.line(1, `${name || "<unset>"}\t${port ?? "<unset>"}\t${protocol}`);
  }
  page.line(0, endpoints.length === 0 ? "Endpoints: <none>" : "Endpoints:");
  for (const { addresses, conditions, hostname, targetRef, nodeName, zone } of endpoints) {
    page.line(1, `- Addresses:\t${addresses.join(", ") || "<none>"}`);
    page.line(2, "Conditions:");
    page.line(3, `Ready:\t${conditions?.ready ?? "<unset>"}`);
    page.line(2, `Hostname:\t${hostname ?? "<unset>"}`);
    if (targetRef !== undefined)
      page.line(2, `TargetRef:\t${targetRef.kind ?? ""}/${targetRef.name ?? ""}`);
    page.line(2, `NodeName:\t${nodeName ?? "<unset>"}`);
    page.line(2, `Zone:\t${zone ?? "<unset>"}`);
  }
  await writeEvents(page, object);
};

async function backendText(
  page: Page,
  namespace: string,
  backend: IngressBackend,
): Promise<string> {
  if (backend.service !== undefined) {
    const { name, port } = backend.service;
    const shown = `${name}:${port?.name || (port?.number ?? 0)}`;
    try {
      const slices = await slicesOf(page, namespace, name);
      const rest = await page.session.rest();
      const service = await rest.json<Service>(
        "GET",
        `/api/v1/namespaces/${namespace}/services/${name}`,
      );
      const found = service.spec.ports?.find((one) =>
        port?.number ? one.port === port.number : one.name === port?.name && Boolean(port?.name),
      );
      return `${shown} (${endpointsText(slices, found?.name ?? "")})`;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      return `${shown} (<error: ${error.message}>)`;
    }
  }
  const { resource } = backend;
  if (resource === undefined) return "";
  return `APIGroup: ${resource.apiGroup ?? "<none>"}, Kind: ${resource.kind}, Name: ${resource.name}`;
}

export const describeIngress: Describe = async (page, object) => {
  const { metadata, spec, status } = object as unknown as Ingress;
  const namespace = metadata.namespace ?? "";
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  page.line(0, `Namespace:\t${namespace}`);
  const addresses = (status.loadBalancer?.ingress ?? []).map(
    ({ ip, hostname }) => ip || hostname || "",
  );
  page.line(
    0,
    `Address:\t${[...new Set(addresses)]
      .filter((one) => one !== "")
      .toSorted()
      .join(",")}`,
  );
  page.line(0, `Ingress Class:\t${spec.ingressClassName ?? "<none>"}`);
  const fallback =
    spec.defaultBackend === undefined
      ? "<default>"
      : await backendText(page, namespace, spec.defaultBackend);
  page.line(0, `Default backend:\t${fallback}`);
  if ((spec.tls ?? []).length > 0) page.line(0, "TLS:");
  for (const { secretName, hosts = [] } of spec.tls ?? []) {
    page.line(
      1,
      secretName ? `${secretName} terminates ${hosts.join(",")}` : `SNI routes ${hosts.join(",")}`,
    );
  }
  page.line(0, "Rules:\n  Host\tPath\tBackends");
  page.line(1, "----\t----\t--------");
  const rules = (spec.rules ?? []).filter(({ http }) => http !== undefined);
  for (const { host, http } of rules) {
    page.line(1, `${host || "*"}\t`);
    for (const { path = "", backend } of http?.paths ?? []) {
      page.line(2, `\t${path} \t${await backendText(page, namespace, backend)}`);
    }
  }
  if (rules.length === 0) page.line(1, `*\t*\t${fallback}`);
  writeAnnotations(page, "Annotations", metadata.annotations);
  await writeEvents(page, object);
};
