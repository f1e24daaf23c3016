/**
 * A custom resource as a Resource: what defineResource gives for a built-in kind is made here, at run time, from one version of a
 * definition. Registry, verbs, discovery, tables and apply see no difference.
 */

import { type FieldError, invalid } from "#machinery/field-error.ts";
import { humanDuration } from "#machinery/human-duration.ts";
import { compileJsonPath, type JsonPath, JsonPathError } from "#machinery/json-path.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson, equalObjects, getKey, isObject, type JsonObject } from "#machinery/object.ts";
import { parseTime } from "#machinery/time.ts";
import { isQualifiedName } from "#machinery/validation.ts";
import type { ResourceFacts, SubresourceFacts } from "../facts.ts";
import type {
  CustomResourceColumnDefinition,
  CustomResourceDefinition,
  CustomResourceDefinitionVersion,
  CustomResourceSubresourceScale,
} from "../generated/apiextensions/v1.ts";
import type { PrinterColumn, Resource, Strategy, StrategyContext } from "../resource.ts";
import { customSchema } from "./custom-schema.ts";
import type { Props } from "./pruning.ts";
import { type JudgeRules, rulesOf } from "./rules.ts";
import { validateEmbedded, validateListTypes } from "./validate-lists.ts";
import { validateValue } from "./validate-value.ts";

const verbs = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const int32Max = 2 ** 31 - 1;

const contentOf = (object: ApiObject): JsonObject => object as unknown as JsonObject;

/** ".spec.replicas" as steps. */
const stepsOf = (path: string): readonly string[] => path.replace(/^\./, "").split(".");

function readPath(object: JsonObject, steps: readonly string[]): unknown {
  let at: unknown = object;
  for (const step of steps) at = isObject(at) ? getKey(at, step) : undefined;
  return at;
}

export const schemaOfVersion = (version: CustomResourceDefinitionVersion): Props | undefined =>
  version.schema?.openAPIV3Schema;

function cellOf(type: string, value: unknown, now: number): string | number | boolean | null {
  if (value === undefined || value === null) return null;
  switch (type) {
    case "integer":
      return typeof value === "number" ? Math.trunc(value) : null;
    case "number":
      return typeof value === "number" ? value : null;
    case "boolean":
      return typeof value === "boolean" ? value : null;
    case "date": {
      if (typeof value !== "string") return null;
      if (value === "") return "<unknown>";
      const at = parseTime(value);
      return at === undefined ? "<invalid>" : humanDuration(now - at);
    }
    default:
      return plain(value);
  }
}

const nothing: JsonPath = () => [];

/** Undefined for what is no path: validation does not look that closely, as upstream. */
function pathOf(text: string): JsonPath | undefined {
  try {
    return compileJsonPath(text);
  } catch (error) {
    if (error instanceof JsonPathError) return undefined;
    throw error;
  }
}

function columnOf(column: CustomResourceColumnDefinition): PrinterColumn<ApiObject> {
  const { name, type, format, description, priority, jsonPath } = column;
  const path = pathOf(jsonPath) ?? nothing;
  const isWellKnown =
    type === "string" ||
    type === "integer" ||
    type === "number" ||
    type === "boolean" ||
    type === "date";
  return {
    name,
    type: isWellKnown ? type : "string",
    ...(format === undefined ? {} : { format }),
    description:
      description ?? `Custom resource definition column (in JSONPath format): ${jsonPath}`,
    priority: (priority ?? 0) > 0 ? 1 : 0,
    value: (object, now) => cellOf(type, path(object)[0], now),
  };
}

const ageOnly: CustomResourceColumnDefinition = {
  name: "Age",
  type: "date",
  description: "How long ago the object was created.",
  jsonPath: ".metadata.creationTimestamp",
};

function columnsOf(version: CustomResourceDefinitionVersion): PrinterColumn<ApiObject>[] {
  const columns = version.additionalPrinterColumns ?? [];
  // Upstream: one path that cannot be read takes all columns with it.
  const readable = columns.every(({ jsonPath }) => pathOf(jsonPath) !== undefined);
  if (!readable) return [columnOf(ageOnly)];
  return (columns.length === 0 ? [ageOnly] : columns).map(columnOf);
}

