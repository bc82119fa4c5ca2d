// Prefetch: what a host should have at hand before it is told to use it, and how its agent says that it has. A wish that permits nothing:
// an annotation of the HostAssignment, so that there is no new generation for which the machine would count as unknown.
#pragma once
#include "apis/v1alpha1/packages.hpp"

namespace endstate::v1alpha1 {

struct Prefetch {
  Text id;  // hash_of its artifacts
  std::vector<Artifact> artifacts;
  friend bool operator==(const Prefetch&, const Prefetch&) = default;
};
consteval auto describe(const Prefetch*) {
  return object("What to have at hand.",
                field<&Prefetch::id>("id", "Tells it from another.", {.required = true, .min_length = 1, .max_length = 64}),
                field<&Prefetch::artifacts>("artifacts", "Of all architectures; a host takes those of its own.",
                                            {.required = true, .max_items = 256, .atomic = true}));
}

namespace prefetch {
inline constexpr std::string_view annotation = "endstate.dev/prefetch";  // HostAssignment: a Prefetch, as JSON
// In the agent's report, always (so an agent without it can't do that): True, and the message is the id; False, and it begins with
// "<id>: ". Without a wish True, and no message. In a Machine's status: False while a change waits for it.
inline constexpr std::string_view condition = "Prefetched";
inline std::string note(const Text& id, std::string_view why) { return id.str() + ": " + std::string(why); }
inline bool speaks_of(std::string_view message, const Text& id) {
  return message == id.view() || (message.starts_with(id.view()) && message.substr(id.view().size()).starts_with(": "));
}
}  // namespace prefetch

namespace reason {
inline constexpr std::string_view prefetching = "Prefetching";
}  // namespace reason

}  // namespace endstate::v1alpha1
