#include "src/kubectl/args.hpp"

#include <catch2/catch.hpp>
#include <iostream>
#include <sstream>

using namespace endstate::kubectl;

namespace {

struct Parsed {
  std::variant<Args, int> result;
  std::string out, err;
  int code() const { return std::holds_alternative<int>(result) ? std::get<int>(result) : -1; }
  const Args& args() const { return std::get<Args>(result); }
};

Parsed parse(std::vector<const char*> words) {
  words.insert(words.begin(), "kubectl-endstate");
  std::ostringstream out, err;
  auto* old_out = std::cout.rdbuf(out.rdbuf());
  auto* old_err = std::cerr.rdbuf(err.rdbuf());
  auto result = parse_args(static_cast<int>(words.size()), words.data());
  std::cout.rdbuf(old_out);
  std::cerr.rdbuf(old_err);
  return {std::move(result), out.str(), err.str()};
}

bool one_line(const std::string& text) { return !text.empty() && text.find('\n') == text.size() - 1; }

}  // namespace

TEST_CASE("targets are named as kubectl names them", "[args]") {
  const std::vector<std::string> all{"MachineSet", "Cluster", "Machine"};
  for (const auto* text :
       {"machineset/w", "machinesets/w", "ems/w", "MachineSet/w", "machinesets.endstate.dev/w", "machinesets.v1alpha1.endstate.dev/w"}) {
    INFO(text);
    const auto t = parse_target({text}, all);
    REQUIRE(t);
    CHECK(t->kind == "MachineSet");
    CHECK(t->name == "w");
  }
  CHECK(parse_target({"cluster", "hz-a"}, all)->kind == "Cluster");
  for (const auto* text : {"w", "deployment/w", "machineset/", "/w", "machineset/a/b", "machinesets.apps/w"}) {
    INFO(text);
    CHECK_FALSE(parse_target({text}, all));
  }
  CHECK_FALSE(parse_target({"machine/w"}, {"MachineSet"}));
}

TEST_CASE("kubeconfig takes a cluster's name, as it is or with its kind", "[args]") {
  for (const auto& words :
       std::vector<std::vector<const char*>>{{"kubeconfig", "hz-a"}, {"kubeconfig", "cluster/hz-a"}, {"kubeconfig", "ecl", "hz-a"}}) {
    const auto parsed = parse(words);
    REQUIRE(parsed.code() == -1);
    const auto& args = std::get<KubeconfigArgs>(parsed.args().command);
    CHECK((args.target.name == "hz-a" && args.output.empty()));
  }
  CHECK(std::get<KubeconfigArgs>(parse({"kubeconfig", "hz-a", "--output", "f"}).args().command).output == "f");
  for (const auto& words : std::vector<std::vector<const char*>>{{"kubeconfig"}, {"kubeconfig", "machine/m"}}) {
    const auto parsed = parse(words);
    CHECK(parsed.code() == 2);
    CHECK(one_line(parsed.err));
  }
}

TEST_CASE("rollout's verbs and flags", "[args]") {
  const auto status = parse({"rollout", "status", "machineset/w", "-n", "prod", "--timeout", "10m", "--kubeconfig", "k"});
  REQUIRE(status.code() == -1);
  CHECK(status.args().common.name_space == "prod");
  CHECK(status.args().common.kubeconfig == "k");
  const auto& s = std::get<RolloutArgs>(status.args().command);
  CHECK(s.verb == Verb::status);
  CHECK(s.watch);
  CHECK(s.timeout == std::chrono::minutes(10));
  CHECK_FALSE(std::get<RolloutArgs>(parse({"rollout", "status", "ems/w", "--watch=false"}).args().command).watch);
  const auto undo = parse({"rollout", "undo", "machineset", "w", "--to-revision", "3", "--dry-run=server", "--force"});
  REQUIRE(undo.code() == -1);
  const auto& u = std::get<RolloutArgs>(undo.args().command);
  CHECK(u.verb == Verb::undo);
  CHECK(u.revision == 3);
  CHECK(u.force);
  CHECK(u.dry_run == DryRun::server);
  CHECK(std::get<RolloutArgs>(parse({"rollout", "promote", "ems/w", "--step", "few"}).args().command).step == "few");
}

