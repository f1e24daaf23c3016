/** Objects as the rows of a Table (`kubectl get`), or cut down to their metadata. */
import type { PrinterColumn, Resource } from "#api/resource.ts";
import type { ApiObject, ListMeta } from "#machinery/meta.ts";
import { parseTime } from "#machinery/time.ts";

export interface TableOptions {
  /** v1 or v1beta1. */
  readonly version: string;
  readonly includeObject: "None" | "Metadata" | "Object";
  readonly now: number;
}

/** A span as kubectl prints ages: the coarser, the longer. */
export function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return join(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return join(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (hours < 192) return join(days, "d", hours % 24, "h");
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  if (days < 8 * 365) return join(years, "y", days % 365, "d");
  return `${years}y`;
}
const join = (big: number, bigUnit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${big}${bigUnit}` : `${big}${bigUnit}${small}${smallUnit}`;

const age: PrinterColumn<ApiObject> = {
  name: "Age",
  type: "string",
  value: ({ metadata }, now) => {
    const created = parseTime(metadata.creationTimestamp ?? "");
    return created === undefined ? "<unknown>" : formatAge(now - created);
  },
};

const columnsOf = (resource: Resource): readonly PrinterColumn<ApiObject>[] =>
  resource.printerColumns.length === 0 ? [age] : resource.printerColumns;

export function columnDefinitions(resource: Resource): object[] {
  const rest = columnsOf(resource).map((column) => ({
    name: column.name,
    type: column.type ?? "string",
    format: column.format ?? "",
    description: column.description ?? "",
    priority: column.priority ?? 0,
  }));
  return [{ name: "Name", type: "string", format: "name", description: "", priority: 0 }, ...rest];
}

export function partialMetadata(object: ApiObject, version: string): object {
  const apiVersion = `meta.k8s.io/${version}`;
  return { kind: "PartialObjectMetadata", apiVersion, metadata: object.metadata };
}

function rowOf(resource: Resource, object: ApiObject, options: TableOptions): object {
  const cells = [
    object.metadata.name ?? "",
    ...columnsOf(resource).map((column) => column.value(object, options.now) ?? null),
  ];
  const { includeObject, version } = options;
  if (includeObject === "None") return { cells, object: null };
  return { cells, object: includeObject === "Object" ? object : partialMetadata(object, version) };
}

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
    rows: objects.map((object) => rowOf(resource, object, options)),
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
