// chaos_recorder: watches a run from outside, by the API alone, and judges whether any limit was ever exceeded (judge.hpp). It has an
// identity of its own and shares nothing with the operator but the types. Ends on SIGTERM or SIGINT with a table:
// exit code 0: every limit held; 1: one was exceeded; 2: wrong flags or credentials; 3: it never saw the whole cluster.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "e2e/chaos/judge.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "src/common/logging.hpp"
#include "src/common/signals.hpp"

namespace {

using namespace endstate;
using namespace std::chrono_literals;
using reconcile::Ref, reconcile::kind_of;

struct Options {
  std::string kubeconfig, out, events;
};

template <class T>
const T* as(const Ref<void>& object) {
  return static_cast<const T*>(object.get());
}

class Recorder {
 public:
  Recorder(const reconcile::Credentials& credentials, std::string out, const std::string& events)
      : out_(std::move(out)),
        env_({.user_agent = "endstate-chaos-recorder"}, credentials),
        caches_(env_, stderr_log(reconcile::Level::warning)) {
    if (!events.empty()) events_.open(events, std::ios::trunc);
    caches_.on_change([this](std::string_view, const reconcile::Kind& kind, const Ref<void>& before, const Ref<void>& after) {
      changed(kind, before, after);
    });
  }

  void run() {
    env_.post([this] {
      for (const auto* kind : {&kind_of<v1alpha1::Cluster>, &kind_of<v1alpha1::ChangeBudget>, &kind_of<v1alpha1::MachineSet>,
                               &kind_of<v1alpha1::GuardLedger>, &kind_of<v1alpha1::HostAssignment>, &kind_of<v1alpha1::Machine>})
        caches_.watch("", {.kind = kind});
      tick();
    });
    env_.run();
  }
  void stop() { env_.stop(); }

  // After run().
  int verdict() const {
    if (!began_) {
      std::cerr << "chaos_recorder: the first lists never came; nothing was judged\n";
      return 3;
    }
    std::cout << table(judge_);
    return judge_.exceeded() ? 1 : 0;
  }

 private:
  void changed(const reconcile::Kind& kind, const Ref<void>& before, const Ref<void>& after) {
    const auto now = env_.now().wall;
    if (&kind == &kind_of<v1alpha1::Machine>)
      note_machine(as<v1alpha1::Machine>(before), as<v1alpha1::Machine>(after));
    else if (&kind == &kind_of<v1alpha1::HostAssignment>)
      note_assignment(as<v1alpha1::HostAssignment>(before), as<v1alpha1::HostAssignment>(after));
    else if (&kind == &kind_of<v1alpha1::MachineSet>)
      note_set(as<v1alpha1::MachineSet>(before), as<v1alpha1::MachineSet>(after));
    if (&kind == &kind_of<v1alpha1::Machine>)
      judge_.saw_machine(as<v1alpha1::Machine>(before), as<v1alpha1::Machine>(after), now);
    else if (&kind == &kind_of<v1alpha1::HostAssignment>)
      judge_.saw_assignment(as<v1alpha1::HostAssignment>(before), as<v1alpha1::HostAssignment>(after), now);
    else if (&kind == &kind_of<v1alpha1::GuardLedger>)
      judge_.saw_ledger(as<v1alpha1::GuardLedger>(before), as<v1alpha1::GuardLedger>(after));
    else if (&kind == &kind_of<v1alpha1::MachineSet>)
      judge_.saw_set(as<v1alpha1::MachineSet>(before), as<v1alpha1::MachineSet>(after));
    else if (&kind == &kind_of<v1alpha1::ChangeBudget>)
      judge_.saw_budget(as<v1alpha1::ChangeBudget>(before), as<v1alpha1::ChangeBudget>(after));
    else if (&kind == &kind_of<v1alpha1::Cluster>)
      judge_.saw_cluster(as<v1alpha1::Cluster>(before), as<v1alpha1::Cluster>(after));
  }

