/** `kubectl expose`: a Service in front of pods, or of what makes them. */
import type { Pod, Service } from "#api/generated/core/v1.ts";
import { isObject } from "#machinery/object.ts";
import { readYaml } from "#machinery/yaml.ts";
import { eachObject, findObjects } from "./changing.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { createFlags, createObject } from "./create/generate.ts";
import { CommandError } from "./errors.ts";
import { text } from "./flags.ts";
import { mergePatchLocally } from "./local-patch.ts";
import { fileFlags } from "./manifests.ts";
import { type AnyObject, kindOf, metaOf, objectAt, objectsAt, textAt } from "./objects.ts";

export const exposeCommand: KubectlCommand = {
  name: "expose",
  summary:
    "Take a replication controller, service, deployment or pod and expose it as a new Kubernetes service",
  usage:
    "(-f FILENAME | TYPE NAME) [--port=port] [--protocol=TCP|UDP|SCTP] [--target-port=number-or-name] [--name=name] [--external-ip=external-ip-of-service] [--type=type]",
  flags: [
    ...createFlags,
    ...fileFlags("identifying the resource to expose a service"),
    text("cluster-ip", "ClusterIP to be assigned to the service"),
    text("external-ip", "Additional external IP address of the service"),
    text("labels", "Labels to apply to the service", { short: "l" }),
    text("load-balancer-ip", "IP to assign to the LoadBalancer"),
    text("name", "The name for the newly created object"),
    text("override-type", "How --overrides is applied: json, merge or strategic", {
      default: "merge",
    }),
    text("overrides", "A JSON override for the generated object"),
    text("port", "The port that the service should serve on"),
    text("protocol", "The network protocol for the service"),
    text("selector", "A label selector to use for this service"),
    text("session-affinity", "The session affinity of the service: None or ClientIP"),
    text("target-port", "Name or number for the port on the container"),
    text("type", "Type for this service: ClusterIP, NodePort, LoadBalancer, or ExternalName"),
  ],
  run: expose,
};

const exposable = new Set(["ReplicationController", "Service", "Pod", "Deployment", "ReplicaSet"]);

function podSpecPorts(object: AnyObject): { readonly port: number; readonly protocol: string }[] {
  if (kindOf(object) === "Service") {
    const { spec } = object as unknown as Service;
    return (spec.ports ?? []).map(({ port, protocol = "TCP" }) => ({ port, protocol }));
  }
  const spec =
    kindOf(object) === "Pod"
      ? (object as unknown as Pod).spec
      : objectAt(object, "spec", "template", "spec");
  return objectsAt(spec, "containers").flatMap((container) =>
    objectsAt(container, "ports").map((port) => ({
      port: Number(port["containerPort"]),
      protocol: textAt(port, "protocol") || "TCP",
    })),
  );
}

function selectorFor(object: AnyObject): Record<string, string> {
  const fail = (why: string): never => {
    throw new CommandError(
      `couldn't retrieve selectors via --selector flag or introspection: ${why}`,
    );
  };
  if (kindOf(object) === "Pod") {
    const { labels } = metaOf(object);
    return labels ?? fail("the pod has no labels and cannot be exposed");
  }
  const selector = objectAt(object, "spec", "selector");
  if (Object.keys(selector).length === 0) return fail("invalid selector: it is empty");
  const isPlain = Object.values(selector).every((value) => typeof value === "string");
  if (isPlain) return selector as Record<string, string>;
  if (Array.isArray(selector["matchExpressions"]) && selector["matchExpressions"].length > 0) {
    return fail('couldn\'t convert expressions - "matchExpressions" to map-based selector format');
  }
  return objectAt(selector, "matchLabels") as Record<string, string>;
}

function parseLabels(spec: string): Record<string, string> {
  return Object.fromEntries(
    spec.split(",").map((pair) => {
      const [key = "", value, ...more] = pair.split("=");
      if (value === undefined || more.length > 0)
        throw new CommandError(`unexpected label spec: ${pair}`);
      if (key === "") throw new CommandError("unexpected empty label key");
      return [key, value];
    }),
  );
}

