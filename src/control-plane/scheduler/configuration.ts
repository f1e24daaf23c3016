/**
 * KubeSchedulerConfiguration: profiles with their plugins and the plugins' settings, checked and made into what the scheduler starts with.
 * Reads a decoded document; what is not acted on here is refused by name. Pure.
 */
import type * as g from "#api/generated/kubescheduler-config/v1.ts";
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notFoundField,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import type { Plugin } from "./plugin.ts";
import { pluginArgs } from "./plugin-args.ts";
import { allPlugins, type Profile, type ProfilePlugin } from "./profile.ts";
import { defaultBackoff } from "./queue.ts";
import type { SchedulerSettings } from "./scheduler.ts";

type Points = Record<string, readonly (keyof Plugin)[]>;
/** What a plugin does at each of upstream's extension points. */
const pointsOf: Points = {
  preEnqueue: ["preEnqueue"],
  queueSort: ["compare"],
  preFilter: ["preFilter"],
  filter: ["filter", "whatIf"],
  postFilter: ["postFilter"],
  preScore: ["preScore"],
  score: ["score", "normalize"],
  reserve: ["reserve", "unreserve"],
  preBind: ["preBind"],
  bind: ["bind"],
};
/** What works at one point needs what the plugin found out at the other. */
const needs: Readonly<Record<string, string>> = { filter: "preFilter", score: "preScore" };

const actedOn = new Set([
  "apiVersion",
  "kind",
  "percentageOfNodesToScore",
  "podInitialBackoffSeconds",
  "podMaxBackoffSeconds",
  "profiles",
]);

interface Chosen {
  readonly name: string;
  readonly weight: number;
}
type Sets = Readonly<Record<string, g.PluginSet | undefined>>;

const isDisabled = (set: g.PluginSet | undefined, name: string): boolean =>
  (set?.disabled ?? []).some((one) => one.name === "*" || one.name === name);
const enabledIn = (set: g.PluginSet | undefined, name: string): g.Plugin | undefined =>
  (set?.enabled ?? []).find((one) => one.name === name);
/** Upstream: a plugin that is named without a weight weighs 1. */
const weightOf = (plugin: g.Plugin): number => plugin.weight || 1;

/** The default list, changed in place where a plugin is named anew, and what comes after it. */
function choose(defaults: readonly ProfilePlugin[], multi: g.PluginSet | undefined): Chosen[] {
  const kept = defaults
    .filter(({ plugin }) => !isDisabled(multi, plugin.name))
    .map(({ plugin: { name }, weight }) => {
      const again = enabledIn(multi, name);
      return { name, weight: again === undefined ? weight : weightOf(again) };
    });
  const added = (multi?.enabled ?? [])
    .filter(({ name }) => !kept.some((one) => one.name === name))
    .map((one) => ({ name: one.name, weight: weightOf(one) }));
  return [...kept, ...added];
}

/** Only what a plugin does at these points. */
function restricted(plugin: Plugin, points: readonly string[]): Plugin {
  const kept = new Set<string>(["name", "wakes", ...points.flatMap((one) => pointsOf[one] ?? [])]);
  return Object.fromEntries(
    Object.entries(plugin).filter(([field]) => kept.has(field)),
  ) as unknown as Plugin;
}

function checkNames(sets: Sets, known: ReadonlySet<string>, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [point, set] of Object.entries(sets)) {
    if (set === undefined) continue;
    const isActedOn = point === "multiPoint" || Object.hasOwn(pointsOf, point);
    const seen = new Set<string>();
    for (const [at, { name }] of (set.enabled ?? []).entries()) {
      const where = `${path}.${point}.enabled[${at}]`;
      if (!known.has(name)) errors.push(notFoundField(where, name));
      else if (!isActedOn) errors.push(forbidden(where, "no plugin acts at this extension point"));
      if (seen.has(name)) errors.push(duplicate(where, name));
      seen.add(name);
    }
  }
  return errors;
}

