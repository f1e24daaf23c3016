/** ServiceAccount: every pod has a service account that exists, its token mounted where clients look for it, its pull secrets. */
import type { Container, Pod, ServiceAccount, Volume } from "#api/generated/core/v1.ts";
import { generateName } from "#machinery/names.ts";
import type { Random } from "#ports/random.ts";
import type { Reader } from "../reader.ts";
import { type AdmissionPlugin, type AdmissionRequest, isAbout, refuse } from "./admission.ts";

const volumeName = "kube-api-access";
const mountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Upstream: one hour and seven seconds, by which its server tells injected tokens from requested ones. */
const tokenSeconds = 3607;
const mirrorAnnotation = "kubernetes.io/config.mirror";
const serviceAccounts = { group: "", plural: "serviceaccounts" };

function tokenVolume(name: string): Volume {
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: tokenSeconds, path: "token" } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        {
          downwardAPI: {
            items: [
              {
                path: "namespace",
                fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" },
              },
            ],
          },
        },
      ],
    },
  };
}

/** Adds the mount where the container has nothing there yet. */
function mountInto(containers: Container[] | undefined, name: string): boolean {
  let mounted = false;
  for (const container of containers ?? []) {
    const mounts = container.volumeMounts ?? [];
    if (mounts.some((mount) => mount.mountPath === mountPath)) continue;
    container.volumeMounts = [...mounts, { name, readOnly: true, mountPath }];
    mounted = true;
  }
  return mounted;
}

function mountToken({ spec }: Pod, random: Random): void {
  const present = spec.volumes?.find((volume) => volume.name.startsWith(`${volumeName}-`));
  const name = present?.name ?? generateName(`${volumeName}-`, random);
  const inInit = mountInto(spec.initContainers, name);
  const inMain = mountInto(spec.containers, name);
  if (present !== undefined || (!inInit && !inMain)) return;
  spec.volumes = [...(spec.volumes ?? []), tokenVolume(name)];
}

async function accountOf(
  request: AdmissionRequest,
  reader: Reader,
  name: string,
): Promise<ServiceAccount> {
  const { namespace } = request;
  let found = reader.get(serviceAccounts, namespace, name);
  if (found === undefined) {
    await reader.fresh();
    found = reader.get(serviceAccounts, namespace, name);
  }
  if (found !== undefined) return found;
  throw refuse(
    request,
    `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`,
  );
}

function validateMirrorPod(request: AdmissionRequest, { spec }: Pod): void {
  if (spec.serviceAccountName !== undefined && spec.serviceAccountName !== "")
    throw refuse(request, "a mirror pod may not reference service accounts");
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const refersToSecret =
    (spec.imagePullSecrets ?? []).length > 0 ||
    (spec.volumes ?? []).some((volume) => volume.secret !== undefined) ||
    containers.some(
      ({ env = [], envFrom = [] }) =>
        env.some((one) => one.valueFrom?.secretKeyRef !== undefined) ||
        envFrom.some((one) => one.secretRef !== undefined),
    );
  if (refersToSecret) throw refuse(request, "a mirror pod may not reference secrets");
  const projectsToken = (spec.volumes ?? []).some((volume) =>
    (volume.projected?.sources ?? []).some((source) => source.serviceAccountToken !== undefined),
  );
  if (projectsToken)
    throw refuse(request, "a mirror pod may not use ServiceAccountToken volume projections");
}

export const serviceAccount: AdmissionPlugin = {
  name: "ServiceAccount",
  handles: (request) => request.operation === "CREATE" && isAbout(request, "", "pods"),
  async admit(request, { reader, random }) {
    const pod = request.object as Pod;
    const { spec } = pod;
    if (pod.metadata.annotations?.[mirrorAnnotation] !== undefined) {
      validateMirrorPod(request, pod);
      return;
    }
    if (spec.serviceAccountName === undefined || spec.serviceAccountName === "")
      spec.serviceAccountName = "default";
    spec.serviceAccount = spec.serviceAccountName;
    const account = await accountOf(request, reader, spec.serviceAccountName);
    const automount =
      spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
    if (automount) mountToken(pod, random);
    if ((spec.imagePullSecrets ?? []).length === 0 && account.imagePullSecrets !== undefined)
      spec.imagePullSecrets = account.imagePullSecrets.map((secret) => ({ ...secret }));
  },
};
