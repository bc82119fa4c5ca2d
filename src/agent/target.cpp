#include "src/agent/target.hpp"

#include <algorithm>
#include <set>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "src/agent/own_version.hpp"
#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

constexpr std::string_view opening = "${endstate.";
constexpr std::string_view units = "/etc/systemd/system/";

Error not_usable(std::string message) { return {Code::invalid, std::move(message), {}, std::string(reason::package_not_usable)}; }

// Paths that would take the agent's own state, or what the kernel shows, for a package's files.
bool is_forbidden(std::string_view path) {
  for (const std::string_view prefix : {"/proc/", "/sys/", "/dev/", "/run/", "/var/lib/endstate/"})
    if (path.starts_with(prefix)) return true;
  return path.find("/./") != std::string_view::npos || path.find("//") != std::string_view::npos ||
         path.find("/../") != std::string_view::npos || path.ends_with("/..") || path.ends_with("/.");
}

Result<void> add_file(TargetSlot& t, std::string_view path, std::string_view content, std::int64_t mode, const Variables& variables) {
  if (is_forbidden(path)) return fail(not_usable("a package can't own the file " + std::string(path)));
  auto text = render(content, variables);
  if (!text) return fail(not_usable(std::string(path) + ": " + text.error().message));
  api::PackageFile file;
  file.path = path;
  file.content = *text;
  file.mode = mode & 0777;
  t.files.push_back(std::move(file));
  return {};
}

Result<void> add_service(TargetSlot& t, const Variables& variables) {
  const auto& service = *t.spec.service;
  const auto unit = service.unit.str();
  if (!service.content.empty())
    if (auto added = add_file(t, std::string(units) + unit, service.content, 0644, variables); !added) return added;
  return {};
}

// As files they are there at the next boot before anything starts (systemd-sysctl); the running kernel is told by the agent.
Result<void> add_sysctls(TargetSlot& t, const Variables& variables) {
  if (t.spec.sysctls.empty()) return {};
  std::string lines;
  for (const auto& s : t.spec.sysctls) {
    if (s.name.view().find('*') != std::string_view::npos)
      return fail(not_usable("sysctl " + s.name.str() + " is a pattern; name each parameter"));
    if (s.value.view().find('\n') != std::string_view::npos)
      return fail(not_usable("the value of sysctl " + s.name.str() + " has two lines"));
    lines += s.name.str() + " = " + s.value.str() + "\n";
  }
  return add_file(t, "/etc/sysctl.d/90-endstate-" + t.slot.str() + ".conf", lines, 0644, variables);
}

// As files they are there at the next boot (systemd-modules-load); the running kernel gets them from the agent.
Result<void> add_modules(TargetSlot& t, const Variables& variables) {
  if (t.spec.kernel_modules.empty()) return {};
  std::string names;
  std::string parameters;
  for (const auto& m : t.spec.kernel_modules) {
    if (m.parameters.view().find('\n') != std::string_view::npos)
      return fail(not_usable("the parameters of kernel module " + m.name.str() + " have two lines"));
    names += m.name.str() + "\n";
    if (!m.parameters.empty()) parameters += "options " + m.name.str() + " " + m.parameters.str() + "\n";
  }
  const auto file = "/90-endstate-" + t.slot.str() + ".conf";
  if (auto added = add_file(t, "/etc/modules-load.d" + file, names, 0644, variables); !added || parameters.empty()) return added;
  return add_file(t, "/etc/modprobe.d" + file, parameters, 0644, variables);
}

// Beside the first version, which the host's unit starts, and which becomes the one that is installed (own_version.hpp).
Result<void> choose_agent_folder(TargetSlot& t) {
  if (!t.spec.install.destination.empty() && t.spec.install.destination != agent_destination)
    return fail(not_usable("the agent's own package is unpacked into " + std::string(agent_destination) + ": leave the destination out"));
  if (t.spec.service) return fail(not_usable("the agent's own package has no service: the host's unit stays what it is"));
  t.destination = agent_destination;
  return {};
}

Result<void> choose_artifact(TargetSlot& t, std::string_view arch) {
  for (const auto& a : t.spec.install.artifacts)
    if (a.arch == arch) t.artifact = a;
  if (!t.artifact) return fail(not_usable("the package has no artifact for " + std::string(arch)));
  switch (t.spec.install.method) {
    case api::InstallMethod::deb:
    case api::InstallMethod::rpm:
      if (t.slot == agent_slot) return fail(not_usable("the agent's own package is of method Archive"));
      t.format = t.spec.install.method == api::InstallMethod::deb ? PackageFormat::deb : PackageFormat::rpm;
      return {};
    case api::InstallMethod::archive: break;
  }
  if (t.slot == agent_slot) return choose_agent_folder(t);
  t.destination = t.spec.install.destination.empty() ? "/usr/local" : t.spec.install.destination.str();
  while (t.destination.size() > 1 && t.destination.ends_with('/')) t.destination.pop_back();
  if (t.destination == "/") t.destination.clear();
  if (is_forbidden(t.destination + "/")) return fail(not_usable("an archive can't be unpacked into " + t.destination));
  return {};
}

