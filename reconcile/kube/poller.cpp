#include "reconcile/kube/poller.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace reconcile {
namespace {

constexpr int most_at_once = 128;  // the rest comes with the next wait

[[noreturn]] void no(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)), bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = bell_;
  if (epoll_ >= 0 && bell_ >= 0 && epoll_ctl(epoll_, EPOLL_CTL_ADD, bell_, &event) == 0) return;
  const int error = errno;
  if (epoll_ >= 0) close(epoll_);
  if (bell_ >= 0) close(bell_);
  errno = error;
  no("epoll");
}

Poller::~Poller() {
  close(bell_);
  close(epoll_);
}

void Poller::watch(int socket, bool read, bool write) {
  epoll_event event{};
  event.events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
  event.data.fd = socket;
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, socket, &event) == 0) return;
  if (errno != ENOENT || epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) no("epoll_ctl");
}

void Poller::forget(int socket) {
  epoll_event ignored{};
  epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, &ignored);
  std::erase_if(ready_, [socket](const Ready& r) { return r.socket == socket; });  // its number may soon be another's
}

void Poller::wait(std::chrono::milliseconds limit) {
  std::array<epoll_event, most_at_once> events{};
  const int count = epoll_wait(epoll_, events.data(), most_at_once, static_cast<int>(limit.count()));
  if (count < 0 && errno != EINTR) no("epoll_wait");
  ready_.clear();  // what nobody has taken is found again
  for (int i = 0; i < count; ++i) {
    const auto& e = events.at(static_cast<std::size_t>(i));
    if (e.data.fd != bell_) {
      ready_.push_back({e.data.fd, (e.events & EPOLLIN) != 0, (e.events & EPOLLOUT) != 0, (e.events & (EPOLLERR | EPOLLHUP)) != 0});
      continue;
    }
    std::uint64_t rings = 0;
    if (read(bell_, &rings, sizeof rings) < 0 && errno != EAGAIN) no("eventfd");
  }
}

std::optional<Poller::Ready> Poller::next() {
  if (ready_.empty()) return std::nullopt;
  const auto first = ready_.front();
  ready_.pop_front();
  return first;
}

void Poller::wake() {
  const std::uint64_t ring = 1;
  if (write(bell_, &ring, sizeof ring) < 0 && errno != EAGAIN) no("eventfd");  // EAGAIN: it has rung often enough
}

}  // namespace reconcile
