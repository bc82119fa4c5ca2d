// A preview as people read it. Pure.
#pragma once
#include <string>

#include "controllers/machine_set/preview.hpp"

namespace endstate::kubectl {

// `all`: every machine's name, else the first few of each step. `offset`: it begins so long from now (another set goes first).
std::string preview_text(const machine_set::Preview& p, bool all, std::chrono::seconds offset = {});

}  // namespace endstate::kubectl
