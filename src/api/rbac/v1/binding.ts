/** What RoleBinding and ClusterRoleBinding share: role reference and subjects: defaults, columns, what may be said and changed. */
import {
  declared,
  type FieldError,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { immutableMessage } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { isDns1123Subdomain, isPathSegmentName } from "#machinery/validation.ts";
import type { ClusterRoleBinding, RoleBinding, RoleRef, Subject } from "../../generated/rbac/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import type { PrinterColumn } from "../../resource.ts";
import { rbacGroup } from "./policy-rule.ts";

export type { RoleRef, Subject } from "../../generated/rbac/v1.ts";

type Binding = RoleBinding | ClusterRoleBinding;

export function defaultBinding(object: Binding): void {
  if ((object.roleRef.apiGroup ?? "") === "") object.roleRef.apiGroup = rbacGroup;
  for (const subject of object.subjects ?? []) {
    const named = subject.kind === "User" || subject.kind === "Group";
    if (named && (subject.apiGroup ?? "") === "") subject.apiGroup = rbacGroup;
  }
}

const subjectsOf = ({ subjects }: Binding, kind: string): readonly Subject[] =>
  (subjects ?? []).filter((subject) => subject.kind === kind);

export const bindingColumns: readonly PrinterColumn<Binding>[] = [
  { name: "Role", value: ({ roleRef }) => `${roleRef.kind}/${roleRef.name}` },
  ageColumn,
  {
    name: "Users",
    priority: 1,
    value: (object) =>
      subjectsOf(object, "User")
        .map(({ name }) => name)
        .join(", "),
  },
  {
    name: "Groups",
    priority: 1,
    value: (object) =>
      subjectsOf(object, "Group")
        .map(({ name }) => name)
        .join(", "),
  },
  {
    name: "ServiceAccounts",
    priority: 1,
    value: (object) =>
      subjectsOf(object, "ServiceAccount")
        .map(({ namespace = "", name }) => `${namespace}/${name}`)
        .join(", "),
  },
];

function validateRoleRef(
  roleRef: Partial<RoleRef>,
  kinds: readonly string[],
  isChange: boolean,
): FieldError[] {
  const { apiGroup = "", kind = "", name = "" } = roleRef;
  const errors: FieldError[] = [];
  if (apiGroup !== rbacGroup) errors.push(notSupported("roleRef.apiGroup", apiGroup, [rbacGroup]));
  if (!kinds.includes(kind)) errors.push(notSupported("roleRef.kind", kind, kinds));
  // Upstream: of a reference that changes, its generated validation says nothing.
  const missing = required("roleRef.name");
  if (name === "") errors.push(isChange ? missing : declared(missing));
  else {
    for (const problem of isPathSegmentName(name))
      errors.push(invalid("roleRef.name", name, problem));
  }
  return errors;
}

function validateSubject(
  subject: Partial<Subject>,
  path: string,
  namespaced: boolean,
): FieldError[] {
  const { kind = "", apiGroup = "", name = "", namespace = "" } = subject;
  const errors: FieldError[] = [];
  if (name === "") errors.push(declared(required(`${path}.name`)));
  if (kind === "ServiceAccount") {
    if (name !== "") {
      for (const problem of isDns1123Subdomain(name))
        errors.push(invalid(`${path}.name`, name, problem));
    }
    if (apiGroup !== "") errors.push(notSupported(`${path}.apiGroup`, apiGroup, [""]));
    if (!namespaced && namespace === "") errors.push(required(`${path}.namespace`));
  } else if (kind === "User" || kind === "Group") {
    if (apiGroup !== rbacGroup)
      errors.push(notSupported(`${path}.apiGroup`, apiGroup, [rbacGroup]));
  } else errors.push(notSupported(`${path}.kind`, kind, ["ServiceAccount", "User", "Group"]));
  return errors;
}

export const validateBinding = (
  { roleRef, subjects }: Binding,
  namespaced: boolean,
  isChange = false,
): FieldError[] => [
  ...validateRoleRef(roleRef, namespaced ? ["Role", "ClusterRole"] : ["ClusterRole"], isChange),
  ...(subjects ?? []).flatMap((subject, index) =>
    validateSubject(subject, `subjects[${index}]`, namespaced),
  ),
];

/** A binding leads to one role for ever: whoever may change its subjects must not gain other rights by it. */
export function validateBindingUpdate(
  object: Binding,
  old: Binding,
  namespaced: boolean,
): FieldError[] {
  const isChange = !equalObjects(object.roleRef, old.roleRef);
  const errors = validateBinding(object, namespaced, isChange);
  if (!isChange) return errors;
  const { apiGroup, kind, name } = object.roleRef;
  // Upstream prints its internal type, whose fields are written in capitals.
  const shown = { APIGroup: apiGroup, Kind: kind, Name: name };
  return [...errors, invalid("roleRef", shown, immutableMessage)];
}
