// A small world that plays machines, people and a runtime that dies between any two actions, over thousands of seeds, and checks after
// every single write what must always hold. It plays the machine loop and the hosts by their effects only.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>

#include "controllers/machine_set/steps.hpp"
#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using reconcile::Action, reconcile::Verb;
namespace api = endstate::v1alpha1;

namespace {

class World {
 public:
  explicit World(std::uint64_t seed, bool tells) : random_(seed * 2654435761U + 88172645463325252ULL), tells_(tells) {
    scene_.set = set_of(pick(1, 12), "v0");
    scene_.now = epoch;
    auto& rollout = scene_.set.spec.rollout;
    if (chance(25)) {
      rollout.type = api::RolloutType::recreate;
      rollout.max_surge = api::IntOrPercent{pick(0, 2), false};
    }
    if (chance(50)) rollout.max_unavailable = api::IntOrPercent{pick(1, 4), false};
    if (chance(20)) rollout.pick = chance(50) ? api::Pick::random : api::Pick::by_annotation;
    if (chance(30)) rollout.min_ready = seconds(pick(1, 20));
    edit_steps();
  }

  void live_through(int edits) {
    for (int i = 0; i < edits; ++i) {
      const auto passes = pick(1, 12);
      for (std::int64_t p = 0; p < passes; ++p) turn(true);
      person();
    }
  }

  // Nobody edits and nothing breaks any more: it must come to rest where the spec says.
  void settle() {
    for (auto& m : scene_.machines) paused_.erase(m.metadata.uid.str());
    calm_ = true;
    cut(false);
    scene_.set.spec.paused.reset();
    scene_.cluster.ready = api::ConditionStatus::true_;
    int quiet = 0;
    for (int i = 0; i < 4000 && quiet < 40; ++i) {
      const auto before = idle_;
      turn(false);
      promote();
      quiet = idle_ > before ? quiet + 1 : 0;
    }
    INFO(story());
    REQUIRE(quiet == 40);  // it doesn't write on and on either
    check_end();
  }

  std::int64_t writes() const { return writes_; }