function plugins(
  all: readonly ProfilePlugin[],
  sets: Sets,
  path: string,
  errors: FieldError[],
): ProfilePlugin[] {
  errors.push(...checkNames(sets, new Set(all.map(({ plugin }) => plugin.name)), path));
  const chosen = choose(all, sets["multiPoint"]);
  const everywhere = new Set(chosen.map(({ name }) => name));
  const points = Object.keys(pointsOf);
  const alone = points
    .flatMap((point) => sets[point]?.enabled ?? [])
    .filter(({ name }, at, list) => {
      return !everywhere.has(name) && list.findIndex((one) => one.name === name) === at;
    })
    .map((one) => ({ name: one.name, weight: weightOf(one) }));
  return [...chosen, ...alone].flatMap(({ name, weight }) => {
    const found = all.find(({ plugin }) => plugin.name === name)?.plugin;
    if (found === undefined) return [];
    const kept = points.filter(
      (point) =>
        enabledIn(sets[point], name) !== undefined ||
        (everywhere.has(name) && !isDisabled(sets[point], name)),
    );
    for (const [point, other] of Object.entries(needs)) {
      const has = (one: string) => (pointsOf[one] ?? []).some((field) => field in found);
      if (!kept.includes(point) || kept.includes(other) || !has(point) || !has(other)) continue;
      const why = `${name} cannot do without it at ${point}; disable it there too`;
      errors.push(forbidden(`${path}.${other}.disabled`, why));
    }
    const scored = enabledIn(sets["score"], name);
    const plugin = restricted(found, kept);
    return [{ plugin, weight: scored === undefined ? weight : weightOf(scored) }];
  });
}

const percentageProblem = "not in valid range [0-100]";
function checkPercentage(value: number | undefined, path: string): FieldError[] {
  return value !== undefined && (value < 0 || value > 100)
    ? [invalid(path, value, percentageProblem)]
    : [];
}

function profile(
  given: g.KubeSchedulerProfile,
  path: string,
  percentage: number,
  errors: FieldError[],
): Profile {
  const args = pluginArgs(given.pluginConfig ?? [], `${path}.pluginConfig`, errors);
  const sets = (given.plugins ?? {}) as unknown as Sets;
  const listed = plugins(allPlugins(args), sets, `${path}.plugins`, errors);
  const sorting = listed.filter(({ plugin }) => plugin.compare !== undefined);
  if (sorting.length === 0) {
    errors.push(required(`${path}.plugins.queueSort`, "one plugin must order the queue"));
  }
  if (!listed.some(({ plugin }) => plugin.bind !== undefined)) {
    errors.push(required(`${path}.plugins.bind`, "at least one bind plugin is needed"));
  }
  const own = given.percentageOfNodesToScore;
  errors.push(...checkPercentage(own, `${path}.percentageOfNodesToScore`));
  return {
    schedulerName: given.schedulerName ?? "",
    plugins: listed,
    percentageOfNodesToScore: own ?? percentage,
  };
}

function backoffOf(document: g.KubeSchedulerConfiguration, errors: FieldError[]) {
  const { podInitialBackoffSeconds: initial, podMaxBackoffSeconds: most } = document;
  const msMin = initial === undefined ? defaultBackoff.msMin : initial * 1000;
  const msMax = most === undefined ? defaultBackoff.msMax : most * 1000;
  if (msMin <= 0) {
    errors.push(invalid("podInitialBackoffSeconds", initial, "must be greater than 0"));
  }
  if (msMax < msMin) {
    const problem = "must be greater than or equal to PodInitialBackoffSeconds";
    errors.push(invalid("podMaxBackoffSeconds", most, problem));
  }
  return { msMin, msMax };
}

/** What the scheduler starts with, or what is wrong. */
export function schedulerSettings(
  document: g.KubeSchedulerConfiguration,
): { readonly settings: SchedulerSettings } | { readonly errors: readonly FieldError[] } {
  const errors: FieldError[] = Object.keys(document)
    .filter((field) => !actedOn.has(field))
    .map((field) => notSupported(field, field, [...actedOn]));
  const percentage = document.percentageOfNodesToScore ?? 0;
  errors.push(...checkPercentage(percentage, "percentageOfNodesToScore"));
  const given = document.profiles ?? [];
  const [only = {}] = given;
  // A single profile need not be named.
  const named =
    given.length > 1
      ? given
      : [{ ...only, schedulerName: only.schedulerName ?? "default-scheduler" }];
  const names = new Set<string>();
  const profiles = named.map((one, at) => {
    const path = `profiles[${at}]`;
    const { schedulerName = "" } = one;
    if (schedulerName === "") errors.push(required(`${path}.schedulerName`));
    else if (names.has(schedulerName)) {
      errors.push(duplicate(`${path}.schedulerName`, schedulerName));
    }
    names.add(schedulerName);
    return profile(one, path, percentage, errors);
  });
  const backoff = backoffOf(document, errors);
  return errors.length > 0 ? { errors } : { settings: { profiles, backoff } };
}
