/**
 * Good values for every field of every type, from the schema: a field's name or its type's says more than "a text" where upstream's
 * validation wants more. Of a union each member stands in a value of its own.
 */
import type { ObjectSchema, Schema } from "#machinery/schema.ts";
import type { Json } from "./mask.ts";

type Value = { [key: string]: Json };

const sources =
  "gcePersistentDisk awsElasticBlockStore hostPath glusterfs nfs rbd iscsi cinder cephfs fc flocker flexVolume azureFile " +
  "vsphereVolume quobyte azureDisk photonPersistentDisk portworxVolume scaleIO local storageos csi";
const members: Readonly<Record<string, string>> = {
  PersistentVolumeSpec: sources,
  Volume: `${sources} emptyDir gitRepo secret configMap downwardAPI projected persistentVolumeClaim ephemeral image`,
  VolumeProjection:
    "secret downwardAPI configMap serviceAccountToken clusterTrustBundle podCertificate",
  Probe: "exec httpGet tcpSocket grpc",
  LifecycleHandler: "exec httpGet tcpSocket sleep",
  EnvVarSource: "fieldRef resourceFieldRef configMapKeyRef secretKeyRef fileKeyRef",
  EnvVar: "value valueFrom",
  EnvFromSource: "configMapRef secretRef",
  PersistentVolumeClaimSpec: "dataSource dataSourceRef",
  ContainerState: "waiting running terminated",
  WebhookClientConfig: "url service",
  IngressBackend: "service resource",
  ServiceBackendPort: "name number",
  NetworkPolicyPeer: "podSelector ipBlock",
  VolumeAttachmentSource: "persistentVolumeName inlineVolumeSpec",
  PodFailurePolicyRule: "onExitCodes onPodConditions",
  PodResourceClaim: "resourceClaimName resourceClaimTemplateName",
  JobResourceClaim: "resourceClaimName resourceClaimTemplateName",
  PriorityLevelConfigurationSpec: "limited exempt",
  ParamRef: "name selector",
  ClusterTrustBundleProjection: "name signerName",
  DownwardAPIVolumeFile: "fieldRef resourceFieldRef",
  PodSchedulingGroup: "podGroupName",
  PodGroupSchedulingPolicy: "basic gang",
  JobSchedulingPolicy: "basic gang",
  DisruptionMode: "single all",
  JobDisruptionMode: "single all",
  FCVolumeSource: "targetWWNs wwids",
  FlockerVolumeSource: "datasetName datasetUUID",
  PolicyRule: "resources nonResourceURLs",
};
/** What a value that is there for one member of a union has besides: of the rest only what it cannot do without. */
const needed: Readonly<Record<string, string>> = {
  Container: "name image",
  EphemeralContainer: "name image",
  Volume: "name",
  PersistentVolumeSpec: "capacity accessModes",
  EnvVar: "name",
  DownwardAPIVolumeFile: "path",
  PodFailurePolicyRule: "action",
  PodResourceClaim: "name",
  JobResourceClaim: "name",
  PriorityLevelConfigurationSpec: "type",
  ParamRef: "parameterNotFoundAction",
  ClusterTrustBundleProjection: "path",
  ContainerStatus: "name image imageID ready restartCount",
  WebhookClientConfig: "caBundle",
  PolicyRule: "verbs",
};

