// Reads one text out of a Secret or a ConfigMap of the meta cluster, by one GET: at each use, so that a new token counts at once and none
// is kept. For the Env's thread only.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "reconcile/base/env.hpp"
#include "reconcile/run/loop.hpp"

namespace reconcile {

void wipe(std::string& secret);  // overwrites it: what is freed is not readable any more

// `done` gets the text, or an error that names the object and its key, and never what is in it. Not from inside the call.
[[nodiscard]] Handle read_secret_key(Env& env, const KeyRef& ref, std::function<void(Result<std::string>)> done);
[[nodiscard]] Handle read_config_key(Env& env, const KeyRef& ref, std::function<void(Result<std::string>)> done);

}  // namespace reconcile
