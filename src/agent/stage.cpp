#include "src/agent/stage.hpp"

#include <algorithm>
#include <map>

#include "reconcile/json/encode.hpp"
#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

// Makes the folders of `path` below `base`, which is there.
Result<void> make_way(Host& host, const std::string& base, const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1))
    if (auto made = host.make_folder(base + path.substr(0, end), 0755); !made) return made;
  return {};
}

class Staging {
 public:
  Staging(Host& host, const TargetSlot& slot, const std::string& id, std::string_view arch)
      : host_(host), slot_(slot), part_(part_path(id)), root_(part_ + "/root"), arch_(arch) {}

  Result<void> run(const std::string& whole) {
    if (auto done = host_.remove_tree(part_); !done) return done;
    for (const auto& folder : {part_, root_})
      if (auto done = host_.make_folder(folder, 0755); !done) return done;
    if (auto done = slot_.format ? take_package() : unpack(); !done) return done;
    if (auto done = write_files(); !done) return done;
    if (auto done = write_manifest(); !done) return done;
    if (auto done = host_.sync(state_path("generations")); !done) return done;
    return host_.rename(part_, whole);
  }

 private:
  Result<void> unpack() {
    if (!slot_.artifact) return {};
    const auto below = slot_.destination + "/";
    if (auto done = make_way(host_, root_, below); !done) return done;
    auto entries = host_.unpack(blob_path(slot_.artifact->sha256), root_ + slot_.destination, {});
    if (!entries) return fail(entries.error());
    for (auto& e : *entries) {
      ManifestEntry entry;
      entry.path = Text(below + e.path);
      entry.sha256 = Text(e.sha256);
      entry.target = Text(e.target);
      entries_[below + e.path] = entry;
    }
    return {};
  }

  // The file itself is kept: the way back needs no network, and dpkg and rpm can go back to any version whose file they have.
  Result<void> take_package() {
    const auto blob = blob_path(slot_.artifact->sha256);
    auto info = host_.package_file(*slot_.format, blob);
    if (!info) return fail(info.error());
    if (!info->arch.empty() && info->arch != arch_)
      return fail(refused("it is for " + info->arch + ", this host is " + std::string(arch_)));
    if (auto copied = host_.copy(blob, part_ + "/package"); !copied) return copied;
    auto file = host_.look(part_ + "/package");
    if (!file) return fail(file.error());
    if (!*file) return fail(refused("its file vanished while it was staged"));
    system_ = SystemPackage{.format = *slot_.format,
                            .name = Text(info->name),
                            .version = Text(info->version),
                            .size = static_cast<std::int64_t>((*file)->size),
                            .changed = (*file)->changed};
    return {};
  }
  Error refused(const std::string& why) const {
    return {Code::invalid, slot_.artifact->url.str() + ": " + why, {}, std::string(reason::artifact_rejected)};
  }

  // A file of the package stands above one of its archive.
  Result<void> write_files() {
    for (const auto& f : slot_.files) {
      const auto path = f.path.str();
      if (auto done = make_way(host_, root_, path); !done) return done;
      if (auto done = host_.write(root_ + path, f.content.str(), static_cast<std::uint32_t>(mode(f))); !done) return done;
      auto digest = host_.sha256(root_ + path);
      if (!digest) return fail(digest.error());
      ManifestEntry entry;
      entry.path = f.path;
      entry.sha256 = Text(*digest);
      entries_[path] = entry;
    }
    if (!slot_.spec.service) return {};
    // What `systemctl enable` would do for "WantedBy=multi-user.target": one more file of the package, so that it comes and goes with it.
    const auto unit = slot_.spec.service->unit.str();
    const auto path = "/etc/systemd/system/multi-user.target.wants/" + unit;
    if (auto done = make_way(host_, root_, path); !done) return done;
    if (auto done = host_.link(root_ + path, "../" + unit); !done) return done;
    ManifestEntry entry;
    entry.path = Text(path);
    entry.target = Text("../" + unit);
    entries_[path] = entry;
    return {};
  }

  Result<void> write_manifest() {
    Manifest manifest;
    manifest.slot = slot_.slot;
    manifest.key = slot_.key;
    manifest.version = slot_.version;
    manifest.spec = slot_.raw;
    manifest.system = system_;
    for (auto& [path, entry] : entries_) {
      auto info = host_.look(root_ + path);
      if (!info) return fail(info.error());
      if (!*info) return fail(Error{Code::unavailable, path + " vanished while it was staged", {}, std::string(reason::install_failed)});
      entry.mode = (*info)->mode;
      entry.size = static_cast<std::int64_t>((*info)->size);
      entry.changed = (*info)->changed;
      manifest.entries.push_back(entry);
    }
    return host_.write(part_ + "/manifest.json", reconcile::encode(manifest), 0600);
  }

  Host& host_;
  const TargetSlot& slot_;
  std::string part_, root_;
  std::string_view arch_;
  std::optional<SystemPackage> system_;
  std::map<std::string, ManifestEntry> entries_;
};

}  // namespace

Result<void> fetch_artifact(Host& host, const api::Artifact& artifact, const Sources& sources) {
  auto urls = addresses_of(artifact.url.str(), sources);
  if (!urls) return fail(urls.error());
  const auto size = static_cast<std::uint64_t>(artifact.size.value_or(0));
  auto free = host.free_bytes(state_path("blobs"));
  if (!free) return fail(free.error());
  if (size != 0 && *free < 2 * size)
    return fail(Error{Code::unavailable,
                      "the disk of " + std::string(state_folder) + " has " + std::to_string(*free) + " bytes free; an artifact of " +
                          std::to_string(size) + " bytes needs twice that to be unpacked",
                      {},
                      std::string(reason::disk_full)});
  return host.fetch({.urls = std::move(*urls),
                     .sha256 = artifact.sha256.str(),
                     .size = size,
                     .destination = blob_path(artifact.sha256),
                     .netrc = sources.netrc,
                     .ca = sources.ca});
}

Result<void> stage(Host& host, const TargetSlot& slot, const std::string& id, std::string_view arch) {
  return Staging(host, slot, id, arch).run(generation_path(id, {}));
}

}  // namespace endstate::agent
