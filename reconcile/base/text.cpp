#include "reconcile/base/text.hpp"

#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>

namespace reconcile {

Text::Rep* Text::make(std::string_view s, std::uint32_t hash, std::uint32_t refs) {
  if (s.size() > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("a Text holds at most 4 GiB");
  auto* rep = new (::operator new(sizeof(Rep) + s.size())) Rep{{refs}, hash, static_cast<std::uint32_t>(s.size())};
  std::memcpy(rep->data(), s.data(), s.size());
  return rep;
}

void Text::drop(Rep* r) {
  if (r && r->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    r->~Rep();
    ::operator delete(r);
  }
}

Text::Text(std::string_view s) : rep_(s.empty() ? nullptr : make(s, 0, 1)) {}

Pool::~Pool() {
  for (auto* rep : slots_) Text::drop(rep);
}

std::size_t Pool::size() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

Text Pool::intern(std::string_view s) {
  if (s.empty()) return {};
  const std::lock_guard lock(mutex_);
  if ((count_ + 1) * 4 > slots_.size() * 3) rehash();
  const auto hash = static_cast<std::uint32_t>(std::hash<std::string_view>{}(s));
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = hash & mask;
  for (; slots_[i]; i = (i + 1) & mask) {
    auto* rep = slots_[i];
    if (rep->hash == hash && std::string_view(rep->data(), rep->size) == s) {
      rep->refs.fetch_add(1, std::memory_order_relaxed);
      return Text(rep);
    }
  }
  slots_[i] = Text::make(s, hash, 2);  // the pool's reference and the caller's
  ++count_;
  return Text(slots_[i]);
}

// A string that only the pool holds (one reference) can't gain another meanwhile: only intern() could give one, and it holds the lock.
void Pool::rehash() {
  std::vector<Text::Rep*> live;
  for (auto* rep : slots_) {
    if (!rep) continue;
    if (rep->refs.load(std::memory_order_acquire) == 1)
      Text::drop(rep);
    else
      live.push_back(rep);
  }
  std::size_t size = 64;
  while (size < (live.size() + 1) * 2) size *= 2;
  slots_.assign(size, nullptr);
  count_ = live.size();
  for (auto* rep : live) {
    std::size_t i = rep->hash & (size - 1);
    while (slots_[i]) i = (i + 1) & (size - 1);
    slots_[i] = rep;
  }
}

}  // namespace reconcile