function portsFor({ flags }: Invocation, object: AnyObject): object[] {
  const known = podSpecPorts(object);
  const given = flags.text("port");
  const numbers =
    given === "" ? [...new Set(known.map(({ port }) => String(port)))] : given.split(",");
  if (numbers.length === 0 && flags.text("cluster-ip") !== "None") {
    throw new CommandError("couldn't find port via --port flag or introspection");
  }
  const target = flags.text("target-port");
  const asPort = (value: string): number | string => (/^\d+$/.test(value) ? Number(value) : value);
  return numbers.flatMap((number, i) => {
    if (!/^\d+$/.test(number))
      throw new CommandError(`strconv.Atoi: parsing ${JSON.stringify(number)}: invalid syntax`);
    const several = numbers.length > 1 ? { name: `port-${i + 1}` } : {};
    const base = {
      port: Number(number),
      targetPort: target === "" ? Number(number) : asPort(target),
    };
    const chosen = flags.text("protocol").toUpperCase();
    const protocols =
      chosen === ""
        ? [
            ...new Set(
              known.filter(({ port }) => port === Number(number)).map(({ protocol }) => protocol),
            ),
          ]
        : [chosen];
    if (protocols.length > 1) {
      return protocols.map((protocol) => ({
        name: `port-${i + 1}-${protocol.toLowerCase()}`,
        protocol,
        ...base,
      }));
    }
    return [{ ...several, protocol: protocols[0] ?? "TCP", ...base }];
  });
}

async function expose(given: Invocation): Promise<void> {
  const { flags, args } = given;
  await eachObject(
    await findObjects({ ...given, flags: flags.with({ selector: [] }) }, args),
    async ({ object, resource, name }) => {
      if (!exposable.has(resource.kind)) {
        throw new CommandError(
          `cannot expose a ${resource.kind}${resource.group === "" ? "" : `.${resource.group}`}`,
        );
      }
      const selector =
        flags.text("selector") === "" ? selectorFor(object) : parseLabels(flags.text("selector"));
      const ports = portsFor(given, object);
      const labels =
        flags.text("labels") === "" ? metaOf(object).labels : parseLabels(flags.text("labels"));
      const affinity = flags.text("session-affinity");
      if (!["", "None", "ClientIP"].includes(affinity))
        throw new CommandError(`unknown session affinity: ${affinity}`);
      const optional = (key: string, flag: string): object =>
        flags.text(flag) === "" ? {} : { [key]: flags.text(flag) };
      const service: AnyObject = {
        apiVersion: "v1",
        kind: "Service",
        metadata: {
          name: flags.text("name") || name.slice(0, 63),
          ...(labels === undefined ? {} : { labels }),
        },
        spec: {
          ...(ports.length === 0 ? {} : { ports }),
          selector,
          ...optional("clusterIP", "cluster-ip"),
          ...optional("type", "type"),
          ...(flags.text("external-ip") === "" ? {} : { externalIPs: [flags.text("external-ip")] }),
          ...optional("sessionAffinity", "session-affinity"),
          ...(flags.text("type") === "LoadBalancer"
            ? optional("loadBalancerIP", "load-balancer-ip")
            : {}),
        },
      };
      await createObject(given, overridden(given, service), (error) => error, "exposed");
    },
  );
}

const overrideMedia: Readonly<Record<string, string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
};
/** With --overrides laid over. */
export function overridden({ flags }: Invocation, object: AnyObject): AnyObject {
  const overrides = flags.text("overrides");
  if (overrides === "") return object;
  const mediaType = overrideMedia[flags.text("override-type")];
  if (mediaType === undefined) {
    throw new CommandError(
      `invalid override type: ${flags.text("override-type")}. Valid values are: json, merge, strategic`,
    );
  }
  const patch = readYaml(overrides);
  if (!isObject(patch) && !Array.isArray(patch))
    throw new CommandError("the overrides are no object");
  const [group = "", version = ""] = String(object["apiVersion"]).includes("/")
    ? String(object["apiVersion"]).split("/")
    : ["", String(object["apiVersion"])];
  return mergePatchLocally({ group, version, kind: kindOf(object) }, object, patch, mediaType);
}
