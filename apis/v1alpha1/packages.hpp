// Package versions: what may be installed. Immutable, so that a name always means the same bytes: an upgrade is a new version, and the
// way back is the old one. Kept by a finalizer while something uses them.
#pragma once
#include "apis/v1alpha1/common.hpp"

namespace endstate::v1alpha1 {

// ---- MachinePackageVersion: one version of one thing on a worker ----

enum class InstallMethod : std::uint8_t { archive, deb, rpm };
consteval auto describe(const InstallMethod*) { return names("How the artifact is put on the host.", "Archive", "Deb", "Rpm"); }

struct Artifact {
  Text arch, url, sha256;
  std::optional<std::int64_t> size;
  friend bool operator==(const Artifact&, const Artifact&) = default;
};
consteval auto describe(const Artifact*) {
  return object("What is fetched for one processor architecture.",
                field<&Artifact::arch>("arch", "The architecture, as GOARCH has it (amd64, arm64).",
                                       {.required = true, .min_length = 1, .max_length = 16, .pattern = "^[a-z0-9]+$"}),
                field<&Artifact::url>("url", "Where it is fetched from.",
                                      {.required = true, .min_length = 1, .max_length = 2048, .pattern = "^(https?|file)://.+$"}),
                field<&Artifact::sha256>("sha256", "The SHA-256 of its bytes, in lower-case hex; anything else is refused by the host.",
                                         {.required = true, .max_length = 64, .pattern = "^[0-9a-f]{64}$"}),
                field<&Artifact::size>("sizeBytes",
                                       "How many bytes it has: a release is held back while a host has less than three times this free. "
                                       "Absent: not checked.",
                                       duration(1, 68'719'476'736)));
}

struct Install {
  InstallMethod method{};
  std::vector<Artifact> artifacts;
  Text destination;
  friend bool operator==(const Install&, const Install&) = default;
};
consteval auto describe(const Install*) {
  return object("How the package gets onto the host.", field<&Install::method>("method", "The kind of artifact.", {.required = true}),
                field<&Install::artifacts>("artifacts", "One for each processor architecture.",
                                           {.required = true, .min_items = 1, .max_items = 8, .list_key = "arch"}),
                field<&Install::destination>("destination", "Folder that an Archive is unpacked into; unset: /usr/local.",
                                             {.max_length = 255, .pattern = "^/.*$"}))
      .check("!has(self.destination) || self.method == 'Archive'", "destination is for method Archive only; leave it out for Deb and Rpm");
}

struct PackageRequirement {
  Text package_name, version;
  friend bool operator==(const PackageRequirement&, const PackageRequirement&) = default;
};
consteval auto describe(const PackageRequirement*) {
  return object("Another package that must be Ready first.",
                field<&PackageRequirement::package_name>("packageName", "Its packageName.", slot_name),
                field<&PackageRequirement::version>("version", "Prefix of its version (\"1.7.\"); unset: any.", text(63)));
}

struct PackageFile {
  Text path, content;
  std::optional<std::int64_t> mode;
  friend bool operator==(const PackageFile&, const PackageFile&) = default;
};
consteval auto describe(const PackageFile*) {
  return object("A file that the package owns: written when missing, put right when it drifts.",
                field<&PackageFile::path>("path", "Where it stands; absolute, without '..'.",
                                          {.required = true, .min_length = 2, .max_length = 255, .pattern = "^(/[^/]+)+$"}),
                field<&PackageFile::content>("content", "Its content, as text. No secrets: everyone who reads packages reads this.",
                                             text(65'536)),
                field<&PackageFile::mode>("mode", "Its mode bits, as a number (420 is 0644); unset: 420.", duration(0, 4095)))
      .check("!self.path.contains('/../') && !self.path.endsWith('/..')", "path must not contain '..'; write the folder that is meant");
}
inline std::int64_t mode(const PackageFile& f) { return f.mode.value_or(0644); }

struct Sysctl {
  Text name, value;
  friend bool operator==(const Sysctl&, const Sysctl&) = default;
};
consteval auto describe(const Sysctl*) {
  return object("A kernel parameter.",
                field<&Sysctl::name>("name", "Its name with dots, e.g. net.ipv4.ip_forward.",
                                     {.required = true, .min_length = 1, .max_length = 128, .pattern = "^[a-z0-9_.*/-]+$"}),
                field<&Sysctl::value>("value", "Its value.", {.required = true, .min_length = 1, .max_length = 128}));
}

struct KernelModule {
  Text name, parameters;
  friend bool operator==(const KernelModule&, const KernelModule&) = default;
};
consteval auto describe(const KernelModule*) {
  return object("A module of the kernel that the package needs: loaded before its files change, and again at each boot.",
                field<&KernelModule::name>("name", "Its name, e.g. br_netfilter.",
                                           {.required = true, .min_length = 1, .max_length = 63, .pattern = "^[A-Za-z0-9][A-Za-z0-9_-]*$"}),
                field<&KernelModule::parameters>(
                    "parameters", "Its parameters, for when it is loaded: a module that is loaded already keeps those that it has.",
                    {.max_length = 255, .pattern = "^[^\\n]*$"}));
}

enum class OnUpdate : std::uint8_t { restart, reload, none };
consteval auto describe(const OnUpdate*) { return names("What is done to the running unit after an update.", "Restart", "Reload", "None"); }

struct Service {
  Text unit, content;
  std::optional<OnUpdate> on_update;
  friend bool operator==(const Service&, const Service&) = default;
};
consteval auto describe(const Service*) {
  return object("The systemd unit that the package runs as.",
                field<&Service::unit>("unit", "The unit's name, e.g. kubelet.service.",
                                      {.required = true, .min_length = 1, .max_length = 128, .pattern = "^[A-Za-z0-9:_.@-]+$"}),
                field<&Service::content>("content", "The unit file; absent: the package brings it.", text(16'384)),
                field<&Service::on_update>("onUpdate", "What is done to the running unit after an update; unset: Restart."));
}
inline OnUpdate on_update(const Service& s) { return s.on_update.value_or(OnUpdate::restart); }

struct Probe {
  Text name;
  std::vector<Text> command;
  Text http_url;
  std::optional<std::chrono::seconds> timeout, period;
  std::optional<std::int64_t> failure_threshold;
  friend bool operator==(const Probe&, const Probe&) = default;
};
consteval auto describe(const Probe*) {
  return object("A question to the host after an install: the package is Ready when all of them succeed.",
                field<&Probe::name>("name", "Its name, for status.", slot_name),
                field<&Probe::command>("command", "A command that must end with 0.", {.max_length = 1024, .max_items = 32, .atomic = true}),
                field<&Probe::http_url>("httpURL", "A URL on the host itself that must answer 2xx.",
                                        {.max_length = 512, .pattern = "^https?://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:[0-9]+)?(/.*)?$"}),
                field<&Probe::timeout>("timeoutSeconds", "Longest one try; unset: 5.", duration(1, 600)),
                field<&Probe::period>("periodSeconds", "Time between tries; unset: 5.", duration(1, 600)),
                field<&Probe::failure_threshold>("failureThreshold", "Failed after this many bad tries in a row; unset: 12.",
                                                 duration(1, 1000)))
      .check("(has(self.command) && size(self.command) > 0) != has(self.httpURL)", "set exactly one of command and httpURL");
}
inline std::chrono::seconds timeout(const Probe& p) { return p.timeout.value_or(std::chrono::seconds(5)); }
inline std::chrono::seconds period(const Probe& p) { return p.period.value_or(std::chrono::seconds(5)); }
inline std::int64_t failure_threshold(const Probe& p) { return p.failure_threshold.value_or(12); }

enum class HookPoint : std::uint8_t { pre_install, post_install, pre_update, post_update, pre_uninstall, post_uninstall, pre_start };
consteval auto describe(const HookPoint*) {
  return names("When a hook runs. PreStart: each time before the agent starts or restarts the service.", "PreInstall", "PostInstall",
               "PreUpdate", "PostUpdate", "PreUninstall", "PostUninstall", "PreStart");
}
enum class HookFailure : std::uint8_t { fail, ignore };
consteval auto describe(const HookFailure*) { return names("What a failed hook means.", "Fail", "Ignore"); }

struct Hook {
  Text name;
  HookPoint point{};
  std::vector<Text> command;
  std::optional<std::chrono::seconds> timeout;
  std::optional<HookFailure> on_failure;
  std::optional<std::int64_t> priority;
  friend bool operator==(const Hook&, const Hook&) = default;
};
consteval auto describe(const Hook*) {
  return object(
      "A command at a point of the package's life. Hooks of one point run one by one, by priority, and in the order of this list.",
      field<&Hook::name>("name", "Its name, for status.", slot_name), field<&Hook::point>("point", "When it runs.", {.required = true}),
      field<&Hook::command>("command", "The command and its arguments.",
                            {.required = true, .max_length = 4096, .min_items = 1, .max_items = 32, .atomic = true}),
      field<&Hook::timeout>("timeoutSeconds", "Killed and failed after this; unset: 60.", duration(1, 3600)),
      field<&Hook::on_failure>("onFailure", "What its failure means for the package; unset: Fail."),
      field<&Hook::priority>("priority", "Hooks of one point run by this, the lowest first; unset: 100.", duration(0, 1000)));
}
inline std::chrono::seconds timeout(const Hook& h) { return h.timeout.value_or(std::chrono::seconds(60)); }
inline HookFailure on_failure(const Hook& h) { return h.on_failure.value_or(HookFailure::fail); }
inline std::int64_t priority(const Hook& h) { return h.priority.value_or(100); }

// In the order of what it costs: the largest of a machine's packages decides.
enum class Disruption : std::uint8_t { none, restart_service, drain, reboot };
consteval auto describe(const Disruption*) {
  return names("What installing it does to what runs on the machine.", "None", "RestartService", "Drain", "Reboot");
}

struct MachinePackageVersionSpec {
  Text package_name, version;
  Install install;
  std::vector<PackageRequirement> requires_;
  std::vector<PackageFile> files;
  std::vector<Sysctl> sysctls;
  std::vector<KernelModule> kernel_modules;
  std::optional<Service> service;
  std::vector<Probe> probes;
  std::vector<Hook> hooks;
  std::optional<Disruption> disruption;
  std::vector<ReadinessGate> readiness_gates;
  friend bool operator==(const MachinePackageVersionSpec&, const MachinePackageVersionSpec&) = default;
};
consteval auto describe(const MachinePackageVersionSpec*) {
  using S = MachinePackageVersionSpec;
  return object(
      "One version of one package, in full.",
      field<&S::package_name>("packageName", "What it is a version of: containerd, kubelet, ...", slot_name),
      field<&S::version>("version", "Its version, for people and for requires.",
                         {.required = true, .min_length = 1, .max_length = 63, .pattern = "^[A-Za-z0-9][A-Za-z0-9.+:~_-]*$"}),
      field<&S::install>("install", "How it gets onto the host.", {.required = true}),
      field<&S::requires_>("requires", "Packages that must be Ready before it.", list(16, "packageName")),
      field<&S::files>("files", "Files that it owns.", list(32, "path")),
      field<&S::sysctls>("sysctls", "Kernel parameters that it needs.", list(64, "name")),
      field<&S::kernel_modules>("kernelModules", "Modules of the kernel that it needs.", list(32, "name")),
      field<&S::service>("service", "The systemd unit that it runs as; absent: nothing runs."),
      field<&S::probes>("probes", "It is Ready when all of these succeed.", list(16, "name")),
      field<&S::hooks>("hooks", "Commands at points of its life, in order.", list(32, "name")),
      field<&S::disruption>("disruption", "What installing it does to what runs on the machine; unset: RestartService."),
      field<&S::readiness_gates>("readinessGates", "Conditions that machines with this package must have True before pods may come.",
                                 list(16, "conditionType")));
}
inline Disruption disruption(const MachinePackageVersionSpec& s) { return s.disruption.value_or(Disruption::restart_service); }

struct PackageVersionStatus {
  std::optional<std::int64_t> observed_generation;
  std::int64_t in_use_count = 0;
  std::vector<ObjectRef> in_use_by;  // the first 100 by key
  std::vector<Condition> conditions;
  friend bool operator==(const PackageVersionStatus&, const PackageVersionStatus&) = default;
};
consteval auto describe(const PackageVersionStatus*) {
  using S = PackageVersionStatus;
  return object("Who uses it.",
                field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
                field<&S::in_use_count>("inUseCount", "How many objects use it; it can't go before this is 0.", counter),
                field<&S::in_use_by>("inUseBy", "The first 100 of them, in order of their names.", {.max_items = 100, .atomic = true}),
                field<&S::conditions>("conditions", "Its conditions: Ready, Reconciling, Stalled.", condition_list));
}

struct MachinePackageVersion {
  ObjectMeta metadata;
  MachinePackageVersionSpec spec;
  PackageVersionStatus status;
  friend bool operator==(const MachinePackageVersion&, const MachinePackageVersion&) = default;
};
consteval auto describe(const MachinePackageVersion*) {
  using T = MachinePackageVersion;
  return object(
      "One version of one package of worker machines. Immutable: an upgrade refers to another version.",
      field<&T::metadata>("metadata", "Standard object metadata."),
      field<&T::spec>("spec", "What it is; never changes.",
                      {.required = true,
                       .cel = {{{"self == oldSelf", "a package version is immutable: create one with another name and refer to that"}}}}),
      field<&T::status>("status", "Who uses it; written by endstate."));
}
constexpr Resource resource(const MachinePackageVersion*) { return api("machinepackageversions", "MachinePackageVersion", false); }
inline constexpr Column machine_package_version_columns[] = {
    {"Package", "string", ".spec.packageName", "What it is a version of."},
    {"Version", "string", ".spec.version", "Its version."},
    {"Disruption", "string", ".spec.disruption", "What installing it does to what runs."},
    {"In use", "integer", ".status.inUseCount", "How many objects use it."},
    {"Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", "Whether it can be used."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Method", "string", ".spec.install.method", "How it is installed.", 1},
    {"Unit", "string", ".spec.service.unit", "The unit that it runs as.", 1},
};
constexpr Crd crd(const MachinePackageVersion*) {
  return {.singular = "machinepackageversion", .short_name = "empv", .category = category, .columns = machine_package_version_columns};
}

// ---- ClusterPackageVersion: the components of a control plane ----

struct ComponentResources {
  Labels requests, limits;
  friend bool operator==(const ComponentResources&, const ComponentResources&) = default;
};
consteval auto describe(const ComponentResources*) {
  return object(
      "Compute resources of a component's container.",
      field<&ComponentResources::requests>("requests", "What it is sure to get: cpu, memory.", {.max_length = 32, .max_properties = 8}),
      field<&ComponentResources::limits>("limits", "What it never gets more of.", {.max_length = 32, .max_properties = 8}));
}

struct Component {
  Text image;
  std::vector<Text> args;
  ComponentResources resources;
  friend bool operator==(const Component&, const Component&) = default;
};
consteval auto describe(const Component*) {
  return object(
      "One component of a control plane.",
      field<&Component::image>("image", "Its image, with a tag or, better, a digest.",
                               {.required = true, .min_length = 1, .max_length = 512, .pattern = "^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"}),
      field<&Component::args>("args", "Arguments beside those that endstate sets; the same flag here wins.",
                              {.max_length = 1024, .max_items = 64, .pattern = "^--.+$", .atomic = true}),
      field<&Component::resources>("resources", "Its compute resources."));
}

struct Components {
  Component etcd, kube_api_server, kube_controller_manager, kube_scheduler;
  friend bool operator==(const Components&, const Components&) = default;
};
consteval auto describe(const Components*) {
  return object("The components of a control plane.", field<&Components::etcd>("etcd", "The store.", {.required = true}),
                field<&Components::kube_api_server>("kubeAPIServer", "The API server.", {.required = true}),
                field<&Components::kube_controller_manager>("kubeControllerManager", "The controller manager.", {.required = true}),
                field<&Components::kube_scheduler>("kubeScheduler", "The scheduler.", {.required = true}));
}

struct Addon {
  Text name, manifest;
  friend bool operator==(const Addon&, const Addon&) = default;
};
consteval auto describe(const Addon*) {
  return object(
      "Objects that every cluster of this version gets.", field<&Addon::name>("name", "Its name, for status.", slot_name),
      field<&Addon::manifest>("manifest", "The objects, as YAML documents.", {.required = true, .min_length = 1, .max_length = 65'536}));
}

struct ClusterPackageVersionSpec {
  Text kubernetes_version;
  Components components;
  std::vector<Addon> addons;
  friend bool operator==(const ClusterPackageVersionSpec&, const ClusterPackageVersionSpec&) = default;
};
consteval auto describe(const ClusterPackageVersionSpec*) {
  using S = ClusterPackageVersionSpec;
  return object(
      "One version of a control plane, in full.",
      field<&S::kubernetes_version>("kubernetesVersion", "The Kubernetes version, e.g. v1.34.4.",
                                    {.required = true, .max_length = 63, .pattern = "^v[0-9]+\\.[0-9]+\\.[0-9]+([-+][0-9A-Za-z.+-]+)?$"}),
      field<&S::components>("components", "The components of the control plane.", {.required = true}),
      field<&S::addons>("addons", "Objects that every cluster of this version gets, in order.", list(16, "name")));
}

struct ClusterPackageVersion {
  ObjectMeta metadata;
  ClusterPackageVersionSpec spec;
  PackageVersionStatus status;
  friend bool operator==(const ClusterPackageVersion&, const ClusterPackageVersion&) = default;
};
consteval auto describe(const ClusterPackageVersion*) {
  using T = ClusterPackageVersion;
  return object(
      "One version of a cluster's control plane. Immutable: a release refers to another version, a rollback to the old one.",
      field<&T::metadata>("metadata", "Standard object metadata."),
      field<&T::spec>("spec", "What it is; never changes.",
                      {.required = true,
                       .cel = {{{"self == oldSelf", "a package version is immutable: create one with another name and refer to that"}}}}),
      field<&T::status>("status", "Who uses it; written by endstate."));
}
constexpr Resource resource(const ClusterPackageVersion*) { return api("clusterpackageversions", "ClusterPackageVersion", false); }
inline constexpr Column cluster_package_version_columns[] = {
    {"Kubernetes", "string", ".spec.kubernetesVersion", "The Kubernetes version."},
    {"In use", "integer", ".status.inUseCount", "How many clusters use it."},
    {"Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", "Whether it can be used."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Etcd", "string", ".spec.components.etcd.image", "The image of etcd.", 1},
    {"API server", "string", ".spec.components.kubeAPIServer.image", "The image of the API server.", 1},
};
constexpr Crd crd(const ClusterPackageVersion*) {
  return {.singular = "clusterpackageversion", .short_name = "ecpv", .category = category, .columns = cluster_package_version_columns};
}

}  // namespace endstate::v1alpha1
