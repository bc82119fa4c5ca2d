// preview: what a change of a MachineSet would do, in order, without doing it. The very plans that the operator runs (plan_in_full, the
// guard's decide) are played over copies of the objects on a clock of its own: machines take an expected time, and nothing fails.
//
//   auto told = preview({.set = changed, .machines = ..., .budgets = ..., .now = now});
//
// Pure and bounded: PreviewBounds says how far it looks; past that it says that it was cut. What it assumes (somebody promotes at once, an
// analysis passes) stands in `assumptions`.
#pragma once
#include <chrono>
#include <optional>
#include <vector>

#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/packages.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/guard/schedule.hpp"
#include "controllers/machine_set/snapshot.hpp"

namespace endstate::machine_set {

struct Unjudged {
  api::PreflightCheck check{};
  Text why;
};

struct PreviewInput {
  Ref<api::MachineSet> set;  // as it would be stored; its status as it is now
  bool exists = true;        // false: it would be created, so its machines' names aren't known
  ClusterFacts cluster;
  std::vector<Ref<api::Machine>> machines;                               // the set's
  std::vector<Ref<api::Machine>> orphans;                                // that nobody owns and that it would take up (adoption.hpp)
  std::vector<Ref<api::Machine>> others;                                 // of the same cluster: budgets count them too
  std::vector<Revision> revisions;                                       // the set's
  Ref<api::MachineSet> after;                                            // that spec.rollout.after names
  std::vector<Ref<api::MachineSet>> after_that;                          // as chain_after gives it
  std::optional<std::vector<Ref<api::MachinePackageVersion>>> packages;  // nullopt: they can't be read
  std::vector<Text> taken_names;                                         // of Machines of the namespace that aren't the set's
  std::optional<std::vector<Text>> free_hosts;                           // failure domain of each; nullopt: not known, enough is assumed
  std::vector<Ref<api::ChangeBudget>> budgets;                           // those that select the cluster, by name
  std::vector<Ref<api::Host>> hosts;                                     // of the set's machines
  std::optional<api::GuardLedgerStatus> ledger;                          // nullopt: the cluster has none, or it can't be read
  bool ledger_trusted = true;
  std::vector<Unjudged> unjudged;       // pre-flight checks of which it can't be known here how they stand
  std::vector<guard::ZoneFacts> zones;  // that the budgets' schedules name (controllers/guard/zones.hpp); a zone without facts holds
  WallTime now{};
  std::optional<std::chrono::seconds> machine_time;  // how long one operation takes; nullopt: as the set's machines did, else 60 s
};

struct PreviewBounds {
  std::chrono::hours length{24 * 60};
  std::size_t rounds = 20'000;
  std::size_t work = 200'000'000;  // rounds times machines: some seconds of one core
};
inline constexpr std::size_t max_preview_machines = 100'000;
inline constexpr std::chrono::seconds default_machine_time{60}, default_drain_time{60};

// What holds a step up while it lasts.
struct PreviewLimit {
  Text kind, name, reason, message;
  std::int64_t machines = 0;  // the most that waited for it at once
  std::chrono::seconds first{};
  friend bool operator==(const PreviewLimit&, const PreviewLimit&) = default;
};
consteval auto describe(const PreviewLimit*) {
  using S = PreviewLimit;
  return api::object("What holds it up.", api::field<&S::kind>("kind", "The kind of what says no."),
                     api::field<&S::name>("name", "Its name."), api::field<&S::reason>("reason", "Why, in one word."),
                     api::field<&S::message>("message", "Why, for people."),
                     api::field<&S::machines>("machines", "The most machines that wait for it at once."),
                     api::field<&S::first>("firstSeconds", "When it says no first, from now."));
}

// A check before the first machine, as it would be found now.
//   Waits    it fails, and a clock ends that: the rollout goes on by itself
//   Unknown  it can't be judged from here
enum class PreviewVerdict : std::uint8_t { passed, failed, waits, unknown, skipped };
consteval auto describe(const PreviewVerdict*) { return api::names("How it is found.", "Passed", "Failed", "Waits", "Unknown", "Skipped"); }
struct PreviewCheck {
  api::PreflightCheck check{};
  PreviewVerdict result{};
  Text message;
  friend bool operator==(const PreviewCheck&, const PreviewCheck&) = default;
};
consteval auto describe(const PreviewCheck*) {
  using S = PreviewCheck;
  return api::object("A pre-flight check.", api::field<&S::check>("check", "Which."), api::field<&S::result>("result", "How it is found."),
                     api::field<&S::message>("message", "Why, for people."));
}

struct PreviewStep {
  Text name;  // of rollout.steps, "all" or "rest" where they don't say; or one of preview_step's
  std::int64_t target = 0;
  std::chrono::seconds begin{}, machines_done{}, end{};
  std::vector<Text> updated, created, deleted;  // in the order of the wish
  std::int64_t updates = 0, creations = 0, deletions = 0;
  std::int64_t most_at_once = 0;
  std::vector<PreviewLimit> limits;
  Text then;  // the pause, the analysis, the promotion after it; empty: nothing
  friend bool operator==(const PreviewStep&, const PreviewStep&) = default;
};
consteval auto describe(const PreviewStep*) {
  using S = PreviewStep;
  return api::object("A part of the change.", api::field<&S::name>("name", "The step."),
                     api::field<&S::target>("target", "How many machines have the revision at its end."),
                     api::field<&S::begin>("beginSeconds", "When it begins, from now."),
                     api::field<&S::machines_done>("machinesDoneSeconds", "When its machines are done and its pause begins."),
                     api::field<&S::end>("endSeconds", "When it ends."), api::field<&S::updated>("updated", "The machines, in order."),
                     api::field<&S::created>("created", "New machines."), api::field<&S::deleted>("deleted", "Machines that go."),
                     api::field<&S::updates>("updates", "How many are updated."),
                     api::field<&S::creations>("creations", "How many are created."),
                     api::field<&S::deletions>("deletions", "How many go."),
                     api::field<&S::most_at_once>("mostAtOnce", "The most that are worked at, at once."),
                     api::field<&S::limits>("limits", "What holds it up."), api::field<&S::then>("then", "What is waited for after it."));
}
namespace preview_step {
inline constexpr std::string_view preflight = "(pre-flight)";  // no machine yet: a budget holds the rollout before its first one
inline constexpr std::string_view replicas = "replicas";       // machines that are missing or too many
inline constexpr std::string_view back = "back";               // to the current revision, without steps
}  // namespace preview_step

enum class PreviewEnd : std::uint8_t { complete, nothing, rolled_back, partition, stuck, cut };
consteval auto describe(const PreviewEnd*) {
  return api::names("How it ends.", "Complete", "Nothing", "RolledBack", "Partition", "Stuck", "Cut");
}

struct Preview {
  Text name_space, set;
  Text from, to;                        // revisions; the same: the template doesn't change
  std::vector<PreviewCheck> preflight;  // empty: none is made (nothing new is released, or it was made already)
  std::vector<PreviewStep> steps;
  std::int64_t touched = 0;  // machines
  std::chrono::seconds duration{}, machine_time{};
  bool drains = false;
  PreviewEnd end{};
  Text why;                                           // of Stuck and Cut
  std::vector<Text> problems, warnings, assumptions;  // problems: nothing would happen before they are solved
  friend bool operator==(const Preview&, const Preview&) = default;
};
consteval auto describe(const Preview*) {
  using S = Preview;
  return api::object(
      "What a change would do.", api::field<&S::name_space>("namespace", "The set's."), api::field<&S::set>("set", "The MachineSet."),
      api::field<&S::from>("from", "The revision that it comes from."), api::field<&S::to>("to", "The revision that it leads to."),
      api::field<&S::preflight>("preflight", "What is looked at before the first machine, and how it is found now."),
      api::field<&S::steps>("steps", "What happens, in order."), api::field<&S::touched>("touched", "How many machines are touched."),
      api::field<&S::duration>("durationSeconds", "How long all of it takes."),
      api::field<&S::machine_time>("machineSeconds", "How long an update of one machine is taken to last."),
      api::field<&S::drains>("drains", "Pods are moved off each machine first."), api::field<&S::end>("end", "How it ends."),
      api::field<&S::why>("why", "Why it ends there."), api::field<&S::problems>("problems", "What must be solved first."),
      api::field<&S::warnings>("warnings", "What to know."), api::field<&S::assumptions>("assumptions", "What was taken for granted."));
}

Preview preview(const PreviewInput& in, const PreviewBounds& bounds = {});

}  // namespace endstate::machine_set