/** By "Type.field", else by the field's name. */
const values: Readonly<Record<string, Json>> = {
  name: "a",
  namespace: "oracle",
  kind: "Pod",
  apiVersion: "v1",
  apiGroup: "example.com",
  uid: "00000000-0000-0000-0000-000000000001",
  resourceVersion: "1",
  generateName: "a-",
  path: "a",
  mountPath: "/a",
  key: "a",
  operator: "In",
  fsType: "ext4",
  endpoints: "a",
  server: "nfs.example.com",
  host: "a.example.com",
  hostname: "a",
  ip: "192.0.2.7",
  podIP: "192.0.2.7",
  hostIP: "192.0.2.8",
  url: "https://a.example.com/a",
  driver: "csi.example.com",
  storage: "1Gi",
  port: 80,
  number: 80,
  containerPort: 80,
  image: "a:1",
  expression: "true",
  conditionType: "example.com/a",
  reason: "Reason",
  status: "True",
  targetWWNs: ["500a0982991b8dc5"],
  effect: "NoExecute",
  whenUnsatisfiable: "DoNotSchedule",
  topologyKey: "zone",
  expirationSeconds: 3600,
  signerName: "example.com/a",
  keyType: "ED25519",
  requestName: "a",
  procMount: "Default",
  schedulerName: "other",
  runtimeClassName: "a",
  "ObjectMeta.selfLink": "/a",
  "ObjectMeta.name": "a",
  "ObjectMeta.annotations": { "example.com/a": "b" },
  "ObjectMeta.labels": { a: "b" },
  "ObjectMeta.finalizers": ["example.com/a"],
  "ManagedFieldsEntry.operation": "Update",
  "ManagedFieldsEntry.fieldsType": "FieldsV1",
  "ManagedFieldsEntry.fieldsV1": { "f:a": {} },
  "HostPathVolumeSource.path": "/a",
  "HostPathVolumeSource.type": "Directory",
  "NFSVolumeSource.path": "/a",
  "LocalVolumeSource.path": "/a",
  "CephFSVolumeSource.path": "/a",
  "CephFSPersistentVolumeSource.path": "/a",
  "CephFSVolumeSource.monitors": ["192.0.2.1:6789"],
  "CephFSPersistentVolumeSource.monitors": ["192.0.2.1:6789"],
  "HTTPGetAction.path": "/a",
  "HTTPGetAction.scheme": "HTTPS",
  "HTTPHeader.name": "X-A",
  "ServiceReference.path": "/a",
  "HTTPIngressPath.path": "/a",
  "ISCSIVolumeSource.iqn": "iqn.2020-01.com.example:a",
  "ISCSIPersistentVolumeSource.iqn": "iqn.2020-01.com.example:a",
  "ISCSIVolumeSource.initiatorName": "iqn.2020-01.com.example:b",
  "ISCSIPersistentVolumeSource.initiatorName": "iqn.2020-01.com.example:b",
  "ISCSIVolumeSource.targetPortal": "192.0.2.1:3260",
  "ISCSIPersistentVolumeSource.targetPortal": "192.0.2.1:3260",
  "ISCSIVolumeSource.portals": ["192.0.2.2:3260"],
  "ISCSIPersistentVolumeSource.portals": ["192.0.2.2:3260"],
  "QuobyteVolumeSource.registry": "a.example.com:7861",
  "AzureDiskVolumeSource.diskURI": "https://a.blob.core.windows.net/a/a.vhd",
  "AzureDiskVolumeSource.kind": "Dedicated",
  "AzureDiskVolumeSource.cachingMode": "ReadOnly",
  "FlexVolumeSource.driver": "example.com/a",
  "FlexPersistentVolumeSource.driver": "example.com/a",
  "FlockerVolumeSource.datasetName": "a",
  "ScaleIOVolumeSource.storageMode": "ThinProvisioned",
  "ScaleIOPersistentVolumeSource.storageMode": "ThinProvisioned",
  "EmptyDirVolumeSource.medium": "Memory",
  "GitRepoVolumeSource.directory": "a",
  "ObjectFieldSelector.fieldPath": "metadata.name",
  "ObjectFieldSelector.apiVersion": "v1",
  "ResourceFieldSelector.resource": "limits.cpu",
  "ResourceFieldSelector.divisor": "1",
  "ResourceFieldSelector.containerName": "a",
  "KeyToPath.mode": 256,
  "DownwardAPIVolumeFile.mode": 256,
  defaultMode: 256,
  "PodOS.name": "linux",
  "PodSpec.restartPolicy": "Always",
  "PodSpec.dnsPolicy": "Default",
  "PodSpec.preemptionPolicy": "Never",
  "PodSpec.priorityClassName": "system-node-critical",
  "PodSpec.hostnameOverride": "a",
  "PodDNSConfig.nameservers": ["192.0.2.53"],
  "PodDNSConfig.searches": ["example.com"],
  "PodSpec.nodeSelector": { a: "b" },
  "PodAffinityTerm.matchLabelKeys": ["pod-template-hash"],
  "PodAffinityTerm.mismatchLabelKeys": ["mismatched"],
  "TopologySpreadConstraint.matchLabelKeys": ["pod-template-hash"],
  "WeightedPodAffinityTerm.weight": 5,
  "Toleration.operator": "Equal",
  "NodeSelectorRequirement.operator": "In",
  "LabelSelectorRequirement.operator": "NotIn",
  "LabelSelectorRequirement.values": ["c"],
  "NodeSelectorTerm.matchFields": [{ key: "metadata.name", operator: "In", values: ["a"] }],
  "PodSpec.overhead": { cpu: "1" },
  "Container.restartPolicy": "Always",
  "Subject.apiGroup": "rbac.authorization.k8s.io",
  "LabelSelector.matchLabels": { a: "b" },
  "Container.imagePullPolicy": "Always",
  "EphemeralContainer.imagePullPolicy": "Always",
  "ContainerPort.protocol": "UDP",
  "ContainerPort.hostPort": 80,
  "ContainerPort.hostIP": "192.0.2.1",
  "VolumeMount.recursiveReadOnly": "Disabled",
  "VolumeMount.mountPropagation": "None",
  "VolumeMount.subPath": "a",
  "ContainerResizePolicy.resourceName": "cpu",
  "ContainerResizePolicy.restartPolicy": "NotRequired",
  "Capabilities.add": ["NET_ADMIN"],
  "Capabilities.drop": ["ALL"],
  "SeccompProfile.type": "Localhost",
  "SeccompProfile.localhostProfile": "a.json",
  "AppArmorProfile.type": "Localhost",
  "AppArmorProfile.localhostProfile": "a",
  "WindowsSecurityContextOptions.hostProcess": false,
  "Sysctl.name": "kernel.shm_rmid_forced",
  "Sysctl.value": "1",
  "PodSecurityContext.fsGroupChangePolicy": "OnRootMismatch",
  "PodSecurityContext.supplementalGroupsPolicy": "Strict",
  "PodSecurityContext.seLinuxChangePolicy": "Recursive",
  "ResourceRequirements.limits": { cpu: "2" },
  "ResourceRequirements.requests": { cpu: "1" },
  "VolumeResourceRequirements.limits": { storage: "2Gi" },
  "VolumeResourceRequirements.requests": { storage: "1Gi" },
  capacity: { storage: "1Gi" },
  accessModes: ["ReadWriteOnce"],
  parameterNotFoundAction: "Deny",
  volumeMode: "Filesystem",
  persistentVolumeReclaimPolicy: "Retain",
  "PersistentVolumeClaimSpec.dataSource": { apiGroup: "example.com", kind: "Image", name: "a" },
  "PersistentVolumeClaimSpec.dataSourceRef": {
    apiGroup: "example.com",
    kind: "Image",
    name: "a",
    namespace: "oracle",
  },
  mountOptions: ["hard"],
  "Lifecycle.stopSignal": "SIGTERM",
  "ImageVolumeSource.pullPolicy": "Always",
  "ImageVolumeSource.reference": "a:1",
  "PodReadinessGate.conditionType": "example.com/a",
  "PodSchedulingGate.name": "example.com/a",
  "HostAlias.ip": "192.0.2.9",
  "HostAlias.hostnames": ["a.example.com"],
  "ContainerRestartRule.action": "Restart",
  "ContainerRestartRuleOnExitCodes.operator": "In",
  "ContainerRestartRuleOnExitCodes.values": [3],
  "PodFailurePolicyRule.action": "FailJob",
  "PodFailurePolicyOnExitCodesRequirement.values": [3],
  "SuccessPolicyRule.succeededIndexes": "0",
  "Webhook.timeoutSeconds": 5,
  failurePolicy: "Ignore",
  matchPolicy: "Exact",
  "LeaseSpec.strategy": "OldestEmulationVersion",
  "EndpointHints.forNodes": [{ name: "a" }],
  "ServiceSpec.loadBalancerIP": "192.0.2.9",
  "IPBlock.cidr": "192.0.2.0/24",
  "IPBlock.except": ["192.0.2.64/26"],
  "NetworkPolicyPort.port": 80,
  "NetworkPolicyPort.endPort": 90,
  "PolicyRule.verbs": ["get"],
  "PolicyRule.resourceNames": ["a"],
  "AuditAnnotation.valueExpression": "'a'",
  "Endpoint.addresses": ["192.0.2.7"],
  labelSelector: { matchLabels: { a: "b" } },
  "CertificateSigningRequestCondition.type": "Approved",
  protocol: "TCP",
};
const scalarValue = (schema: Schema): Json | undefined => {
  switch (schema.type) {
    case "string":
      return "a";
    case "boolean":
      return true;
    case "int32":
    case "int64":
    case "float64":
      return 1;
    case "bytes":
      return "YQ==";
    case "time":
      return "2020-01-01T00:00:00Z";
    case "microTime":
      return "2020-01-01T00:00:00.000000Z";
    case "duration":
      return "1s";
    case "quantity":
      return "1";
    case "intOrString":
      return 1;
    case "any":
    case "fields":
      return {};
    default:
      return undefined;
  }
};

