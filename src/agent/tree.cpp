#include "src/agent/tree.hpp"

#include <dirent.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

constexpr std::uint64_t inside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

FileInfo info_of(const struct stat& s) {
  FileInfo info;
  info.kind = S_ISREG(s.st_mode)   ? FileKind::file
              : S_ISDIR(s.st_mode) ? FileKind::folder
              : S_ISLNK(s.st_mode) ? FileKind::link
                                   : FileKind::other;
  info.mode = s.st_mode & 07777U;
  info.size = static_cast<std::uint64_t>(s.st_size);
  info.changed = static_cast<std::int64_t>(s.st_mtim.tv_sec) * 1'000'000'000 + s.st_mtim.tv_nsec;
  return info;
}

Result<std::string> link_target(int folder, const std::string& name, const std::string& path) {
  std::array<char, 4096> target{};
  const auto n = ::readlinkat(folder, name.c_str(), target.data(), target.size());
  if (n < 0) return fail(file_error(errno, "read", path));
  return std::string(target.data(), static_cast<std::size_t>(n));
}

// What an unfinished change leaves behind, found and replaced by the next try of the same.
std::string temporary_of(const std::string& name) { return ".endstate-new." + name; }

// Who may put something else into a folder between our look and our write: nobody but root and us.
Result<void> must_be_own(int folder, const std::string& path) {
  struct stat s {};
  if (::fstat(folder, &s) != 0) return fail(file_error(errno, "look at", path));
  const bool ours = s.st_uid == 0 || s.st_uid == ::geteuid();
  if (ours && (s.st_mode & S_IWOTH) == 0) return {};
  return fail(Error{Code::invalid,
                    path + " belongs to another user or is writable by everybody: nothing is put below it",
                    {},
                    std::string(reason::install_failed)});
}

}  // namespace

Error file_error(int error, const std::string& doing, const std::string& path) {
  std::array<char, 128> text{};
  const std::string why = ::strerror_r(error, text.data(), text.size());
  const bool full = error == ENOSPC || error == EDQUOT;
  const auto code = error == ENOENT                           ? Code::not_found
                    : error == ENOTEMPTY || error == EEXIST   ? Code::exists
                    : full || error == EIO || error == ENOMEM ? Code::unavailable
                                                              : Code::invalid;
  return {code, "can't " + doing + " " + path + ": " + why, {}, std::string(full ? reason::disk_full : reason::install_failed)};
}

int open_resolved(int folder, const std::string& path, int flags, std::uint64_t resolve, unsigned mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  for (int tries = 0;; ++tries) {  // EAGAIN: a rename elsewhere raced a ".." (openat2(2))
    const auto fd = static_cast<int>(::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == 8) return fd;
  }
}

Result<void> write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(file_error(errno, "write", path));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> sha256_of(int fd, const std::string& path) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<char> block(1U << 17);
  for (;;) {
    const auto n = ::read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(file_error(errno, "read", path));
    if (n == 0) break;
    EVP_DigestUpdate(context.get(), block.data(), static_cast<std::size_t>(n));
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest.at(i) >> 4U];
    hex += "0123456789abcdef"[digest.at(i) & 15U];
  }
  return hex;
}

Tree::Tree(std::string root, bool durable)
    : root_(std::move(root)), durable_(durable), base_(::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

Result<Fd> Tree::open_folder(const std::string& path) const {
  if (!base_) return fail(file_error(ENOENT, "open", root_));
  Fd folder(open_resolved(base_.get(), path, O_RDONLY | O_DIRECTORY, inside));
  if (!folder) return fail(file_error(errno, "open", path));
  return folder;
}

Result<Fd> Tree::open_own_folder(const std::string& path) const {
  if (!base_) return fail(file_error(ENOENT, "open", root_));
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const auto part = path.substr(0, end);
    Fd folder(open_resolved(base_.get(), part, O_RDONLY | O_DIRECTORY, inside));
    if (!folder) return fail(file_error(errno, "open", part));
    if (auto own = must_be_own(folder.get(), part); !own) return fail(own.error());
    if (end == std::string::npos) return folder;
  }
}

