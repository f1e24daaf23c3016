/** The shape of `create KIND NAME`: flags make an object, which is printed or sent. */

import { parseApiVersion } from "#machinery/gvk.ts";
import { StatusError } from "#machinery/status-error.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "../command.ts";
import { apiVersionOf, resourcePath } from "../discovery.ts";
import { CommandError } from "../errors.ts";
import { type Flag, toggle } from "../flags.ts";
import { withLastApplied } from "../last-applied.ts";
import { type AnyObject, apiVersionIn, kindOf, metaOf } from "../objects.ts";
import { printFlags } from "../printers.ts";
import {
  asGoPrints,
  dryRunFlag,
  dryRunOf,
  managerFlag,
  Results,
  validateFlag,
  writeQuery,
} from "../writing.ts";

export const createFlags: readonly Flag[] = [
  ...printFlags,
  dryRunFlag,
  managerFlag("kubectl-create"),
  toggle("save-config", "Keep the configuration in an annotation, for a later kubectl apply"),
  validateFlag,
];

export interface Generator {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly usage: string;
  readonly flags: readonly Flag[];
  /** What fails is "failed to create WHAT: …"; without it the server's words stand alone. */
  readonly what?: string;
  /** As upstream, which forgot the colon for secrets. */
  readonly separator?: string;
  readonly make: (given: Invocation, name: string) => AnyObject | Promise<AnyObject>;
}

/** The one argument. */
export function nameArgument(given: Invocation): string {
  const before = given.dashAt < 0 ? given.args : given.args.slice(0, given.dashAt);
  const [name] = before;
  if (name === undefined || before.length !== 1) {
    throw usageFailure(given, `exactly one NAME is required, got ${before.length}`);
  }
  return name;
}
/** What stands behind "--". */
export const commandArguments = ({ args, dashAt }: Invocation): readonly string[] =>
  dashAt < 0 ? [] : args.slice(dashAt);

/** Creates it, or shows what would be. */
export async function createObject(
  given: Invocation,
  object: AnyObject,
  fail: (error: StatusError) => Error = (error) => error,
  operation = "created",
  silent = false,
): Promise<AnyObject> {
  const { session, flags } = given;
  const access = await session.access();
  const results = new Results(given, { inOrder: true });
  const version = parseApiVersion(apiVersionIn(object)) ?? { group: "", version: "v1" };
  const meta = metaOf(object);
  const clusterScoped = [
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
  ].includes(kindOf(object));
  const namespace = clusterScoped || !access.namespaceGiven ? {} : { namespace: access.namespace };
  let made: AnyObject = { ...object, metadata: { ...meta, ...namespace } };
  if (flags.switch("save-config")) made = withLastApplied(asGoPrints(made));
  if (dryRunOf(flags) === "client") {
    results.tell(asGoPrints(made), operation);
    return made;
  }
  const rest = await session.rest();
  const discovery = await session.discovery();
  const resource = discovery.ofKind(apiVersionOf(version), kindOf(object));
  if (resource === undefined) {
    throw new CommandError(
      `no matches for kind ${JSON.stringify(kindOf(object))} in version ${JSON.stringify(apiVersionIn(object))}`,
    );
  }
  try {
    const created = await rest.json<AnyObject>(
      "POST",
      resourcePath(resource, clusterScoped ? "" : access.namespace),
      {
        query: writeQuery(flags, "kubectl-create"),
        body: made,
      },
    );
    if (!silent) results.tell(asGoPrints(created), operation);
    return created;
  } catch (error) {
    throw error instanceof StatusError ? fail(error) : error;
  }
}

export function generator(one: Generator): KubectlCommand {
  return {
    name: one.name,
    ...(one.aliases === undefined ? {} : { aliases: one.aliases }),
    summary: one.summary,
    usage: one.usage,
    flags: [...createFlags, ...one.flags],
    run: async (given) => {
      const name = nameArgument(given);
      const object = await one.make(given, name);
      const { what } = one;
      await createObject(given, object, (error) =>
        what === undefined
          ? error
          : new CommandError(`failed to create ${what}${one.separator ?? ":"} ${error.message}`),
      );
    },
  };
}

/** "a=b,c=d" as an object. */
export function pairs(text: string, syntax: (pair: string) => string): Record<string, string> {
  return Object.fromEntries(
    text.split(",").map((pair) => {
      const equals = pair.indexOf("=");
      if (equals <= 0) throw new CommandError(syntax(pair));
      return [pair.slice(0, equals), pair.slice(equals + 1)];
    }),
  );
}
