/** IngressClass: which controller looks after an Ingress. */
import {
  declared,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
  tooLong,
} from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import {
  isDns1123Label,
  isDns1123Subdomain,
  isDomainPrefixedPath,
  isPathSegmentName,
} from "#machinery/validation.ts";
import type * as g from "../../generated/networking/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type IngressClass = g.IngressClass;

/** "true": Ingresses that name no class get this one. */
export const defaultIngressClassAnnotation = "ingressclass.kubernetes.io/is-default-class";
const controllerBytesMax = 250;
const scopes: readonly string[] = ["Cluster", "Namespace"];

const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

function validateScope(parameters: g.IngressClassParametersReference, path: string): FieldError[] {
  const { scope, namespace } = parameters;
  if (scope === undefined || scope === null) return [required(`${path}.scope`)];
  if (!scopes.includes(scope)) return [notSupported(`${path}.scope`, scope, scopes)];
  const at = `${path}.namespace`;
  if (scope === "Cluster") {
    return namespace === undefined ? [] : [forbidden(at, "`parameters.scope` is set to 'Cluster'")];
  }
  return namespace === undefined
    ? [required(at, "`parameters.scope` is set to 'Namespace'")]
    : each(at, namespace, isDns1123Label(namespace));
}

function validateParameters({ spec }: IngressClass): FieldError[] {
  const { parameters } = spec;
  if (parameters === undefined) return [];
  const path = "spec.parameters";
  const { apiGroup, kind, name } = parameters;
  const errors: FieldError[] = [];
  if (apiGroup !== undefined) {
    errors.push(...each(`${path}.apiGroup`, apiGroup, isDns1123Subdomain(apiGroup)));
  }
  if (kind === "") errors.push(declared(required(`${path}.kind`)));
  else errors.push(...each(`${path}.kind`, kind, isPathSegmentName(kind)));
  if (name === "") errors.push(declared(required(`${path}.name`)));
  else errors.push(...each(`${path}.name`, name, isPathSegmentName(name)));
  return [...errors, ...validateScope(parameters, path)];
}

function validateIngressClass(object: IngressClass): FieldError[] {
  const { controller = "" } = object.spec;
  const errors: FieldError[] = [];
  if (new TextEncoder().encode(controller).length > controllerBytesMax) {
    errors.push(tooLong("spec.controller", controllerBytesMax));
  }
  errors.push(...isDomainPrefixedPath("spec.controller", controller));
  return [...errors, ...validateParameters(object)];
}

function parametersCell({ spec: { parameters } }: IngressClass): string {
  if (parameters === undefined) return "<none>";
  const { kind, apiGroup, name } = parameters;
  return `${apiGroup === undefined ? kind : `${kind}.${apiGroup}`}/${name}`;
}

const nameCell = ({ metadata }: IngressClass): string =>
  metadata.annotations?.[defaultIngressClassAnnotation] === "true"
    ? `${metadata.name} (default)`
    : (metadata.name ?? "");

export const IngressClass = defineResource<IngressClass>({
  group: "networking.k8s.io",
  version: "v1",
  plural: "ingressclasses",
  printerColumns: [
    { name: "Name", format: "name", value: nameCell },
    { name: "Controller", value: ({ spec }) => spec.controller ?? "" },
    { name: "Parameters", value: parametersCell },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    defaults({ spec }) {
      if (spec.parameters !== undefined) spec.parameters.scope ??= "Cluster";
    },
    validate: validateIngressClass,
    validateUpdate: (object, old) => [
      ...validateImmutable(
        object.spec.controller ?? "",
        old.spec.controller ?? "",
        "spec.controller",
      ),
      ...validateIngressClass(object),
    ],
  },
});
