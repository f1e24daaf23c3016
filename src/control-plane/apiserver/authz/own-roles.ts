/**
 * Roles of what runs beside upstream's components: the DNS servers and the ingress of the nodes, the provisioner of volumes, and
 * what a node's proxy and DNS need where they speak with the node's own certificate. Rules and holders are written as in
 * bootstrap-roles.ts.
 */

const dns = [
  "list,watch core services,namespaces",
  "list,watch discovery.k8s.io endpointslices",
  "get core nodes",
];
const dnsHolders = ["User system:kube-dns", "Group system:nodes"];
const ingressHolders = ["User system:wherry-ingress"];

/** Machines that have shown a bootstrap token. */
export const joiners = "system:bootstrappers:wherry:default-node-token";

interface Holders {
  readonly role: string;
  readonly holders: readonly string[];
}

export const ownClusterRoles: Readonly<Record<string, readonly string[]>> = {
  "wherry:dns": dns,
  "wherry:ingress": [
    "list,watch core services,secrets",
    "list,watch discovery.k8s.io endpointslices",
    "list,watch networking.k8s.io ingresses,ingressclasses",
    "create,patch,update core,events.k8s.io events",
  ],
  "wherry:ingress-status": [
    "get,list,watch networking.k8s.io ingresses,ingressclasses",
    "update networking.k8s.io ingresses/status",
  ],
  // Under upstream's names: who installs upstream's metrics-server finds its roles there.
  "system:aggregated-metrics-reader": ["get,list,watch metrics.k8s.io nodes,pods"],
  "system:metrics-server": ["get core nodes/metrics", "get,list,watch core nodes,pods"],
  // The proxies enforce NetworkPolicies.
  "wherry:network-policy": [
    "list,watch core pods,namespaces",
    "list,watch networking.k8s.io networkpolicies",
  ],
  "wherry:local-path-provisioner": [
    "create,delete,get,list,update,watch core persistentvolumes",
    "get,list,update,watch core persistentvolumeclaims",
    "get,list,watch storage.k8s.io storageclasses",
    "get,list,watch core nodes",
    "create,delete core nodes/proxy",
    "create,patch,update core,events.k8s.io events",
  ],
  "wherry:node-proxier": [
    "list,watch core endpoints,services",
    "get,list,watch core nodes",
    "create,patch,update core,events.k8s.io events",
    "list,watch networking.k8s.io servicecidrs",
    "list,watch discovery.k8s.io endpointslices",
  ],
  // Upstream's controller approves no serving certificates. Whoever does not want nodes to get them by themselves takes the bindings away.
  "wherry:serving-approver": ["approve certificates.k8s.io signers kubernetes.io/kubelet-serving"],
  "wherry:selfnodeserver": ["create certificates.k8s.io certificatesigningrequests/selfnodeserver"],
};

export const ownClusterRoleHolders: Readonly<Record<string, Holders>> = {
  "wherry:dns": { role: "wherry:dns", holders: dnsHolders },
  "wherry:ingress": { role: "wherry:ingress", holders: ingressHolders },
  "wherry:ingress-status": {
    role: "wherry:ingress-status",
    holders: ["ServiceAccount kube-system/ingress-status-controller"],
  },
  "system:metrics-server": {
    role: "system:metrics-server",
    holders: ["ServiceAccount kube-system/metrics-server"],
  },
  "wherry:network-policy": {
    role: "wherry:network-policy",
    holders: ["User system:kube-proxy", "Group system:nodes"],
  },
  "wherry:local-path-provisioner": {
    role: "wherry:local-path-provisioner",
    holders: ["ServiceAccount kube-system/local-path-provisioner"],
  },
  "wherry:node-proxier": { role: "wherry:node-proxier", holders: ["Group system:nodes"] },
  "wherry:node-autoapprove-serving": {
    role: "wherry:selfnodeserver",
    holders: ["Group system:nodes"],
  },
  "wherry:serving-approver": {
    role: "wherry:serving-approver",
    holders: ["ServiceAccount kube-system/certificate-controller"],
  },
  "wherry:node-autoapprove-certificate-rotation": {
    role: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    holders: ["Group system:nodes"],
  },
  "wherry:node-autoapprove-bootstrap": {
    role: "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    holders: [`Group ${joiners}`],
  },
  "wherry:kubelet-bootstrap": { role: "system:node-bootstrapper", holders: [`Group ${joiners}`] },
};

/** ClusterRoles that add to others, by name: as labels say it. */
export const ownAggregatesTo: Readonly<Record<string, readonly string[]>> = {
  "system:aggregated-metrics-reader": ["view", "edit", "admin"],
};

/** Each node's DNS server publishes itself as an endpoint of its Service, each ingress as one of a name without a Service. */
export const ownNamespacedRoles: Readonly<Record<string, readonly string[]>> = {
  "kube-system/wherry:dns-endpoints": ["get,create,patch discovery.k8s.io endpointslices"],
  "kube-system/wherry:cluster-settings": ["get core configmaps wherry-cluster"],
  "kube-public/wherry:cluster-info": ["get core configmaps cluster-info"],
  "kube-system/wherry:ingress-endpoints": [
    "get,create,patch,delete discovery.k8s.io endpointslices",
  ],
};

export const ownNamespacedRoleHolders: Readonly<Record<string, Holders>> = {
  "kube-system/wherry:dns-endpoints": { role: "wherry:dns-endpoints", holders: dnsHolders },
  "kube-system/wherry:cluster-settings": {
    role: "wherry:cluster-settings",
    holders: ["Group system:nodes", `Group ${joiners}`],
  },
  "kube-public/wherry:cluster-info": {
    role: "wherry:cluster-info",
    holders: ["User system:anonymous"],
  },
  "kube-system/wherry:ingress-endpoints": {
    role: "wherry:ingress-endpoints",
    holders: ingressHolders,
  },
};
