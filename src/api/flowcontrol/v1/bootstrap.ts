/**
 * The flow schemas and priority levels of every cluster: those that are mandatory (their specs are fixed) and those that are suggested
 * (an administrator may change them by taking the annotation off). Data only; the API server's bootstrap makes them.
 */
import type {
  FlowSchemaSpec,
  PriorityLevelConfigurationSpec,
  QueuingConfiguration,
  ResourcePolicyRule,
  Subject,
} from "../../generated/flowcontrol/v1.ts";

export const flowcontrolGroup = "flowcontrol.apiserver.k8s.io";
/** "true": the server keeps the spec as it suggests. */
export const autoUpdateAnnotation = "apf.kubernetes.io/autoupdate-spec";

export interface BootstrapConfiguration {
  readonly priorityLevels: ReadonlyMap<string, PriorityLevelConfigurationSpec>;
  readonly flowSchemas: ReadonlyMap<string, FlowSchemaSpec>;
}

const all = ["*"];
const everything: ResourcePolicyRule = {
  verbs: all,
  apiGroups: all,
  resources: all,
  clusterScope: true,
  namespaces: all,
};
const everyPath = { verbs: all, nonResourceURLs: all };
const leases = (verbs: string[]): ResourcePolicyRule => ({
  verbs,
  apiGroups: ["coordination.k8s.io"],
  resources: ["leases"],
  namespaces: all,
});

const group = (name: string): Subject => ({ kind: "Group", group: { name } });
const user = (name: string): Subject => ({ kind: "User", user: { name } });
const systemAccounts: Subject = {
  kind: "ServiceAccount",
  serviceAccount: { name: "*", namespace: "kube-system" },
};
const everyone = [group("system:unauthenticated"), group("system:authenticated")];

interface FlowAsk {
  readonly level: string;
  readonly precedence: number;
  readonly by?: "ByUser" | "ByNamespace";
  readonly subjects: Subject[];
  /** Default: everything. */
  readonly resourceRules?: ResourcePolicyRule[];
  readonly paths?: string[];
}

function flow(ask: FlowAsk): FlowSchemaSpec {
  const { level, precedence, by, subjects, resourceRules = [everything], paths } = ask;
  const all = ask.resourceRules === undefined;
  const nonResourceRules =
    paths !== undefined ? [{ verbs: ["get"], nonResourceURLs: paths }] : all ? [everyPath] : [];
  return {
    priorityLevelConfiguration: { name: level },
    matchingPrecedence: precedence,
    ...(by === undefined ? {} : { distinguisherMethod: { type: by } }),
    rules: [
      {
        subjects,
        ...(resourceRules.length === 0 ? {} : { resourceRules }),
        ...(nonResourceRules.length === 0 ? {} : { nonResourceRules }),
      },
    ],
  };
}

const queues = (count: number, handSize: number): QueuingConfiguration => ({
  queues: count,
  handSize,
  queueLengthLimit: 50,
});
const level = (
  shares: number,
  lendablePercent: number,
  queuing: QueuingConfiguration,
): PriorityLevelConfigurationSpec => ({
  type: "Limited",
  limited: {
    nominalConcurrencyShares: shares,
    limitResponse: { type: "Queue", queuing },
    lendablePercent,
  },
});

export const mandatory: BootstrapConfiguration = {
  priorityLevels: new Map<string, PriorityLevelConfigurationSpec>([
    [
      "catch-all",
      {
        type: "Limited",
        limited: {
          nominalConcurrencyShares: 5,
          limitResponse: { type: "Reject" },
          lendablePercent: 0,
        },
      },
    ],
    ["exempt", { type: "Exempt", exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } }],
  ]),
  flowSchemas: new Map([
    ["exempt", flow({ level: "exempt", precedence: 1, subjects: [group("system:masters")] })],
    [
      "catch-all",
      flow({ level: "catch-all", precedence: 10_000, by: "ByUser", subjects: everyone }),
    ],
  ]),
};

const leaderElection = flow({
  level: "leader-election",
  precedence: 100,
  by: "ByUser",
  subjects: [user("system:kube-controller-manager"), user("system:kube-scheduler"), systemAccounts],
  resourceRules: [leases(["get", "create", "update"])],
});
const nodeHealth = flow({
  level: "node-high",
  precedence: 400,
  by: "ByUser",
  subjects: [group("system:nodes")],
  resourceRules: [
    { ...everything, apiGroups: [""], resources: ["nodes", "nodes/status"] },
    leases(all),
  ],
});
const component = (name: string): FlowSchemaSpec =>
  flow({ level: "workload-high", precedence: 800, by: "ByNamespace", subjects: [user(name)] });

export const suggested: BootstrapConfiguration = {
  priorityLevels: new Map([
    ["system", level(30, 33, queues(64, 6))],
    ["node-high", level(40, 25, queues(64, 6))],
    ["leader-election", level(10, 0, queues(16, 4))],
    ["workload-high", level(40, 50, queues(128, 6))],
    ["workload-low", level(100, 90, queues(128, 6))],
    ["global-default", level(20, 50, queues(128, 6))],
  ]),
  flowSchemas: new Map([
    [
      "system-nodes",
      flow({ level: "system", precedence: 500, by: "ByUser", subjects: [group("system:nodes")] }),
    ],
    ["system-node-high", nodeHealth],
    [
      "probes",
      flow({
        level: "exempt",
        precedence: 2,
        subjects: everyone,
        resourceRules: [],
        paths: ["/healthz", "/readyz", "/livez"],
      }),
    ],
    ["system-leader-election", leaderElection],
    ["kube-controller-manager", component("system:kube-controller-manager")],
    ["kube-scheduler", component("system:kube-scheduler")],
    [
      "kube-system-service-accounts",
      flow({
        level: "workload-high",
        precedence: 900,
        by: "ByNamespace",
        subjects: [systemAccounts],
      }),
    ],
    [
      "service-accounts",
      flow({
        level: "workload-low",
        precedence: 9000,
        by: "ByUser",
        subjects: [group("system:serviceaccounts")],
      }),
    ],
    [
      "global-default",
      flow({ level: "global-default", precedence: 9900, by: "ByUser", subjects: everyone }),
    ],
  ]),
};
