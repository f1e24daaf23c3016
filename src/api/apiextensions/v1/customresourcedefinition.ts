/** CustomResourceDefinition: a kind that users define; once its names are accepted the API server serves it. */
import { compareUtf8 } from "#machinery/object.ts";
import { formatTime } from "#machinery/time.ts";
import { isKnownFormat } from "../../custom-resource/formats.ts";
import { itemsOf } from "../../custom-resource/pruning.ts";
import type {
  CustomResourceDefinitionCondition,
  CustomResourceDefinition as CustomResourceDefinitionObject,
  JSONSchemaProps,
} from "../../generated/apiextensions/v1.ts";
import { defineResource } from "../../resource.ts";
import {
  isEstablished,
  validateDefinition,
  validateDefinitionUpdate,
  validateStatus,
} from "./customresourcedefinition-validation.ts";
import { schemaHas } from "./structural-schema.ts";

export type CustomResourceDefinition = CustomResourceDefinitionObject;

/** Holds a definition until its objects are gone. */
export const cleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";

/** The conditions with one of them set; its time is kept while its status stays. */
export function withCondition(
  conditions: readonly CustomResourceDefinitionCondition[],
  set: Omit<CustomResourceDefinitionCondition, "lastTransitionTime">,
  now: number,
): CustomResourceDefinitionCondition[] {
  const old = conditions.find(({ type }) => type === set.type);
  const lastTransitionTime =
    old?.status === set.status && old.lastTransitionTime !== null
      ? old.lastTransitionTime
      : formatTime(now);
  const next = { ...set, lastTransitionTime };
  return old === undefined
    ? [...conditions, next]
    : conditions.map((one) => (one === old ? next : one));
}

function addStoredVersion(crd: CustomResourceDefinition): void {
  const storage = (crd.spec.versions ?? []).find((version) => version.storage)?.name;
  const status = (crd.status ??= emptyStatus());
  status.storedVersions ??= [];
  if (storage !== undefined && !status.storedVersions.includes(storage))
    status.storedVersions = [...status.storedVersions, storage];
}

const emptyStatus = (): NonNullable<CustomResourceDefinition["status"]> => ({
  conditions: [],
  acceptedNames: { plural: "", kind: "" },
  storedVersions: [],
});

const schemasOf = (crd: CustomResourceDefinition): JSONSchemaProps[] =>
  (crd.spec.versions ?? []).flatMap(({ schema }) => schema?.openAPIV3Schema ?? []);

function schemaWarnings(crd: CustomResourceDefinition): string[] {
  const warnings: string[] = [];
  const sets = new Set<string>();
  for (const schema of schemasOf(crd)) {
    schemaHas(schema, (props) => {
      const { format = "", type } = props;
      if (format !== "" && !isKnownFormat(type, format))
        warnings.push(`unrecognized format ${JSON.stringify(format)}`);
      const items = itemsOf(props)?.type;
      if (props["x-kubernetes-list-type"] === "set" && (items === "object" || items === "array")) {
        sets.add(
          `x-kubernetes-list-type: set for items of type ${JSON.stringify(items)} is not supported by server-side apply or CEL validation rules`,
        );
      }
      return false;
    });
  }
  return [...warnings, ...[...sets].sort()];
}

/** "v1,v2(storage)": what is served. */
const versionsCell = ({ spec }: CustomResourceDefinition): string =>
  (spec.versions ?? [])
    .filter(({ served }) => served)
    .map(({ name, storage }) => (storage ? `${name}(storage)` : name))
    .sort(compareUtf8)
    .join(",");

export const CustomResourceDefinition = defineResource<CustomResourceDefinition>({
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  storagePrefix: "/registry/apiextensions.k8s.io/customresourcedefinitions",
  printerColumns: [
    { name: "Scope", value: ({ spec }) => spec.scope },
    { name: "Versions", value: versionsCell },
    {
      name: "Created At",
      type: "date",
      description: "When the definition was created.",
      value: ({ metadata }) => metadata.creationTimestamp ?? "",
    },
    { name: "Group", priority: 1, value: ({ spec }) => spec.group },
    { name: "Kind", priority: 1, value: ({ spec }) => spec.names.kind },
    {
      name: "ShortNames",
      priority: 1,
      value: ({ spec }) => (spec.names.shortNames ?? []).join(","),
    },
    { name: "Established", type: "boolean", priority: 1, value: isEstablished },
  ],
  strategy: {
    tracksGeneration: true,
    allowUnconditionalUpdate: false,
    defaults(crd) {
      const { names } = crd.spec;
      if ((names.singular ?? "") === "") names.singular = names.kind.toLowerCase();
      if ((names.listKind ?? "") === "" && names.kind !== "") names.listKind = `${names.kind}List`;
      crd.spec.conversion ??= { strategy: "None" };
      const service = crd.spec.conversion.webhook?.clientConfig?.service;
      if (service !== undefined) service.port ??= 443;
      if ((crd.status?.storedVersions ?? []).length === 0) addStoredVersion(crd);
    },
    prepareForCreate(crd) {
      crd.status = emptyStatus();
      addStoredVersion(crd);
    },
    prepareForUpdate: addStoredVersion,
    prepareForDelete(crd, { now }) {
      const { metadata } = crd;
      if (metadata.finalizers?.includes(cleanupFinalizer) !== true)
        metadata.finalizers = [...(metadata.finalizers ?? []), cleanupFinalizer];
      const status = (crd.status ??= emptyStatus());
      const message =
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
      const reason = "InstanceDeletionPending";
      const set = { type: "Terminating", status: "True", reason, message } as const;
      status.conditions = withCondition(status.conditions ?? [], set, now);
    },
    validate: validateDefinition,
    validateUpdate: validateDefinitionUpdate,
    validateStatusUpdate: validateStatus,
    warnings(crd, old) {
      const known = new Set(old === undefined ? [] : schemaWarnings(old));
      return schemaWarnings(crd).filter((warning) => !known.has(warning));
    },
  },
});
