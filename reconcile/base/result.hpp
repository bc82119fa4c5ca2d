// Errors as values. Result<T> is tl::expected<T, Error>, made [[nodiscard]] (the original is not).
// Exceptions are for bugs only (a broken invariant); everything that the world can do wrong comes back as an Error.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace reconcile {

enum class Code : std::uint8_t {
  not_found,    // HTTP 404
  exists,       // 409 AlreadyExists
  conflict,     // 409 Conflict: a uid or resourceVersion precondition failed; re-read, never retry from the same cache
  gone,         // 410, or an in-band ERROR Expired: the watch must relist
  invalid,      // 400, 415, 422, or our own refusal of bad input: a terminal error, waits for a change
  forbidden,    // 401, 403
  throttled,    // 429: retry only as retry_after says; an eviction answers so when a PodDisruptionBudget forbids it
  unavailable,  // 5xx, or no connection: the call was not done
  maybe_done,   // the reply was lost after the request was sent: done or not, read before you repeat
  fenced,       // this process is not (or no longer surely) the leader: nothing was sent
  cancelled,    // the caller or a shutdown ended it
};

struct Error {
  Code code = Code::invalid;
  std::string message;                       // for people: what failed, on what, and the remedy where there is one
  std::chrono::milliseconds retry_after{0};  // 0: the server did not say
  std::string reason{};                      // metav1.Status.reason, or empty
};

template <class T>
struct [[nodiscard]] Result : tl::expected<T, Error> {
  using tl::expected<T, Error>::expected;
};

// return fail(Code::invalid, "spec.replicas: must be 0 or more");
inline tl::unexpected<Error> fail(Code code, std::string message) { return tl::unexpected<Error>(Error{code, std::move(message)}); }
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

constexpr std::string_view code_name(Code code) {
  constexpr std::string_view names[] = {"not found", "already exists", "conflict",   "gone",   "invalid",  "forbidden",
                                        "throttled", "unavailable",    "reply lost", "fenced", "cancelled"};
  return names[static_cast<std::size_t>(code)];
}

}  // namespace reconcile
