/** `kubectl cluster-info`: where the control plane and the cluster's own services are. */
import type { Service } from "#api/generated/core/v1.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { CommandError } from "./errors.ts";
import { objectsAt } from "./objects.ts";

export const clusterInfoCommand: KubectlCommand = {
  name: "cluster-info",
  summary: "Display cluster information",
  commands: [
    {
      name: "dump",
      summary: "Dump relevant information for debugging and diagnosis",
      run: () => {
        throw new CommandError(
          "cluster-info dump is not part of wherry kubectl; get and logs show the same, object by object",
        );
      },
    },
  ],
  run: clusterInfo,
};

function linkOf(service: Service, host: string): string {
  const [ingress] = service.status.loadBalancer?.ingress ?? [];
  const ports = service.spec.ports ?? [];
  if (ingress !== undefined) {
    const address = ingress.ip || ingress.hostname || "";
    return ports.map(({ port }) => `http://${address}:${port} `).join("");
  }
  const { name = "", namespace = "" } = service.metadata;
  const [port] = ports;
  let id = name;
  if (port !== undefined) {
    const scheme = port.name === "https" || port.port === 443 ? "https" : "";
    if (scheme !== "") id = `${scheme}:${name}:${port.name ?? ""}`;
    else if (port.name) id = `${name}:${port.name}`;
  }
  return `${host}/api/v1/namespaces/${namespace}/services/${id}/proxy`;
}

async function clusterInfo({ session, flags }: Invocation): Promise<void> {
  const access = await session.access();
  const host = access.server.href.replace(/\/$/, "");
  const namespace = flags.text("namespace") || "kube-system";
  const rest = await session.rest();
  const services = await rest.json("GET", `/api/v1/namespaces/${namespace}/services`, {
    query: [["labelSelector", "kubernetes.io/cluster-service=true"]],
  });
  session.out(`Kubernetes control plane is running at ${host}\n`);
  for (const service of objectsAt(services, "items") as unknown as Service[]) {
    const name = service.metadata.labels?.["kubernetes.io/name"] || (service.metadata.name ?? "");
    session.out(`${name} is running at ${linkOf(service, host)}\n`);
  }
  session.out(
    "\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.\n",
  );
}
