/** DefaultIngressClass: an Ingress that names no class gets the one that is marked as the default. */

import type { Ingress } from "#api/networking/v1/ingress.ts";
import { ingressClassAnnotation } from "#api/networking/v1/ingress-validation.ts";
import {
  defaultIngressClassAnnotation,
  type IngressClass,
} from "#api/networking/v1/ingressclass.ts";
import { compareUtf8 } from "#machinery/object.ts";
import type { Reader } from "../reader.ts";
import { type AdmissionPlugin, isAbout } from "./admission.ts";

const ingressClasses = { group: "networking.k8s.io", plural: "ingressclasses" };

/** Of several defaults the newest; of several made in the same second the first by name. */
function defaultClass(reader: Reader): string | undefined {
  const marked = [...reader.list(ingressClasses)]
    .map((object) => (object as IngressClass).metadata)
    .filter(({ annotations }) => annotations?.[defaultIngressClassAnnotation] === "true")
    .toSorted(
      (a, b) =>
        compareUtf8(b.creationTimestamp ?? "", a.creationTimestamp ?? "") ||
        compareUtf8(a.name ?? "", b.name ?? ""),
    );
  return marked[0]?.name;
}

export const defaultIngressClass: AdmissionPlugin = {
  name: "DefaultIngressClass",
  handles: (request) =>
    request.operation === "CREATE" && isAbout(request, "networking.k8s.io", "ingresses"),
  admit({ object }, { reader }) {
    const { spec, metadata } = object as Ingress;
    if (spec.ingressClassName !== undefined) return;
    if (metadata.annotations?.[ingressClassAnnotation] !== undefined) return;
    const name = defaultClass(reader);
    if (name !== undefined) spec.ingressClassName = name;
  },
};
