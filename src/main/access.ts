/** What an administrator on this machine needs to reach a cluster: read from the certificates beside its data. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterPaths } from "./allotment.ts";
import type { ClusterAccess } from "./kubeconfig.ts";

export function adminAccess(paths: ClusterPaths, name: string, server: string): ClusterAccess {
  const read = (file: string): string => readFileSync(join(paths.certificates, file), "utf8");
  return {
    name,
    server,
    caPem: read("ca.crt"),
    clientCertificatePem: read("admin.crt"),
    clientKeyPem: read("admin.key"),
  };
}
