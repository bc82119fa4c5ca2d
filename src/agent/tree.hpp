// Tree: file operations below a folder that stands for "/" ("/" itself on a real host). Private to linux_host.cpp.
//
// Nothing leaves the folder: links on the way are resolved as if it were the root (openat2(2), RESOLVE_IN_ROOT). A change is refused where
// somebody else could race it: each folder on the way must be root's or our own, and not writable by everybody.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "src/agent/host.hpp"

namespace endstate::agent {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// "can't write /etc/x: No space left on device", with Code and reason by the errno.
Error file_error(int error, const std::string& doing, const std::string& path);
// openat2 with a `resolve` of RESOLVE_...; -1 and errno.
int open_resolved(int folder, const std::string& path, int flags, std::uint64_t resolve, unsigned mode = 0);
Result<void> write_all(int fd, std::string_view bytes, const std::string& path);
Result<std::string> sha256_of(int fd, const std::string& path);

class Tree {
 public:
  Tree(std::string root, bool durable);

  bool durable() const { return durable_; }
  std::string outside(const std::string& path) const { return root_ == "/" ? path : root_ + path; }  // the path to give to others
  Result<std::optional<FileInfo>> look(const std::string& path) const;
  Result<std::string> read(const std::string& path, std::size_t max_bytes) const;
  Result<std::vector<std::string>> list(const std::string& folder) const;
  Result<Fd> open_file(const std::string& path) const;        // for reading; a link at its end is not followed
  Result<Fd> open_folder(const std::string& path) const;      // as it stands
  Result<Fd> open_own_folder(const std::string& path) const;  // to change something in it
  Result<void> make_folder(const std::string& path, std::uint32_t mode) const;
  Result<void> write(const std::string& path, std::string_view content, std::uint32_t mode) const;
  Result<void> link(const std::string& path, const std::string& target) const;
  Result<void> copy(const std::string& from, const std::string& to) const;
  Result<void> rename(const std::string& from, const std::string& to) const;
  Result<void> remove(const std::string& path) const;
  Result<void> overwrite(const std::string& path, std::string_view content) const;  // in place: /proc/sys
  Result<void> sync(const std::string& folder) const;

 private:
  struct Place {
    Fd folder;
    std::string name;
  };
  Result<Place> place_of(const std::string& path) const;  // whose parent may be changed
  Result<void> settle(const Place& place, const std::string& temporary, const std::string& path) const;
  std::string root_;
  bool durable_;
  Fd base_;  // of root_
};

}  // namespace endstate::agent
