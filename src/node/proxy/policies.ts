/**
 * The NetworkPolicies as the proxy sees them: reads policies and, once there is one, every Pod and Namespace. Writes nothing.
 */
import { Namespace } from "#api/core/v1/namespace.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { NetworkPolicy } from "#api/networking/v1/networkpolicy.ts";
import { namespaceIndex } from "#client/cache.ts";
import type { Informers } from "#client/informer.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import type { DataplaneFact } from "#ports/dataplane.ts";
import { type DnsEndpoint, policyFacts } from "./policy-facts.ts";

/** A change of its slices concerns policies, too: the proxy, which follows them, says so. */
export const dnsServiceKey = "kube-system/kube-dns";

export interface Policies {
  /** Resolves when what is there now is known, and with it who may speak with whom. */
  readonly synced: Promise<void>;
  facts(): ReadonlyMap<string, DataplaneFact>;
  stop(): void;
}

const podMatters = ({ metadata, spec, status }: Pod) => [
  metadata.labels,
  spec.nodeName,
  status.podIPs,
  status.podIP,
  status.phase === "Succeeded" || status.phase === "Failed",
];

/** `changed`: what facts() gives may be different now. */
export function watchPolicies(
  informers: Informers,
  nodeName: string,
  changed: () => void,
): Policies {
  const ends: (() => void)[] = [];
  const policies = informers.get(NetworkPolicy);
  const onAny = <T extends ApiObject>(matters: (object: T) => unknown) => ({
    added: () => changed(),
    updated: (object: T, old: T) => {
      if (!equalObjects(matters(object), matters(old))) changed();
    },
    deleted: () => changed(),
  });
  let others: Promise<unknown> | undefined;
  const watchOthers = (): Promise<unknown> => {
    others ??= (() => {
      const pods = informers.get(Pod);
      const namespaces = informers.get(Namespace);
      ends.push(
        pods.addHandlers(onAny(podMatters)),
        namespaces.addHandlers(onAny(({ metadata }) => metadata.labels)),
      );
      return Promise.all([pods.synced, namespaces.synced]).then(changed);
    })();
    return others;
  };
  ends.push(
    policies.addHandlers({
      added: () => {
        void watchOthers();
        changed();
      },
      updated: changed,
      deleted: changed,
    }),
  );
  return {
    synced: policies.synced.then(async () => {
      if ([...policies.list()].length > 0) await watchOthers();
    }),
    facts() {
      if (others === undefined) return new Map();
      const [pods, namespaces] = [informers.get(Pod), informers.get(Namespace)];
      // Until both are known nobody can say who is who; their arrival is a change.
      if (!pods.isSynced || !namespaces.isSynced) return new Map();
      return policyFacts({
        nodeName,
        policies: policies.list(),
        namespaces: namespaces.list(),
        podsIn: (namespace) => pods.byIndex(namespaceIndex, namespace),
        dns: dnsEndpoints(informers),
      });
    },
    stop() {
      for (const end of ends) end();
    },
  };
}

function dnsEndpoints(informers: Informers): DnsEndpoint[] {
  return informers
    .get(EndpointSlice)
    .byIndex("service", dnsServiceKey)
    .flatMap(({ endpoints, ports }) =>
      (endpoints ?? [])
        // What stands for a pod is told by the pod.
        .filter(({ targetRef }) => targetRef?.kind !== "Pod")
        .flatMap(({ addresses }) =>
          addresses.flatMap((address) =>
            (ports ?? []).flatMap(({ port, protocol }) =>
              port === undefined ? [] : [{ address, port, protocol: protocol ?? "TCP" }],
            ),
          ),
        ),
    );
}