/** Only some of the places of these types may have them: they get a value of their own. */
const apart = new Set([
  "Probe.terminationGracePeriodSeconds",
  "VolumeMount.subPathExpr",
  "EnvVarSource.fileKeyRef",
  "ResourceRequirements.claims",
]);
/** Too much stands in these for one object: their lists have one item, and an object for each of its fields. */
const large = new Set(["Container", "EphemeralContainer", "Volume", "ContainerStatus"]);
export const isLarge = (schema: Schema): schema is ObjectSchema =>
  schema.type === "object" && large.has(shortName(schema));

const shortName = (schema: ObjectSchema): string => schema.name.split(".").at(-1) ?? "";
const words = (text: string | undefined): readonly string[] => text?.split(" ") ?? [];
/** The fields of a type of which one may be set. */
export function membersOf(schema: ObjectSchema): readonly string[] {
  const told = members[shortName(schema)];
  if (told === undefined) return (schema.unions ?? []).flatMap(({ fields }) => fields);
  return words(told).filter((name) => schema.fields.has(name));
}

const fits = (value: Json, schema: Schema): boolean => {
  if (schema.type === "list") return Array.isArray(value);
  if (schema.type === "map") return typeof value === "object" && !Array.isArray(value);
  if (schema.type === "int32" || schema.type === "int64") return typeof value === "number";
  if (schema.type === "intOrString") return true;
  if (schema.type === "string" || schema.type === "quantity") return typeof value === "string";
  return false;
};

