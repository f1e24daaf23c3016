/** NetworkPolicy: which pods may speak with whom. */
import {
  declared,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { cidrContains, parseCidrSloppy } from "#machinery/ip.ts";
import { cidrWarnings } from "#machinery/ip-warnings.ts";
import { formatLabelSelector, validateLabelSelector } from "#machinery/selector.ts";
import { isPortName, isPortNumber, isValidCidrForLegacyField } from "#machinery/validation.ts";
import type * as g from "../../generated/networking/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type NetworkPolicy = g.NetworkPolicy;

const protocols: readonly string[] = ["TCP", "UDP", "SCTP"];
const policyTypes: readonly string[] = ["Ingress", "Egress"];

const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

/** Its rules with their paths, from whichever side. */
interface Rule {
  readonly path: string;
  readonly ports: readonly g.NetworkPolicyPort[];
  readonly peersPath: string;
  readonly peers: readonly g.NetworkPolicyPeer[];
}
function rulesOf({ spec }: NetworkPolicy): Rule[] {
  const ingress = (spec.ingress ?? []).map(({ ports = [], from = [] }, i): Rule => {
    const path = `spec.ingress[${i}]`;
    return { path, ports, peersPath: `${path}.from`, peers: from };
  });
  const egress = (spec.egress ?? []).map(({ ports = [], to = [] }, i): Rule => {
    const path = `spec.egress[${i}]`;
    return { path, ports, peersPath: `${path}.to`, peers: to };
  });
  return [...ingress, ...egress];
}

function validatePort({ protocol, port, endPort }: g.NetworkPolicyPort, path: string) {
  const errors: FieldError[] = [];
  if (protocol !== undefined && !protocols.includes(protocol)) {
    errors.push(notSupported(`${path}.protocol`, protocol, protocols));
  }
  const at = `${path}.endPort`;
  if (typeof port === "number") {
    errors.push(...each(`${path}.port`, port, isPortNumber(port)));
    if (endPort === undefined) return errors;
    if (endPort < port) {
      errors.push(invalid(at, endPort, "must be greater than or equal to `port`"));
    }
    return [...errors, ...each(at, endPort, isPortNumber(endPort))];
  }
  if (endPort !== undefined) {
    const what = port === undefined ? "not specified" : "non-numeric";
    errors.push(invalid(at, endPort, `may not be specified when \`port\` is ${what}`));
  }
  if (port !== undefined) errors.push(...each(`${path}.port`, port, isPortName(port)));
  return errors;
}

function validateBlock(
  { cidr, except = [] }: g.IPBlock,
  path: string,
  known: ReadonlySet<string>,
): FieldError[] {
  if (cidr === "") return [declared(required(`${path}.cidr`))];
  const check = (at: string, value: string): FieldError[] =>
    isValidCidrForLegacyField(at, value, !known.has(value));
  const errors = check(`${path}.cidr`, cidr);
  const whole = parseCidrSloppy(cidr)?.cidr;
  if (whole === undefined) return errors;
  for (const [i, one] of except.entries()) {
    const at = `${path}.except[${i}]`;
    errors.push(...check(at, one));
    const part = parseCidrSloppy(one)?.cidr;
    if (part === undefined) continue;
    if (!cidrContains(whole, part.base) || whole.prefixLength >= part.prefixLength) {
      errors.push(invalid(at, one, "must be a strict subset of `cidr`"));
    }
  }
  return errors;
}

function validatePeer(
  { podSelector, namespaceSelector, ipBlock }: g.NetworkPolicyPeer,
  path: string,
  known: ReadonlySet<string>,
): FieldError[] {
  const errors: FieldError[] = [];
  if (podSelector !== undefined) {
    errors.push(...validateLabelSelector(podSelector, `${path}.podSelector`));
  }
  if (namespaceSelector !== undefined) {
    errors.push(...validateLabelSelector(namespaceSelector, `${path}.namespaceSelector`));
  }
  if (ipBlock !== undefined) errors.push(...validateBlock(ipBlock, `${path}.ipBlock`, known));
  const selects = podSelector !== undefined || namespaceSelector !== undefined;
  if (!selects && ipBlock === undefined) errors.push(required(path, "must specify a peer"));
  else if (selects && ipBlock !== undefined) {
    errors.push(forbidden(path, "may not specify both ipBlock and another peer"));
  }
  return errors;
}

function validateTypes({ spec }: NetworkPolicy): FieldError[] {
  const { policyTypes: types = [] } = spec;
  const path = "spec.policyTypes";
  if (types.length > policyTypes.length) {
    return [invalid(path, types, "may not specify more than two policyTypes")];
  }
  return types.flatMap((type, i) =>
    policyTypes.includes(type) ? [] : [notSupported(`${path}[${i}]`, type, policyTypes)],
  );
}

/** Blocks that are stored already stay accepted, wherever in the policy they are now. */
function knownBlocks(old: NetworkPolicy | undefined): ReadonlySet<string> {
  const peers = old === undefined ? [] : rulesOf(old).flatMap((rule) => rule.peers);
  return new Set(
    peers.flatMap(({ ipBlock }) =>
      ipBlock === undefined ? [] : [ipBlock.cidr, ...(ipBlock.except ?? [])],
    ),
  );
}

function validateNetworkPolicy(policy: NetworkPolicy, old: NetworkPolicy | undefined) {
  const known = knownBlocks(old);
  const errors = validateLabelSelector(policy.spec.podSelector, "spec.podSelector");
  for (const { path, ports, peersPath, peers } of rulesOf(policy)) {
    for (const [i, port] of ports.entries())
      errors.push(...validatePort(port, `${path}.ports[${i}]`));
    for (const [i, peer] of peers.entries()) {
      errors.push(...validatePeer(peer, `${peersPath}[${i}]`, known));
    }
  }
  return [...errors, ...validateTypes(policy)];
}

function networkPolicyWarnings(policy: NetworkPolicy): string[] {
  return rulesOf(policy).flatMap(({ peersPath, peers }) =>
    peers.flatMap(({ ipBlock }, i) => {
      if (ipBlock === undefined) return [];
      const path = `${peersPath}[${i}].ipBlock`;
      const except = (ipBlock.except ?? []).flatMap((one, k) =>
        cidrWarnings(`${path}.except[${k}]`, one),
      );
      return [...cidrWarnings(`${path}.cidr`, ipBlock.cidr), ...except];
    }),
  );
}

export const NetworkPolicy = defineResource<NetworkPolicy>({
  group: "networking.k8s.io",
  version: "v1",
  plural: "networkpolicies",
  printerColumns: [
    { name: "Pod-Selector", value: ({ spec }) => formatLabelSelector(spec.podSelector) },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    defaults(policy) {
      const { spec } = policy;
      if ((spec.policyTypes ?? []).length === 0) {
        const both = (spec.egress ?? []).length > 0;
        spec.policyTypes = both ? ["Ingress", "Egress"] : ["Ingress"];
      }
      for (const { ports } of rulesOf(policy)) for (const port of ports) port.protocol ??= "TCP";
    },
    validate: (policy) => validateNetworkPolicy(policy, undefined),
    validateUpdate: validateNetworkPolicy,
    warnings: networkPolicyWarnings,
  },
});
