#include "src/agent/archive.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>

#include "src/agent/reasons.hpp"
#include "src/agent/tree.hpp"

namespace endstate::agent {
namespace {

constexpr std::uint64_t strict = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr std::size_t max_path = 1024, max_depth = 32;

Error rejected(std::string message) { return {Code::invalid, std::move(message), {}, std::string(reason::artifact_rejected)}; }

std::string shown(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, 200)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return "'" + out + "'";
}

class Unpacking {
 public:
  Unpacking(struct archive* a, std::uint64_t packed, int folder, const UnpackLimits& limits) : a_(a), folder_(folder), limits_(limits) {
    max_bytes_ = std::min(limits.bytes, std::max(limits.free_bytes, packed * limits.ratio));
  }

  Result<std::vector<UnpackedEntry>> all() {
    for (;;) {
      struct archive_entry* entry = nullptr;
      const auto status = archive_read_next_header(a_, &entry);
      if (status == ARCHIVE_EOF && done_.empty()) return fail(rejected("the archive holds no file: is it cut off?"));
      if (status == ARCHIVE_EOF) return std::move(done_);
      if (status < ARCHIVE_WARN) return fail(broken());
      if (++entries_ > limits_.entries) return fail(rejected("the archive has more than " + std::to_string(limits_.entries) + " entries"));
      if (auto one = take(entry); !one) return fail(one.error());
    }
  }

 private:
  Error broken() const {
    const auto* text = archive_error_string(a_);
    return rejected("the artifact is no archive that can be read to its end: " + std::string(text != nullptr ? text : "unknown format"));
  }

  Result<void> take(struct archive_entry* entry) {
    const auto* raw = archive_entry_pathname(entry);
    const auto path = raw == nullptr ? std::nullopt : safe_entry_path(raw);
    if (!path) return fail(rejected("the archive's entry " + shown(raw == nullptr ? "" : raw) + " has a path that must not be"));
    const bool folder = archive_entry_filetype(entry) == AE_IFDIR && archive_entry_hardlink(entry) == nullptr;
    if (path->empty()) {
      if (folder) return {};  // "./"
      return fail(rejected("the archive has an entry without a name"));
    }
    if (folder) return make_folders(*path);
    if (!seen_.insert(*path).second) return fail(rejected("the archive has the entry " + shown(*path) + " twice"));
    const auto slash = path->rfind('/');
    if (slash != std::string::npos)
      if (auto made = make_folders(path->substr(0, slash)); !made) return made;
    const auto parent = slash == std::string::npos ? std::string(".") : path->substr(0, slash);
    const Fd at(open_resolved(folder_, parent, O_RDONLY | O_DIRECTORY, strict));
    if (!at) return fail(rejected("the archive's entry " + shown(*path) + " is below a link or a file"));
    const auto name = slash == std::string::npos ? *path : path->substr(slash + 1);
    if (const auto* target = archive_entry_hardlink(entry)) return hard_link(at.get(), name, *path, target);
    switch (archive_entry_filetype(entry)) {
      case AE_IFREG: return file(entry, at.get(), name, *path);
      case AE_IFLNK: return link(entry, at.get(), name, *path);
      default: return fail(rejected("the archive's entry " + shown(*path) + " is a device, a pipe or a socket"));
    }
  }

  Result<void> make_folders(const std::string& path) {
    for (std::size_t end = path.find('/');; end = path.find('/', end + 1)) {
      const auto part = path.substr(0, end);
      if (folders_.insert(part).second) {
        const auto slash = part.rfind('/');
        const Fd at(open_resolved(folder_, slash == std::string::npos ? "." : part.substr(0, slash), O_RDONLY | O_DIRECTORY, strict));
        if (!at) return fail(rejected("the archive's entry " + shown(path) + " is below a link or a file"));
        const auto name = slash == std::string::npos ? part : part.substr(slash + 1);
        if (::mkdirat(at.get(), name.c_str(), 0755) != 0) {
          if (errno == EEXIST) return fail(rejected("the archive's entry " + shown(part) + " is a folder and something else"));
          return fail(file_error(errno, "make", part));
        }
      }
      if (end == std::string::npos) return {};
    }
  }

