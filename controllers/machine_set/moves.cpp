#include "controllers/machine_set/moves.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "controllers/machine_set/write.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {
namespace {

std::vector<const Fact*> spread(std::vector<const Fact*> candidates, const Facts& facts, const Text& revision, std::size_t count) {
  struct Domain {
    std::vector<const Fact*> machines;
    std::size_t next = 0;
    std::int64_t at = 0;
  };
  std::unordered_map<std::string_view, Domain> domains;
  for (const auto* f : candidates) domains[f->machine->status.failure_domain.view()].machines.push_back(f);
  for (const auto& f : facts.live)
    if (f.revision == revision)
      if (const auto it = domains.find(f.machine->status.failure_domain.view()); it != domains.end()) ++it->second.at;
  using Turn = std::tuple<std::int64_t, std::string_view>;
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
  for (const auto& [name, domain] : domains) turns.emplace(domain.at, name);
  std::vector<const Fact*> out;
  while (!turns.empty() && out.size() < count) {
    const auto name = std::get<1>(turns.top());
    turns.pop();
    auto& domain = domains[name];
    out.push_back(domain.machines[domain.next++]);
    if (domain.next < domain.machines.size()) turns.emplace(++domain.at, name);
  }
  return out;
}

std::int64_t update_order(const Fact& f) {
  const auto text = f.machine->metadata.annotations.get(api::annotation::update_order);
  auto order = std::numeric_limits<std::int64_t>::max();
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && !text.empty()) order = value;
  return order;
}

template <class Key>
std::vector<const Fact*> by_key(std::vector<const Fact*> candidates, const Key& key) {
  std::vector<std::pair<decltype(key(*candidates[0])), const Fact*>> keyed;
  keyed.reserve(candidates.size());
  for (const auto* f : candidates) keyed.emplace_back(key(*f), f);
  std::stable_sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (std::size_t i = 0; i < keyed.size(); ++i) candidates[i] = keyed[i].second;
  return candidates;
}

class Mover {
 public:
  Mover(const Snapshot& s, const Revisions& revisions, const Facts& facts, const Course& course, const std::vector<const Fact*>& going,
        std::size_t room)
      : s_(s), revisions_(revisions), facts_(facts), course_(course), going_(going.begin(), going.end()), left_(room) {
    const auto replicas = api::replicas(s.set->spec);
    allowed_ = allowed_unavailable(s.set->spec.rollout, replicas);
    in_place_ = api::type(s.set->spec.rollout) == api::RolloutType::in_place;
    std::int64_t steady = facts.steady, live = facts.live_count();
    for (const auto* f : going) {
      steady -= f->steady;
      --live;
    }
    // In place, machines above replicas are as many that may break; Recreate's surge is there to be used.
    room_ = allowed_ - ((in_place_ ? std::max(replicas, live) : replicas) - steady);
  }

  Moves run() {
    if (in_place_) {
      retry_failed();
      edit_back();
      edit_forward();
    } else {
      replace();
    }
    if (facts_.unknown > allowed_ && asked_) stand_still();
    return std::move(out_);
  }

 private:
  // More machines are Unknown than may be unavailable: that befell the cluster, or our sight of it, and no machine of its own. What is
  // moved now is moved on a guess.
  void stand_still() {
    const bool ours = std::any_of(facts_.live.begin(), facts_.live.end(), [](const Fact& f) { return f.born && f.unseen; });
    out_.actions.clear();
    out_.held = Problem{ours ? api::reason::waiting_for_connection : api::reason::max_unavailable,
                        "how " + std::to_string(facts_.unknown) + " machines are is Unknown, and rollout.maxUnavailable allows " +
                            std::to_string(allowed_) + ": nothing is changed before that is known",
                        ours ? Text("Cluster") : Text("MachineSet"), ours ? s_.set->spec.cluster_name : s_.set->metadata.name};
  }
  bool mine(const Fact& f) const { return !going_.contains(&f); }
  bool goes_back(const Fact& f) const {
    if (course_.everyone_back) return !(f.revision == course_.current);
    if (f.revision == course_.current || f.revision == revisions_.update) return false;  // update's: as its own course says
    return !f.revision.empty() && course_.is_rejected(f.revision);
  }

  // It failed at the update revision before this rollout of it began (somebody said retry, or came back to it): it needs another attempt.
  bool failed_before(const Fact& f) const {
    const auto& last = f.machine->status.last_operation;
    return f.revision == revisions_.update && !f.in_flight && !f.settled && last && last->revision == f.revision &&
           (last->result == api::OperationResult::failed || last->result == api::OperationResult::lost) &&
           last->end_time < course_.status.start_time && mine(f);
  }
  bool moves_forward() const { return course_.way == Course::Way::forward && course_.need + course_.quota > 0; }