function selectableOf(version: CustomResourceDefinitionVersion) {
  const fields: Record<string, (object: ApiObject) => string> = {};
  for (const { jsonPath } of version.selectableFields ?? []) {
    const steps = stepsOf(jsonPath);
    fields[steps.join(".")] = (object) => {
      const value = readPath(contentOf(object), steps);
      if (value === undefined || value === null) return "";
      return plain(value);
    };
  }
  return fields;
}

const plain = (value: unknown): string =>
  typeof value === "string" ? value : JSON.stringify(value);

function checkReplicas(object: JsonObject, path: string): FieldError[] {
  const value = readPath(object, stepsOf(path)) ?? 0;
  if (typeof value !== "number" || !Number.isInteger(value)) {
    const shown = `${path} accessor error: ${plain(value)} is of the type ${typeof value}, expected int64`;
    return [invalid(path, 0, shown)];
  }
  if (value < 0) return [invalid(path, value, "should be a non-negative integer")];
  if (value > int32Max)
    return [invalid(path, value, `should be less than or equal to ${int32Max}`)];
  return [];
}

function checkScaleStatus(
  object: JsonObject,
  scale: CustomResourceSubresourceScale | undefined,
): FieldError[] {
  if (scale === undefined) return [];
  const errors = checkReplicas(object, scale.statusReplicasPath);
  const { labelSelectorPath } = scale;
  if (labelSelectorPath === undefined || labelSelectorPath === "") return errors;
  const selector = readPath(object, stepsOf(labelSelectorPath)) ?? "";
  if (typeof selector === "string") return errors;
  const shown = `${labelSelectorPath} accessor error: ${plain(selector)} is of the type ${typeof selector}, expected string`;
  return [...errors, invalid(labelSelectorPath, "", shown)];
}

type Warn = StrategyContext["warn"];

/** How objects of one version are judged. */
interface Judge {
  readonly create: (object: ApiObject, warn: Warn) => FieldError[];
  readonly update: (object: ApiObject, old: ApiObject, warn: Warn) => FieldError[];
  readonly status: (object: ApiObject, old: ApiObject, warn: Warn) => FieldError[];
}

const openProps: Props = { type: "object", "x-kubernetes-preserve-unknown-fields": true };

function judgeOf(version: CustomResourceDefinitionVersion): Judge {
  const props = schemaOfVersion(version) ?? openProps;
  const scale = version.subresources?.scale;
  const scaleErrors = (object: JsonObject): FieldError[] =>
    scale === undefined
      ? []
      : [...checkReplicas(object, scale.specReplicasPath), ...checkScaleStatus(object, scale)];
  const newListErrors = (object: JsonObject, old: JsonObject): FieldError[] =>
    validateListTypes(old, props).length > 0 ? [] : validateListTypes(object, props);
  const statusProps = props.properties?.status;
  const judgeRules: JudgeRules = rulesOf(props) ?? ((_object, _old, found) => [...found]);
  return {
    create(asked, warn) {
      const object = contentOf(asked);
      const found = [
        ...validateValue(props, object, ""),
        ...scaleErrors(object),
        ...validateEmbedded(object, props),
        ...validateListTypes(object, props),
      ];
      return judgeRules(object, undefined, found, warn);
    },
    update(asked, before, warn) {
      const object = contentOf(asked);
      const old = contentOf(before);
      const found = [
        ...validateValue(props, object, "", { value: old }),
        ...scaleErrors(object),
        ...validateEmbedded(object, props),
        ...newListErrors(object, old),
      ];
      return judgeRules(object, old, found, warn);
    },
    status(asked, before, warn) {
      const object = contentOf(asked);
      const old = contentOf(before);
      const { status } = object;
      const was = old.status === undefined ? undefined : { value: old.status };
      const errors =
        statusProps === undefined || status === undefined
          ? []
          : validateValue(statusProps, status, "status", was);
      const found = [...errors, ...checkScaleStatus(object, scale), ...newListErrors(object, old)];
      return judgeRules(object, old, found, warn);
    },
  };
}

const standardFinalizers = new Set(["orphan", "foregroundDeletion", "kubernetes"]);

function finalizerWarnings(object: ApiObject, old: ApiObject | undefined): string[] {
  const known = new Set(old?.metadata.finalizers ?? []);
  const added = (object.metadata.finalizers ?? []).filter((one) => !known.has(one)).sort();
  return added.flatMap((name) => {
    const head = `metadata.finalizers: ${JSON.stringify(name)}:`;
    const warnings = isQualifiedName(name).map((problem) => `${head} ${problem}`);
    if (!name.includes("/") && !standardFinalizers.has(name)) {
      const path = name.includes(".") ? " including a path (/)" : "";
      warnings.push(
        `${head} prefer a domain-qualified finalizer name${path} to avoid accidental conflicts with other finalizer writers`,
      );
    }
    return warnings;
  });
}