TEST_CASE("diff wants files or a revision", "[args]") {
  const auto files = parse({"diff", "-f", "a.yaml", "-f", "-", "--machine-seconds", "90"});
  REQUIRE(files.code() == -1);
  const auto& d = std::get<DiffArgs>(files.args().command);
  CHECK(d.files == std::vector<std::string>{"a.yaml", "-"});
  CHECK(d.machine_time == std::chrono::seconds(90));
  CHECK(std::get<DiffArgs>(parse({"diff", "machineset/w", "--to-revision", "2"}).args().command).to_revision == 2);
}

TEST_CASE("wrong input is one line and exit code 2", "[args]") {
  const std::vector<std::vector<const char*>> wrong{{},
                                                    {"frobnicate"},
                                                    {"--frobnicate"},
                                                    {"rollout"},
                                                    {"rollout", "status"},
                                                    {"rollout", "status", "w"},
                                                    {"rollout", "status", "cluster/w"},
                                                    {"rollout", "status", "ems/w", "--timeout", "soon"},
                                                    {"rollout", "status", "ems/w", "--frobnicate"},
                                                    {"rollout", "status", "ems/w", "-o", "wide"},
                                                    {"rollout", "pause", "ems/w", "--dry-run=maybe"},
                                                    {"rollout", "undo", "ems/w", "--to-revision", "0"},
                                                    {"rollout", "undo", "ems/w", "--to-revision", "x"},
                                                    {"diff"},
                                                    {"diff", "machineset/w"},
                                                    {"diff", "--to-revision", "3"},
                                                    {"diff", "-f", "a", "machineset/w", "--to-revision", "3"},
                                                    {"diff", "-f", "a", "--machine-seconds", "0"},
                                                    {"describe"},
                                                    {"describe", "host", "h"},
                                                    {"top", "--watch", "--once"},
                                                    {"top", "--interval", "0s"},
                                                    {"top", "--request-timeout", "0"}};
  for (const auto& words : wrong) {
    const auto p = parse(words);
    std::string all;
    for (const auto* w : words) all.append(w).append(" ");
    INFO(all << "-> " << p.err);
    CHECK(p.code() == 2);
    CHECK(one_line(p.err));
    CHECK(p.out.empty());
  }
}

TEST_CASE("--help stands at every level, and says the exit codes", "[args]") {
  const std::vector<std::vector<const char*>> where{{"--help"},
                                                    {"rollout", "--help"},
                                                    {"rollout", "status", "--help"},
                                                    {"rollout", "undo", "--help"},
                                                    {"diff", "--help"},
                                                    {"describe", "--help"},
                                                    {"top", "--help"}};
  for (const auto& words : where) {
    const auto p = parse(words);
    CHECK(p.code() == 0);
    CHECK(p.err.empty());
    CHECK(p.out.size() > 100);
  }
  for (const auto& words :
       {std::vector<const char*>{"rollout", "status", "--help"}, {"rollout", "pause", "--help"}, {"diff", "--help"}, {"top", "--help"}})
    CHECK(parse(words).out.find("Exit codes") != std::string::npos);
  CHECK(parse({"--version"}).code() == 0);
}

TEST_CASE("rights: one Cluster; doctor: nothing", "[args]") {
  CHECK(std::get<RightsArgs>(parse({"rights", "hz-a"}).args().command).target.name == "hz-a");
  CHECK(std::get<RightsArgs>(parse({"rights", "cluster/hz-a"}).args().command).target.name == "hz-a");
  CHECK(std::holds_alternative<DoctorArgs>(parse({"doctor"}).args().command));
}

TEST_CASE("enrol: one Host, as kubectl prints it too", "[args]") {
  const auto host = [](const Parsed& p) { return std::get<EnrolArgs>(p.args().command).host; };
  CHECK(host(parse({"enrol", "h1"})) == "h1");
  CHECK(host(parse({"enrol", "host.endstate.dev/h1", "--server", "https://10.0.0.1"})) == "h1");
  for (const auto& words : std::vector<std::vector<const char*>>{{"enrol"},
                                                                 {"enrol", "h1", "h2"},
                                                                 {"enrol", "machine/h1"},
                                                                 {"enrol", "h1", "--server", "10.0.0.1"},
                                                                 {"enrol", "h1", "--timeout", "soon"}}) {
    const auto p = parse(words);
    CHECK(p.code() == 2);
    CHECK(one_line(p.err));
  }
}
