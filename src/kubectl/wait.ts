/** `kubectl wait`: until objects have a condition, a value, or are gone or there. */

import type { JsonObject } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { resourcePath } from "./discovery.ts";
import { asError, CommandError, ExitError, ManyErrors } from "./errors.ts";
import { duration, text, toggle } from "./flags.ts";
import { type JsonPath, parseJsonPath, relaxedPath, valueText } from "./jsonpath.ts";
import { fileFlags, hasFiles } from "./manifests.ts";
import { type AnyObject, metaOf, numberAt, objectsAt, textAt } from "./objects.ts";
import { objectName, printerOf, printFlags } from "./printers.ts";
import { type Fetched, fetchPlan, planSelection } from "./selection.ts";
import { watchEvents } from "./watch.ts";

export const waitCommand: KubectlCommand = {
  name: "wait",
  summary: "Wait for a specific condition on one or many resources",
  usage:
    "([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) [--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]]",
  flags: [
    ...printFlags,
    ...fileFlags("identifying the resource"),
    toggle("all", "Select all resources in the namespace of the specified resource types"),
    toggle("all-namespaces", "The requested objects across all namespaces", { short: "A" }),
    text("field-selector", "Selector (field query) to filter on"),
    text(
      "for",
      "The condition to wait on: [create|delete|condition=condition-name[=condition-value]|jsonpath='{JSONPath expression}'[=value]]",
    ),
    toggle("local", "Not offered: waiting needs a server"),
    text("selector", "Selector (label query) to filter on", { short: "l" }),
    duration("timeout", "How long to wait; zero means check once, negative means wait for a week", {
      default: "30s",
    }),
  ],
  run: wait,
};

type Goal =
  | { readonly type: "delete" | "create" }
  | { readonly type: "condition"; readonly name: string; readonly value: string }
  | { readonly type: "path"; readonly path: JsonPath; readonly value: string | undefined };

