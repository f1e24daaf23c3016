/** The list of kubectl's commands: one line each; their code is loaded when they are called, so that each starts quickly. */
import type { Listed } from "#kubectl/program.ts";

/** Here and not above the ports, where nothing is loaded late. */
export const kubectlCommands: readonly Listed[] = [
  {
    name: "get",
    summary: "Display one or many resources",
    load: async () => (await import("#kubectl/get.ts")).getCommand,
  },
  {
    name: "describe",
    summary: "Show details of a specific resource or group of resources",
    load: async () => (await import("#kubectl/describe/command.ts")).describeCommand,
  },
  {
    name: "logs",
    aliases: ["log"],
    summary: "Print the logs for a container in a pod",
    load: async () => (await import("#kubectl/logs.ts")).logsCommand,
  },
  {
    name: "events",
    summary: "List events",
    load: async () => (await import("#kubectl/events.ts")).eventsCommand,
  },
  {
    name: "explain",
    summary: "Get documentation for a resource",
    load: async () => (await import("#kubectl/explain.ts")).explainCommand,
  },
  {
    name: "api-resources",
    summary: "Print the supported API resources on the server",
    load: async () => (await import("#kubectl/api-resources.ts")).apiResourcesCommand,
  },
  {
    name: "api-versions",
    summary: "Print the supported API versions on the server",
    load: async () => (await import("#kubectl/api-resources.ts")).apiVersionsCommand,
  },
  {
    name: "cluster-info",
    summary: "Display cluster information",
    load: async () => (await import("#kubectl/cluster-info.ts")).clusterInfoCommand,
  },
  {
    name: "config",
    summary: "Modify kubeconfig files",
    load: async () => (await import("#kubectl/config.ts")).configCommand,
  },
  {
    name: "version",
    summary: "Print the client and server version information",
    load: async () => (await import("#kubectl/version.ts")).versionCommand,
  },
];