/** Each of them good as the value of the field; together they have all that can stand in it. */
export function goodValues(
  schema: Schema,
  owner: string,
  field: string,
  choice?: readonly string[],
  above: readonly string[] = [],
): readonly Json[] {
  const own = values[`${owner}.${field}`];
  if (
    own !== undefined &&
    (fits(own, schema) || schema.type === "object" || typeof own !== "object")
  )
    return schema.type === "list" && !Array.isArray(own) ? [[own]] : [own];
  const named = values[field];
  if (named !== undefined && fits(named, schema)) return [named];
  if (schema.type === "list") {
    const items = goodValues(schema.items, owner, field, choice, above);
    return items.length === 0 ? [] : [items.map((item, at) => distinct(item, at, schema.keys))];
  }
  if (schema.type === "map")
    return goodValues(schema.values, owner, field, choice, above).map((one) => ({ a: one }));
  if (schema.type === "object") return goodObjects(schema, above);
  const [first] = choice ?? [];
  const value = first ?? scalarValue(schema);
  return value === undefined ? [] : [value];
}

/** Items of one list must differ in their keys, or in their names. */
function distinct(item: Json, at: number, keys: readonly string[]): Json {
  if (at === 0 || item === null || typeof item !== "object" || Array.isArray(item)) return item;
  const object = item as Value;
  const told = keys.length > 0 ? keys.slice(0, 1) : ["name", "path"].filter((key) => key in object);
  return told.reduce<Value>((now, key) => {
    const value = now[key];
    if (typeof value === "number") return { ...now, [key]: value + at };
    return typeof value === "string" ? { ...now, [key]: `${value}${at}` } : now;
  }, object);
}

function goodObjects(schema: ObjectSchema, above: readonly string[]): readonly Json[] {
  if (above.includes(schema.name)) return [{}];
  const type = shortName(schema);
  const within = [...above, schema.name];
  const union = membersOf(schema).filter((name) => !apart.has(`${type}.${name}`));
  const of = (name: string): readonly Json[] => {
    const field = schema.fields.get(name);
    return field === undefined ? [] : goodValues(field.schema, type, name, field.enum, within);
  };
  const rest = [...schema.fields.keys()].filter(
    (name) => !union.includes(name) && !apart.has(`${type}.${name}`),
  );
  const all = rest.map((name) => [name, of(name)] as const).filter(([, held]) => held.length > 0);
  const first = Object.fromEntries(all.map(([name, held]) => [name, held[0] as Json]));
  const least = (): Value => leastOf(schema, first);
  const more = Math.max(1, ...all.map(([, held]) => held.length));
  const variants: Value[] = [first];
  for (let at = 1; at < more; at += 1) {
    const further = all.flatMap(([name, held]) => {
      const value = held[at];
      return value === undefined ? [] : [[name, value] as const];
    });
    variants.push({ ...least(), ...Object.fromEntries(further) });
  }
  const [[unionFirst, ...unionRest] = [], ...others] = union.map((name) =>
    of(name).map((value) => ({ [name]: value })),
  );
  if (unionFirst !== undefined) variants[0] = { ...first, ...unionFirst };
  for (const one of [...(unionRest ?? []), ...others.flat()]) variants.push({ ...least(), ...one });
  for (const name of [...schema.fields.keys()].filter((one) => apart.has(`${type}.${one}`))) {
    const basis = membersOf(schema).includes(name) ? least() : { ...least(), ...unionFirst };
    for (const value of of(name)) variants.push({ ...basis, [name]: value });
  }
  return variants;
}

/** What it cannot do without, as `whole` has it. */
function leastOf(schema: ObjectSchema, whole: Value): Value {
  const must = [...schema.fields].filter(
    ([name, field]) => words(needed[shortName(schema)]).includes(name) || field.required,
  );
  return Object.fromEntries(
    must.flatMap(([name]) => {
      const value = whole[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

/** The item that stands in the list of a large type before one of its fields is set. */
export function seedOf(schema: ObjectSchema): Json {
  const [whole] = goodObjects(schema, []);
  const least = leastOf(schema, whole as Value);
  return "name" in least ? { ...least, name: "seed" } : least;
}
