// Text: an immutable string of 8 bytes, shared by reference count. Pool: where decoders intern, so that 100,000 machines that say
// "kubelet-1.34.4" hold it once. No globals; a Text may outlive the Pool that it came from. Both are safe to copy across threads.
#pragma once
#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace reconcile {

class Text {
 public:
  Text() = default;
  Text(std::string_view s);  // NOLINT(google-explicit-constructor): a Text is a string; this one is not pooled
  Text(const std::string& s) : Text(std::string_view(s)) {}  // NOLINT(google-explicit-constructor)
  Text(const char* s) : Text(std::string_view(s)) {}         // NOLINT(google-explicit-constructor)
  Text(const Text& o) noexcept : rep_(o.rep_) {
    if (rep_) rep_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  Text(Text&& o) noexcept : rep_(std::exchange(o.rep_, nullptr)) {}
  Text& operator=(Text o) noexcept {
    std::swap(rep_, o.rep_);
    return *this;
  }
  ~Text() { drop(rep_); }

  std::string_view view() const { return rep_ ? std::string_view(rep_->data(), rep_->size) : std::string_view(); }
  operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
  std::string str() const { return std::string(view()); }
  bool empty() const { return rep_ == nullptr; }

  friend bool operator==(const Text& a, const Text& b) { return a.rep_ == b.rep_ || a.view() == b.view(); }
  friend bool operator==(const Text& a, std::string_view b) { return a.view() == b; }
  friend bool operator==(const Text& a, const char* b) { return a.view() == b; }
  friend bool operator==(const Text& a, const std::string& b) { return a.view() == b; }
  friend std::strong_ordering operator<=>(const Text& a, const Text& b) { return a.view() <=> b.view(); }
  friend std::strong_ordering operator<=>(const Text& a, std::string_view b) { return a.view() <=> b; }
  friend std::string operator+(std::string a, const Text& b) { return a.append(b.view()); }

 private:
  friend class Pool;
  struct Rep {
    std::atomic<std::uint32_t> refs;
    std::uint32_t hash, size;
    char* data() { return reinterpret_cast<char*>(this + 1); }
  };
  explicit Text(Rep* r) : rep_(r) {}
  static Rep* make(std::string_view s, std::uint32_t hash, std::uint32_t refs);
  static void drop(Rep* r);
  Rep* rep_ = nullptr;
};

class Pool {
 public:
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();
  Text intern(std::string_view s);
  std::size_t size() const;  // strings held, whether anyone else still holds them or not

 private:
  void rehash();  // drops what only the pool still holds, then grows if that was not enough
  mutable std::mutex mutex_;
  std::vector<Text::Rep*> slots_;
  std::size_t count_ = 0;
};

}  // namespace reconcile

template <>
struct std::hash<reconcile::Text> {
  std::size_t operator()(const reconcile::Text& t) const noexcept { return std::hash<std::string_view>{}(t.view()); }
};
