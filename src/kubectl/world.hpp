// What a preview needs to know, as far as the user's own rights let it be read.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "controllers/machine_set/preview.hpp"
#include "src/kubectl/client.hpp"
#include "src/kubectl/describe.hpp"
#include "src/kubectl/verbs.hpp"

namespace endstate::kubectl {

// What stands in the user's files, as it would be stored: it takes the place of what is there.
struct Overrides {
  std::vector<Ref<v1alpha1::ChangeBudget>> budgets;
  std::vector<Ref<v1alpha1::MachinePackageVersion>> packages;
  std::vector<Ref<v1alpha1::Cluster>> clusters;
  std::vector<Ref<v1alpha1::MetricSource>> sources;
};

class World {
 public:
  World(Client& client, Overrides overrides) : client_(client), overrides_(std::move(overrides)) {}

  // An error: not even the set's own machines can be read.
  Result<machine_set::PreviewInput> input(Ref<v1alpha1::MachineSet> set, bool exists);
  // What can't be read, and what that means; each once.
  const std::vector<std::string>& notes() const { return notes_; }

  Result<Refs<v1alpha1::Machine>> machines(const std::string& name_space);
  Result<std::vector<Ref<reconcile::ControllerRevision>>> revisions(const v1alpha1::MachineSet& set);
  // Those that select the cluster, by name.
  std::vector<Ref<v1alpha1::ChangeBudget>> budgets(const v1alpha1::Cluster& cluster);

 private:
  // What could be read; nullopt, and a note, if it couldn't.
  template <class T>
  std::optional<std::vector<Ref<T>>> may_list(std::string_view name_space, std::string_view what, std::string_view missing,
                                              std::string* why = nullptr);
  // That these pre-flight checks can't be judged here.
  static void cannot(machine_set::PreviewInput& in, std::initializer_list<v1alpha1::PreflightCheck> checks, const std::string& why);
  void read_cluster(machine_set::PreviewInput& in);
  void add_orphan_revisions(machine_set::PreviewInput& in);
  void read_packages(machine_set::PreviewInput& in);
  void read_hosts(machine_set::PreviewInput& in);
  void note(std::string text);
  Result<Ref<v1alpha1::Cluster>> cluster(const v1alpha1::MachineSet& set);  // null: there is none
  void look_at_sources(const v1alpha1::MachineSet& set);

  Client& client_;
  Overrides overrides_;
  std::vector<std::string> notes_;
  std::string why_no_budgets_, why_no_packages_;             // empty: they could be read
  std::map<std::string, Refs<v1alpha1::Machine>> machines_;  // by namespace
  std::optional<std::optional<std::vector<Ref<v1alpha1::ChangeBudget>>>> budgets_;
  std::optional<std::optional<std::vector<Ref<v1alpha1::MachinePackageVersion>>>> packages_;
};

// As the loop's snapshot has them.
std::vector<machine_set::Revision> plan_revisions_of(const v1alpha1::MachineSet& set,
                                                     const std::vector<Ref<reconcile::ControllerRevision>>& objects);

}  // namespace endstate::kubectl
