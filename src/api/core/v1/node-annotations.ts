/** Annotations of a Node that hold JSON and are still judged, though nothing reads them any more. */
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import { JsonSyntaxError, parseJson } from "#machinery/json.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import type { Node, Taint } from "../../generated/core/v1.ts";
import { validateTaints } from "./node-taints.ts";

const taintsKey = "scheduler.alpha.kubernetes.io/taints";
const avoidPodsKey = "scheduler.alpha.kubernetes.io/preferAvoidPods";
const path = "metadata.annotations";
const encoder = new TextEncoder();

function parsed(text: string): { readonly value: unknown } | { readonly problem: string } {
  try {
    return { value: parseJson(encoder.encode(text)) };
  } catch (error) {
    if (error instanceof JsonSyntaxError) return { problem: error.message };
    throw error;
  }
}

/** As Go decodes: letters of a key may be of either case; what is no text is none. */
function textOf(object: JsonObject, name: string): string {
  for (const [key, value] of Object.entries(object)) {
    if (key.toLowerCase() === name && typeof value === "string") return value;
  }
  return "";
}

function validateTaintsAnnotation(text: string): FieldError[] {
  const result = parsed(text);
  if ("problem" in result) return [invalid(path, taintsKey, result.problem)];
  const { value } = result;
  if (value === null) return [];
  if (!Array.isArray(value)) {
    const detail = "json: cannot unmarshal object into Go value of type []core.Taint";
    return [invalid(path, taintsKey, detail)];
  }
  const taints = value.map((one: unknown): Taint => {
    const taint = isObject(one) ? one : {};
    return {
      key: textOf(taint, "key"),
      value: textOf(taint, "value"),
      effect: textOf(taint, "effect"),
    };
  });
  return validateTaints(taints, `${path}.${taintsKey}`);
}

function validateAvoidance(entry: unknown, at: string): FieldError[] {
  const signature = isObject(entry) ? entry.podSignature : undefined;
  const owner = isObject(signature) ? signature.podController : undefined;
  if (!isObject(owner)) return [required(`${at}.PodSignature`)];
  if (owner.controller === true) return [];
  const detail = "must point to a controller";
  return [invalid(`${at}.PodSignature.PodController.Controller`, false, detail)];
}

function validateAvoidPodsAnnotation(text: string): FieldError[] {
  const result = parsed(text);
  if ("problem" in result) return [invalid(`${path}.AvoidPods`, avoidPodsKey, result.problem)];
  const entries = isObject(result.value) ? result.value.preferAvoidPods : undefined;
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry: unknown, index) =>
    validateAvoidance(entry, `${path}.${avoidPodsKey}[${index}]`),
  );
}

export function validateNodeAnnotations({ metadata }: Node): FieldError[] {
  const taints = metadata.annotations?.[taintsKey] ?? "";
  const avoidPods = metadata.annotations?.[avoidPodsKey] ?? "";
  return [
    ...(taints === "" ? [] : validateTaintsAnnotation(taints)),
    ...(avoidPods === "" ? [] : validateAvoidPodsAnnotation(avoidPods)),
  ];
}
