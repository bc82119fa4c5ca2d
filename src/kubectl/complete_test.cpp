#include "src/kubectl/complete.hpp"

#include <catch2/catch.hpp>

using namespace endstate::kubectl;

namespace {

Completion of(const std::vector<std::string>& words) { return complete(words, command_names()); }
// Without what is said of each.
std::vector<std::string> words_of(const std::vector<std::string>& words) {
  std::vector<std::string> out;
  for (const auto& w : of(words).words) out.push_back(w.substr(0, w.find('\t')));
  return out;
}
using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("kubeconfig is completed by clusters' names, its file by files", "[complete]") {
  const auto commands = command_names();
  const auto names = complete({"kubeconfig", ""}, commands);
  CHECK((names.kinds == std::vector<std::string>{"Cluster"} && !names.with_kind));
  CHECK(complete({"kubeconfig", "hz-a", ""}, commands).kinds.empty());
  CHECK(complete({"kubeconfig", "hz-a", "--output", ""}, commands).files);
}

TEST_CASE("completion: commands, verbs and flags, by what is typed", "[kubectl]") {
  CHECK(words_of({""}) == Words{"rollout", "diff", "describe", "kubeconfig", "top", "enrol", "rights", "doctor"});
  CHECK(words_of({"d"}) == Words{"diff", "describe", "doctor"});
  CHECK(words_of({"rollout", "p"}) == Words{"pause", "promote"});
  CHECK(words_of({"-n", "prod", "rollout", "st"}) == Words{"status"});
  CHECK(words_of({"diff", "--to"}) == Words{"--to-revision"});
  CHECK(words_of({"top", "x"}).empty());
  CHECK(words_of({"frobnicate", "x"}).empty());
  CHECK(of({}).words.empty());
}

TEST_CASE("completion: where an object's name may stand, of which kinds, and where it is asked", "[kubectl]") {
  auto c = of({"rollout", "status", ""});
  CHECK(c.kinds == Words{"MachineSet"});
  CHECK(c.with_kind);
  c = of({"--kubeconfig=/k", "--context", "blue", "describe", "-n", "prod", ""});
  CHECK(c.kinds == Words{"MachineSet", "Cluster", "Machine"});
  CHECK(c.common.kubeconfig == "/k");
  CHECK(c.common.context == "blue");
  CHECK(c.common.name_space == "prod");
  c = of({"describe", "ecl", ""});
  CHECK(c.kinds == Words{"Cluster"});
  CHECK_FALSE(c.with_kind);
  CHECK(of({"describe", "machineset/a", ""}).kinds.empty());
  CHECK(of({"describe", "machineset", "a", ""}).kinds.empty());
  CHECK(of({"top", ""}).kinds.empty());
}

TEST_CASE("completion: files where a file is named", "[kubectl]") {
  CHECK(of({"diff", "-f", ""}).files);
  CHECK_FALSE(of({"diff", "--machine-seconds", ""}).files);
  CHECK(of({"diff", "--machine-seconds", "5", ""}).kinds == Words{"MachineSet"});
}