 private:
  // ---- chance ----
  std::uint64_t next() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_;
  }
  bool chance(std::uint64_t percent) { return next() % 100 < percent; }
  std::int64_t pick(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(high - low + 1));
  }

  // ---- people ----
  void edit_steps() {
    auto& rollout = scene_.set.spec.rollout;
    rollout.steps.clear();
    rollout.partition.reset();
    if (chance(15) && rollout.type.value_or(api::RolloutType::in_place) == api::RolloutType::in_place) {
      rollout.partition = pick(0, 4);
      return;
    }
    std::int64_t at = 0;
    for (std::int64_t i = pick(0, 3); i > 0; --i) {
      at = std::min<std::int64_t>(100, at + pick(5, 60));
      auto s = step_of(std::string(1, static_cast<char>('a' + pick(0, 5))) + std::to_string(i), {at, true});
      if (chance(30)) s.updated = {std::max<std::int64_t>(1, at / 10), false};
      if (chance(40)) {
        s.pause = api::Pause{};
        s.pause->type = chance(50) ? api::PauseType::duration : api::PauseType::promotion;
        if (s.pause->type == api::PauseType::duration) s.pause->seconds = seconds(pick(1, 60));
      }
      if (chance(10)) s.max_failed = api::IntOrPercent{pick(0, 2), false};
      rollout.steps.push_back(s);
    }
  }
  void edit_to(std::string_view version) {
    scene_.set.spec.template_ = template_of(version);
    scene_.set.metadata.generation = *scene_.set.metadata.generation + 1;
  }
  void person() {
    switch (pick(0, 12)) {
      case 0:
      case 1:
      case 2: edit_to("v" + std::to_string(pick(0, 4))); break;
      case 3: edit_to("bad" + std::to_string(pick(0, 1))); break;
      case 4: scene_.set.spec.replicas = pick(0, 14); break;
      case 5: edit_steps(); break;
      case 6: annotate(api::annotation::retry, scene_.set.status.update_revision); break;
      case 7: annotate(api::annotation::reject, scene_.set.status.update_revision); break;
      case 8: {
        auto& on_failure = scene_.set.spec.rollout.on_failure;
        on_failure.action = chance(50) ? api::FailureAction::pause : api::FailureAction::rollback;
        break;
      }
      case 9: scene_.cluster.ready = chance(50) ? api::ConditionStatus::false_ : api::ConditionStatus::true_; break;
      case 10: scene_.set.spec.paused = chance(50); break;
      case 11: cut(!cut_); break;
      default:
        if (!scene_.machines.empty()) {
          auto& m = scene_.machines[next() % scene_.machines.size()];
          if (chance(30))
            m.metadata.deletion_timestamp = scene_.now;  // kubectl delete machine
          else if (chance(50))
            m.metadata.annotations.set(api::annotation::delete_machine, "");
          else
            m.spec.packages[0].version_ref.name = "by-hand";
        }
    }
    promote();
  }
  // The business cluster can't be seen from now on, or can again.
  void cut(bool is_cut) {
    if (cut_ && !is_cut) gaps_.push_back({cut_since_, scene_.now});
    if (!cut_ && is_cut) cut_since_ = scene_.now;
    cut_ = is_cut;
  }
  void look() {
    scene_.cluster.sight = {.seen = !cut_, .since = cut_ ? cut_since_ : WallTime{}, .why = "connection refused"};
    scene_.cluster.gaps = gaps_;
    if (cut_ && scene_.now > cut_since_) scene_.cluster.gaps.push_back({cut_since_, scene_.now});
  }
  // A person promotes now and then, and in the end whatever waits for it.
  void promote() {
    const auto* c = reconcile::find_condition(scene_.set.status.conditions, api::condition::rolling_out);
    const bool waits = c && (c->reason == api::reason::waiting_for_promotion || c->reason == api::reason::machines_lost);
    if (!scene_.set.metadata.annotations.has(api::annotation::promote) && scene_.set.status.rollout && (calm_ ? waits : chance(20)))
      annotate(api::annotation::promote, scene_.set.status.rollout->revision);
  }
  void annotate(std::string_view key, const Text& revision) {
    std::string value = revision.str();
    if (chance(40) && key == api::annotation::promote) value += "/" + scene_.set.status.rollout->step.str();
    if (calm_ || chance(50)) value += "@" + std::to_string(++words_);  // a new word; else it may be one that was carried out
    if (!revision.empty()) scene_.set.metadata.annotations.set(key, Text(value));
  }

  // ---- the runtime: status first, then the actions, and it may die after any of them ----
  void turn(bool may_die) {
    // Who asked for it is known a while later, and what a pre-flight needs may be away for a while.
    scene_.editor = chance(50) ? std::nullopt : std::optional(Editor{.manager = "somebody", .time = scene_.now});
    scene_.preflight->known = chance(80);
    look();
    const auto p = scene_.plan();
    const bool changed = p.plan.status && p.plan.status->changed;
    if (p.plan.actions.empty() && !changed) ++idle_;
    std::size_t steps_left = may_die && chance(30) ? static_cast<std::size_t>(pick(0, 3)) : 1000;
    const auto live = [&] { return steps_left > 0 && steps_left-- > 0; };
    if (changed && p.plan.status->first) {
      if (!live()) return hosts();
      store(p);
    }
    REQUIRE(p.plan.actions.size() <= max_actions);
    // What is told goes out with a write that makes it true: with a status that only settles, each pass until then would tell it again.
    // (What machines were made or deleted is told when that was done.)
    const bool tells = std::any_of(p.plan.events.begin(), p.plan.events.end(), [](const auto& e) {
      return !(e.reason == api::reason::successful_create || e.reason == api::reason::successful_delete);
    });
    INFO("told: " << (p.plan.events.empty() ? "" : p.plan.events.front().reason.str() + ": " + p.plan.events.front().note.str())
                  << (p.plan.metrics.empty() ? "" : std::string(p.plan.metrics.front().name) + "=" + p.plan.metrics.front().value.str()));
    if (tells || !p.plan.metrics.empty())
      REQUIRE(((changed && p.plan.status->first) || std::any_of(p.plan.actions.begin(), p.plan.actions.end(), [](const Action& a) {
                 return a.kind->resource->kind == "MachineSet";  // a one-shot annotation is taken off
               })));
    for (std::uint8_t stage = 0; stage < 3; ++stage)
      for (const auto& a : p.plan.actions)
        if (a.stage == stage) {
          if (!live()) return hosts();
          act(a);
        }
    if (changed && !p.plan.status->first && live() && chance(80)) store(p);
    hosts();
  }
  void store(const Planned& p) {
    ++writes_;
    const auto& old = scene_.set.status;
    // A rejection is never forgotten but by retry, or because there are too many.
    for (const auto& r : old.rejected_revisions) {
      const bool still = std::any_of(p.status->rejected_revisions.begin(), p.status->rejected_revisions.end(),
                                     [&](const api::RejectedRevision& x) { return x.revision == r.revision; });
      REQUIRE((still || scene_.set.metadata.annotations.get(api::annotation::retry).starts_with(r.revision.view()) ||
               old.rejected_revisions.size() >= 20));
    }
    // A release begins only when its pre-flight is passed.
    const auto& rollout = *p.status->rollout;
    const bool begins =
        !rollout.step.empty() && (!old.rollout || old.rollout->step.empty() || !(old.rollout->revision == rollout.revision));
    if (begins) REQUIRE(scene_.cluster.ready == api::ConditionStatus::true_);
    // Every change is recorded, and what is recorded ends once.
    REQUIRE(p.status->history.size() <= 20);
    if (!rollout.step.empty()) REQUIRE((!p.status->history.empty() && p.status->history.back().revision == rollout.revision));
    for (std::size_t i = 0; i + 1 < p.status->history.size(); ++i) REQUIRE(p.status->history[i].result != api::ChangeResult::none);
    scene_.set.status = *p.status;
  }

  void act(const Action& a) {
    ++writes_;
    const auto kind = a.kind->resource->kind;
    if (kind == "ControllerRevision") return act_on_revision(a);
    if (kind == "MachineSet") {
      REQUIRE(a.verb == Verb::json_patch);  // a one-shot annotation
      for (const auto key : {api::annotation::promote, api::annotation::reject, api::annotation::retry})
        if (a.body.find(reconcile::pointer(key)) != std::string::npos) scene_.set.metadata.annotations.erase(key);
      return;
    }
    REQUIRE(kind == "Machine");
    REQUIRE_FALSE(cut_);  // who can't see changes nothing
    if (a.verb == Verb::create) return create(a);
    auto* m = find(a.name);
    if (!m || !(m->metadata.uid == a.uid)) return;
    if (a.verb == Verb::remove) {
      check_disturbance(*m, true);
      m->metadata.deletion_timestamp = scene_.now;
    } else {
      edit(*m, a);
    }
  }
  void act_on_revision(const Action& a) {
    if (a.verb == Verb::create) {
      scene_.revisions.push_back(revision_of(scene_.set.spec.template_, static_cast<std::int64_t>(scene_.revisions.size()) + 1));
      REQUIRE(scene_.revisions.back().name == a.name);
    } else if (a.verb == Verb::remove) {
      std::erase_if(scene_.revisions, [&](const Revision& r) { return r.name == a.name; });
    } else {
      for (auto& r : scene_.revisions)
        if (r.name == a.name) r.number = ++number_;
    }
  }
  const Revision& revision_in(const std::string& body) const {
    const auto key = reconcile::quote(api::label::revision) + ":\"";
    const auto at = body.find(key);
    REQUIRE(at != std::string::npos);
    const auto hash = body.substr(at + key.size(), 10);
    for (const auto& r : scene_.revisions)
      if (r.hash == hash) return r;
    FAIL("a machine is to get a revision that isn't recorded");
    return scene_.revisions.front();
  }

  api::Machine* find(const Text& name) {
    for (auto& m : scene_.machines)
      if (m.metadata.name == name) return &m;
    return nullptr;
  }
  void create(const Action& a) {
    if (find(a.name)) return;  // exists: tolerated
    const auto& rollout = scene_.set.spec.rollout;
    const auto replicas = api::replicas(scene_.set.spec);
    REQUIRE(static_cast<std::int64_t>(scene_.machines.size()) < replicas + allowed_surge(rollout, replicas));
    const auto& r = revision_in(a.body);
    api::Machine m;
    m.metadata.name = a.name;
    m.metadata.name_space = "default";
    m.metadata.uid = Text("uid-" + std::to_string(++uids_));
    m.metadata.creation_timestamp = scene_.now;
    m.metadata.labels = {{"pool", "workers"}, {api::label::revision, r.hash.view()}};
    m.spec = api::machine_spec(r.template_.spec, "local");
    m.status.failure_domain = Text("rack-" + std::to_string(uids_ % 3));
    REQUIRE_FALSE(is_rejected(r.hash));
    scene_.machines.push_back(m);
    std::sort(scene_.machines.begin(), scene_.machines.end(),
              [](const api::Machine& x, const api::Machine& y) { return x.metadata.name < y.metadata.name; });
  }

  void edit(api::Machine& m, const Action& a) {
    if (a.body.find("\"spec\"") == std::string::npos) {  // another attempt
      m.metadata.annotations.set(api::annotation::retry, m.metadata.labels.get(api::label::revision));
      return;
    }
    const auto& r = revision_in(a.body);
    INFO(story());
    const Text old = m.metadata.labels.get(api::label::revision);
    const auto& status = scene_.set.status;
    const bool by_hand = m.spec.packages[0].version_ref.name == "by-hand";
    if (!(r.hash == old)) {
      REQUIRE_FALSE(is_rejected(r.hash));
      // The reached count never falls, but by a rejection or a partition.
      const bool leaves_update = old == status.update_revision && !(status.update_revision == status.current_revision) && !by_hand;
      if (leaves_update) REQUIRE((is_rejected(old) || scene_.set.spec.rollout.partition.value_or(0) > 0));
      if (leaves_update && is_rejected(old)) REQUIRE(status.rollout->phase == api::RolloutPhase::rolling_back);
      if (r.hash == status.update_revision && !(status.update_revision == status.current_revision)) {
        REQUIRE(status.rollout->revision == r.hash);
        REQUIRE(at(r.hash) < std::max(status.rollout->target, target_of(*status.rollout)));
      }
    }
    check_disturbance(m, false);
    const bool excused = a.body.find(reconcile::quote(api::annotation::was_unavailable) + ":\"") != std::string::npos;
    m.metadata.annotations.erase(api::annotation::was_unavailable);
    if (excused) m.metadata.annotations.set(api::annotation::was_unavailable, r.hash);
    m.metadata.labels.set(api::label::revision, r.hash);
    m.spec = api::machine_spec(r.template_.spec, "local");
  }
  std::string story() const {
    if (!tells_) return "set ENDSTATE_SEED to that seed for the whole story";
    std::string out = "set " + reconcile::encode(scene_.set.spec) + "\nstatus " + reconcile::encode(scene_.set.status);
    for (const auto& m : scene_.machines)
      out += "\n" + m.metadata.name.str() + " " + reconcile::encode(m.metadata.labels) + reconcile::encode(m.metadata.annotations) +
             (m.metadata.deleting() ? " deleting " : " ") + reconcile::encode(m.status);
    return out;
  }
  std::int64_t target_of(const api::RolloutStatus& rollout) const {
    for (const auto& s : resolve_steps(scene_.set.spec.rollout, api::replicas(scene_.set.spec)))
      if (s.name == rollout.step) return s.target;
    return 0;
  }
  // Machines that have a revision and can testify about it.
  std::int64_t at(const Text& hash) const {
    return std::count_if(scene_.machines.begin(), scene_.machines.end(), [&](const api::Machine& m) {
      return !m.metadata.deleting() && m.metadata.labels.get(api::label::revision) == hash.view() && m.status.node_ref &&
             !(m.spec.packages[0].version_ref.name == "by-hand") &&
             m.metadata.annotations.get(api::annotation::was_unavailable) != hash.view();
    });
  }
  bool is_rejected(const Text& hash) const {
    const auto& all = scene_.set.status.rejected_revisions;
    return std::any_of(all.begin(), all.end(), [&](const api::RejectedRevision& r) { return r.revision == hash; });
  }
  // Does its work, for minReadySeconds, and nobody has asked it to change.
  bool steady(const api::Machine& m) const {
    const auto* ready = reconcile::find_condition(m.status.conditions, api::condition::ready);
    if (const auto it = truth_.find(m.metadata.uid.str()); it != truth_.end()) ready = &it->second;  // whatever was written meanwhile
    return !m.metadata.deleting() && ready && ready->status == api::ConditionStatus::true_ &&
           endstate::elapsed(ready->last_transition_time, scene_.now, scene_.cluster.gaps) >= api::min_ready(scene_.set.spec.rollout) &&
           !m.status.operation && m.metadata.labels.get(api::label::revision) == m.status.revision.view();
  }
  // maxUnavailable is kept at the write: a machine that works may be disturbed only while enough others do. Scaling down is the user's.
  void check_disturbance(const api::Machine& m, bool deletion) const {
    if (!steady(m)) return;
    std::int64_t count = 0, live = 0;
    for (const auto& x : scene_.machines) {
      count += steady(x);
      live += !x.metadata.deleting();
    }
    const auto replicas = api::replicas(scene_.set.spec);
    if (deletion && live > replicas) return;
    const bool in_place = api::type(scene_.set.spec.rollout) == api::RolloutType::in_place;
    const auto allowed = allowed_unavailable(scene_.set.spec.rollout, replicas);
    REQUIRE((in_place ? std::max(live, replicas) : replicas) - (count - 1) <= allowed);
  }

  // ---- the hosts and the machine loop ----
  void hosts() {
    scene_.now += seconds(pick(0, 15));
    if (cut_) return lose_sight();
    std::erase_if(scene_.machines, [&](const api::Machine& m) { return m.metadata.deleting() && chance(50); });
    for (auto& m : scene_.machines) host(m);
  }
  // What is written for people when nothing was seen for a while.
  void lose_sight() {
    for (auto& m : scene_.machines) {
      const auto* ready = reconcile::find_condition(m.status.conditions, api::condition::ready);
      if (!ready || !m.status.node_ref || ready->reason == api::reason::connection_lost || !chance(20)) continue;
      truth_.insert_or_assign(m.metadata.uid.str(), *ready);
      set_ready(m, api::ConditionStatus::unknown, api::reason::connection_lost, scene_.now);
    }
  }
  void host(api::Machine& m) {
    auto& st = m.status;
    const auto uid = m.metadata.uid.str();
    if (const auto it = truth_.find(uid); it != truth_.end()) {  // its own loop finds out how it is, one after the other
      if (!chance(40)) return;
      reconcile::set_condition(st.conditions, it->second, scene_.now);
      truth_.erase(it);
      return;
    }
    if (!st.host_ref) {
      if (chance(70)) st.host_ref = api::UidRef{"host", {}};
      return;
    }
    if (dead_.contains(uid)) {
      if (calm_ || chance(10)) {
        dead_.erase(uid);
        set_ready(m, api::ConditionStatus::false_, "NotReady", scene_.now);
      }
      return;
    }
    if (!calm_ && chance(1)) {
      dead_.insert(uid);
      if (st.operation) end(m, api::OperationResult::lost);
      return set_ready(m, api::ConditionStatus::unknown, api::reason::agent_silent, scene_.now);
    }
    if (!chance(60)) return;
    const Text wish = m.metadata.labels.get(api::label::revision);
    const bool retry = m.metadata.annotations.get(api::annotation::retry) == wish.view();
    const bool failed =
        st.last_operation && st.last_operation->revision == wish && st.last_operation->result == api::OperationResult::failed;
    if (st.operation && !(st.operation->revision == wish)) end(m, api::OperationResult::superseded);
    if (st.operation) return finish(m);
    if (st.revision == wish) {
      if (!reconcile::is_true(st.conditions, api::condition::ready))
        set_ready(m, api::ConditionStatus::true_, api::reason::ready, scene_.now);
      else if (!calm_ && chance(1))
        set_ready(m, api::ConditionStatus::false_, "NotReady", scene_.now);
      return;
    }
    if (failed && !retry) return;
    if (retry) m.metadata.annotations.erase(api::annotation::retry);
    api::Operation op;
    op.id = "g";
    op.type = st.node_ref ? api::OperationType::update : api::OperationType::create;
    op.revision = wish;
    st.operation = op;
    if (st.node_ref) set_ready(m, api::ConditionStatus::false_, "Progressing", scene_.now);
  }
  void finish(api::Machine& m) {
    if (is_bad(m.status.operation->revision)) {
      end(m, api::OperationResult::failed);
      m.status.revision = {};
      return set_ready(m, api::ConditionStatus::false_, "PackageFailed", scene_.now);
    }
    m.status.revision = m.status.operation->revision;
    m.status.node_ref = api::UidRef{"node", {}};
    end(m, api::OperationResult::succeeded);
    set_ready(m, api::ConditionStatus::true_, api::reason::ready, scene_.now);
  }
  void end(api::Machine& m, api::OperationResult result) {
    api::LastOperation last;
    last.id = "g";
    last.type = m.status.operation->type;
    last.revision = m.status.operation->revision;
    last.result = result;
    last.end_time = scene_.now;
    m.status.last_operation = last;
    m.status.operation.reset();
  }
  bool is_bad(const Text& hash) const {
    for (const auto& r : scene_.revisions)
      if (r.hash == hash) return r.template_.spec.packages[0].version_ref.name.view().starts_with("bad");
    return false;
  }

  // ---- the end ----
  void check_end() {
    const auto& st = scene_.set.status;
    INFO(story());
    REQUIRE(st.rollout);
    const auto update = revision_for(scene_.set.spec.template_.spec.packages[0].version_ref.name);
    REQUIRE(st.update_revision == update);
    const auto replicas = api::replicas(scene_.set.spec), total = static_cast<std::int64_t>(scene_.machines.size());
    REQUIRE(total >= replicas);  // a Recreate that can't go on keeps what it made in excess
    const bool ended = st.rollout->phase == api::RolloutPhase::complete || st.rollout->phase == api::RolloutPhase::rolled_back;
    REQUIRE(total <= replicas + (ended ? 0 : allowed_surge(scene_.set.spec.rollout, replicas)));
    const auto have = [&](const Text& r) {
      return std::all_of(scene_.machines.begin(), scene_.machines.end(),
                         [&](const api::Machine& m) { return m.metadata.labels.get(api::label::revision) == r.view(); });
    };
    const auto phase = st.rollout->phase;
    if (is_rejected(update)) {
      const bool stands = scene_.set.spec.rollout.on_failure.action == api::FailureAction::pause;
      if (phase == api::RolloutPhase::paused) {
        REQUIRE(stands);
      } else {
        // Machines that work are not given up for a current revision that is bad itself.
        REQUIRE((phase == api::RolloutPhase::rolled_back || (phase == api::RolloutPhase::rolling_back && is_bad(st.current_revision))));
        if (phase == api::RolloutPhase::rolled_back) REQUIRE(have(st.current_revision));
      }
      return;
    }
    if (is_bad(update) && !(st.current_revision == update)) {
      // Machines that were ill before tell nothing against it, and nobody else was there to try it on.
      REQUIRE((phase == api::RolloutPhase::progressing || phase == api::RolloutPhase::paused));
      return;
    }
    if (scene_.set.spec.rollout.partition.value_or(0) > 0 && phase == api::RolloutPhase::paused) return;
    if (phase != api::RolloutPhase::complete) {
      // The only good reason: what is current is bad, machines could not be made, and there is no one to testify.
      REQUIRE(is_bad(st.current_revision));
      return;
    }
    REQUIRE(have(update));
    REQUIRE(st.current_revision == update);
  }

  std::uint64_t random_;
  bool tells_, calm_ = false, cut_ = false;
  WallTime cut_since_{};
  std::vector<api::BlindGap> gaps_;
  std::map<std::string, api::Condition> truth_;  // Ready of machines that are written as ConnectionLost, as it was
  Scene scene_;
  std::set<std::string> dead_, paused_;
  std::int64_t writes_ = 0, number_ = 1000;
  int idle_ = 0;
  std::uint64_t uids_ = 0, words_ = 0;
};

}  // namespace

TEST_CASE("a set keeps its promises through edits, faults and deaths of the operator", "[machine_set]") {
  const auto number = [](const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): read before anything runs
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
  };
  const auto only = number("ENDSTATE_SEED", 0), seeds = number("ENDSTATE_SEEDS", 1000);
  for (std::uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); ++seed) {
    INFO("seed " << seed);
    World world(seed, only != 0);
    world.live_through(8);
    world.settle();
  }
}
