/**
 * Which names a definition of a custom resource gets, and what its conditions say: those it asks for, unless another definition of its
 * group has them. Decides; custom-resources.ts acts. Reasons and messages are upstream's.
 */
import type { CustomResourceDefinition } from "#api/apiextensions/v1/customresourcedefinition.ts";
import { withCondition } from "#api/apiextensions/v1/customresourcedefinition.ts";
import { isEstablished } from "#api/apiextensions/v1/customresourcedefinition-validation.ts";
import { validateStructural } from "#api/apiextensions/v1/structural-schema.ts";
import type {
  CustomResourceDefinitionCondition,
  CustomResourceDefinitionNames,
  CustomResourceDefinitionStatus,
} from "#api/generated/apiextensions/v1.ts";
import { formatFieldError } from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";

interface Taken {
  readonly resources: ReadonlySet<string>;
  readonly kinds: ReadonlySet<string>;
}

/** Names of the group that are given away already, by whichever definition, this one included. */
function takenIn(group: string, definitions: Iterable<CustomResourceDefinition>): Taken {
  const resources = new Set<string>();
  const kinds = new Set<string>();
  for (const { spec, status } of definitions) {
    if (spec.group !== group) continue;
    const { plural, singular, shortNames, kind, listKind } = status.acceptedNames;
    for (const name of [plural, singular ?? "", ...(shortNames ?? [])]) resources.add(name);
    for (const name of [kind, listKind ?? ""]) kinds.add(name);
  }
  return { resources, kinds };
}

interface Verdict {
  readonly names: CustomResourceDefinitionNames;
  /** Undefined: all is well. */
  readonly conflict: { readonly reason: string; readonly message: string } | undefined;
}

function judgeNames(crd: CustomResourceDefinition, taken: Taken): Verdict {
  const asked = crd.spec.names;
  const had = crd.status.acceptedNames;
  const names: CustomResourceDefinitionNames = { ...had };
  let conflict: Verdict["conflict"];
  const isFree = (wanted: string, own: string, used: ReadonlySet<string>): boolean =>
    wanted === own || !used.has(wanted);
  const inUse = (name: string): string => `${JSON.stringify(name)} is already in use`;
  const take = (field: "plural" | "singular" | "kind" | "listKind", reason: string): void => {
    const wanted = asked[field] ?? "";
    const used = field === "plural" || field === "singular" ? taken.resources : taken.kinds;
    if (isFree(wanted, had[field] ?? "", used)) names[field] = wanted;
    else conflict = { reason, message: inUse(wanted) };
  };
  take("plural", "PluralConflict");
  take("singular", "SingularConflict");
  const known = new Set(had.shortNames ?? []);
  const wrong = (asked.shortNames ?? []).filter(
    (name) => !known.has(name) && taken.resources.has(name),
  );
  if (wrong.length > 0) {
    const texts = wrong.map(inUse);
    const message = texts.length === 1 ? (texts[0] ?? "") : `[${texts.join(", ")}]`;
    conflict = { reason: "ShortNamesConflict", message };
  } else if (asked.shortNames === undefined) delete names.shortNames;
  else names.shortNames = [...asked.shortNames];
  take("kind", "KindConflict");
  take("listKind", "ListKindConflict");
  if (asked.categories === undefined) delete names.categories;
  else names.categories = [...asked.categories];
  return { names, conflict };
}

/** Undefined: the schemas are structural. Only definitions that others have stored can be otherwise. */
function nonStructural(
  crd: CustomResourceDefinition,
): Omit<CustomResourceDefinitionCondition, "lastTransitionTime"> | undefined {
  const errors = crd.spec.versions.flatMap(({ schema }, index) => {
    const props = schema?.openAPIV3Schema;
    const path = `spec.versions[${index}].schema.openAPIV3Schema`;
    return props === undefined ? [] : validateStructural(props, path);
  });
  const texts = errors.map(formatFieldError);
  if (crd.spec.preserveUnknownFields === true)
    texts.unshift("spec.preserveUnknownFields: Invalid value: true: must be false");
  if (texts.length === 0) return undefined;
  const message = texts.length === 1 ? (texts[0] ?? "") : `[${texts.join(", ")}]`;
  return { type: "NonStructuralSchema", status: "True", reason: "Violations", message };
}

/** The status that the definition should have. Whoever writes it serves the kind first. */
export function statusOf(
  crd: CustomResourceDefinition,
  all: Iterable<CustomResourceDefinition>,
  now: number,
): CustomResourceDefinitionStatus {
  let conditions = [...(crd.status.conditions ?? [])];
  const set = (condition: Omit<CustomResourceDefinitionCondition, "lastTransitionTime">): void => {
    conditions = withCondition(conditions, condition, now);
  };
  const { names, conflict } = judgeNames(crd, takenIn(crd.spec.group, all));
  if (conflict === undefined) {
    const message = "no conflicts found";
    set({ type: "NamesAccepted", status: "True", reason: "NoConflicts", message });
  } else set({ type: "NamesAccepted", status: "False", ...conflict });
  if (!isEstablished(crd)) {
    if (conflict === undefined) {
      const message = "the initial names have been accepted";
      set({ type: "Established", status: "True", reason: "InitialNamesAccepted", message });
    } else {
      const message = "not all names are accepted";
      set({ type: "Established", status: "False", reason: "NotAccepted", message });
    }
  }
  const wrong = nonStructural(crd);
  if (wrong === undefined)
    conditions = conditions.filter(({ type }) => type !== "NonStructuralSchema");
  else set(wrong);
  return { ...crd.status, acceptedNames: names, conditions };
}

export const sameStatus = (
  a: CustomResourceDefinitionStatus,
  b: CustomResourceDefinitionStatus,
): boolean => equalObjects({ ...a }, { ...b });
