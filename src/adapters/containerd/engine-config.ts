/**
 * What our own containerd is told: its configuration file (containerd 1.6, 1.7: version 2; containerd 2:
 * version 3) and the CNI network list of its pods. Pure: settings in, texts out.
 *
 * Cgroups are made by path (the cgroupfs driver, Kubernetes' default) on every machine: the Host port
 * makes and limits the pods' groups under the same paths that sandboxes name.
 */

export interface EngineSettings {
  readonly root: string;
  readonly state: string;
  readonly socket: string;
  readonly optDirectory: string;
  readonly cniConfDirectory: string;
  readonly cniBinDirectory: string;
  /** Directories of registry hosts (certs.d); the first that knows a host is asked. */
  readonly registryDirectories: readonly string[];
  readonly sandboxImage: string;
  /** Without CAP_SYS_RESOURCE nothing may be made less likely to be killed than containerd is. */
  readonly restrictOomScore: boolean;
  /** Where the streaming server listens; a port of 0 is any free one. */
  readonly streamAddress: string;
  readonly streamPort: number;
}

/** A TOML basic string. */
const quoted = (text: string): string => JSON.stringify(text);

function head(version: number, settings: EngineSettings): string {
  return `# Written anew at each start; changes are lost.
version = ${version}
root = ${quoted(settings.root)}
state = ${quoted(settings.state)}
[grpc]
  address = ${quoted(settings.socket)}
[ttrpc]
  address = ${quoted(`${settings.socket}.ttrpc`)}
[debug]
  level = "warn"
[plugins."io.containerd.internal.v1.opt"]
  path = ${quoted(settings.optDirectory)}
`;
}

function version2(settings: EngineSettings): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `${head(2, settings)}[${cri}]
  sandbox_image = ${quoted(settings.sandboxImage)}
  restrict_oom_score_adj = ${settings.restrictOomScore}
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  stream_server_address = ${quoted(settings.streamAddress)}
  stream_server_port = ${quoted(String(settings.streamPort))}
[${cri}.cni]
  bin_dir = ${quoted(settings.cniBinDirectory)}
  conf_dir = ${quoted(settings.cniConfDirectory)}
[${cri}.registry]
  config_path = ${quoted(settings.registryDirectories.join(":"))}
[${cri}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[${cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[${cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
`;
}

function version3(settings: EngineSettings): string {
  const images = "plugins.'io.containerd.cri.v1.images'";
  const runtime = "plugins.'io.containerd.cri.v1.runtime'";
  return `${head(3, settings)}[${images}]
  snapshotter = "overlayfs"
[${images}.pinned_images]
  sandbox = ${quoted(settings.sandboxImage)}
[${images}.registry]
  config_path = ${quoted(settings.registryDirectories.join(":"))}
[${runtime}]
  restrict_oom_score_adj = ${settings.restrictOomScore}
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
[${runtime}.cni]
  bin_dir = ${quoted(settings.cniBinDirectory)}
  conf_dir = ${quoted(settings.cniConfDirectory)}
[${runtime}.containerd]
  default_runtime_name = "runc"
[${runtime}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[${runtime}.containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_address = ${quoted(settings.streamAddress)}
  stream_server_port = ${quoted(String(settings.streamPort))}
`;
}

export interface EngineVersion {
  readonly text: string;
  readonly major: number;
  readonly minor: number;
}

/** Out of `containerd --version`: "containerd github.com/containerd/containerd v1.7.2 …". */
export function readEngineVersion(output: string): EngineVersion | undefined {
  const match = /\bv?(\d+)\.(\d+)\.(\d+)\S*/.exec(output);
  if (match === null) return undefined;
  return { text: match[0].replace(/^v/, ""), major: Number(match[1]), minor: Number(match[2]) };
}

export const engineConfig = (version: EngineVersion, settings: EngineSettings): string =>
  version.major >= 2 ? version3(settings) : version2(settings);

export interface PodNetwork {
  readonly name: string;
  /** One for each family. */
  readonly podCidrs: readonly string[];
  /** host-local's record of addresses in use. */
  readonly ipamDirectory: string;
  readonly mtu?: number;
}

/** ptp: a veth pair a pod, the gateway's address on the host's end; no bridge, no hairpin, no portmap. */
export function networkList(network: PodNetwork): string {
  const everywhere = network.podCidrs.map((cidr) => (cidr.includes(":") ? "::/0" : "0.0.0.0/0"));
  const plugin = {
    type: "ptp",
    ipMasq: false,
    ...(network.mtu === undefined ? {} : { mtu: network.mtu }),
    ipam: {
      type: "host-local",
      dataDir: network.ipamDirectory,
      ranges: network.podCidrs.map((subnet) => [{ subnet }]),
      routes: everywhere.map((dst) => ({ dst })),
    },
  };
  const list = { cniVersion: "0.4.0", name: network.name, plugins: [plugin] };
  return `${JSON.stringify(list, undefined, 2)}\n`;
}
