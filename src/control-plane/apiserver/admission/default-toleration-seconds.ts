/** DefaultTolerationSeconds: a pod that says nothing else stays five minutes on a node that is not ready or not reachable. */
import type { Pod } from "#api/generated/core/v1.ts";
import { type AdmissionPlugin, isAbout } from "./admission.ts";

const seconds = 300;
const keys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

export const defaultTolerationSeconds: AdmissionPlugin = {
  name: "DefaultTolerationSeconds",
  handles: (request) =>
    (request.operation === "CREATE" || request.operation === "UPDATE") &&
    isAbout(request, "", "pods"),
  admit({ object }) {
    const { spec } = object as Pod;
    const present = spec.tolerations ?? [];
    const missing = keys.filter(
      (key) =>
        !present.some(
          (one) =>
            (one.key === key || one.key === undefined || one.key === "") &&
            (one.effect === "NoExecute" || one.effect === undefined || one.effect === ""),
        ),
    );
    if (missing.length === 0) return;
    spec.tolerations = [
      ...present,
      ...missing.map((key) => ({
        key,
        operator: "Exists" as const,
        effect: "NoExecute" as const,
        tolerationSeconds: seconds,
      })),
    ];
  },
};