Result<void> fill(TargetSlot& t, const Variables& variables, std::string_view arch) {
  if (auto chosen = choose_artifact(t, arch); !chosen) return chosen;
  for (const auto& f : t.spec.files)
    if (auto added = add_file(t, f.path, f.content, mode(f), variables); !added) return added;
  if (t.spec.service)
    if (auto added = add_service(t, variables); !added) return added;
  if (auto added = add_sysctls(t, variables); !added) return added;
  if (auto added = add_modules(t, variables); !added) return added;
  std::set<std::string_view> paths;
  for (const auto& f : t.files)
    if (!paths.insert(f.path.view()).second) return fail(not_usable("the package has the file " + f.path.str() + " twice"));
  return {};
}

void add_all(std::string& to, const Variables& variables) {
  for (const auto& [name, value] : variables) to.append("\n").append(name).append("=").append(value);
}

// Versions are immutable, so a uid says what it is; how another endstate would write the same spec must not roll a host.
Text key_of(const TargetSlot& t, const Variables& variables) {
  std::string all = t.slot.str() + "\n" + t.version.name.str() + "\n" + (t.version.uid.empty() ? t.version.digest : t.version.uid).str();
  const bool asks = t.raw.raw.view().find(opening) != std::string_view::npos;
  if (asks) add_all(all, variables);
  return Text(t.slot.str() + "-" + reconcile::hash_of(all));
}

TargetSlot package_of(const api::ResolvedPackage& package, const Variables& variables, const Order& order, std::string_view arch) {
  TargetSlot t;
  t.slot = package.name;
  t.version = package.version;
  t.raw = package.spec;
  t.key = key_of(t, variables);
  t.order = Text(order.spec.grant_id.str() + "/" + t.key.str());
  reconcile::Pool pool;
  auto spec = reconcile::decode<api::MachinePackageVersionSpec>(package.spec.raw, pool);
  if (!spec) {
    t.trouble = not_usable("its spec can't be read: " + spec.error().message);
    return t;
  }
  t.spec = std::move(*spec);
  if (auto filled = fill(t, variables, arch); !filled) t.trouble = filled.error();
  return t;
}

TargetSlot machine_files(const Order& order, const Variables& variables) {
  TargetSlot t;
  t.slot = machine_files_slot;
  t.spec.package_name = "machine-files";
  t.spec.version = "1";
  t.spec.disruption = api::Disruption::none;
  t.raw.raw = reconcile::encode(t.spec);
  std::string all;
  for (const auto& f : order.spec.files) {
    all += reconcile::encode(f);
    if (auto added = add_file(t, f.path, f.content, mode(f), variables); !added && !t.trouble) t.trouble = added.error();
  }
  add_all(all, variables);
  t.version = {"machine-files", {}, Text(reconcile::hash_of(all))};
  t.key = Text("_files-" + reconcile::hash_of(all));
  t.order = Text(order.spec.grant_id.str() + "/" + t.key.str());
  return t;
}

}  // namespace

Result<std::string> render(std::string_view text, const Variables& variables) {
  std::string out;
  for (;;) {
    const auto at = text.find(opening);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + opening.size());
    const auto end = text.find('}');
    const auto name = text.substr(0, end);
    const auto variable = variables.find(name);
    if (end == std::string_view::npos || variable == variables.end())
      return fail(not_usable("it asks for ${endstate." + std::string(name.substr(0, 64)) + "}, which nobody knows"));
    out += variable->second;
    text.remove_prefix(end + 1);
  }
}

Variables variables_of(const api::HostAssignmentSpec& spec, std::string_view arch) {
  return {{"arch", std::string(arch)}, {"machineUID", spec.machine_uid.str()}, {"nodeName", spec.node_name.str()}};
}

const TargetSlot* Target::find(std::string_view slot) const {
  const auto at = std::find_if(slots.begin(), slots.end(), [&](const TargetSlot& t) { return t.slot == slot; });
  return at == slots.end() ? nullptr : &*at;
}

Target target_of(const Order& order, std::string_view machine_uid, std::string_view arch) {
  Target target;
  const bool other = !machine_uid.empty() && order.spec.machine_uid != machine_uid;
  target.wipe = order.spec.state == api::AssignmentState::released || other;
  if (target.wipe) return target;
  const auto variables = variables_of(order.spec, arch);
  if (!order.spec.files.empty()) target.slots.push_back(machine_files(order, variables));
  for (const auto& p : order.spec.packages) target.slots.push_back(package_of(p, variables, order, arch));
  if (order.prefetch)
    for (const auto& a : order.prefetch->artifacts)
      if (a.arch == arch) target.prefetch.push_back(a);
  return target;
}

}  // namespace endstate::agent
