// The programs' log: one line an event on stderr, `TIME LEVEL message key=value ...`, from any thread. Never blocks on a slow reader for
// long: stderr is a file or the container runtime's pipe.
#pragma once
#include <string_view>

#include "reconcile/base/log.hpp"
#include "reconcile/base/result.hpp"

namespace endstate {

// "debug", "info", "warning" or "error".
reconcile::Result<reconcile::Level> parse_level(std::string_view name);
reconcile::Log stderr_log(reconcile::Level least);

}  // namespace endstate
