/** Which wherry this is, and which Kubernetes it is. */
export const version = "0.1.0";
export const kubernetesVersion = "v1.37.2";
