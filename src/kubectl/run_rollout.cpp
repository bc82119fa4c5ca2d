#include "reconcile/json/encode.hpp"
#include "reconcile/kube/url.hpp"
#include "src/kubectl/history.hpp"
#include "src/kubectl/progress.hpp"
#include "src/kubectl/run.hpp"
#include "src/kubectl/text.hpp"
#include "src/kubectl/verbs.hpp"
#include "src/kubectl/world.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::Code;
using Verdict = Progress::Verdict;

constexpr auto look_period = 1s;
constexpr int max_lost_looks = 30;  // in a row, while the API server can't be reached
constexpr int max_tries = 8;        // a set under way changes every second: its version is read again

std::string status_json(const api::MachineSet& set, const Progress& p) {
  constexpr std::string_view names[] = {"UnderWay", "Complete", "Failed", "Waiting"};
  std::string out = "{\"verdict\":" + reconcile::quote(names[static_cast<std::size_t>(p.verdict)]) +
                    ",\"message\":" + reconcile::quote(p.line) + ",\"status\":";
  reconcile::encode_to(out, reconcile::type_of<api::MachineSetStatus>, &set.status);
  return out + "}\n";
}

bool is_on_the_way_back(const api::MachineSet& set) {
  return set.status.rollout && set.status.rollout->phase == api::RolloutPhase::rolling_back;
}

int status(const Session& s, const RolloutArgs& args) {
  const auto began = s.client.mono();
  std::string last;
  int lost = 0;
  while (true) {
    const auto set = s.client.get<api::MachineSet>(s.name_space, args.target.name);
    if (!set) {
      const auto& error = set.error();
      const bool may_come_back = error.code == Code::unavailable || error.code == Code::maybe_done || error.code == Code::throttled;
      if (!args.watch || !may_come_back || ++lost > max_lost_looks) return s.fail(error);
    } else {
      lost = 0;
      const auto p = progress_of(**set);
      if (p.line != last && args.output.empty()) s.out << "machineset/" << args.target.name << " " << plain(p.line) << std::endl;
      last = p.line;
      const bool over = p.verdict == Verdict::complete || (p.verdict == Verdict::failed && !(args.watch && is_on_the_way_back(**set)));
      const bool late = args.timeout > 0s && s.client.mono() - began >= args.timeout;
      if (over || late || !args.watch) {
        if (!args.output.empty()) s.out << status_json(**set, p);
        if (over || !args.watch) return exit_code_of(p.verdict);
        return s.fail("not over after " + reconcile::format_duration(args.timeout) + " (--timeout)", exit_code::pending);
      }
    }
    s.client.sleep(look_period);
  }
}

reconcile::Result<std::vector<Recorded>> revisions_of(const Session& s, const api::MachineSet& set) {
  auto objects = World(s.client, {}).revisions(set);
  if (!objects) return reconcile::fail(std::move(objects.error()));
  return recorded(set, *objects);
}

int history(const Session& s, const RolloutArgs& args) {
  const auto set = s.client.get<api::MachineSet>(s.name_space, args.target.name);
  if (!set) return s.fail(set.error());
  const auto revisions = revisions_of(s, **set);
  if (!revisions) return s.fail(revisions.error());
  if (args.revision) {
    const auto one = history_of(**set, *revisions, *args.revision);
    if (!one) return s.fail(one.error().message, exit_code::no);
    s.out << *one;
  } else {
    s.out << (args.output == "json" ? history_json(**set, *revisions) : history_table(**set, *revisions, s.client.now()));
  }
  return exit_code::good;
}

reconcile::Result<std::string> send(const Session& s, const RolloutArgs& args, const Deed& deed) {
  return s.client.send(
      {.verb = deed.json_patch ? reconcile::Verb::json_patch : reconcile::Verb::merge_patch,
       .resource = &reconcile::resource_of<api::MachineSet>,
       .name_space = s.name_space,
       .name = args.target.name,
       .query = reconcile::encode_query({{"fieldManager", field_manager}, {"dryRun", args.dry_run == DryRun::server ? "All" : ""}}),
       .body = deed.body});
}

int write(const Session& s, const RolloutArgs& args) {
  std::string refused_version;
  for (int tries = 1;; ++tries) {
    const auto set = s.client.get<api::MachineSet>(s.name_space, args.target.name);
    if (!set) return s.fail(set.error());
    std::vector<Recorded> revisions;
    if (args.verb == Verb::undo) {
      auto all = revisions_of(s, **set);
      if (!all) return s.fail(all.error());
      revisions = std::move(*all);
    }
    const auto deed = deed_of(args, **set, revisions);
    if (deed.what == Deed::What::refused) return s.fail(deed.said, exit_code::no);
    if (deed.what == Deed::What::nothing) {
      s.out << plain(deed.said) << "; nothing to do\n";
      return exit_code::good;
    }
    if (args.dry_run == DryRun::client) {
      s.out << plain(deed.said) << " (client dry run: nothing was sent)\n" << deed.body << "\n";
      return exit_code::good;
    }
    const auto done = send(s, args, deed);
    if (done) {
      s.out << plain(deed.said) << (args.dry_run == DryRun::server ? " (server dry run: nothing is stored)" : "") << "\n";
      return exit_code::good;
    }
    // Another write may have come between: a merge patch's version is then a conflict, a JSON patch's failed test an invalid request
    // (k8s.io/apiserver's patch.go doesn't say which test). The same version refused twice is refused.
    const bool moved = done.error().code == Code::conflict ||
                       (deed.json_patch && done.error().code == Code::invalid && (*set)->metadata.resource_version != refused_version);
    refused_version = (*set)->metadata.resource_version.str();
    if (!moved || tries >= max_tries) return s.fail(done.error());
    s.client.sleep(std::chrono::milliseconds(50 * tries));
  }
}

}  // namespace

int run_rollout(const Session& session, const RolloutArgs& args) {
  switch (args.verb) {
    case Verb::status: return status(session, args);
    case Verb::history: return history(session, args);
    default: return write(session, args);
  }
}

}  // namespace endstate::kubectl
