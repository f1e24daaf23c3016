/** NamespaceLifecycle: nothing is created in a namespace that is missing or ending; the cluster's own namespaces stay. */
import type { Namespace } from "#api/generated/core/v1.ts";
import { forbiddenError, notFound } from "#machinery/status-error.ts";
import { type AdmissionPlugin, refuse } from "./admission.ts";

const immortal = new Set(["default", "kube-system", "kube-public"]);
const namespaces = { group: "", plural: "namespaces" };
/** Reviews look at permissions, not at namespaces. */
const reviews = new Set(["localsubjectaccessreviews"]);

export const namespaceLifecycle: AdmissionPlugin = {
  name: "NamespaceLifecycle",
  handles: ({ operation }) => operation === "CREATE" || operation === "DELETE",
  async admit(request, { reader }) {
    const { operation, group, plural, namespace, name } = request;
    const isNamespace = group === "" && plural === "namespaces";
    if (isNamespace) {
      if (operation === "DELETE" && immortal.has(name))
        throw forbiddenError(namespaces, name, "this namespace may not be deleted");
      return;
    }
    if (namespace === "" || operation === "DELETE" || reviews.has(plural)) return;
    let found = reader.get(namespaces, "", namespace);
    if (found === undefined) {
      await reader.fresh();
      found = reader.get(namespaces, "", namespace);
    }
    if (found === undefined) throw notFound(namespaces, namespace);
    if ((found as Namespace).status.phase !== "Terminating") return;
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    const error = refuse(request, why);
    error.status.details ??= {};
    error.status.details.causes = [
      {
        reason: "NamespaceTerminating",
        message: `namespace ${namespace} is being terminated`,
        field: "metadata.namespace",
      },
    ];
    throw error;
  },
};