Result<Tree::Place> Tree::place_of(const std::string& path) const {
  const auto slash = path.rfind('/');
  if (path.empty() || path.front() != '/' || slash + 1 == path.size())
    return fail(Error{Code::invalid, "'" + path + "' is no absolute path of a file", {}, std::string(reason::install_failed)});
  auto folder = open_own_folder(slash == 0 ? "/" : path.substr(0, slash));
  if (!folder) return fail(folder.error());
  return Place{std::move(*folder), path.substr(slash + 1)};
}

Result<std::optional<FileInfo>> Tree::look(const std::string& path) const {
  const auto slash = path.rfind('/');
  if (!base_) return fail(file_error(ENOENT, "open", root_));
  const Fd folder(open_resolved(base_.get(), slash == 0 ? "/" : path.substr(0, slash), O_PATH | O_DIRECTORY, inside));
  if (!folder) {
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<FileInfo>();
    return fail(file_error(errno, "look at", path));
  }
  const auto name = path.size() == 1 ? std::string(".") : path.substr(slash + 1);
  struct stat s {};
  if (::fstatat(folder.get(), name.c_str(), &s, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::optional<FileInfo>();
    return fail(file_error(errno, "look at", path));
  }
  auto info = info_of(s);
  if (info.kind == FileKind::link) {
    auto target = link_target(folder.get(), name, path);
    if (!target) return fail(target.error());
    info.target = std::move(*target);
  }
  return std::optional(std::move(info));
}

Result<Fd> Tree::open_file(const std::string& path) const {
  if (!base_) return fail(file_error(ENOENT, "open", root_));
  Fd file(open_resolved(base_.get(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, inside));
  if (!file) return fail(file_error(errno, "open", path));
  return file;
}

Result<std::string> Tree::read(const std::string& path, std::size_t max_bytes) const {
  auto file = open_file(path);
  if (!file) return fail(file.error());
  std::string content;
  std::array<char, 16'384> block{};
  for (;;) {
    const auto n = ::read(file->get(), block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(file_error(errno, "read", path));
    if (n == 0) return content;
    content.append(block.data(), static_cast<std::size_t>(n));
    if (content.size() > max_bytes)
      return fail(
          Error{Code::invalid, path + " has more than " + std::to_string(max_bytes) + " bytes", {}, std::string(reason::install_failed)});
  }
}

Result<std::vector<std::string>> Tree::list(const std::string& folder) const {
  auto fd = open_folder(folder);
  std::vector<std::string> names;
  if (!fd && fd.error().code == Code::not_found) return names;
  if (!fd) return fail(fd.error());
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::dup(fd->get())), ::closedir);
  if (!stream) return fail(file_error(errno, "list", folder));
  while (const auto* entry = ::readdir(stream.get())) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> Tree::make_folder(const std::string& path, std::uint32_t mode) const {
  auto place = place_of(path);
  if (!place) return fail(place.error());
  if (::mkdirat(place->folder.get(), place->name.c_str(), mode) == 0) {
    if (::fchmodat(place->folder.get(), place->name.c_str(), mode, 0) != 0) return fail(file_error(errno, "make", path));
    if (durable_) ::fsync(place->folder.get());
    return {};
  }
  if (errno != EEXIST) return fail(file_error(errno, "make", path));
  const Fd there(open_resolved(place->folder.get(), place->name, O_PATH | O_DIRECTORY, 0));  // a link to a folder is one
  if (!there) return fail(file_error(errno, "make", path));
  return {};
}

// The rename is the moment at which it is there: before it the old one, after it the new one.
Result<void> Tree::settle(const Place& place, const std::string& temporary, const std::string& path) const {
  if (::renameat(place.folder.get(), temporary.c_str(), place.folder.get(), place.name.c_str()) != 0) {
    const auto error = errno;
    ::unlinkat(place.folder.get(), temporary.c_str(), 0);
    return fail(file_error(error, "put", path));
  }
  if (durable_ && ::fsync(place.folder.get()) != 0) return fail(file_error(errno, "store", path));
  return {};
}

Result<void> Tree::write(const std::string& path, std::string_view content, std::uint32_t mode) const {
  auto place = place_of(path);
  if (!place) return fail(place.error());
  const auto temporary = temporary_of(place->name);
  ::unlinkat(place->folder.get(), temporary.c_str(), 0);
  const Fd file(::openat(place->folder.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return fail(file_error(errno, "write", path));
  auto written = write_all(file.get(), content, path);
  if (written && ::fchmod(file.get(), mode) != 0) written = fail(file_error(errno, "write", path));
  if (written && durable_ && ::fsync(file.get()) != 0) written = fail(file_error(errno, "store", path));
  if (!written) {
    ::unlinkat(place->folder.get(), temporary.c_str(), 0);
    return written;
  }
  return settle(*place, temporary, path);
}

Result<void> Tree::link(const std::string& path, const std::string& target) const {
  auto place = place_of(path);
  if (!place) return fail(place.error());
  const auto temporary = temporary_of(place->name);
  ::unlinkat(place->folder.get(), temporary.c_str(), 0);
  if (::symlinkat(target.c_str(), place->folder.get(), temporary.c_str()) != 0) return fail(file_error(errno, "write", path));
  return settle(*place, temporary, path);
}

Result<void> Tree::copy(const std::string& from, const std::string& to) const {
  auto info = look(from);
  if (!info) return fail(info.error());
  if (*info && (*info)->kind == FileKind::link) return link(to, (*info)->target);
  if (!*info || (*info)->kind != FileKind::file)
    return fail(Error{Code::invalid, from + " is neither a file nor a link: it is not put aside", {}, std::string(reason::install_failed)});
  auto content = read(from, std::size_t{256} << 20U);
  if (!content) return fail(content.error());
  return write(to, *content, (*info)->mode);
}

Result<void> Tree::rename(const std::string& from, const std::string& to) const {
  auto old_place = place_of(from);
  if (!old_place) return fail(old_place.error());
  auto new_place = place_of(to);
  if (!new_place) return fail(new_place.error());
  if (::renameat(old_place->folder.get(), old_place->name.c_str(), new_place->folder.get(), new_place->name.c_str()) != 0)
    return fail(file_error(errno, "move", from + " to " + to));
  if (!durable_) return {};
  if (::fsync(new_place->folder.get()) != 0 || ::fsync(old_place->folder.get()) != 0) return fail(file_error(errno, "store", to));
  return {};
}

Result<void> Tree::remove(const std::string& path) const {
  auto place = place_of(path);
  if (!place) {
    if (place.error().code == Code::not_found) return {};
    return fail(place.error());
  }
  if (::unlinkat(place->folder.get(), place->name.c_str(), 0) != 0) {
    const bool folder = errno == EISDIR || errno == EPERM;
    if (errno == ENOENT) return {};
    if (!folder || ::unlinkat(place->folder.get(), place->name.c_str(), AT_REMOVEDIR) != 0) return fail(file_error(errno, "remove", path));
  }
  if (durable_) ::fsync(place->folder.get());
  return {};
}

Result<void> Tree::overwrite(const std::string& path, std::string_view content) const {
  const Fd file(open_resolved(base_.get(), path, O_WRONLY | O_TRUNC | O_NOFOLLOW, inside));
  if (!file) return fail(file_error(errno, "write", path));
  return write_all(file.get(), content, path);
}

Result<void> Tree::sync(const std::string& folder) const {
  if (!durable_) return {};
  auto fd = open_folder(folder);
  if (!fd) return fail(fd.error());
  if (::syncfs(fd->get()) != 0) return fail(file_error(errno, "store", folder));
  return {};
}

}  // namespace endstate::agent
