/**
 * What may differ between two servers that mean the same is masked: uids, times, revisions, allocated addresses and ports, random
 * names. And the difference between two answers, in a form short enough to be kept.
 */
import { columnsSayNothing, ownNames, worded } from "./differences.ts";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const uid = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g;
/** The corpus itself speaks of earlier years only. */
const recent = /\b20(2[4-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g;
const accessVolume = /kube-api-access-[a-z0-9]{5}/g;
const allocated = new Set(["clusterIP", "nodePort", "healthCheckNodePort"]);

function maskText(text: string): string {
  return worded(text)
    .replace(uid, "UID")
    .replace(recent, "TIME")
    .replace(accessVolume, "kube-api-access-RANDOM");
}

/** `asked` is the request's body: what stands in it was not allocated by the server. */
export function mask(value: Json, asked: string, key = "", above = ""): Json {
  if (typeof value === "string") {
    if (key === "resourceVersion" || key === "continue")
      return value === "" ? "" : key.toUpperCase();
    if (key === "age" || above === "age") return "AGE";
    const fixed = maskText(value);
    return allocated.has(key) && value !== "" && !asked.includes(`"${value}"`)
      ? "ALLOCATED"
      : fixed;
  }
  if (typeof value === "number") {
    return allocated.has(key) && value !== 0 && !asked.includes(String(value)) ? -1 : value;
  }
  if (Array.isArray(value)) {
    const list = value as readonly Json[];
    if (key === "cells") return list.map((cell) => maskCell(cell));
    if (key === "columnDefinitions") return list.map(withoutDescription);
    const inner = key === "clusterIPs" ? "clusterIP" : "";
    const shown = key === "items" || key === "rows" ? list.filter((one) => !isOurs(one)) : list;
    return shown.map((one) => mask(one, asked, inner, key));
  }
  if (value === null || typeof value !== "object") return value;
  const object = value as { readonly [key: string]: Json };
  const generated = typeof object["generateName"] === "string" && !asked.includes('"name"');
  return Object.fromEntries(
    Object.entries(object).map(([name, one]) => [
      maskText(name),
      generated && name === "name" ? "GENERATED" : mask(one, asked, name, key),
    ]),
  );
}

/** An object, or its row. */
function isOurs(item: Json): boolean {
  if (!isObject(item)) return false;
  const { metadata, object } = item;
  if (object !== undefined) return isOurs(object);
  const name = metadata !== undefined && isObject(metadata) ? metadata["name"] : undefined;
  return typeof name === "string" && ownNames.test(name);
}

/** What a table shows of ages and of the service network. */
function maskCell(cell: Json): Json {
  if (typeof cell !== "string") return cell;
  if (/^(\d+[smhdy]){1,2}$/.test(cell)) return "AGE";
  return maskText(cell).replace(/\b10\.96(\.\d{1,3}){2}\b/g, "ALLOCATED");
}

function withoutDescription(column: Json): Json {
  return isObject(column) ? { ...column, [columnsSayNothing]: "" } : column;
}

/** [path, value] for what `now` has otherwise, [path] for what it lacks. */
export type Delta = readonly (readonly [string, Json] | readonly [string])[];

export function deltaOf(before: Json, now: Json, path = ""): Delta {
  if (isObject(before) && isObject(now)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
    return names.flatMap((name): Delta => {
      const below = `${path}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      const [old, fresh] = [before[name], now[name]];
      if (fresh === undefined) return old === undefined ? [] : [[below]];
      return old === undefined ? [[below, fresh]] : deltaOf(old, fresh, below);
    });
  }
  if (Array.isArray(before) && Array.isArray(now) && before.length === now.length)
    return before.flatMap((old: Json, at) => deltaOf(old, now[at] as Json, `${path}/${at}`));
  return JSON.stringify(before) === JSON.stringify(now) ? [] : [[path, now]];
}

const isObject = (value: Json): value is { readonly [key: string]: Json } =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** Keys in order, so that two texts are equal if two values are. */
export function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map((one: Json) => sorted(one));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key] as Json)]),
  );
}

export type { Json };
