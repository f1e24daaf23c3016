/**
 * Roles of what runs beside upstream's components: the DNS servers and the ingress of the nodes, and what a node's proxy and DNS need
 * where they speak with the node's own certificate. Rules and holders are written as in bootstrap-roles.ts.
 */

const dns = [
  "list,watch core services,namespaces",
  "list,watch discovery.k8s.io endpointslices",
  "get core nodes",
];
const dnsHolders = ["User system:kube-dns", "Group system:nodes"];
const ingressHolders = ["User system:wherry-ingress"];

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
  // The proxies enforce NetworkPolicies.
  "wherry:network-policy": [
    "list,watch core pods,namespaces",
    "list,watch networking.k8s.io networkpolicies",
  ],
  "wherry:node-proxier": [
    "list,watch core endpoints,services",
    "get,list,watch core nodes",
    "create,patch,update core,events.k8s.io events",
    "list,watch networking.k8s.io servicecidrs",
    "list,watch discovery.k8s.io endpointslices",
  ],
};

export const ownClusterRoleHolders: Readonly<Record<string, readonly string[]>> = {
  "wherry:dns": dnsHolders,
  "wherry:ingress": ingressHolders,
  "wherry:ingress-status": ["ServiceAccount kube-system/ingress-status-controller"],
  "wherry:network-policy": ["User system:kube-proxy", "Group system:nodes"],
  "wherry:node-proxier": ["Group system:nodes"],
};

/** Each node's DNS server publishes itself as an endpoint of its Service, each ingress as one of a name without a Service. */
export const ownNamespacedRoles: Readonly<Record<string, readonly string[]>> = {
  "kube-system/wherry:dns-endpoints": ["get,create,patch discovery.k8s.io endpointslices"],
  "kube-system/wherry:ingress-endpoints": [
    "get,create,patch,delete discovery.k8s.io endpointslices",
  ],
};

export const ownNamespacedRoleHolders: Readonly<
  Record<string, { readonly role: string; readonly holders: readonly string[] }>
> = {
  "kube-system/wherry:dns-endpoints": { role: "wherry:dns-endpoints", holders: dnsHolders },
  "kube-system/wherry:ingress-endpoints": {
    role: "wherry:ingress-endpoints",
    holders: ingressHolders,
  },
};
