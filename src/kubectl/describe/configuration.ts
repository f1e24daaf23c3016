/** Descriptions of configuration, identities and rights. */
import type { ConfigMap, Secret, ServiceAccount } from "#api/generated/core/v1.ts";
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
} from "#api/generated/rbac/v1.ts";
import type { PriorityClass } from "#api/generated/scheduling/v1.ts";
import { base64ByteLength, decodeBase64 } from "#machinery/base64.ts";
import type { Describe } from "./describe.ts";
import { writeEvents } from "./events.ts";
import { type Page, writeAnnotations, writeHead, writeLabels } from "./page.ts";

const sorted = (
  data: Readonly<Record<string, string>> | undefined,
): (readonly [string, string])[] =>
  Object.entries(data ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));

export const describeConfigMap: Describe = async (page, object) => {
  const map = object as unknown as ConfigMap;
  writeHead(page, map);
  page.line(0, "\nData\n====");
  for (const [key, value] of sorted(map.data)) page.line(0, `${key}:\n----\n${value}\n`);
  page.line(0, "\nBinaryData\n====");
  for (const [key, value] of sorted(map.binaryData))
    page.line(0, `${key}: ${base64ByteLength(value)} bytes`);
  page.line(0, "");
  await writeEvents(page, object);
};

const decoded = (text: string): string => {
  const read = decodeBase64(text);
  return "bytes" in read ? new TextDecoder().decode(read.bytes) : "";
};

export const describeSecret: Describe = (page, object) => {
  const secret = object as unknown as Secret;
  writeHead(page, secret);
  page.line(0, `\nType:\t${secret.type ?? ""}`);
  page.line(0, "\nData\n====");
  const showsToken = secret.type === "kubernetes.io/service-account-token";
  for (const [key, value] of sorted(secret.data)) {
    page.line(
      0,
      `${key}:\t${key === "token" && showsToken ? decoded(value) : `${base64ByteLength(value)} bytes`}`,
    );
  }
  return Promise.resolve();
};

export const describeServiceAccount: Describe = async (page, object) => {
  const account = object as unknown as ServiceAccount;
  writeHead(page, account);
  const pulls = (account.imagePullSecrets ?? []).map(({ name = "" }) => name);
  const title = "Image pull secrets:";
  if (pulls.length === 0) page.line(0, `${title}\t<none>`);
  for (const [i, name] of pulls.entries()) {
    page.line(0, `${i === 0 ? title : " ".repeat(title.length)}\t${name}`);
  }
  await writeEvents(page, object);
};

export const describePriorityClass: Describe = async (page, object) => {
  const { metadata, value, globalDefault, preemptionPolicy, description } =
    object as unknown as PriorityClass;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  page.line(0, `Value:\t${value}`);
  page.line(0, `GlobalDefault:\t${globalDefault === true}`);
  page.line(0, `PreemptionPolicy:\t${preemptionPolicy ?? ""}`);
  page.line(0, `Description:\t${description ?? ""}`);
  writeAnnotations(page, "Annotations", metadata.annotations);
  await writeEvents(page, object);
};

/** Rules with one resource and one verb list a line, as upstream compacts them. */
function writeRules(page: Page, rules: readonly PolicyRule[] | undefined): void {
  page.line(0, "PolicyRule:");
  page.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
  page.line(1, "---------\t-----------------\t--------------\t-----");
  const byKey = new Map<
    string,
    { resources: string; urls: string; names: string; verbs: string[] }
  >();
  for (const rule of rules ?? []) {
    const names = `[${(rule.resourceNames ?? []).join(" ")}]`;
    const urls = `[${(rule.nonResourceURLs ?? []).join(" ")}]`;
    const combined = (rule.apiGroups ?? []).flatMap((group) =>
      (rule.resources ?? []).map((resource) => (group === "" ? resource : `${resource}.${group}`)),
    );
    for (const resources of combined.length === 0 ? [""] : combined) {
      const key = `${resources} ${urls} ${names}`;
      const known = byKey.get(key);
      if (known === undefined) byKey.set(key, { resources, urls, names, verbs: [...rule.verbs] });
      else known.verbs.push(...rule.verbs.filter((verb) => !known.verbs.includes(verb)));
    }
  }
  const rows = [...byKey.values()].toSorted((a, b) =>
    a.resources < b.resources ? -1 : a.resources > b.resources ? 1 : a.urls < b.urls ? -1 : 1,
  );
  for (const { resources, urls, names, verbs } of rows) {
    page.line(1, `${resources}\t${urls}\t${names}\t[${verbs.join(" ")}]`);
  }
}

export const describeRole: Describe = (page, object) => {
  const { metadata, rules } = object as unknown as Role | ClusterRole;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  writeRules(page, rules);
  return Promise.resolve();
};

export const describeRoleBinding: Describe = (page, object) => {
  const {
    metadata,
    roleRef,
    subjects = [],
  } = object as unknown as RoleBinding | ClusterRoleBinding;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, "Role:");
  page.line(1, `Kind:\t${roleRef.kind}`);
  page.line(1, `Name:\t${roleRef.name}`);
  page.line(0, "Subjects:");
  page.line(1, "Kind\tName\tNamespace");
  page.line(1, "----\t----\t---------");
  for (const { kind, name, namespace = "" } of subjects)
    page.line(1, `${kind}\t${name}\t${namespace}`);
  return Promise.resolve();
};
