/** Settings of plugins, from the pluginConfig of a profile: checked, with upstream's defaults for what is not said. Pure. */
import { kindSchema } from "#api/facts.ts";
import type * as g from "#api/generated/kubescheduler-config/v1.ts";
import { decodeObject } from "#machinery/decode.ts";
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
} from "#machinery/field-error.ts";
import { systemDefaultConstraints } from "./plugins/pod-topology-spread.ts";
import type { WeighedResource } from "./plugins/resource-scores.ts";
import { defaultPluginArgs, type PluginArgs } from "./profile.ts";

const group = "kubescheduler.config.k8s.io";
type Check = (args: never, path: string, errors: FieldError[]) => unknown;

function inRange(
  errors: FieldError[],
  path: string,
  value: number,
  [least, most]: readonly [number, number],
): number {
  if (value < least || value > most) {
    errors.push(invalid(path, value, `not in valid range [${least}-${most}]`));
  }
  return value;
}

const weighed = (
  given: readonly g.ResourceSpec[] | undefined,
  path: string,
  errors: FieldError[],
): readonly WeighedResource[] | undefined =>
  given === undefined || given.length === 0
    ? undefined
    : given.map(({ name, weight }, at) => ({
        name,
        weight: inRange(errors, `${path}[${at}].weight`, weight || 1, [1, 100]),
      }));

function shapeOf(given: readonly g.UtilizationShapePoint[], path: string, errors: FieldError[]) {
  if (given.length === 0) {
    errors.push(invalid(path, given, "at least one point must be specified"));
  }
  for (const [at, { utilization, score }] of given.entries()) {
    inRange(errors, `${path}[${at}].utilization`, utilization, [0, 100]);
    inRange(errors, `${path}[${at}].score`, score, [0, 10]);
    const before = given[at - 1];
    if (before !== undefined && utilization <= before.utilization) {
      const problem = "utilization values must be sorted in increasing order";
      errors.push(invalid(`${path}[${at}].utilization`, utilization, problem));
    }
  }
  return given;
}

const strategies = ["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"] as const;

const checks: {
  readonly [name in keyof PluginArgs]: (
    args: never,
    path: string,
    errors: FieldError[],
  ) => PluginArgs[name];
} = {
  DefaultPreemption(args: g.DefaultPreemptionArgs, path, errors) {
    const own = defaultPluginArgs.DefaultPreemption;
    const share = args.minCandidateNodesPercentage ?? own.minCandidateNodesPercentage;
    const number = args.minCandidateNodesAbsolute ?? own.minCandidateNodesAbsolute;
    inRange(errors, `${path}.minCandidateNodesPercentage`, share, [0, 100]);
    if (number < 0) {
      errors.push(
        invalid(`${path}.minCandidateNodesAbsolute`, number, "not in valid range [0, inf)"),
      );
    }
    return { minCandidateNodesPercentage: share, minCandidateNodesAbsolute: number };
  },
  InterPodAffinity(args: g.InterPodAffinityArgs, path, errors) {
    const weight = args.hardPodAffinityWeight ?? 1;
    return {
      hardPodAffinityWeight: inRange(errors, `${path}.hardPodAffinityWeight`, weight, [0, 100]),
      ignorePreferredTermsOfExistingPods: args.ignorePreferredTermsOfExistingPods ?? false,
    };
  },
  NodeAffinity: (args: g.NodeAffinityArgs) => ({ addedAffinity: args.addedAffinity }),
  NodeResourcesBalancedAllocation(args: g.NodeResourcesBalancedAllocationArgs, path, errors) {
    const resources = weighed(args.resources, `${path}.resources`, errors);
    return resources === undefined
      ? defaultPluginArgs.NodeResourcesBalancedAllocation
      : { resources };
  },
  NodeResourcesFit(args: g.NodeResourcesFitArgs, path, errors) {
    const where = `${path}.scoringStrategy`;
    const given = args.scoringStrategy ?? {};
    const wanted = given.type ?? "LeastAllocated";
    const type = strategies.find((one) => one === wanted);
    if (type === undefined) errors.push(notSupported(`${where}.type`, wanted, [...strategies]));
    const points = given.requestedToCapacityRatio?.shape ?? [];
    const isShaped = type === "RequestedToCapacityRatio";
    const own = defaultPluginArgs.NodeResourcesFit.scoringStrategy;
    return {
      ignoredResources: args.ignoredResources ?? [],
      ignoredResourceGroups: args.ignoredResourceGroups ?? [],
      scoringStrategy: {
        type: type ?? own.type,
        resources: weighed(given.resources, `${where}.resources`, errors) ?? own.resources,
        shape: isShaped ? shapeOf(points, `${where}.requestedToCapacityRatio.shape`, errors) : [],
      },
    };
  },
  PodTopologySpread(args: g.PodTopologySpreadArgs, path, errors) {
    const given = args.defaultConstraints ?? [];
    const type = args.defaultingType ?? "System";
    if (type !== "System" && type !== "List") {
      errors.push(notSupported(`${path}.defaultingType`, type, ["System", "List"]));
    }
    if (type === "System" && given.length > 0) {
      const problem = "when .defaultingType is System, .defaultConstraints must be empty";
      errors.push(invalid(`${path}.defaultingType`, type, problem));
    }
    for (const [at, one] of given.entries()) {
      if (one.labelSelector === undefined) continue;
      const problem = "constraint must not define a selector, as they deduced for each pod";
      errors.push(forbidden(`${path}.defaultConstraints[${at}].labelSelector`, problem));
    }
    return type === "List"
      ? { defaultConstraints: given, isSystemDefaulted: false }
      : { defaultConstraints: systemDefaultConstraints, isSystemDefaulted: true };
  },
  VolumeBinding(args: g.VolumeBindingArgs, path, errors) {
    const seconds = args.bindTimeoutSeconds ?? 600;
    if (seconds < 0) {
      const problem = "invalid BindTimeoutSeconds, should not be a negative value";
      errors.push(invalid(`${path}.bindTimeoutSeconds`, seconds, problem));
    }
    return { bindTimeoutSeconds: seconds };
  },
};

function decoded(name: string, args: unknown, path: string, errors: FieldError[]): unknown {
  const schema = kindSchema(group, "v1", `${name}Args`);
  if (schema === undefined) throw new Error(`no schema of ${name}Args`);
  try {
    const { object, strictErrors } = decodeObject(schema, args ?? {}, { strict: true });
    for (const problem of strictErrors) errors.push(invalid(path, name, problem));
    return object;
  } catch (error) {
    errors.push(invalid(path, name, error instanceof Error ? error.message : String(error)));
    return {};
  }
}

export function pluginArgs(
  given: readonly g.PluginConfig[],
  path: string,
  errors: FieldError[],
): PluginArgs {
  const found: Record<string, unknown> = {};
  for (const [at, { name, args }] of given.entries()) {
    const where = `${path}[${at}]`;
    if (!Object.hasOwn(checks, name)) {
      errors.push(notSupported(`${where}.name`, name, Object.keys(checks)));
      continue;
    }
    if (Object.hasOwn(found, name)) errors.push(duplicate(where, name));
    const check = checks[name as keyof PluginArgs] as Check;
    found[name] = check(
      decoded(name, args, `${where}.args`, errors) as never,
      `${where}.args`,
      errors,
    );
  }
  return { ...defaultPluginArgs, ...found };
}
