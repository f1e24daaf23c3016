/**
 * A JSON value as YAML text, in block style, as the protobuf form of OpenAPI v2 carries whatever has no fixed shape: defaults, enums,
 * x-kubernetes-* extensions. Keys keep their order. What kubectl prints is machinery/yaml-print.ts: other rules of indentation.
 */
import { isObject } from "#machinery/object.ts";
import { resolvePlain } from "#machinery/yaml.ts";

const indentStep = 4;

/** One document, ending in a line break. */
export const blockYaml = (value: unknown): string => `${node(value, 0)}\n`;

/** `indent`: where the lines after the first start. */
function node(value: unknown, indent: number): string {
  const margin = `\n${" ".repeat(indent)}`;
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return value.map((item) => `- ${node(item, indent + 2)}`).join(margin);
  }
  if (isObject(value)) {
    const entries = Object.entries(value).filter(([, member]) => member !== undefined);
    if (entries.length === 0) return "{}";
    return entries
      .map(([key, member]) => `${scalar(key)}:${inMapping(member, indent)}`)
      .join(margin);
  }
  return typeof value === "string" ? scalar(value) : JSON.stringify(value);
}

function inMapping(value: unknown, indent: number): string {
  const isBlock =
    typeof value === "object" &&
    value !== null &&
    Object.values(value).some((one) => one !== undefined);
  if (!isBlock) return ` ${node(value, indent)}`;
  const inner = indent - (indent % indentStep) + indentStep;
  return `\n${" ".repeat(inner)}${node(value, inner)}`;
}

/** Plain only where no reader of any YAML can take it for something else than this string. */
function scalar(text: string): string {
  const isPlain = /^[A-Za-z/][\w./,+-]*(?: [\w./,+-]+)*$/.test(text) && resolvePlain(text) === text;
  return isPlain ? text : quoted(text);
}

/** JSON's quotes, with what YAML does not take raw escaped too. */
const quoted = (text: string): string =>
  JSON.stringify(text.replace(/[\ud800-\udfff]/gu, "\ufffd")).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
