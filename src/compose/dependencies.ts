/** depends_on: what a service waits for before it is started, and the order that follows from it. */
import { isObject } from "#machinery/object.ts";
import type { ConversionContext } from "./context.ts";
import type { Section } from "./report.ts";
import { kubernetesName } from "./values.ts";

export type Wanted = "started" | "healthy" | "completed";

export interface Dependency {
  /** In the cluster. */
  readonly name: string;
  readonly wanted: Wanted;
}

const conditions: Readonly<Record<string, Wanted>> = {
  service_started: "started",
  service_healthy: "healthy",
  service_completed_successfully: "completed",
};

export function dependenciesOf(context: ConversionContext, section: Section): Dependency[] {
  const raw = section.raw("depends_on");
  if (!isObject(raw)) {
    return section.texts("depends_on").map((name) => {
      mustExist(context, section, name, ["depends_on"]);
      return { name: kubernetesName(name), wanted: "started" };
    });
  }
  const inner = section.section("depends_on");
  return inner.keys.flatMap((name): Dependency[] => {
    const one = inner.section(name);
    const condition = one.text("condition") ?? "service_started";
    const wanted = conditions[condition];
    if (wanted === undefined) {
      return one.report.fail(
        one.at("condition"),
        `${condition} is none of ${Object.keys(conditions).join(", ")}`,
      );
    }
    one.leaveOut("restart", "who depends on a service is not restarted with it");
    const isOptional = one.raw("required") === false;
    one.finish();
    if (isOptional && !context.active.has(name)) return [];
    mustExist(context, section, name, ["depends_on", name]);
    return [{ name: kubernetesName(name), wanted }];
  });
}

function mustExist(
  { active, serviceNames }: ConversionContext,
  section: Section,
  name: string,
  path: readonly string[],
): void {
  if (active.has(name)) return;
  const why = serviceNames.includes(name)
    ? `the service ${name} belongs to a profile that is not chosen; choose it with --profile`
    : `there is no service ${name}`;
  section.report.fail(section.at(...path), why);
}

/** Who is waited for until it has ended well. */
export function completingServices(services: Section, active: readonly string[]): Set<string> {
  const names = new Set<string>();
  for (const service of active) {
    const raw = services.section(service).raw("depends_on");
    for (const [name, one] of isObject(raw) ? Object.entries(raw) : []) {
      const condition = isObject(one) ? one["condition"] : undefined;
      if (condition === "service_completed_successfully") names.add(name);
    }
  }
  return names;
}

interface Ordered {
  readonly name: string;
  readonly after: readonly Dependency[];
}

/** Each stage needs only what stages before it start. */
export function startStages(
  services: readonly Ordered[],
  refuse: (name: string, circle: readonly string[]) => never,
): string[][] {
  const stages: string[][] = [];
  const placed = new Set<string>();
  let left = [...services];
  while (left.length > 0) {
    const next = left.filter(({ after }) => after.every(({ name }) => placed.has(name)));
    const [first] = left;
    if (next.length === 0 && first !== undefined) {
      const circle = circleFrom(first, left);
      return refuse(circle[0] ?? first.name, circle);
    }
    stages.push(next.map(({ name }) => name));
    for (const { name } of next) placed.add(name);
    left = left.filter(({ name }) => !placed.has(name));
  }
  return stages;
}

/** Everybody left waits for somebody left: follow until a name comes again. */
function circleFrom(first: Ordered, left: readonly Ordered[]): string[] {
  const seen: string[] = [];
  let at: Ordered | undefined = first;
  while (at !== undefined && !seen.includes(at.name)) {
    const { name, after }: Ordered = at;
    seen.push(name);
    at = left.find((one) => after.some((dependency) => dependency.name === one.name));
  }
  const start = at?.name ?? first.name;
  return [...seen.slice(seen.indexOf(start)), start];
}