  void retry_failed() {
    if (!moves_forward()) return;
    for (const auto& f : facts_.live) {
      if (!failed_before(f) || f.machine->metadata.annotations.get(api::annotation::retry) == f.revision.view() || left_ == 0) continue;
      --left_;
      out_.actions.push_back(retry_machine(*f.machine, f.revision));
    }
  }

  void edit_back() {
    const auto* current = revisions_.find(course_.current);
    if (!current) return;
    std::vector<const Fact*> candidates;
    for (const auto& f : facts_.live)
      if (goes_back(f) && mine(f)) candidates.push_back(&f);
    for (const auto* f : take_back_excess()) candidates.push_back(f);
    // What costs nothing first; those that a person has paused last: they would hold a place and not get on.
    candidates = by_key(std::move(candidates), [](const Fact& f) { return (f.steady || f.unseen ? 1 : 0) + (f.paused ? 2 : 0); });
    for (const auto* f : candidates) {
      if (!take(*f)) continue;
      edit(*f, *current, is_way_back(*f), "it goes back to revision " + current->hash.str());
    }
  }

  // Back from what was given up: a rejected revision, a change that was taken back, a raised partition. What is put right after a rollout
  // is through (a straggler, an edit by another hand, a machine that was adopted) goes forward, whatever its revision is called.
  bool is_way_back(const Fact& f) const {
    if (!course_.everyone_back || course_.is_rejected(f.revision)) return true;
    for (auto change = course_.history.rbegin(); change != course_.history.rend(); ++change) {
      if (change->result == api::ChangeResult::complete) return false;
      if (change->from == course_.current && change->revision == f.revision) return true;
    }
    return false;
  }

  // A raised partition: the ones that aren't well first.
  std::vector<const Fact*> take_back_excess() const {
    if (course_.excess <= 0 || course_.everyone_back) return {};
    std::vector<const Fact*> at;
    for (const auto& f : facts_.live)
      if (f.revision == revisions_.update && mine(f)) at.push_back(&f);
    at = by_key(std::move(at), [](const Fact& f) { return f.steady || f.unseen ? 1 : 0; });
    at.resize(std::min(at.size(), static_cast<std::size_t>(course_.excess)));
    return at;
  }

  void edit_forward() {
    const auto* update = revisions_.find(revisions_.update);
    if (course_.need <= 0 || !update) return;
    auto need = course_.need;
    for (const auto* f : forward_order()) {
      if (need <= 0) break;
      if (!take(*f)) continue;
      --need;
      edit(*f, *update, false, "step " + course_.status.step.str() + " of revision " + update->hash.str());
    }
  }

  // Canaries are machines that are well, or they would say nothing. Later steps begin with those that are ill (they cost nothing, and
  // the new revision may heal them), then those of a revision that was given up, and the last step ends with those that can't testify.
  std::vector<const Fact*> forward_order() const {
    std::vector<const Fact*> ill, given_up, well, unseen, mute;
    bool pending = false;
    for (const auto& f : facts_.live) {
      if (f.revision == revisions_.update) pending = pending || !f.steady;
      if (f.revision == revisions_.update || goes_back(f) || !mine(f)) continue;
      if (!f.reachable || f.paused)
        mute.push_back(&f);
      else if (f.unseen)
        unseen.push_back(&f);
      else if (!f.steady)
        ill.push_back(&f);
      else
        (f.revision == course_.current ? well : given_up).push_back(&f);
    }
    const auto pick = api::pick(s_.set->spec.rollout);
    const auto count = std::min<std::size_t>(static_cast<std::size_t>(course_.need), max_actions);
    if (room_ <= 0) {  // none that is well can be taken: in which order is no matter, and one is enough to be told so
      given_up.resize(std::min<std::size_t>(given_up.size(), 1));
      well.resize(std::min<std::size_t>(well.size(), 1));
    }
    std::vector<const Fact*> out;
    const auto add = [&](const std::vector<const Fact*>& some) { out.insert(out.end(), some.begin(), some.end()); };
    if (course_.first_step) {
      given_up.insert(given_up.end(), well.begin(), well.end());
      add(pick_order(std::move(given_up), facts_, pick, revisions_.update, count));
      // Where too few machines are well, or others' trouble uses up maxUnavailable, ill ones must do.
      if (out.size() < count || (room_ <= 0 && !pending)) add(ill);
      return out;
    }
    add(ill);
    add(pick_order(std::move(given_up), facts_, pick, revisions_.update, count));
    add(pick_order(std::move(well), facts_, pick, revisions_.update, count));
    add(unseen);
    if (course_.last_step) add(mute);
    return out;
  }