const besidesMeta = (object: ApiObject): object => ({ ...object, metadata: undefined });

/**
 * The definition decides per version; the registry works in the storage version. So the storage version's strategy asks the version in
 * which a request speaks.
 */
function strategyOf(
  definition: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
): Strategy<ApiObject> {
  const judges = new Map(definition.spec.versions.map((one) => [one.name, judgeOf(one)]));
  const judge = (context: StrategyContext | undefined): Judge =>
    judges.get(context?.requestVersion?.version ?? version.name) ?? judgeOf(version);
  const hasStatus = version.subresources?.status !== undefined;
  return {
    allowUnconditionalUpdate: false,
    tracksGeneration: hasStatus,
    statusResetFields: ["metadata"],
    prepareForCreate(object) {
      object.metadata.generation = 1;
    },
    prepareForUpdate(object, old) {
      // Without a status of its own everything counts.
      if (!hasStatus && !equalObjects(besidesMeta(object), besidesMeta(old)))
        object.metadata.generation = (old.metadata.generation ?? 0) + 1;
    },
    prepareForStatusUpdate(object, old) {
      const { managedFields, resourceVersion } = object.metadata;
      object.metadata = { ...cloneJson(old.metadata) };
      delete object.metadata.managedFields;
      if (managedFields !== undefined) object.metadata.managedFields = managedFields;
      if (resourceVersion !== undefined) object.metadata.resourceVersion = resourceVersion;
    },
    validate: (object, context) => judge(context).create(object, context?.warn),
    validateUpdate: (object, old, context) => judge(context).update(object, old, context?.warn),
    validateStatusUpdate: (object, old, context) =>
      judge(context).status(object, old, context?.warn),
    warnings: finalizerWarnings,
  };
}

function factsOf(
  definition: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
  storageVersionHash: string,
): ResourceFacts {
  const { group, scope } = definition.spec;
  const names = definition.status.acceptedNames;
  const target = { group, version: version.name, kind: names.kind };
  const own: SubresourceFacts["verbs"] = ["get", "patch", "update"];
  const subresources: SubresourceFacts[] = [];
  if (version.subresources?.status !== undefined)
    subresources.push({ name: "status", ...target, verbs: own });
  if (version.subresources?.scale !== undefined) {
    const scale = { group: "autoscaling", version: "v1", kind: "Scale" };
    subresources.push({ name: "scale", ...scale, verbs: own });
  }
  return {
    ...target,
    plural: names.plural,
    singular: names.singular ?? "",
    namespaced: scope === "Namespaced",
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    verbs,
    subresources,
    storageVersionHash,
    servedByDefault: true,
    listKind: names.listKind ?? `${names.kind}List`,
  };
}

/** One version of a definition whose names are accepted. */
export function customResource(
  definition: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
  storageVersionHash: string,
): Resource {
  const facts = factsOf(definition, version, storageVersionHash);
  const { group, kind, plural } = facts;
  const scale = version.subresources?.scale;
  const gone = version.deprecationWarning;
  return {
    group,
    version: version.name,
    plural,
    kind,
    namespaced: facts.namespaced,
    singular: facts.singular,
    shortNames: facts.shortNames,
    categories: facts.categories,
    verbs: facts.verbs,
    facts,
    schema: customSchema(group, version.name, kind, schemaOfVersion(version)),
    selectableFields: selectableOf(version),
    printerColumns: columnsOf(version),
    ...(version.deprecated === true
      ? { deprecation: gone ?? `${group}/${version.name} ${kind} is deprecated` }
      : {}),
    ...(scale === undefined
      ? {}
      : {
          scale: {
            specReplicas: stepsOf(scale.specReplicasPath),
            statusReplicas: stepsOf(scale.statusReplicasPath),
            ...((scale.labelSelectorPath ?? "") === ""
              ? {}
              : { labelSelector: stepsOf(scale.labelSelectorPath ?? "") }),
          },
        }),
    strategy: strategyOf(definition, version),
    storagePrefix: `/registry/${group}/${plural}`,
  };
}