  Result<void> file(struct archive_entry* entry, int at, const std::string& name, const std::string& path) {
    const auto mode = static_cast<std::uint32_t>(archive_entry_perm(entry)) & 0777U;
    const Fd out(::openat(at, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!out) return fail(file_error(errno, "write", path));
    std::uint64_t size = 0;
    for (;;) {
      const void* block = nullptr;
      std::size_t n = 0;
      la_int64_t offset = 0;
      const auto status = archive_read_data_block(a_, &block, &n, &offset);
      if (status == ARCHIVE_EOF) break;
      if (status < ARCHIVE_WARN) return fail(broken());
      const auto end = static_cast<std::uint64_t>(offset) + n;  // past a hole: that counts as if it were there
      if (end > size) bytes_ += end - size, size = end;
      if (bytes_ > max_bytes_)
        return fail(
            rejected("the archive unpacks to more than " + std::to_string(max_bytes_) + " bytes, which is more than a package may be"));
      if (::lseek(out.get(), offset, SEEK_SET) < 0) return fail(file_error(errno, "write", path));
      if (auto written = write_all(out.get(), {static_cast<const char*>(block), n}, path); !written) return written;
    }
    const auto whole = static_cast<std::uint64_t>(std::max<la_int64_t>(archive_entry_size(entry), 0));
    if (whole > size) {  // a hole at its end
      bytes_ += whole - size;
      if (bytes_ > max_bytes_) return fail(rejected("the archive unpacks to more than " + std::to_string(max_bytes_) + " bytes"));
      if (::ftruncate(out.get(), static_cast<off_t>(whole)) != 0) return fail(file_error(errno, "write", path));
      size = whole;
    }
    if (::fchmod(out.get(), mode) != 0) return fail(file_error(errno, "write", path));
    if (::lseek(out.get(), 0, SEEK_SET) < 0) return fail(file_error(errno, "read", path));
    auto digest = sha256_of(out.get(), path);
    if (!digest) return fail(digest.error());
    done_.push_back({.path = path, .kind = FileKind::file, .mode = mode, .size = size, .sha256 = std::move(*digest)});
    return {};
  }

  Result<void> link(struct archive_entry* entry, int at, const std::string& name, const std::string& path) {
    const auto* target = archive_entry_symlink(entry);
    if (target == nullptr || !safe_link_target(path, target))
      return fail(rejected("the archive's link " + shown(path) + " leads out of it, to " + shown(target == nullptr ? "" : target)));
    if (::symlinkat(target, at, name.c_str()) != 0) return fail(file_error(errno, "write", path));
    done_.push_back({.path = path, .kind = FileKind::link, .mode = 0777, .target = target});
    return {};
  }

  // To a file of this archive that came before it.
  Result<void> hard_link(int at, const std::string& name, const std::string& path, const char* raw) {
    const auto target = safe_entry_path(raw);
    const auto first = std::find_if(done_.begin(), done_.end(), [&](const UnpackedEntry& e) { return target && e.path == *target; });
    if (first == done_.end() || first->kind != FileKind::file)
      return fail(rejected("the archive's entry " + shown(path) + " is a hard link to " + shown(raw) + ", which is no file before it"));
    const auto slash = target->rfind('/');
    const Fd from(open_resolved(folder_, slash == std::string::npos ? "." : target->substr(0, slash), O_RDONLY | O_DIRECTORY, strict));
    if (!from) return fail(file_error(errno, "open", *target));
    const auto from_name = slash == std::string::npos ? *target : target->substr(slash + 1);
    if (::linkat(from.get(), from_name.c_str(), at, name.c_str(), 0) != 0) return fail(file_error(errno, "write", path));
    auto copy = *first;
    copy.path = path;
    done_.push_back(std::move(copy));
    return {};
  }

  struct archive* a_;
  int folder_;
  const UnpackLimits& limits_;
  std::uint64_t max_bytes_ = 0, bytes_ = 0, entries_ = 0;
  std::set<std::string> folders_, seen_;
  std::vector<UnpackedEntry> done_;
};

}  // namespace

std::optional<std::string> safe_entry_path(std::string_view path) {
  if (path.size() > max_path || (!path.empty() && path.front() == '/')) return std::nullopt;
  std::string out;
  std::size_t depth = 0;
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == ".." || part.size() > 255 || part.starts_with(".endstate-") || ++depth > max_depth) return std::nullopt;
    if (std::any_of(part.begin(), part.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == 0x7f; }))
      return std::nullopt;
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

bool safe_link_target(std::string_view path, std::string_view target) {
  if (target.empty() || target.front() == '/' || target.size() > max_path) return false;
  auto depth = std::count(path.begin(), path.end(), '/');  // of the folder that it stands in; none of that path's parts is a link
  bool climbing = true;
  while (!target.empty()) {
    const auto slash = target.find('/');
    const auto part = target.substr(0, slash);
    target.remove_prefix(slash == std::string_view::npos ? target.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      climbing = false;
      continue;
    }
    // Past a name ".." may be the parent of what another link leads to: only at the beginning is it known where it goes.
    if (!climbing || --depth < 0) return false;
  }
  return true;
}

Result<std::vector<UnpackedEntry>> unpack_archive(int archive, std::uint64_t packed, int folder, const UnpackLimits& limits) {
  const std::unique_ptr<struct archive, int (*)(struct archive*)> a(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(a.get());
  archive_read_support_filter_xz(a.get());
  archive_read_support_filter_zstd(a.get());
  archive_read_support_filter_bzip2(a.get());
  archive_read_support_format_tar(a.get());
  archive_read_support_format_zip(a.get());
  if (archive_read_open_fd(a.get(), archive, 1U << 16) != ARCHIVE_OK)
    return fail(rejected("the artifact is no archive: " + std::string(archive_error_string(a.get()))));
  return Unpacking(a.get(), packed, folder, limits).all();
}

}  // namespace endstate::agent