  // Recreate: old machines go as their places are covered. Never more than this step replaces.
  void replace() {
    const bool back = course_.everyone_back;
    if (!back && !moves_forward()) return;
    const auto& goal = back ? course_.current : revisions_.update;
    std::vector<const Fact*> old;
    for (const auto& f : facts_.live)
      if (!(f.revision == goal) && mine(f) && !f.protected_) old.push_back(&f);
    const auto replicas = api::replicas(s_.set->spec);
    auto removable = static_cast<std::int64_t>(old.size()) - (back ? 0 : std::max<std::int64_t>(0, replicas - course_.quota));
    if (back) {
      old = by_key(std::move(old), [](const Fact& f) { return f.steady || f.unseen ? 1 : 0; });
    } else {
      std::vector<const Fact*> ill, well;
      for (const auto* f : old) (f->steady || f->unseen ? well : ill).push_back(f);
      well = pick_order(std::move(well), facts_, api::pick(s_.set->spec.rollout), goal, max_actions);
      old = std::move(ill);
      old.insert(old.end(), well.begin(), well.end());
    }
    auto may_go = max_deleting - static_cast<std::int64_t>(facts_.deleting.size() + going_.size());
    for (const auto& f : facts_.live) {
      if (back || may_go <= 0 || !failed_before(f) || f.protected_ || !take(f)) continue;
      --may_go;
      out_.actions.push_back(delete_machine(*f.machine, "it failed at revision " + goal.str() + " before: another one tries"));
    }
    for (const auto* f : old) {
      if (removable <= 0 || may_go <= 0) break;
      if (!take(*f)) continue;
      --removable;
      --may_go;
      out_.actions.push_back(delete_machine(*f->machine, "it is replaced by one of revision " + goal.str()));
    }
  }

  // One place in this pass, and one of availability if it costs one.
  bool take(const Fact& f) {
    asked_ = true;
    if (left_ == 0) return false;
    // One that is unseen is counted as unavailable, and may do its work: it costs nothing more, but only while all of those have room.
    if ((f.steady && room_ <= 0) || (f.unseen && room_ < 0)) {
      if (!out_.held && static_cast<std::int64_t>(out_.actions.size()) + on_the_move() < allowed_)
        out_.held = Problem{api::reason::max_unavailable,
                            std::to_string(allowed_ - room_) +
                                " machines are not available or on the move, and rollout.maxUnavailable allows " + std::to_string(allowed_),
                            "MachineSet", s_.set->metadata.name};
      return false;
    }
    room_ -= f.steady ? 1 : 0;
    --left_;
    return true;
  }

  // Machines that get where the course sends them: while these alone use up maxUnavailable, the rollout isn't held, it works.
  std::int64_t on_the_move() {
    const auto& goal = course_.everyone_back ? course_.current : revisions_.update;
    if (!on_the_move_)  // counted once: it is asked for each machine that can't be taken
      on_the_move_ = std::count_if(facts_.live.begin(), facts_.live.end(),
                                   [&](const Fact& f) { return f.revision == goal && f.reachable && !f.steady; });
    return *on_the_move_;
  }

  void edit(const Fact& f, const Revision& to, bool back, std::string why) {
    const auto* from = revisions_.find(f.machine->metadata.labels.get(api::label::revision));
    // How it is at this moment: the write carries the resourceVersion that this was read at, and fails if the machine has changed since.
    const bool was_unavailable = !f.steady && !f.ready && !f.unseen;
    out_.actions.push_back(edit_machine(*s_.set, *f.machine, from, to, was_unavailable, back, std::move(why)));
  }

  const Snapshot& s_;
  const Revisions& revisions_;
  const Facts& facts_;
  const Course& course_;
  const std::unordered_set<const Fact*> going_;
  std::size_t left_;
  std::int64_t allowed_ = 0, room_ = 0;
  std::optional<std::int64_t> on_the_move_;
  bool in_place_ = true, asked_ = false;  // asked_: some machine is to move
  Moves out_;
};

}  // namespace

std::vector<const Fact*> pick_order(std::vector<const Fact*> candidates, const Facts& facts, api::Pick pick, const Text& revision,
                                    std::size_t count) {
  if (candidates.empty()) return candidates;
  switch (pick) {
    case api::Pick::spread: return spread(std::move(candidates), facts, revision, count);
    case api::Pick::random:  // chance that is the same in every pass: of the machine and the revision
      return by_key(std::move(candidates),
                    [&](const Fact& f) { return reconcile::hash_of(f.machine->metadata.uid.str() + "/" + revision.str()); });
    case api::Pick::by_annotation: return by_key(std::move(candidates), [](const Fact& f) { return update_order(f); });
  }
  return candidates;
}

Moves plan_moves(const Snapshot& s, const Revisions& revisions, const Facts& facts, const Course& course,
                 const std::vector<const Fact*>& going, std::size_t room) {
  return Mover(s, revisions, facts, course, going, room).run();
}

}  // namespace endstate::machine_set