function parseGoal(spec: string): Goal {
  const lower = spec.toLowerCase();
  if (lower === "delete" || lower === "create") return { type: lower };
  if (lower.startsWith("condition=")) {
    const condition = spec.slice("condition=".length);
    const equals = condition.indexOf("=");
    return {
      type: "condition",
      name: equals < 0 ? condition : condition.slice(0, equals),
      value: equals < 0 ? "true" : condition.slice(equals + 1),
    };
  }
  if (lower.startsWith("jsonpath=")) {
    const match = /^jsonpath=(\{[^}]*\}|[^=]+)(?:==?(.*))?$/s.exec(spec);
    const expression = match?.[1] ?? "";
    const value = match?.[2]?.replace(/^(["'])(.*)\1$/s, "$2");
    if (match === null || value === "") {
      throw new CommandError(
        "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'",
      );
    }
    return { type: "path", path: parseJsonPath(relaxedPath(expression)), value };
  }
  throw new CommandError(`unrecognized condition: ${JSON.stringify(spec)}`);
}

/** What is found is reached? An older generation's conditions do not count. */
function isReached(goal: Goal, object: JsonObject): boolean {
  if (goal.type === "condition") {
    const found = objectsAt(object, "status", "conditions").find(
      (one) => textAt(one, "type").toLowerCase() === goal.name.toLowerCase(),
    );
    if (found === undefined) return false;
    const generation = metaOf(object).generation;
    const observed =
      numberAt(found, "observedGeneration") ?? numberAt(object, "status", "observedGeneration");
    if (generation !== undefined && observed !== undefined && observed < generation) return false;
    return textAt(found, "status").toLowerCase() === goal.value.toLowerCase();
  }
  if (goal.type === "path") {
    const groups = goal.path.find(object);
    const values = groups.flat();
    if (values.length === 0) return false;
    if (goal.value === undefined) return true;
    if (values.length > 1)
      throw new CommandError("given jsonpath expression matches more than one value");
    const [value] = values;
    if (typeof value === "object" && value !== null) {
      throw new CommandError("jsonpath leads to a nested object or list, which cannot be compared");
    }
    return valueText(value) === goal.value;
  }
  return goal.type === "create";
}

const lateText = "timed out waiting for the condition";

class Waiter {
  readonly #given: Invocation;
  readonly #goal: Goal;
  readonly abort = new AbortController();
  readonly #once: boolean;
  constructor(given: Invocation, goal: Goal, once: boolean) {
    this.#given = given;
    this.#goal = goal;
    this.#once = once;
  }
  /** The object that reached the goal (of "delete": the last that was seen). */
  async one(target: Fetched): Promise<AnyObject> {
    const { session } = this.#given;
    const { resource, namespace, name } = target;
    const rest = await session.rest();
    const path = resourcePath(resource, namespace);
    const title = `${resource.plural}/${name}`;
    const query = [["fieldSelector", `metadata.name=${name}`]] as const;
    const uid = metaOf(target.object).uid;
    let last = target.object;
    const over = (object: JsonObject | undefined, gone: boolean): boolean => {
      if (this.#goal.type === "delete")
        return gone || object === undefined || (uid !== undefined && metaOf(object).uid !== uid);
      return object !== undefined && !gone && isReached(this.#goal, object);
    };
    try {
      for (;;) {
        const list = await rest.json("GET", path, { query, signal: this.abort.signal });
        const [item] = objectsAt(list, "items");
        if (item !== undefined)
          last = {
            ...item,
            apiVersion: target.object["apiVersion"],
            kind: resource.kind,
          } as AnyObject;
        if (over(item, item === undefined))
          return this.#goal.type === "delete" ? target.object : last;
        if (this.#once) throw new CommandError(`condition not met for ${title}`);
        const from = [
          ...query,
          ["resourceVersion", textAt(list, "metadata", "resourceVersion")],
        ] as const;
        for await (const { type, object } of watchEvents(rest, path, from, {
          signal: this.abort.signal,
        })) {
          if (type === "BOOKMARK") continue;
          if (type !== "DELETED") last = object;
          if (over(object, type === "DELETED"))
            return this.#goal.type === "delete" ? target.object : object;
        }
        this.#checkTime(title);
      }
    } catch (error) {
      this.#checkTime(title);
      throw error;
    }
  }
  #checkTime(title: string): void {
    if (this.abort.signal.aborted) throw new CommandError(`${lateText} on ${title}`);
  }
}

/** Until it is there, by the changes of its kind. */
async function waitForCreation(given: Invocation, abort: AbortController): Promise<void> {
  const { session, flags, args } = given;
  const plan = await planSelection(given, args, rulesOf(given));
  const rest = await session.rest();
  const places = plan.type === "targets" ? plan.targets : plan.collections;
  for (const place of places) {
    const path = resourcePath(place.resource, place.namespace);
    const query = [
      ...("name" in place
        ? [["fieldSelector", `metadata.name=${String(place.name)}`] as const]
        : []),
      ...(flags.text("selector") === ""
        ? []
        : [["labelSelector", flags.text("selector")] as const]),
    ];
    for (let there = false; !there; ) {
      for await (const { type } of watchEvents(rest, path, query, { signal: abort.signal })) {
        if (type !== "ADDED" && type !== "MODIFIED") continue;
        there = true;
        break;
      }
      if (abort.signal.aborted && !there)
        throw new CommandError("timed out waiting for the condition");
    }
  }
}

const rulesOf = ({ flags }: Invocation): Parameters<typeof planSelection>[2] => ({
  typeAlone: false,
  selector: flags.text("selector"),
  fieldSelector: flags.text("field-selector"),
  all: flags.switch("all"),
  allNamespaces: flags.switch("all-namespaces"),
});

async function wait(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (args.length === 0 && !hasFiles(flags)) {
    throw new CommandError("arguments must consist of a resource or a resource and name");
  }
  const goal = parseGoal(flags.text("for"));
  const timeoutMs = flags.durationMs("timeout");
  const waiter = new Waiter(given, goal, timeoutMs === 0);
  const limitMs = timeoutMs < 0 ? 7 * 86_400_000 : timeoutMs;
  const cancel =
    limitMs > 0 ? session.around.clock.after(limitMs, () => waiter.abort.abort()) : () => {};
  try {
    if (goal.type === "create") await waitForCreation(given, waiter.abort);
    const plan = await planSelection(given, args, rulesOf(given));
    const { found, errors } = await fetchPlan(session, plan);
    const wrong =
      goal.type === "delete" ? errors.filter((error) => !isStatus(error, "NotFound")) : [...errors];
    if (found.length === 0 && wrong.length === 0) {
      if (goal.type === "delete") return;
      throw new CommandError("no matching resources found");
    }
    const operation = goal.type === "delete" ? "deleted" : "condition met";
    const printer = printerOf(flags, session.around);
    let first = true;
    for (const one of found) {
      try {
        const object = await waiter.one(one);
        session.out(
          printer === undefined
            ? `${objectName(object)} ${goal.type === "create" ? "condition met" : operation}\n`
            : printer(object, first),
        );
        first = false;
      } catch (error) {
        wrong.push(asError(error));
      }
    }
    if (wrong.length === 1) throw wrong[0];
    // Upstream prints what took too long line by line, as errors.
    if (wrong.length > 1)
      throw wrong.every((one) => one.message.startsWith(lateText))
        ? new ExitError(1, wrong.map((one) => `${one.message}\n`).join(""))
        : new ManyErrors(wrong);
  } finally {
    cancel();
  }
}
