/** What users of pod certificates may tell the signer. Pure. */
import { type FieldError, invalid } from "#machinery/field-error.ts";
import { validateAnnotations } from "#machinery/meta-validation.ts";

/** Annotations that users put into requests: every key has a domain. */
export function validateUserAnnotations(
  annotations: Readonly<Record<string, string>>,
  path: string,
): FieldError[] {
  const errors = validateAnnotations(annotations, path);
  if (errors.length > 0) return errors;
  return Object.keys(annotations)
    .filter((key) => !key.includes("/"))
    .map((key) =>
      invalid(path, key.toLowerCase(), 'must be a domain-prefixed key (such as "acme.io/foo")'),
    );
}