  // One line a change, by tabs, for scripts that judge an interval: TIME (Unix, ms) WHAT NAMESPACE/NAME MORE.
  //   spec REVISION        a Machine was made, or its spec or wanted revision changed     gone           it is gone
  //   begin TYPE           its lock was taken                                             end TYPE       and given back
  //   assigned REVISION    a HostAssignment's spec changed
  //   wish GENERATION      a MachineSet's spec changed                                    seen GENERATION  endstate has answered
  void note(std::string_view what, const reconcile::ObjectMeta& meta, std::string_view more = {}) {
    if (!events_.is_open() || !began_) return;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(env_.now().wall.time_since_epoch()).count();
    events_ << ms << '\t' << what << '\t' << meta.name_space.view() << '/' << meta.name.view() << '\t' << more << std::endl;
  }
  void note_machine(const v1alpha1::Machine* before, const v1alpha1::Machine* after) {
    const auto revision = [](const v1alpha1::Machine* m) { return m ? m->metadata.labels.get(v1alpha1::label::revision) : ""; };
    if (!after) return note("gone", before->metadata);
    if (!before || before->metadata.generation != after->metadata.generation || revision(before) != revision(after))
      note("spec", after->metadata, revision(after));
    const auto* was = before && before->status.operation ? &*before->status.operation : nullptr;
    const auto* is = after->status.operation ? &*after->status.operation : nullptr;
    if (was && (!is || is->id != was->id)) note("end", after->metadata, reconcile::name_of(was->type));
    if (is && (!was || is->id != was->id)) note("begin", after->metadata, reconcile::name_of(is->type));
  }
  void note_assignment(const v1alpha1::HostAssignment* before, const v1alpha1::HostAssignment* after) {
    if (!after) return note("unassigned", before->metadata);
    if (!before || !(before->spec == after->spec)) note("assigned", after->metadata, after->spec.revision.view());
  }
  void note_set(const v1alpha1::MachineSet* before, const v1alpha1::MachineSet* after) {
    if (!after) return;
    const auto wished = after->metadata.generation.value_or(0);
    if (!before || before->metadata.generation.value_or(0) != wished) note("wish", after->metadata, std::to_string(wished));
    const auto seen = after->status.observed_generation.value_or(0);
    if (!before || before->status.observed_generation.value_or(0) != seen) note("seen", after->metadata, std::to_string(seen));
  }

  void tick() {
    if (!began_ && caches_.synced("")) {
      began_ = true;
      judge_.begin();
      std::cerr << "chaos_recorder: watching " << judge_.machines() << " machines\n";
    }
    if (began_) {
      judge_.look(env_.now().wall);
      tell();
      write();
    }
    tick_ = env_.at(env_.now().mono + 1s, [this] {
      const auto running = std::move(tick_);  // we are inside it
      tick();
    });
  }

  // What is exceeded is told when it happens, not only at the end.
  void tell() {
    for (const auto& r : judge_.rows())
      if (r.exceeded && told_.insert(r.what).second)
        std::cerr << "chaos_recorder: EXCEEDED at " << reconcile::format_rfc3339(r.exceeded_at) << ": " << r.what << ": " << r.most
                  << ", limit " << r.limit << "\n";
  }

  // For scripts, by tabs, always whole: limit WHAT MOST LIMIT EXCEEDED_BY | touched REVISION HOSTS | started OPERATION NUMBER
  void write() const {
    if (out_.empty()) return;
    const auto part = out_ + ".part";
    {
      std::ofstream file(part, std::ios::trunc);
      for (const auto& r : judge_.rows()) file << "limit\t" << r.what << "\t" << r.most << "\t" << r.limit << "\t" << r.exceeded_by << "\n";
      for (const auto& [revision, hosts] : judge_.touched()) file << "touched\t" << revision << "\t" << hosts.size() << "\n";
      for (const auto& [operation, number] : judge_.started()) file << "started\t" << operation << "\t" << number << "\n";
    }
    std::rename(part.c_str(), out_.c_str());
  }

  std::string out_;
  std::ofstream events_;
  reconcile::CurlEnv env_;
  chaos::Judge judge_;
  reconcile::Caches caches_;
  bool began_ = false;
  std::set<std::string> told_;
  reconcile::Handle tick_;
};

}  // namespace

int main(int argc, char** argv) {
  block_stop_signals();
  Options options;
  CLI::App app("Watches machines, budgets and ledgers from outside, and judges whether any limit was ever exceeded.", "chaos_recorder");
  app.add_option("--kubeconfig", options.kubeconfig, "The cluster's kubeconfig")->required();
  app.add_option("--out", options.out, "A file that is written anew each second, for scripts");
  app.add_option("--events", options.events, "A file that gets a line for each change of a wish, a lock or an assignment");
  CLI11_PARSE(app, argc, argv);
  const auto credentials = reconcile::default_credentials(options.kubeconfig, "");
  if (!credentials) {
    std::cerr << "chaos_recorder: " << credentials.error().message << "\n";
    return 2;
  }
  Recorder recorder(*credentials, options.out, options.events);
  {
    const StopSignal on_signal([&] { recorder.stop(); });
    recorder.run();
  }
  return recorder.verdict();
}
