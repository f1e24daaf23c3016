/**
 * The part of CRI v1 that the kubelet uses, and containerd's event stream, as .proto texts. Names and
 * numbers are the published API's. Enums are declared int32, which is the same on the wire; a request
 * and a reply of one shape share a message.
 */

const sandboxMessages = `
message Metadata { string name = 1; string uid = 2; string namespace = 3; uint32 attempt = 4; }
message DNSConfig { repeated string servers = 1; repeated string searches = 2; repeated string options = 3; }
message NamespaceOption { int32 network = 1; int32 pid = 2; int32 ipc = 3; string target_id = 4; }
message Int64Value { int64 value = 1; }
message UInt64Value { uint64 value = 1; }
message SecurityProfile { int32 profile_type = 1; string localhost_ref = 2; }
message LinuxSandboxSecurityContext {
  NamespaceOption namespace_options = 1; Int64Value run_as_user = 3; Int64Value run_as_group = 8;
  bool readonly_rootfs = 4; repeated int64 supplemental_groups = 5; bool privileged = 6;
  SecurityProfile seccomp = 9;
}
message Resources {
  int64 cpu_period = 1; int64 cpu_quota = 2; int64 cpu_shares = 3; int64 memory_limit_in_bytes = 4;
  int64 oom_score_adj = 5; string cpuset_cpus = 6; string cpuset_mems = 7; map<string, string> unified = 9;
}
message LinuxPodSandboxConfig {
  string cgroup_parent = 1; LinuxSandboxSecurityContext security_context = 2; map<string, string> sysctls = 3;
}
message PodSandboxConfig {
  Metadata metadata = 1; string hostname = 2; string log_directory = 3; DNSConfig dns_config = 4;
  map<string, string> labels = 6; map<string, string> annotations = 7; LinuxPodSandboxConfig linux = 8;
}
message RunPodSandboxRequest { PodSandboxConfig config = 1; string runtime_handler = 2; }
message SandboxId { string pod_sandbox_id = 1; }
message PodIP { string ip = 1; }
message NetworkStatus { string ip = 1; repeated PodIP additional_ips = 2; }
message PodSandboxStatus {
  string id = 1; Metadata metadata = 2; int32 state = 3; int64 created_at = 4; NetworkStatus network = 5;
  map<string, string> labels = 7; map<string, string> annotations = 8;
}
message PodSandboxStatusResponse { PodSandboxStatus status = 1; }
message Filter { map<string, string> label_selector = 3; }
message FilterRequest { Filter filter = 1; }
message PodSandbox {
  string id = 1; Metadata metadata = 2; int32 state = 3; int64 created_at = 4;
  map<string, string> labels = 5; map<string, string> annotations = 6;
}
message ListPodSandboxResponse { repeated PodSandbox items = 1; }
`;

const containerMessages = `
message ContainerMetadata { string name = 1; uint32 attempt = 2; }
message ImageSpec { string image = 1; }
message KeyValue { string key = 1; string value = 2; }
message Mount { string container_path = 1; string host_path = 2; bool readonly = 3; int32 propagation = 5; }
message Capability { repeated string add_capabilities = 1; repeated string drop_capabilities = 2; }
message LinuxContainerSecurityContext {
  Capability capabilities = 1; bool privileged = 2; NamespaceOption namespace_options = 3;
  Int64Value run_as_user = 5; Int64Value run_as_group = 12; string run_as_username = 6;
  bool readonly_rootfs = 7; repeated int64 supplemental_groups = 8; bool no_new_privs = 11;
  repeated string masked_paths = 13; repeated string readonly_paths = 14;
  SecurityProfile seccomp = 15; SecurityProfile apparmor = 16;
}
message LinuxContainerConfig { Resources resources = 1; LinuxContainerSecurityContext security_context = 2; }
message ContainerConfig {
  ContainerMetadata metadata = 1; ImageSpec image = 2; repeated string command = 3; repeated string args = 4;
  string working_dir = 5; repeated KeyValue envs = 6; repeated Mount mounts = 7;
  map<string, string> labels = 9; map<string, string> annotations = 10; string log_path = 11;
  bool stdin = 12; bool stdin_once = 13; bool tty = 14; LinuxContainerConfig linux = 15;
}
message CreateContainerRequest { string pod_sandbox_id = 1; ContainerConfig config = 2; PodSandboxConfig sandbox_config = 3; }
message ContainerId { string container_id = 1; }
message StopContainerRequest { string container_id = 1; int64 timeout = 2; }
message Container {
  string id = 1; string pod_sandbox_id = 2; ContainerMetadata metadata = 3; ImageSpec image = 4; string image_ref = 5;
  int32 state = 6; int64 created_at = 7; map<string, string> labels = 8; map<string, string> annotations = 9;
}
message ListContainersResponse { repeated Container containers = 1; }
message ContainerFilter { string id = 1; map<string, string> label_selector = 4; }
message ContainerFilterRequest { ContainerFilter filter = 1; }
message ContainerStatus {
  string id = 1; ContainerMetadata metadata = 2; int32 state = 3; int64 created_at = 4; int64 started_at = 5;
  int64 finished_at = 6; int32 exit_code = 7; ImageSpec image = 8; string image_ref = 9; string reason = 10;
  string message = 11; map<string, string> labels = 12; map<string, string> annotations = 13; string log_path = 15;
}
message ContainerStatusResponse { ContainerStatus status = 1; }
message UpdateContainerResourcesRequest { string container_id = 1; Resources linux = 2; }
message ExecSyncRequest { string container_id = 1; repeated string cmd = 2; int64 timeout = 3; }
message ExecSyncResponse { bytes stdout = 1; bytes stderr = 2; int32 exit_code = 3; }
message ExecRequest { string container_id = 1; repeated string cmd = 2; bool tty = 3; bool stdin = 4; bool stdout = 5; bool stderr = 6; }
message AttachRequest { string container_id = 1; bool stdin = 2; bool tty = 3; bool stdout = 4; bool stderr = 5; }
message PortForwardRequest { string pod_sandbox_id = 1; repeated int32 port = 2; }
message Url { string url = 1; }
`;

