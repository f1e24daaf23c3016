/** Environment variables for Services ({NAME}_SERVICE_HOST and so on). Pure. */
import type { Service } from "#api/generated/core/v1.ts";

const variableName = (name: string): string => name.replaceAll("-", "_").toUpperCase();

const clusterIpOf = (service: Service): string | undefined => {
  const ip = service.spec?.clusterIP;
  return ip === undefined || ip === "" || ip === "None" ? undefined : ip;
};
const joinHostPort = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

function addLinks(into: Map<string, string>, service: Service, ip: string): void {
  const prefix = variableName(service.metadata.name ?? "");
  for (const [index, { port, protocol = "TCP" }] of (service.spec?.ports ?? []).entries()) {
    const url = `${protocol.toLowerCase()}://${joinHostPort(ip, port)}`;
    if (index === 0) into.set(`${prefix}_PORT`, url);
    const portPrefix = `${prefix}_PORT_${port}_${protocol.toUpperCase()}`;
    into.set(portPrefix, url);
    into.set(`${portPrefix}_PROTO`, protocol.toLowerCase());
    into.set(`${portPrefix}_PORT`, String(port));
    into.set(`${portPrefix}_ADDR`, ip);
  }
}

/**
 * The variables of a pod in `namespace`: of that namespace's Services (if it wants links), and always of
 * default/kubernetes, which in-cluster clients look for.
 */
export function serviceVariables(
  services: Iterable<Service>,
  namespace: string,
  enableServiceLinks: boolean,
): Map<string, string> {
  const chosen = new Map<string, Service>();
  for (const service of services) {
    const { name = "", namespace: at } = service.metadata;
    if (clusterIpOf(service) === undefined) continue;
    if (at === namespace && enableServiceLinks) chosen.set(name, service);
    else if (at === "default" && name === "kubernetes" && !chosen.has(name)) {
      chosen.set(name, service);
    }
  }
  const variables = new Map<string, string>();
  for (const name of [...chosen.keys()].toSorted()) {
    const service = chosen.get(name);
    const ip = service === undefined ? undefined : clusterIpOf(service);
    const ports = service?.spec?.ports ?? [];
    const first = ports[0];
    if (service === undefined || ip === undefined || first === undefined) continue;
    const prefix = variableName(name);
    variables.set(`${prefix}_SERVICE_HOST`, ip);
    variables.set(`${prefix}_SERVICE_PORT`, String(first.port));
    for (const port of ports) {
      if ((port.name ?? "") === "") continue;
      variables.set(`${prefix}_SERVICE_PORT_${variableName(port.name ?? "")}`, String(port.port));
    }
    addLinks(variables, service, ip);
  }
  return variables;
}
