/** What StorageClass and VolumeAttributesClass check alike. Pure. */
import { declared, type FieldError, invalid, required, tooLong } from "#machinery/field-error.ts";
import { isQualifiedName } from "#machinery/validation.ts";
import { each } from "../../core/v1/pod-validation/fields.ts";

const parametersMax = 512;
const parameterBytesMax = 256 * 1024;
const encoder = new TextEncoder();

const bytesOf = (values: Readonly<Record<string, string>>): number =>
  Object.entries(values)
    .flat()
    .reduce((sum, text) => sum + encoder.encode(text).length, 0);

/** The one who provides: a qualified name, in letters of any case. */
export const validateProvisioner = (name: string, path: string): FieldError[] =>
  name === ""
    ? [declared(required(path))]
    : each(path, name.toLowerCase(), isQualifiedName(name.toLowerCase()));

export function validateParameters(
  parameters: Readonly<Record<string, string>> | undefined,
  path: string,
): FieldError[] {
  const given = parameters ?? {};
  if (Object.keys(given).length > parametersMax) return [tooLong(path, parametersMax)];
  const errors: FieldError[] = [];
  if (Object.hasOwn(given, "")) errors.push(invalid(path, "", "field can not be empty."));
  return [...errors, ...validateMapSize(given, path)];
}

export const validateMapSize = (
  values: Readonly<Record<string, string>>,
  path: string,
): FieldError[] => (bytesOf(values) > parameterBytesMax ? [tooLong(path, parameterBytesMax)] : []);
