/** `create service` and `create ingress`. */
import { isDns1123Subdomain } from "#machinery/validation.ts";
import type { Invocation, KubectlCommand } from "../command.ts";
import { CommandError } from "../errors.ts";
import { integer, list, repeat, text } from "../flags.ts";
import type { AnyObject } from "../objects.ts";
import { generator } from "./generate.ts";

const tcpFlag = list("tcp", "Port pairs, as '<port>:<targetPort>'");

function portOf(text: string, nodePort: number): object {
  const [first = "", second] = text.split(":");
  const number = (part: string): number => {
    if (!/^\d+$/.test(part)) {
      throw new CommandError(`strconv.Atoi: parsing ${JSON.stringify(part)}: invalid syntax`);
    }
    const value = Number(part);
    if (value < 1 || value > 65535)
      throw new CommandError("must be between 1 and 65535, inclusive");
    return value;
  };
  const port = number(first);
  const target = second ?? first;
  const targetPort = /^\d+$/.test(target) ? number(target) : target;
  return {
    name: text.replace(":", "-"),
    port,
    protocol: "TCP",
    targetPort,
    ...(nodePort > 0 ? { nodePort } : {}),
  };
}

function serviceOf({ flags }: Invocation, name: string, type: string): AnyObject {
  const clusterIP = flags.text("clusterip");
  const tcp = flags.list("tcp");
  if (clusterIP === "None" && type !== "ClusterIP") {
    throw new CommandError("ClusterIP=None can only be used with ClusterIP service type");
  }
  if (clusterIP !== "None" && tcp.length === 0 && type !== "ExternalName") {
    throw new CommandError("at least one tcp port specifier must be provided");
  }
  const labels = { app: name };
  const ports = tcp.map((one) => portOf(one, flags.integer("node-port")));
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, labels },
    spec: {
      ...(ports.length === 0 ? {} : { ports }),
      selector: labels,
      ...(clusterIP === "" ? {} : { clusterIP }),
      type,
      ...(flags.text("external-name") === "" ? {} : { externalName: flags.text("external-name") }),
    },
  };
}

const service = (
  name: string,
  type: string,
  summary: string,
  usage: string,
  flags: Parameters<typeof generator>[0]["flags"],
): KubectlCommand =>
  generator({
    name,
    summary,
    usage,
    flags: [tcpFlag, ...flags],
    what: `${type} service`,
    make: (given, called) => {
      if (type === "ExternalName") {
        const external = given.flags.text("external-name");
        if (external === "") throw new CommandError('required flag(s) "external-name" not set');
        if (isDns1123Subdomain(external).length > 0)
          throw new CommandError(`invalid service external name ${external}`);
      }
      return serviceOf(given, called, type);
    },
  });

const services: KubectlCommand = {
  name: "service",
  aliases: ["svc"],
  summary: "Create a service using a specified subcommand",
  usage: "(clusterip | externalname | loadbalancer | nodeport)",
  commands: [
    service(
      "clusterip",
      "ClusterIP",
      "Create a ClusterIP service",
      "NAME [--tcp=<port>:<targetPort>]",
      [text("clusterip", "Assign your own ClusterIP or set to 'None' for a 'headless' service")],
    ),
    service(
      "externalname",
      "ExternalName",
      "Create an ExternalName service",
      "NAME --external-name external.name",
      [text("external-name", "External name of service")],
    ),
    service(
      "loadbalancer",
      "LoadBalancer",
      "Create a LoadBalancer service",
      "NAME [--tcp=port:targetPort]",
      [],
    ),
    service("nodeport", "NodePort", "Create a NodePort service", "NAME [--tcp=port:targetPort]", [
      integer("node-port", "Port used to expose the service on each node in a cluster"),
    ]),
  ],
};

const portReference = (port: string): object =>
  /^\d+$/.test(port) ? { number: Number(port) } : { name: port };
const ruleText = /^([\w*\-.]*)(\/[^=]*)=([\w-]+):([\w-]+)((?:,tls)(?:=[\w-]+)?)?$/;

const ingress = generator({
  name: "ingress",
  aliases: ["ing"],
  summary: "Create an ingress with the specified name",
  usage: "NAME --rule=host/path=service:port[,tls[=secret]]",
  flags: [
    repeat("annotation", "Annotation to insert in the ingress object, as annotation=value"),
    text("class", "Ingress Class to be used"),
    text("default-backend", "Default service for backend, as svcname:port"),
    repeat(
      "rule",
      "Rule as host/path=service:port[,tls=secretname]; a path that ends in '*' is a prefix",
    ),
  ],
  what: "ingress",
  make: ({ flags }, name) => {
    const rules = flags.list("rule");
    const fallback = flags.text("default-backend");
    if (rules.length === 0 && fallback === "") {
      throw new CommandError(
        "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)",
      );
    }
    const annotations = Object.fromEntries(
      flags.list("annotation").map((one) => {
        const equals = one.indexOf("=");
        if (equals <= 0)
          throw new CommandError(
            `annotation ${one} is invalid and should be in format key=[value]`,
          );
        return [one.slice(0, equals), one.slice(equals + 1)];
      }),
    );
    const byHost = new Map<string, object[]>();
    const tls = new Map<string, string[]>();
    for (const rule of rules) {
      const match = ruleText.exec(rule);
      if (match === null)
        throw new CommandError(
          `rule ${rule} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]`,
        );
      const [, host = "", path = "", target = "", port = "", secure] = match;
      const isPrefix = path.endsWith("*");
      const backend = { service: { name: target, port: portReference(port) } };
      const entry = {
        path: isPrefix ? path.slice(0, -1) : path,
        pathType: isPrefix ? "Prefix" : "Exact",
        backend,
      };
      byHost.set(host, [...(byHost.get(host) ?? []), entry]);
      if (secure === undefined) continue;
      const secret = secure.split("=")[1] ?? "";
      const hosts = tls.get(secret) ?? [];
      tls.set(secret, host === "" || hosts.includes(host) ? hosts : [...hosts, host]);
    }
    const [service = "", port = ""] = fallback.split(":");
    if (fallback !== "" && (service === "" || port === "")) {
      throw new CommandError("default-backend should be in format servicename:serviceport");
    }
    return {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      metadata: { name, ...(Object.keys(annotations).length === 0 ? {} : { annotations }) },
      spec: {
        ...(flags.text("class") === "" ? {} : { ingressClassName: flags.text("class") }),
        ...(fallback === ""
          ? {}
          : { defaultBackend: { service: { name: service, port: portReference(port) } } }),
        ...(tls.size === 0
          ? {}
          : {
              tls: [...tls].map(([secret, hosts]) => ({
                ...(hosts.length === 0 ? {} : { hosts }),
                ...(secret === "" ? {} : { secretName: secret }),
              })),
            }),
        rules: [...byHost].map(([host, paths]) => ({
          ...(host === "" ? {} : { host }),
          http: { paths },
        })),
      },
    };
  },
});

export const networkGenerators: readonly KubectlCommand[] = [services, ingress];
