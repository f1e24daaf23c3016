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
  {
    name: "apply",
    summary: "Apply a configuration to a resource by file name or stdin",
    load: async () => (await import("#kubectl/apply.ts")).applyCommand,
  },
  {
    name: "create",
    summary: "Create a resource from a file or from stdin",
    load: async () => (await import("#kubectl/create/command.ts")).createCommand,
  },
  {
    name: "delete",
    summary:
      "Delete resources by file names, stdin, resources and names, or by resources and label selector",
    load: async () => (await import("#kubectl/delete.ts")).deleteCommand,
  },
  {
    name: "replace",
    summary: "Replace a resource by file name or stdin",
    load: async () => (await import("#kubectl/replace.ts")).replaceCommand,
  },
  {
    name: "edit",
    summary: "Edit a resource on the server",
    load: async () => (await import("#kubectl/edit.ts")).editCommand,
  },
  {
    name: "diff",
    summary: "Diff the live version against a would-be applied version",
    load: async () => (await import("#kubectl/diff.ts")).diffCommand,
  },
  {
    name: "patch",
    summary: "Update fields of a resource",
    load: async () => (await import("#kubectl/patch.ts")).patchCommand,
  },
  {
    name: "label",
    summary: "Update the labels on a resource",
    load: async () => (await import("#kubectl/label.ts")).labelCommand,
  },
  {
    name: "annotate",
    summary: "Update the annotations on a resource",
    load: async () => (await import("#kubectl/label.ts")).annotateCommand,
  },
  {
    name: "scale",
    summary: "Set a new size for a deployment, replica set, or replication controller",
    load: async () => (await import("#kubectl/scale.ts")).scaleCommand,
  },
  {
    name: "autoscale",
    summary: "Auto-scale a deployment, replica set, stateful set, or replication controller",
    load: async () => (await import("#kubectl/scale.ts")).autoscaleCommand,
  },
  {
    name: "rollout",
    summary: "Manage the rollout of a resource",
    load: async () => (await import("#kubectl/rollout.ts")).rolloutCommand,
  },
  {
    name: "expose",
    summary:
      "Take a replication controller, service, deployment or pod and expose it as a new Kubernetes service",
    load: async () => (await import("#kubectl/expose.ts")).exposeCommand,
  },
  {
    name: "set",
    summary: "Set specific features on objects",
    load: async () => (await import("#kubectl/set.ts")).setCommand,
  },
  {
    name: "wait",
    summary: "Wait for a specific condition on one or many resources",
    load: async () => (await import("#kubectl/wait.ts")).waitCommand,
  },
  {
    name: "top",
    summary: "Display resource (CPU/memory) usage",
    load: async () => (await import("#kubectl/top.ts")).topCommand,
  },
  {
    name: "cordon",
    summary: "Mark node as unschedulable",
    load: async () => (await import("#kubectl/nodes.ts")).cordonCommand,
  },
  {
    name: "uncordon",
    summary: "Mark node as schedulable",
    load: async () => (await import("#kubectl/nodes.ts")).uncordonCommand,
  },
  {
    name: "drain",
    summary: "Drain node in preparation for maintenance",
    load: async () => (await import("#kubectl/nodes.ts")).drainCommand,
  },
  {
    name: "taint",
    summary: "Update the taints on one or more nodes",
    load: async () => (await import("#kubectl/nodes.ts")).taintCommand,
  },
  {
    name: "auth",
    summary: "Inspect authorization",
    load: async () => (await import("#kubectl/auth.ts")).authCommand,
  },
  {
    name: "certificate",
    summary: "Modify certificate resources",
    load: async () => (await import("#kubectl/auth.ts")).certificateCommand,
  },
  {
    name: "run",
    summary: "Run a particular image on the cluster",
    load: async () => (await import("#kubectl/run.ts")).runCommand,
  },
  {
    name: "exec",
    summary: "Execute a command in a container",
    load: async () => (await import("#kubectl/exec.ts")).execCommand,
  },
  {
    name: "attach",
    summary: "Attach to a running container",
    load: async () => (await import("#kubectl/exec.ts")).attachCommand,
  },
  {
    name: "cp",
    summary: "Copy files and directories to and from containers",
    load: async () => (await import("#kubectl/cp.ts")).cpCommand,
  },
  {
    name: "port-forward",
    summary: "Forward one or more local ports to a pod",
    load: async () => (await import("#kubectl/port-forward.ts")).portForwardCommand,
  },
  {
    name: "proxy",
    summary: "Run a proxy to the Kubernetes API server",
    load: async () => (await import("#kubectl/proxy.ts")).proxyCommand,
  },
  {
    name: "debug",
    summary: "Create debugging sessions for troubleshooting workloads and nodes",
    load: async () => (await import("#kubectl/debug.ts")).debugCommand,
  },
];