const imageAndStatsMessages = `
message Empty {}
message VersionRequest { string version = 1; }
message VersionResponse { string version = 1; string runtime_name = 2; string runtime_version = 3; string runtime_api_version = 4; }
message RuntimeCondition { string type = 1; bool status = 2; string reason = 3; string message = 4; }
message RuntimeStatus { repeated RuntimeCondition conditions = 1; }
message StatusResponse { RuntimeStatus status = 1; }
message ImageRequest { ImageSpec image = 1; bool verbose = 2; }
message Image { string id = 1; repeated string repo_tags = 2; repeated string repo_digests = 3; uint64 size = 4; Int64Value uid = 5; string username = 6; }
message ListImagesResponse { repeated Image images = 1; }
message ImageStatusResponse { Image image = 1; map<string, string> info = 2; }
message AuthConfig { string username = 1; string password = 2; string server_address = 4; }
message PullImageRequest { ImageSpec image = 1; AuthConfig auth = 2; }
message PullImageResponse { string image_ref = 1; }
message FilesystemIdentifier { string mountpoint = 1; }
message FilesystemUsage { int64 timestamp = 1; FilesystemIdentifier fs_id = 2; UInt64Value used_bytes = 3; UInt64Value inodes_used = 4; }
message ImageFsInfoResponse { repeated FilesystemUsage image_filesystems = 1; }
message CpuUsage { int64 timestamp = 1; UInt64Value usage_core_nano_seconds = 2; }
message MemoryUsage {
  int64 timestamp = 1; UInt64Value working_set_bytes = 2; UInt64Value usage_bytes = 4; UInt64Value rss_bytes = 5;
  UInt64Value page_faults = 6; UInt64Value major_page_faults = 7;
}
message ContainerAttributes { string id = 1; }
message ContainerStats { ContainerAttributes attributes = 1; CpuUsage cpu = 2; MemoryUsage memory = 3; FilesystemUsage writable_layer = 4; }
message StatsFilter { map<string, string> label_selector = 3; }
message StatsRequest { StatsFilter filter = 1; }
message ListContainerStatsResponse { repeated ContainerStats stats = 1; }
message NetworkInterfaceUsage { string name = 1; UInt64Value rx_bytes = 2; UInt64Value rx_errors = 3; UInt64Value tx_bytes = 4; UInt64Value tx_errors = 5; }
message NetworkUsage { int64 timestamp = 1; NetworkInterfaceUsage default_interface = 2; }
message LinuxPodSandboxStats { NetworkUsage network = 3; }
message PodSandboxStats { LinuxPodSandboxStats linux = 2; }
message PodSandboxStatsResponse { PodSandboxStats stats = 1; }
`;

export const criProto = `syntax = "proto3";
package runtime.v1;
service RuntimeService {
  rpc Version(VersionRequest) returns (VersionResponse) {}
  rpc Status(Empty) returns (StatusResponse) {}
  rpc RunPodSandbox(RunPodSandboxRequest) returns (SandboxId) {}
  rpc StopPodSandbox(SandboxId) returns (Empty) {}
  rpc RemovePodSandbox(SandboxId) returns (Empty) {}
  rpc PodSandboxStatus(SandboxId) returns (PodSandboxStatusResponse) {}
  rpc ListPodSandbox(FilterRequest) returns (ListPodSandboxResponse) {}
  rpc CreateContainer(CreateContainerRequest) returns (ContainerId) {}
  rpc StartContainer(ContainerId) returns (Empty) {}
  rpc StopContainer(StopContainerRequest) returns (Empty) {}
  rpc RemoveContainer(ContainerId) returns (Empty) {}
  rpc ListContainers(ContainerFilterRequest) returns (ListContainersResponse) {}
  rpc ContainerStatus(ContainerId) returns (ContainerStatusResponse) {}
  rpc UpdateContainerResources(UpdateContainerResourcesRequest) returns (Empty) {}
  rpc ReopenContainerLog(ContainerId) returns (Empty) {}
  rpc ExecSync(ExecSyncRequest) returns (ExecSyncResponse) {}
  rpc Exec(ExecRequest) returns (Url) {}
  rpc Attach(AttachRequest) returns (Url) {}
  rpc PortForward(PortForwardRequest) returns (Url) {}
  rpc PodSandboxStats(SandboxId) returns (PodSandboxStatsResponse) {}
  rpc ListContainerStats(StatsRequest) returns (ListContainerStatsResponse) {}
}
service ImageService {
  rpc ListImages(Empty) returns (ListImagesResponse) {}
  rpc ImageStatus(ImageRequest) returns (ImageStatusResponse) {}
  rpc PullImage(PullImageRequest) returns (PullImageResponse) {}
  rpc RemoveImage(ImageRequest) returns (Empty) {}
  rpc ImageFsInfo(Empty) returns (ImageFsInfoResponse) {}
}
${sandboxMessages}${containerMessages}${imageAndStatsMessages}`;

export const eventsProto = `syntax = "proto3";
package containerd.services.events.v1;
service Events { rpc Subscribe(SubscribeRequest) returns (stream Envelope) {} }
message SubscribeRequest { repeated string filters = 1; }
message Any { string type_url = 1; bytes value = 2; }
message Envelope { string namespace = 2; string topic = 3; Any event = 4; }
`;
