/** Admission of what connects: webhooks may refuse an exec, attach, port-forward or proxy by its options. */
import type { ApiRequest } from "#api/request.ts";
import type { ApiObject } from "#machinery/meta.ts";
import type { Admission } from "./admission/admission.ts";
import type { ChainContext } from "./chain.ts";
import { queryFlag, queryValue } from "./request-info.ts";

type Options = (request: ApiRequest, path: string) => object;

/** Upstream: output is always meant, whatever was asked. */
const streams = (request: ApiRequest): object => {
  const container = queryValue(request, "container") ?? "";
  return {
    ...(queryFlag(request, "stdin") ? { stdin: true } : {}),
    stdout: true,
    stderr: true,
    ...(queryFlag(request, "tty") ? { tty: true } : {}),
    ...(container === "" ? {} : { container }),
  };
};
const all = (request: ApiRequest, name: string): string[] =>
  request.query.filter(([key]) => key === name).map(([, value]) => value);
const proxied: Options = (_, path) => (path === "" ? {} : { path });

const kinds: Readonly<Record<string, readonly [kind: string, options: Options]>> = {
  "pods/attach": ["PodAttachOptions", streams],
  "pods/exec": [
    "PodExecOptions",
    (request) => ({ ...streams(request), command: all(request, "command") }),
  ],
  "pods/portforward": [
    "PodPortForwardOptions",
    (request) => {
      const ports = all(request, "ports")
        .flatMap((text) => text.split(","))
        .map(Number);
      return ports.length === 0 ? {} : { ports };
    },
  ],
  "pods/proxy": ["PodProxyOptions", proxied],
  "services/proxy": ["ServiceProxyOptions", proxied],
  "nodes/proxy": ["NodeProxyOptions", proxied],
};

/** Returns when nobody refuses. */
export async function admitConnect(context: ChainContext, admission: Admission): Promise<void> {
  const { info, request, user, warnings } = context;
  const known = kinds[`${info.resource}/${info.subresource}`];
  if (known === undefined) return;
  const [kind, options] = known;
  const rest = info.parts.slice(3).join("/");
  const path = rest === "" && !request.path.endsWith("/") ? "" : `/${rest}`;
  // Options are no object of the API: they have no metadata.
  const object = { kind, apiVersion: "v1", ...options(request, path) } as unknown as ApiObject;
  await admission.review({
    operation: "CONNECT",
    group: info.group,
    version: info.version,
    kind,
    plural: info.resource,
    subresource: info.subresource,
    namespace: info.namespace,
    name: info.name,
    object,
    oldObject: undefined,
    user,
    dryRun: false,
    warnings,
  });
}
