/** IPAddress: an address of the Services' range that somebody holds. Its name is the address. */
import { declared, type FieldError, invalid, required } from "#machinery/field-error.ts";
import { declaredImmutable } from "#machinery/meta-validation.ts";
import { ipProblems, isDns1123Subdomain, isPathSegmentName } from "#machinery/validation.ts";
import type * as g from "../../generated/networking/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type IPAddress = g.IPAddress;

const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

function validateIpAddress({ spec }: IPAddress): FieldError[] {
  const { parentRef } = spec;
  const path = "spec.parentRef";
  if (parentRef === undefined) return [declared(required(path))];
  const { group = "", resource = "", name = "", namespace = "" } = parentRef;
  const errors: FieldError[] = [];
  // The core group is the empty one.
  if (group !== "") errors.push(...each(`${path}.group`, group, isDns1123Subdomain(group)));
  if (resource === "") errors.push(declared(required(`${path}.resource`)));
  else errors.push(...each(`${path}.resource`, resource, isPathSegmentName(resource)));
  if (name === "") errors.push(declared(required(`${path}.name`)));
  else errors.push(...each(`${path}.name`, name, isPathSegmentName(name)));
  if (namespace !== "") {
    errors.push(...each(`${path}.namespace`, namespace, isPathSegmentName(namespace)));
  }
  return errors;
}

function parentCell({ spec: { parentRef } }: IPAddress): string {
  if (parentRef === undefined) return "<none>";
  const { group = "", resource = "", namespace = "", name = "" } = parentRef;
  const kind = (group === "" ? resource : `${resource}.${group}`).toLowerCase();
  return namespace === "" ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
}

/** Upstream: the rows have an age, which no column announces. */
const untoldAge = { ...ageColumn, isUntold: true } as const;

export const IPAddress = defineResource<IPAddress>({
  group: "networking.k8s.io",
  version: "v1",
  plural: "ipaddresses",
  printerColumns: [{ name: "ParentRef", value: parentCell }, untoldAge],
  strategy: {
    nameProblems: ipProblems,
    validate: validateIpAddress,
    validateUpdate: (object, old) => [
      ...validateIpAddress(object),
      ...declaredImmutable(object.spec.parentRef, old.spec.parentRef, "spec.parentRef"),
    ],
  },
});
