#include "controllers/guard/ledger_guard.hpp"

#include <algorithm>
#include <deque>
#include <optional>

#include "controllers/common/elapsed.hpp"
#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/guard/account.hpp"
#include "controllers/guard/ledger_guard_line.hpp"
#include "controllers/guard/unreadable.hpp"
#include "controllers/guard/zones.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::Code, reconcile::Error, reconcile::Key, reconcile::PermitRequest, reconcile::Ref, reconcile::Refused, reconcile::Result,
    reconcile::Verdict, reconcile::Verb;

namespace {

constexpr int max_tries = 5;
constexpr auto call_timeout = 10s;
constexpr auto new_cluster = 10min;      // younger: a missing ledger has never been there
constexpr auto gather = 50ms;            // after a decision, requests are gathered for this long: one write for many
constexpr auto gather_loaded = 200ms;    // the same, when several asked at once
constexpr auto gather_longest = 1000ms;  // the same, when many ask one after the other
constexpr std::size_t full_group = 50;   // so many don't wait for more
constexpr auto return_period = 10s;      // permits that were only let go are stored together
constexpr auto sweep_period = 30s;       // ended operations are counted, and breakers turned, even when nobody asks
constexpr auto measure_period = 5s;
constexpr auto behind_limit = 90s;                             // then the caches are read anew
constexpr auto room_delay = 200ms;                             // changes are gathered for this long before the line is looked at
constexpr auto line_wait = std::chrono::milliseconds(30'000);  // who stands in line looks again by itself after this
constexpr std::size_t line_group = 100;
constexpr auto invitation = 5s;  // who was told that there is room has it for so long
constexpr std::string_view was_missing = "it was missing, or all of it was taken away; it was made anew";
constexpr std::size_t max_per_write = 500;   // requests; the rest in the next one
constexpr std::size_t max_waiting = 10'000;  // requests of one cluster

using Answer = std::function<void(Result<std::vector<Verdict>>)>;

struct Waiting {
  std::vector<PermitRequest> requests;
  Answer answer;
};

std::vector<Verdict> refuse_all(std::size_t n, std::string_view kind, std::string_view name, std::string_view reason,
                                const std::string& message) {
  return std::vector<Verdict>(
      n, Refused{.kind = kind, .name = name, .reason = reason, .message = message, .retry_after = std::chrono::milliseconds(2'000)});
}

// As the cluster loop has accepted it (controllers/cluster/break_glass.hpp): the account must not be opened by an annotation alone.
bool is_glass_broken(const api::Cluster& cluster, reconcile::WallTime now) {
  const auto& b = cluster.status.break_glass;
  return b && b->state == "Active" && now < b->end_time && now < b->start_time + 4h &&
         cluster.metadata.annotations.get(api::annotation::break_glass) == b->text.view();
}

}  // namespace

class LedgerGuard::Book {
 public:
  Book(LedgerGuard& guard, Key cluster) : guard_(guard), cluster_(std::move(cluster)) {}

  void ask(std::vector<PermitRequest> requests, Answer answer) {
    if (auto verdicts = known(requests)) return answer_at_once(std::move(*verdicts), std::move(answer));
    waiting_count_ += requests.size();
    waiting_.push_back({std::move(requests), std::move(answer)});
    if (timer_ && waiting_count_ >= full_group && not_before_ > stored_at_ + gather_loaded) {
      timer_.reset();
      not_before_ = stored_at_ + gather_loaded;
    }
    wake(0ms);
  }
  // Looks at the account though nobody asks: ended operations are counted, breakers turned.
  void look() {
    if (!call_ && !timer_) wake(0ms);
  }
  void led(bool leads) {
    sweep_.reset();
    room_.reset();
    ending_ = false;
    checks_.clear();
    line_.clear();
    invited_.clear();
    own_ = false;
    behind_since_.reset();
    if (!leads) return forget_measures();
    guard_.fleets_.recount(cluster_);
    look();
  }
  // Something there has changed.
  void stirred() {
    if (!line_.empty()) look_for_room(room_delay);
  }

  // ---- checks ----
  const std::vector<api::LedgerChecks>& checks() const { return checks_; }
  void answered(std::vector<api::LedgerChecks> checks) {
    if (checks == checks_) return;
    checks_ = std::move(checks);
    look();
  }
  std::size_t waiting() const { return waiting_count_; }

 private:
  // The answer, where all of it is under way by its lock, or stored (and stays so, if a write is under way) and nothing is to be counted
  // anew: loops ask again in each pass that acts, and none of them should wait for the decisions on others.
  std::optional<std::vector<Verdict>> known(const std::vector<PermitRequest>& requests) {
    if (!guard_.fleets_.is_following() || (guard_.may_act_ && !guard_.may_act_())) return std::nullopt;
    const auto cluster = guard_.view_.get<api::Cluster>("", cluster_.name_space, cluster_.name);
    if (!cluster || !sight_of(*cluster).seen) return std::nullopt;
    const auto& fleet = guard_.fleets_.of(cluster_);
    const auto now = guard_.env_.now().wall;
    std::vector<Verdict> verdicts;
    verdicts.reserve(requests.size());
    for (const auto& r : requests) {
      const reconcile::Text id = r.id();
      if (!is_under_way(fleet, r, id) && !is_stored(r, id, fleet, now)) return std::nullopt;
      verdicts.emplace_back(reconcile::Granted{id.str()});
    }
    return verdicts;
  }
  bool is_stored(const PermitRequest& r, const reconcile::Text& id, const Fleet& fleet, reconcile::WallTime now) const {
    if (!ledger_ || !own_ || doubt_) return false;
    const auto* grant = find(*ledger_, id);
    if (!grant || (next_ && !find(*next_, id)) || state_of(*grant, fleet, now) != GrantState::pending) return false;
    const auto* member = fleet.find(r.subject_uid);
    return !is_stale(*grant, member ? member->machine.get() : nullptr, begin_of(r, now));
  }
  // Of the machines, and of what tells of them in the meta cluster.
  reconcile::Sight sight_of(const api::Cluster& cluster) const {
    auto meta = guard_.view_.sight("");
    const auto connection = connection_of(cluster);
    if (!meta.seen || connection.empty()) return meta;
    if (!guard_.view_.synced<api::HostAssignment>(connection)) return {.why = "it has not been read yet"};
    return guard_.view_.sight(connection);
  }
  static const api::LedgerGrant* find(const api::GuardLedger& ledger, const reconcile::Text& id) {
    const auto& all = ledger.status.grants;
    const auto it = std::find_if(all.begin(), all.end(), [&](const auto& g) { return g.id == id; });
    return it == all.end() ? nullptr : &*it;
  }
  void answer_at_once(std::vector<Verdict> verdicts, Answer answer) {
    known_.emplace_back(std::move(verdicts), std::move(answer));
    if (known_timer_) return;
    known_timer_ = guard_.env_.at(guard_.env_.now().mono, [this] {
      known_timer_.reset();
      for (auto& [granted, tell] : std::exchange(known_, {})) tell(std::move(granted));
    });
  }

  // Never from inside a caller's call; once at a time.
  void wake(std::chrono::milliseconds after) {
    if (call_ || timer_) return;
    timer_ =
        guard_.env_.at(guard_.env_.now().mono + std::max<std::chrono::nanoseconds>(after, not_before_ - guard_.env_.now().mono), [this] {
          timer_.reset();
          begin();
        });
  }

  void begin() {
    sweep_.reset();
    asked_ = 0;
    for (std::size_t n = 0; !waiting_.empty() && (batch_.empty() || n + waiting_.front().requests.size() <= max_per_write);) {
      n += waiting_.front().requests.size();
      asked_ = n;
      batch_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    tries_ = 0;
    round();
  }

  // Decides on what is known, and stores. Comes back after a conflict.
  void round() {
    if (guard_.may_act_ && !guard_.may_act_()) {
      forget_measures();  // the new leader tells
      own_ = false;
      return finish(reconcile::fail(Code::fenced, "not the leader: nothing was granted"));
    }
    if (++tries_ > max_tries)
      return finish(reconcile::fail(Code::conflict, "the GuardLedger of " + cluster_.str() + " changes all the time: nothing was granted"));
    const auto& view = guard_.view_;
    if (!view.synced<api::Cluster>("") || !view.synced<api::Machine>("") || !view.synced<api::Host>("") ||
        !view.synced<api::ChangeBudget>("") || !view.synced<api::GuardLedger>(""))
      return finish_refused(api::reason::caches_not_synced, "the caches are not filled yet");
    const auto cluster = view.get<api::Cluster>("", cluster_.name_space, cluster_.name);
    if (!cluster) return finish_refused(api::reason::cluster_not_found, "Cluster " + cluster_.str() + " doesn't exist");
    if (!(cluster->metadata.uid == cluster_uid_)) open(cluster->metadata.uid);
    if (!take_from_cache(*cluster)) return refuse_stranger();
    if (!ledger_) return create(*cluster);
    if (is_behind()) return finish_refused(api::reason::caches_not_synced, "the caches are behind what the last leader had seen");
    decide(*cluster);
  }

  void refuse_stranger() {
    finish_refused(api::reason::ledger_missing,
                   "the account is of an earlier Cluster of this name, and goes with it; if it stays: kubectl "
                   "delete guardledger " +
                       cluster_.name.str());
  }

  // A book is of one Cluster: another one of its name has another account.
  void open(const reconcile::Text& uid) {
    cluster_uid_ = uid;
    ledger_.reset();
    next_.reset();
    doubt_.reset();
    own_ = false;
    checks_.clear();
    line_.clear();
    invited_.clear();
    behind_since_.reset();
  }

  // The cache may be behind what we wrote, and it may be ahead when another process did. False: what is there is another Cluster's.
  bool take_from_cache(const api::Cluster& cluster) {
    if (ending_) return true;
    const auto cached = guard_.view_.get<api::GuardLedger>("", cluster_.name_space, cluster_.name);
    if (ledger_ && !(ledger_->spec.cluster_uid == cluster.metadata.uid)) ledger_.reset();
    if (!cached) return true;
    if (!(cached->spec.cluster_uid == cluster.metadata.uid)) return ledger_.has_value();
    const bool other = !ledger_ || !(ledger_->metadata.uid == cached->metadata.uid);
    if (other || cached->status.generation > ledger_->status.generation) adopt(*cached);
    return true;
  }

  // Whether our caches may lack what the account's writer had seen: what is under way would be counted too low.
  bool is_behind() {
    if (own_ || guard_.fleets_.has_reached(ledger_->status.seen)) {
      behind_since_.reset();
      return false;
    }
    const auto now = guard_.env_.now().mono;
    if (!behind_since_) behind_since_ = now;
    if (now - *behind_since_ < behind_limit) return true;
    guard_.fleets_.doubt();
    doubt_ =
        Doubt{api::reason::ledger_old, "its writer had seen what the API server doesn't know any more: was the meta cluster restored?"};
    return false;
  }

  void adopt(const api::GuardLedger& ledger) {
    // Its own account starts at 0 before the first write; an account that has been seen further on is an old copy.
    if (ledger_ && ledger.metadata.uid == ledger_->metadata.uid && ledger.status.generation < ledger_->status.generation)
      doubt_ = Doubt{api::reason::ledger_old, "generation " + std::to_string(ledger.status.generation) + " came back, " +
                                                  std::to_string(ledger_->status.generation) + " was seen before"};
    ledger_ = ledger;
    own_ = false;
    // The reply to what was stored for that very doubt got lost: once is enough.
    const auto& told = ledger.status.distrusted;
    if (doubt_ && told && told->reason == doubt_->reason && guard_.env_.now().wall - told->time < max_tries * call_timeout) doubt_.reset();
  }

  bool is_new(const api::Cluster& cluster) const {
    return cluster.metadata.creation_timestamp && guard_.env_.now().wall - *cluster.metadata.creation_timestamp < new_cluster;
  }

  void create(const api::Cluster& cluster) {
    api::GuardLedger ledger;
    ledger.metadata.name = cluster_.name;
    ledger.metadata.name_space = cluster_.name_space;
    ledger.metadata.labels.set(api::label::cluster_name, cluster_.name);
    ledger.metadata.owner_references = {{.api_version = reconcile::api_version(reconcile::resource_of<api::Cluster>),
                                         .kind = "Cluster",
                                         .name = cluster_.name,
                                         .uid = cluster.metadata.uid,
                                         .controller = true,
                                         .block_owner_deletion = false}};
    ledger.spec = {cluster_.name, cluster.metadata.uid};
    send({.verb = Verb::create,
          .resource = &reconcile::resource_of<api::GuardLedger>,
          .name_space = cluster_.name_space.str(),
          .body = encode(ledger)});
  }

  static std::string encode(const api::GuardLedger& ledger) {
    return reconcile::encode_object(reconcile::api_version(reconcile::resource_of<api::GuardLedger>), "GuardLedger",
                                    reconcile::type_of<api::GuardLedger>, &ledger);
  }

  Snapshot snapshot(const api::Cluster& cluster) {
    const auto now = guard_.env_.now().wall;
    Snapshot s{.cluster = cluster_, .fleet = &guard_.fleets_.of(cluster_), .ledger = ledger_->status, .checks = checks_};
    for (auto& budget : guard_.view_.list<api::ChangeBudget>("")) {
      if (auto part = unreadable_part(*budget); !part.empty()) {
        if (may_select(budget->spec.cluster_selector, cluster.metadata.labels))
          s.unreadable.push_back({budget->metadata.name, std::move(part)});
      } else if (api::matches(budget->spec.cluster_selector, cluster.metadata.labels)) {
        s.budgets.push_back(std::move(budget));
      }
    }
    add_unreadable(s, cluster);
    s.seen = guard_.fleets_.seen();
    s.schedules = &guard_.schedules_;
    s.zones = zones_of(s.budgets, now);
    s.doubt = doubt_;
    s.own = own_;
    s.break_glass = is_glass_broken(cluster, now);
    s.sight = sight_of(cluster);
    s.gaps = blind_gaps(cluster, s.sight, now);
    s.now = now;
    return s;
  }

  // What the caches can't decode at all. What was last read of such a one, if anything was, is no more to be believed.
  void add_unreadable(Snapshot& s, const api::Cluster& cluster) {
    for (const auto& object : guard_.fleets_.unreadable_budgets()) {
      std::erase_if(s.budgets, [&](const auto& b) { return b->metadata.name == object.key.name; });
      const auto head = reconcile::decode<BudgetHead>(object.text, guard_.pool_, reconcile::UnknownWords::kept);
      if (!head || may_select(head->spec.cluster_selector, cluster.metadata.labels))
        s.unreadable.push_back({object.key.name, "it can't be decoded"});
    }
  }

  void decide(const api::Cluster& cluster) {
    // One that was never written: either it has been made just now, or all of it was taken away.
    if (ledger_->status.generation == 0 && !doubt_ && !ending_ && !is_new(cluster))
      doubt_ = Doubt{api::reason::ledger_missing, std::string(was_missing)};
    const auto s = snapshot(cluster);
    std::vector<PermitRequest> requests;
    for (const auto& w : batch_) requests.insert(requests.end(), w.requests.begin(), w.requests.end());
    auto decision = guard::decide(s, requests);
    measure(s.budgets, decision.ledger);
    verdicts_ = std::move(decision.verdicts);
    fresh_.clear();
    for (const auto i : decision.fresh) fresh_.push_back(requests[i].operation);
    decided_doubt_ = std::move(decision.doubt);
    has_checks_ = std::any_of(s.budgets.begin(), s.budgets.end(), [](const auto& b) { return b->spec.breaker.has_value(); });
    returns_wait_ = decision.changed && decision.may_wait && guard_.env_.now().mono < stored_at_ + return_period;
    if (!decision.changed || returns_wait_) return finish(std::move(verdicts_));
    if (ending_) return remember(std::move(decision.ledger));
    auto& next = next_.emplace();
    next.metadata.name = cluster_.name;
    next.metadata.name_space = cluster_.name_space;
    next.metadata.uid = ledger_->metadata.uid;
    next.metadata.resource_version = ledger_->metadata.resource_version;
    next.spec = ledger_->spec;
    next.status = std::move(decision.ledger);
    send({.verb = Verb::update,
          .resource = &reconcile::resource_of<api::GuardLedger>,
          .name_space = cluster_.name_space.str(),
          .name = cluster_.name.str(),
          .subresource = "status",
          .body = encode(next)});
  }

  // The namespace is being deleted, and took the account first: the API server takes no new one there. What goes is still counted: by its
  // locks, which say how much is under way and out of service, and windows by what this process remembers. Who comes after it knows the
  // locks. Only then can everything in there end.
  static bool is_terminating(const Error& error) {
    // k8s.io/apiserver pkg/admission/plugin/namespace/lifecycle: a 403 with this text; its cause NamespaceTerminating isn't passed on.
    return error.code == Code::forbidden && error.message.find("is being terminated") != std::string::npos;
  }
  void keep_in_memory() {
    guard_.log_(reconcile::Level::info, "the namespace is being deleted, its GuardLedger is gone: what is done there is counted in memory",
                {{"cluster", cluster_.str()}});
    ending_ = true;
    ledger_.emplace();
    ledger_->spec = {cluster_.name, cluster_uid_};
    own_ = true;
    doubt_.reset();
  }
  void remember(api::GuardLedgerStatus status) {
    ledger_->status = std::move(status);
    stored_at_ = guard_.env_.now().mono;
    pace();
    tell_stored();
    finish(std::move(verdicts_));
  }

  void send(reconcile::Call call) {
    call.timeout = call_timeout;
    body_.clear();
    call_ = guard_.env_.call(
        std::move(call), [this](std::string_view frame) { body_ = frame; },
        [this](Result<void> end) {
          call_.reset();
          answered(std::move(end));
        });
  }

  void answered(Result<void> end) {
    const bool stored = std::exchange(next_, std::nullopt).has_value();
    if (!end) return failed(end.error());
    auto reply = reconcile::decode<api::GuardLedger>(body_, guard_.pool_, reconcile::UnknownWords::kept);
    if (!reply)
      return finish(
          reconcile::fail(Code::unavailable, "the GuardLedger of " + cluster_.str() + " can't be read: " + reply.error().message));
    if (!stored) {
      if (!(reply->spec.cluster_uid == cluster_uid_)) return refuse_stranger();
      adopt(*reply);
      return round();
    }
    ledger_ = std::move(*reply);
    own_ = true;
    doubt_.reset();
    stored_at_ = guard_.env_.now().mono;
    pace();
    tell_stored();
    finish(std::move(verdicts_));
  }

  // How long to gather for the next write: the longer, the more ask one after the other, so that 50 permits cost about one write.
  void pace() {
    if (batch_.size() <= 1)
      gather_ = gather;
    else if (asked_ >= full_group)
      gather_ = gather_loaded;
    else
      gather_ = std::clamp<std::chrono::milliseconds>(2 * gather_, gather_loaded, gather_longest);
    not_before_ = stored_at_ + gather_;
  }

  void failed(const Error& error) {
    switch (error.code) {
      case Code::conflict:
      case Code::exists:
      case Code::maybe_done: return read();
      case Code::not_found: {  // deleted under us: its memory is gone
        const auto cluster = guard_.view_.get<api::Cluster>("", cluster_.name_space, cluster_.name);
        ledger_.reset();
        if (!cluster || !is_new(*cluster)) doubt_ = Doubt{api::reason::ledger_missing, std::string(was_missing)};
        return reading_ || tries_ > 1 ? round() : read();
      }
      default:
        if (ledger_ || !is_terminating(error)) return finish(reconcile::fail(error));
        keep_in_memory();
        return round();
    }
  }

  void read() {
    reading_ = true;
    send({.verb = Verb::get,
          .resource = &reconcile::resource_of<api::GuardLedger>,
          .name_space = cluster_.name_space.str(),
          .name = cluster_.name.str()});
  }

  void finish_refused(std::string_view reason, const std::string& message) {
    std::size_t n = 0;
    for (const auto& w : batch_) n += w.requests.size();
    finish(refuse_all(n, "GuardLedger", cluster_.name.view(), reason, message));
  }

  // ---- what people see ----

  void tell_stored() {
    for (const auto& operation : fresh_)
      guard_.metrics_.add("guard_grants_total", "Permits that were given.", {{"operation", operation.view()}});
    if (!decided_doubt_) return;
    guard_.log_(reconcile::Level::warning, "the GuardLedger was not to be trusted: its windows count as full",
                {{"cluster", cluster_.str()}, {"reason", std::string(decided_doubt_->reason)}, {"why", decided_doubt_->message}});
    guard_.metrics_.add("guard_ledger_untrusted_total", "Accounts that were found missing, edited or old.", {{"cluster", cluster_.str()}});
  }

  void count_refusals(const std::vector<Verdict>& verdicts) {
    for (const auto& v : verdicts)
      if (const auto* no = std::get_if<Refused>(&v))
        guard_.metrics_.add("guard_refusals_total", "Permits that were refused, by the budget that said no.",
                            {{"budget", no->kind == "ChangeBudget" ? no->name.view() : ""}, {"reason", no->reason.view()}});
  }

  // How full everything is. Many series and seldom looked at: not with every decision.
  void measure(const std::vector<Ref<api::ChangeBudget>>& budgets, const api::GuardLedgerStatus& ledger) {
    const auto now = guard_.env_.now();
    if (now.mono < measure_at_) return;
    measure_at_ = now.mono + measure_period;
    forget_measures();
    const auto cluster = cluster_.str();
    auto copy = ledger;
    const DomainWindows domains(copy);
    for (const auto& budget : budgets) {
      if (budget->spec.breaker) {
        const auto it =
            std::find_if(ledger.breakers.begin(), ledger.breakers.end(), [&](const auto& b) { return b.budget == budget->metadata.name; });
        const auto state = it == ledger.breakers.end() ? api::BreakerState::closed : it->state;
        guard_.metrics_.set("guard_breaker_open", "1: the breaker is open; 0.5: half-open.",
                            {{"budget", budget->metadata.name.view()}, {"cluster", cluster}},
                            state == api::BreakerState::open        ? 1
                            : state == api::BreakerState::half_open ? 0.5
                                                                    : 0);
      }
      for (const auto& limit : budget->spec.limits)
        for (const auto& w : limit.windows) measure(*budget, limit, w, ledger, domains, now.wall);
    }
  }
  void measure(const api::ChangeBudget& budget, const api::BudgetLimit& limit, const api::BudgetWindow& w,
               const api::GuardLedgerStatus& ledger, const DomainWindows& domains, reconcile::WallTime now) {
    std::int64_t count = domains.fullest(budget.metadata.name, limit.name, w.duration, now);
    for (const auto& l : ledger.windows)
      if (l.budget == budget.metadata.name && l.limit == limit.name && l.duration == w.duration) count = std::max(count, used(l, now));
    guard_.metrics_.set("guard_window_used_ratio", "How full a window is, of the fullest failure domain; 1: full.",
                        {{"budget", budget.metadata.name.view()},
                         {"limit", limit.name.view()},
                         {"cluster", cluster_.str()},
                         {"window", std::to_string(w.duration.count()) + "s"}},
                        w.max > 0 ? static_cast<double>(count) / static_cast<double>(w.max) : 1);
  }
  void forget_measures() {
    guard_.metrics_.drop("guard_breaker_open", "cluster", cluster_.str());
    guard_.metrics_.drop("guard_window_used_ratio", "cluster", cluster_.str());
  }

  // Answers everyone of the batch. They may ask again from inside: the book is ready for it.
  void finish(Result<std::vector<Verdict>> result) {
    reading_ = false;
    not_before_ = std::max(not_before_, guard_.env_.now().mono + gather);
    if (result) {
      count_refusals(*result);
      stand_in_line(*result);
    }
    // Nothing risky happens without the guard: why must be seen, but once, not with every try.
    const std::string error = result ? std::string() : result.error().message;
    if (!error.empty() && error != last_error_)
      guard_.log_(reconcile::Level::warning, "permits can't be given", {{"cluster", cluster_.str()}, {"error", error}});
    last_error_ = error;
    auto batch = std::exchange(batch_, {});
    auto next = result ? result->begin() : std::vector<Verdict>::iterator();
    for (auto& w : batch) {
      waiting_count_ -= w.requests.size();
      if (!result) {
        w.answer(reconcile::fail(result.error()));
        continue;
      }
      const auto end = next + static_cast<std::ptrdiff_t>(w.requests.size());
      w.answer(std::vector<Verdict>(std::make_move_iterator(next), std::make_move_iterator(end)));
      next = end;
    }
    if (!waiting_.empty()) return wake(0ms);
    // Errors and refusals of all end by themselves, and who asked may have gone: the account is looked at again, too.
    const bool leads = !guard_.may_act_ || guard_.may_act_();
    const bool busy = !result || !ledger_ || has_checks_ || !ledger_->status.grants.empty() || !ledger_->status.windows.empty() ||
                      !ledger_->status.domain_windows.empty() || !ledger_->status.open.empty();
    if (leads && busy && guard_.view_.get<api::Cluster>("", cluster_.name_space, cluster_.name))
      sweep_ = guard_.env_.at(guard_.env_.now().mono + (returns_wait_ ? return_period : sweep_period), [this] { wake(0ms); });
  }

  // ---- the line ----

  // Who was refused by an account or a budget waits for room: told as soon as there is some, it needn't ask again and again.
  void stand_in_line(std::vector<Verdict>& verdicts) {
    if (!guard_.on_room) return;
    std::size_t i = 0;
    std::optional<std::chrono::milliseconds> soonest;
    for (const auto& w : batch_)
      for (const auto& request : w.requests) {
        if (i >= verdicts.size()) return;
        auto* no = std::get_if<Refused>(&verdicts[i++]);
        std::erase_if(invited_, [&](const auto& one) {
          return one.first.subject_uid == request.subject_uid && one.first.component == request.component;
        });
        if (!no) {
          line_.remove(request);
        } else if (no->kind == "ChangeBudget" || no->reason == api::reason::ledger_full) {
          if (!line_.add(request)) continue;
          soonest = std::min(soonest.value_or(line_wait), no->retry_after);
          no->retry_after = std::max(no->retry_after, line_wait);
        }
      }
    if (soonest) look_for_room(*soonest);
  }

  void look_for_room(std::chrono::milliseconds after) {
    const auto when = guard_.env_.now().mono + std::max<std::chrono::milliseconds>(after, room_delay);
    if (room_ && room_at_ <= when) return;
    room_at_ = when;
    room_ = guard_.env_.at(when, [this] {
      room_.reset();
      let_in();
    });
  }

  // Decides on the first of the line without storing anything: who would be granted is told to ask.
  void let_in() {
    const auto cluster = guard_.view_.get<api::Cluster>("", cluster_.name_space, cluster_.name);
    if (line_.empty() || !cluster || (guard_.may_act_ && !guard_.may_act_())) return;
    if (call_ || !ledger_ || !guard_.on_room) return look_for_room(room_delay);
    // Who was told already has a place until it asks, or doesn't in time.
    const auto now = guard_.env_.now().mono;
    std::erase_if(invited_, [&](const auto& one) { return one.second <= now; });
    std::vector<PermitRequest> first;
    for (const auto& [request, until] : invited_) first.push_back(request);
    const auto told = first.size();
    for (auto& request : line_.next(line_group)) first.push_back(std::move(request));
    for (auto& request : first) request.begins = {};
    const auto decision = guard::decide(snapshot(*cluster), first);
    auto again = line_wait;
    for (std::size_t i = told; i < first.size(); ++i) {
      if (const auto* no = std::get_if<Refused>(&decision.verdicts[i])) {
        again = std::min(again, no->retry_after);
        continue;
      }
      line_.remove(first[i]);
      invited_.emplace_back(first[i], now + invitation);
      guard_.on_room(first[i]);
    }
    if (!line_.empty()) look_for_room(std::max<std::chrono::milliseconds>(again, 1'000ms));
  }

  LedgerGuard& guard_;
  Key cluster_;
  reconcile::Text cluster_uid_;
  std::deque<Waiting> waiting_;
  Line line_;
  std::vector<std::pair<PermitRequest, reconcile::MonoTime>> invited_;  // and until when; at most as many as had room
  std::vector<api::LedgerChecks> checks_;                               // how they stand, newer than the ledger says
  std::size_t waiting_count_ = 0;
  std::vector<Waiting> batch_;  // being decided
  std::vector<Verdict> verdicts_;
  std::optional<api::GuardLedger> ledger_;  // the newest that we know
  std::optional<api::GuardLedger> next_;    // what is being stored
  std::optional<Doubt> doubt_;              // what was seen against it, until it has been written anew
  bool own_ = false;                        // ledger_ is what this process wrote
  bool ending_ = false;                     // ledger_ is in memory only: its namespace is being deleted
  bool reading_ = false;
  bool has_checks_ = false;  // breakers turn by time and by checks, whether somebody asks or not
  int tries_ = 0;
  std::vector<reconcile::Text> fresh_;  // operations that were granted anew, until that is stored
  std::optional<Doubt> decided_doubt_;  // the same
  reconcile::MonoTime stored_at_{};
  bool returns_wait_ = false;  // grants came back, and that is not stored yet
  reconcile::MonoTime measure_at_{};
  std::string body_, last_error_;
  reconcile::MonoTime not_before_{}, room_at_{};
  std::optional<reconcile::MonoTime> behind_since_;
  std::chrono::milliseconds gather_ = gather;
  std::size_t asked_ = 0;                                       // requests of the batch
  std::vector<std::pair<std::vector<Verdict>, Answer>> known_;  // to be answered in this turn
  reconcile::Handle call_, timer_, sweep_, known_timer_, room_;
};

LedgerGuard::LedgerGuard(reconcile::Env& env, reconcile::Caches& caches, std::function<bool()> may_act, reconcile::Metrics& metrics,
                         reconcile::Log log)
    : env_(env),
      view_(caches),
      may_act_(std::move(may_act)),
      metrics_(metrics),
      log_(std::move(log)),
      fleets_(env, caches, may_act_, metrics, log_) {
  fleets_.on_change = [this](const Key& cluster) {
    if (const auto at = books_.find(cluster); at != books_.end()) at->second->stirred();
  };
  fleets_.follow(caches);
}

LedgerGuard::~LedgerGuard() = default;

LedgerGuard::Book& LedgerGuard::book(const Key& cluster) {
  auto& place = books_[cluster];
  if (!place) place = std::make_unique<Book>(*this, cluster);
  return *place;
}

void LedgerGuard::lead(bool leading) {
  if (leading)
    for (const auto& cluster : view_.list<api::Cluster>("")) book(cluster->metadata.key());
  for (const auto& [cluster, of_cluster] : books_) of_cluster->led(leading);
}

std::vector<api::LedgerChecks> LedgerGuard::checks(const Key& cluster) const {
  if (const auto at = books_.find(cluster); at != books_.end() && !at->second->checks().empty()) return at->second->checks();
  const auto object = view_.get<api::Cluster>("", cluster.name_space, cluster.name);
  const auto ledger = view_.get<api::GuardLedger>("", cluster.name_space, cluster.name);
  if (!object || !ledger || !(ledger->spec.cluster_uid == object->metadata.uid)) return {};
  return ledger->status.checks;
}

void LedgerGuard::answered(const Key& cluster, std::vector<api::LedgerChecks> checks) { book(cluster).answered(std::move(checks)); }

Usage LedgerGuard::usage(const Key& cluster, const api::ChangeBudget& budget) {
  const auto& fleet = fleets_.of(cluster);
  Usage out;
  std::size_t windows = 0;
  for (const auto& limit : budget.spec.limits) {
    out.in_flight.push_back(fleet.under_way(bits(limit.operations)));
    if (api::scope(limit) != api::LimitScope::cluster) windows += limit.windows.size();
  }
  out.too_wide = windows > max_domain_windows || windows * std::max<std::size_t>(1, fleet.domains()) > max_domain_rows;
  return out;
}

// Requests of several clusters are several questions; all answers are put together again.
void LedgerGuard::ask(std::vector<PermitRequest> requests, Answer answer) {
  struct Gathering {
    std::vector<Verdict> verdicts;
    std::optional<Error> error;
    std::size_t open = 0;
    Answer answer;
  };
  auto gathering = std::make_shared<Gathering>();
  gathering->verdicts.resize(requests.size());
  gathering->answer = std::move(answer);
  std::map<Key, std::vector<std::size_t>> by_cluster;
  for (std::size_t i = 0; i < requests.size(); ++i) by_cluster[requests[i].cluster].push_back(i);
  gathering->open = by_cluster.size();
  for (const auto& [cluster, places] : by_cluster) {
    std::vector<PermitRequest> part;
    for (const auto i : places) part.push_back(std::move(requests[i]));
    Book& of_cluster = book(cluster);
    if (of_cluster.waiting() + part.size() > max_waiting) part.clear();  // answered below as an error, in its turn
    const bool full = part.empty();
    of_cluster.ask(std::move(part), [gathering, places = places, full](Result<std::vector<Verdict>> verdicts) {
      if (full)
        gathering->error = Error{Code::unavailable, "too many permits are asked for at once"};
      else if (!verdicts)
        gathering->error = std::move(verdicts.error());
      else
        for (std::size_t i = 0; i < places.size(); ++i) gathering->verdicts[places[i]] = std::move((*verdicts)[i]);
      if (--gathering->open > 0) return;
      if (gathering->error)
        gathering->answer(reconcile::fail(std::move(*gathering->error)));
      else
        gathering->answer(std::move(gathering->verdicts));
    });
  }
}

std::vector<reconcile::Source> LedgerGuard::sources() {
  return {{.kind = &reconcile::kind_of<api::Cluster>, .keys = nullptr},
          {.kind = &reconcile::kind_of<api::Machine>, .keys = nullptr},
          {.kind = &reconcile::kind_of<api::Host>, .keys = nullptr},
          {.kind = &reconcile::kind_of<api::ChangeBudget>, .keys = nullptr},
          {.kind = &reconcile::kind_of<api::GuardLedger>, .keys = nullptr}};
}

}  // namespace endstate::guard
