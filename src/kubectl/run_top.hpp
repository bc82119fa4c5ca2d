// `top`: caches that watch the fleet (one list, then what changes: so a live screen costs what changes and no more), and a screen.
#pragma once
#include <ostream>
#include <string>

#include "reconcile/kube/credentials.hpp"
#include "src/kubectl/args.hpp"

namespace endstate::kubectl {

// Redraws until SIGINT or SIGTERM (block_stop_signals() was called), or says it once.
int run_top(const reconcile::Credentials& credentials, const std::string& name_space, const Args& args, const TopArgs& top);

}  // namespace endstate::kubectl
