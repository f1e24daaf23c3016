/** Content negotiation: which representation a request wants, and which one its body has. */
import { notAcceptable, StatusError, unsupportedMediaType } from "#machinery/status-error.ts";

/** What an object shall be turned into: `as=Table;v=v1;g=meta.k8s.io`. */
export interface Conversion {
  readonly kind: string;
  readonly group: string;
  readonly version: string;
}
export interface MediaType {
  readonly format: "json" | "yaml" | "protobuf";
  readonly pretty: boolean;
  readonly as?: Conversion;
}

const supported = [
  { type: "application", subtype: "json", format: "json" },
  { type: "application", subtype: "yaml", format: "yaml" },
  { type: "application", subtype: "vnd.kubernetes.protobuf", format: "protobuf" },
] as const;
export const supportedNames = "application/json, application/yaml";
export const protobufName = "application/vnd.kubernetes.protobuf";
const clausesMax = 64;

/** One wish of an Accept header. */
export interface Clause {
  readonly type: string;
  readonly subtype: string;
  readonly quality: number;
  readonly parameters: ReadonlyMap<string, string>;
}

function parseClause(text: string): Clause {
  const [range = "", ...rest] = text.split(";").map((part) => part.trim());
  const [type = "", subtype = "*"] = range.toLowerCase().split("/");
  const parameters = new Map<string, string>();
  let quality = 1;
  for (const part of rest) {
    const equals = part.indexOf("=");
    if (equals === -1) continue;
    const name = part.slice(0, equals).trim().toLowerCase();
    const value = part
      .slice(equals + 1)
      .trim()
      .replace(/^"|"$/g, "");
    if (name === "q") quality = Number.isNaN(Number(value)) ? 1 : Number(value);
    else parameters.set(name, value);
  }
  return { type, subtype, quality, parameters };
}

/** What an Accept header wishes for, the most wanted first. */
export const acceptClauses = (accept: string): Clause[] =>
  accept
    .split(",")
    .slice(0, clausesMax)
    .map(parseClause)
    .sort((a, b) => b.quality - a.quality);

export interface Preferences {
  readonly accept: string | undefined;
  /** The `pretty` parameter of the query. */
  readonly pretty: string | undefined;
  readonly userAgent: string | undefined;
  readonly allows: (conversion: Conversion) => boolean;
  /** What could be had by a request of this sort can also be had as the frames of a watch. */
  readonly isList?: boolean;
  /** A watch: only what can be framed. */
  readonly stream: boolean;
  /** Kinds that are known at run time only have no field numbers. */
  readonly protobuf: boolean;
}

export function negotiate(preferences: Preferences): MediaType {
  const { accept = "", allows, stream, protobuf } = preferences;
  const pretty = wantsPretty(preferences);
  if (accept === "") return { format: "json", pretty };
  let isKnown = false;
  for (const clause of acceptClauses(accept)) {
    for (const { type, subtype, format } of supported) {
      if (clause.type !== "*" && clause.type !== type) continue;
      if (clause.subtype !== "*" && clause.subtype !== subtype) continue;
      isKnown = true;
      if (stream && format === "yaml") continue;
      if (!protobuf && format === "protobuf") continue;
      const kind = clause.parameters.get("as");
      const askedPretty = clause.parameters.get("pretty") === "1" || pretty;
      if (kind === undefined) return { format, pretty: askedPretty };
      const conversion = {
        kind,
        group: clause.parameters.get("g") ?? "",
        version: clause.parameters.get("v") ?? "",
      };
      // Upstream: a table's cells are of any type, which protobuf has no way to say.
      if (format === "protobuf" && kind === "Table") continue;
      if (allows(conversion)) return { format, pretty: askedPretty, as: conversion };
    }
  }
  if (!isKnown && protobuf) throw noRepresentation(stream || preferences.isList === true);
  const all = stream ? ["application/json"] : [supportedNames];
  if (protobuf) all.push(protobufName);
  const names = all.map((name) => (stream ? `${name};stream=watch` : name)).join(", ");
  throw notAcceptable(`only the following media types are accepted: ${names}`);
}

/** Upstream: of built-in kinds the router refuses what it has never heard of, in its own words. */
function noRepresentation(isList: boolean): StatusError {
  const streams = ["application/json;stream=watch", `${protobufName};stream=watch`];
  const names = [supportedNames, protobufName, ...(isList ? streams : [])].join(", ");
  const message = `406: Not Acceptable\n\nAvailable representations: ${names}`;
  return new StatusError(406, "NotAcceptable", message, {});
}

/** Upstream: browsers and command-line tools get indented JSON. */
function wantsPretty({ pretty, userAgent }: Preferences): boolean {
  if (pretty !== undefined && pretty !== "") return /^(1|t|T|TRUE|true|True)$/.test(pretty);
  return userAgent !== undefined && /^(curl|Wget|Mozilla\/5\.0)/.test(userAgent);
}

/** The format of a body. Without a Content-Type: JSON. */
export function bodyFormat(
  contentType: string | undefined,
  protobuf = true,
): "json" | "yaml" | "protobuf" {
  const name = (contentType ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  if (name === "" || name === "application/json") return "json";
  if (name === "application/yaml") return "yaml";
  if (name === protobufName && protobuf) return "protobuf";
  throw unsupportedBody(protobuf ? `${supportedNames}, ${protobufName}` : supportedNames);
}

export const unsupportedBody = (accepted: string) =>
  unsupportedMediaType(
    `the body of the request was in an unknown format - accepted media types include: ${accepted}`,
  );

const metaConversions = ["Table", "PartialObjectMetadata", "PartialObjectMetadataList"];

/** What any API object can be turned into. */
export const allowsMetaConversion = ({ kind, group, version }: Conversion): boolean =>
  group === "meta.k8s.io" &&
  (version === "v1" || version === "v1beta1") &&
  metaConversions.includes(kind);
