// The shell's completion of `kubectl endstate ...`: kubectl runs `kubectl_complete-endstate WORDS...` and reads what may stand in the last
// word's place, one a line (k8s.io/kubectl pkg/cmd/plugin_completion.go; the protocol is cobra's).
#pragma once
#include <string>
#include <vector>

#include "src/kubectl/args.hpp"

namespace endstate::kubectl {

struct Completion {
  std::vector<std::string> words;  // "status\tFollows a rollout, and says how it ended"
  std::vector<std::string> kinds;  // names of these kinds' objects may stand here
  bool with_kind = true;           // as machineset/NAME; else the name alone
  bool files = false;              // or a file
  Common common;                   // what the words say of where to ask
};
// Pure: words without the program's name; the last one is being typed, and may be empty.
Completion complete(const std::vector<std::string>& words, const CommandNames& commands);

// Says it on the standard output. Objects that can't be listed within a few seconds are left out.
int run_complete(const std::vector<std::string>& words);

}  // namespace endstate::kubectl
