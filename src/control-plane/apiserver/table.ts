/** Objects as the rows of a Table (`kubectl get`), or cut down to their metadata. */
import { ageColumn } from "#api/printer-columns.ts";
import type { PrinterColumn, Resource } from "#api/resource.ts";
import type { ApiObject, ListMeta } from "#machinery/meta.ts";

export interface TableOptions {
  /** v1 or v1beta1. */
  readonly version: string;
  readonly includeObject: "None" | "Metadata" | "Object";
  readonly now: number;
  /** The rows are a list's. */
  readonly isList?: boolean;
}

const nameColumn: PrinterColumn<ApiObject> = {
  name: "Name",
  type: "string",
  format: "name",
  value: ({ metadata }) => metadata.name ?? "",
};

/** The name comes first, unless the kind puts it elsewhere itself. */
function columnsOf({ printerColumns }: Resource): readonly PrinterColumn<ApiObject>[] {
  if (printerColumns.length === 0) return [nameColumn, ageColumn];
  return printerColumns.some(({ name }) => name === nameColumn.name)
    ? printerColumns
    : [nameColumn, ...printerColumns];
}

export const columnDefinitions = (resource: Resource): object[] =>
  columnsOf(resource)
    .filter(({ isUntold }) => isUntold !== true)
    .map((column) => ({
      name: column.name,
      type: column.type ?? "string",
      format: column.format ?? "",
      description: column.description ?? "",
      priority: column.priority ?? 0,
    }));

export function partialMetadata(
  { metadata }: Pick<ApiObject, "metadata">,
  version: string,
): object {
  return { kind: "PartialObjectMetadata", apiVersion: `meta.k8s.io/${version}`, metadata };
}

function rowOf(
  resource: Resource,
  object: ApiObject,
  list: readonly ApiObject[],
  options: TableOptions,
): object {
  const cells = columnsOf(resource).map(
    (column) => column.value(object, options.now, list) ?? null,
  );
  const conditions = resource.rowConditions?.(object) ?? [];
  return {
    cells,
    ...(conditions.length === 0 ? {} : { conditions }),
    object: shownWith(resource, object, options),
  };
}

function shownWith(
  { rowMetadata }: Resource,
  object: ApiObject,
  { includeObject, version }: TableOptions,
): object | null {
  if (includeObject === "None") return null;
  if (includeObject === "Object") return object;
  const metadata = rowMetadata?.(object) ?? object.metadata;
  return partialMetadata({ metadata }, version);
}

const ordered = ({ tableOrder }: Resource, objects: readonly ApiObject[]): readonly ApiObject[] =>
  tableOrder === undefined ? objects : [...objects].sort((a, b) => tableOrder(a, b));

/** `columns` false: the columns were told before (later events of a watch). */
export function tableOf(
  resource: Resource,
  objects: readonly ApiObject[],
  metadata: ListMeta,
  options: TableOptions,
  columns = true,
): object {
  return {
    kind: "Table",
    apiVersion: `meta.k8s.io/${options.version}`,
    metadata,
    columnDefinitions: columns ? columnDefinitions(resource) : [],
    rows: ordered(resource, objects).map((object) =>
      rowOf(resource, object, options.isList === true ? objects : [], options),
    ),
  };
}

export function partialMetadataList(
  objects: readonly ApiObject[],
  metadata: ListMeta,
  version: string,
): object {
  return {
    kind: "PartialObjectMetadataList",
    apiVersion: `meta.k8s.io/${version}`,
    metadata,
    items: objects.map((object) => partialMetadata(object, version)),
  };
}
