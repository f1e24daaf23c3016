/** `create namespace|quota|poddisruptionbudget|priorityclass`. */
import type { KubectlCommand } from "../command.ts";
import { CommandError } from "../errors.ts";
import { integer, text, toggle } from "../flags.ts";
import { generator, pairs } from "./generate.ts";

const namespace = generator({
  name: "namespace",
  aliases: ["ns"],
  summary: "Create a namespace with the specified name",
  usage: "NAME",
  flags: [],
  make: (_, name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } }),
});

const quota = generator({
  name: "quota",
  aliases: ["resourcequota"],
  summary: "Create a quota with the specified name",
  usage: "NAME [--hard=key1=value1,key2=value2] [--scopes=Scope1,Scope2]",
  flags: [
    text("hard", "A comma-delimited set of resource=quantity pairs that define a hard limit"),
    text(
      "scopes",
      "A comma-delimited set of quota scopes that must all match each object tracked by the quota",
    ),
  ],
  what: "quota",
  make: ({ flags }, name) => {
    const [hard, scopes] = [flags.text("hard"), flags.text("scopes")];
    if (scopes.split(",").includes("") && scopes !== "")
      throw new CommandError('invalid resource quota scope ""');
    return {
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata: { name },
      spec: {
        ...(hard === ""
          ? {}
          : {
              hard: pairs(
                hard,
                (pair) => `Invalid argument syntax ${pair}, expected <resource>=<value>`,
              ),
            }),
        ...(scopes === "" ? {} : { scopes: scopes.split(",") }),
      },
    };
  },
});

const amount = (value: string, flag: string): number | string => {
  if (!/^\d+%?$/.test(value)) throw new CommandError(`invalid format specified for ${flag}`);
  return value.endsWith("%") ? value : Number(value);
};

const budget = generator({
  name: "poddisruptionbudget",
  aliases: ["pdb"],
  summary: "Create a pod disruption budget with the specified name",
  usage: "NAME --selector=SELECTOR --min-available=N",
  flags: [
    text(
      "min-available",
      "The minimum number or percentage of available pods this budget requires",
    ),
    text(
      "max-unavailable",
      "The maximum number or percentage of unavailable pods this budget requires",
    ),
    text("selector", "A label selector to use for this budget"),
  ],
  what: "poddisruptionbudgets",
  make: ({ flags }, name) => {
    const [least, most, selector] = [
      flags.text("min-available"),
      flags.text("max-unavailable"),
      flags.text("selector"),
    ];
    if (selector === "") throw new CommandError("a selector must be specified");
    if (least === "" && most === "")
      throw new CommandError("one of min-available or max-unavailable must be specified");
    if (least !== "" && most !== "")
      throw new CommandError("min-available and max-unavailable cannot be both specified");
    return {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name },
      spec: {
        ...(least === "" ? {} : { minAvailable: amount(least, "min-available") }),
        selector: {
          matchLabels: pairs(
            selector.replaceAll("==", "="),
            (pair) => `${JSON.stringify(pair)} is not a valid label selector`,
          ),
        },
        ...(most === "" ? {} : { maxUnavailable: amount(most, "max-unavailable") }),
      },
    };
  },
});

const priorityClass = generator({
  name: "priorityclass",
  aliases: ["pc"],
  summary: "Create a priority class with the specified name",
  usage: "NAME --value=VALUE --global-default=BOOL",
  flags: [
    text("description", "When this priority class should be used"),
    toggle("global-default", "This is the class of pods that name none"),
    text("preemption-policy", "The policy for preempting pods with lower priority", {
      default: "PreemptLowerPriority",
    }),
    integer("value", "The value of this priority class"),
  ],
  what: "priorityclass",
  make: ({ flags }, name) => ({
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    metadata: { name },
    value: flags.integer("value"),
    ...(flags.switch("global-default") ? { globalDefault: true } : {}),
    ...(flags.text("description") === "" ? {} : { description: flags.text("description") }),
    preemptionPolicy: flags.text("preemption-policy"),
  }),
});

export const policyGenerators: readonly KubectlCommand[] = [
  namespace,
  quota,
  budget,
  priorityClass,
];
