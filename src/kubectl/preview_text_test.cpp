#include "src/kubectl/preview_text.hpp"

#include <catch2/catch.hpp>

using namespace endstate;
using namespace endstate::machine_set;
using std::chrono::seconds;

TEST_CASE("a preview says the pre-flight, what is refused, and what a budget holds before the first machine", "[kubectl]") {
  Preview p;
  p.name_space = "default";
  p.set = "workers";
  p.from = "a";
  p.to = "b";
  p.machine_time = seconds(60);
  p.problems = {"PreflightFailed: the pre-flight check VersionSkew fails"};
  p.preflight = {
      {.check = v1alpha1::PreflightCheck::artifacts_reachable, .result = PreviewVerdict::unknown, .message = "not asked from here"},
      {.check = v1alpha1::PreflightCheck::version_skew, .result = PreviewVerdict::failed, .message = "kubelet is newer"},
      {.check = v1alpha1::PreflightCheck::cluster_healthy, .result = PreviewVerdict::passed, .message = {}},
      {.check = v1alpha1::PreflightCheck::budget_open, .result = PreviewVerdict::waits, .message = "nights is on\x1b[2J"},
      {.check = v1alpha1::PreflightCheck::disk_room, .result = PreviewVerdict::skipped, .message = "no size"}};
  PreviewStep wait, all;
  wait.name = preview_step::preflight;
  wait.end = seconds(3600);
  wait.limits = {{.kind = "ChangeBudget", .name = "calm", .reason = "ScheduleClosed", .message = "nights is on", .machines = 2}};
  all.name = "all";
  all.target = 2;
  all.begin = seconds(3600);
  all.end = seconds(3720);
  all.updated = {"w-1", "w-2"};
  all.updates = 2;
  p.steps = {wait, all};
  p.touched = 2;
  p.duration = seconds(3720);
  p.end = PreviewEnd::complete;
  CHECK(kubectl::preview_text(p, false, seconds(0)) ==
        "What would happen to machineset/workers, from revision a to b (an update of a machine takes about 1m):\n"
        "  REFUSED: PreflightFailed: the pre-flight check VersionSkew fails\n"
        "  Pre-flight, before the first machine is touched:\n"
        "       unknown  ArtifactsReachable: not asked from here\n"
        "       FAILS    VersionSkew: kubelet is newer\n"
        "       passes   ClusterHealthy\n"
        "       waits    BudgetOpen: nights is on [2J\n"
        "       skipped  DiskRoom: no size\n"
        "  1. before the first machine: waits, from +0s to +1h\n"
        "       held by  ChangeBudget calm: ScheduleClosed: nights is on (2 machines wait, first at +0s)\n"
        "  2. step all (up to 2): 2 machines, from +1h to +1h2m\n"
        "       update   w-1, w-2\n"
        "  In all: 2 machines, about 1h2m.\n");
}
