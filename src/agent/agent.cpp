#include "src/agent/agent.hpp"

#include <algorithm>
#include <charconv>

#include "apis/v1alpha1/agent_lease.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/url.hpp"

namespace endstate::agent {
namespace {

using namespace std::chrono_literals;
using reconcile::Call, reconcile::Level, reconcile::Verb;

constexpr std::string_view manager = "endstate-agent";
constexpr std::string_view free_disk_key = "endstate.dev/free-disk";
constexpr int max_rounds_in_a_row = 500;  // far more than an order of 32 packages needs without a wait
constexpr auto first_retry = 1s, last_retry = 60s;

std::chrono::nanoseconds retry_after(int failures) {
  return std::min<std::chrono::nanoseconds>(last_retry, first_retry * (std::int64_t{1} << std::clamp(failures - 1, 0, 10)));
}

reconcile::ReflectorOptions own_assignment(const Text& uid) {
  return {.selector = "fieldSelector=" + reconcile::percent_encode("metadata.name=" + uid.str())};
}

// One that can't be read is none: it is a wish, and its absence holds a change up for some minutes at most.
std::optional<api::Prefetch> prefetch_of(const api::HostAssignment& assignment) {
  const auto text = assignment.metadata.annotations.get(api::prefetch::annotation);
  if (text.empty()) return std::nullopt;
  reconcile::Pool pool;
  auto wish = reconcile::decode<api::Prefetch>(text, pool);
  return wish ? std::optional(std::move(*wish)) : std::nullopt;
}

}  // namespace

Agent::Agent(reconcile::Env& env, Engine& engine, AgentOptions options, reconcile::Log log, Tell tell)
    : env_(env),
      engine_(engine),
      options_(std::move(options)),
      log_(std::move(log)),
      tell_(std::move(tell)),
      store_(reconcile::kind_of<api::HostAssignment>, pool_,
             [this](const reconcile::Ref<void>&, const reconcile::Ref<void>& after) {
               on_assignment(static_cast<const api::HostAssignment*>(after.get()));
             }),
      left_(env.now().mono) {}

void Agent::start() { work(); }

void Agent::follow() {
  reflector_ =
      std::make_unique<reconcile::Reflector>(env_, store_, pool_, own_assignment(options_.host_uid), reconcile::ReflectorHooks{}, log_);
  reflector_->start();
}

void Agent::leave() {
  if (reflector_) left_ = env_.now().mono;
  reflector_.reset();
  store_.replace(reconcile::Store::Batch(store_));
  report_call_.reset();
  report_timer_.reset();
}

std::chrono::nanoseconds Agent::silence() const {
  const auto now = env_.now().mono;
  return reflector_ ? reflector_->lag(now) : now - left_;
}

// ---- what is seen ----

void Agent::on_assignment(const api::HostAssignment* assignment) {
  if (assignment == nullptr) {  // nobody is told any more; the host stays what it is
    log_(Level::warning, "the HostAssignment is gone: the host is kept as it is", {});
    assigned_ = false;
    reported_.clear();
    lease_timer_.reset();
    lease_call_.reset();
    lease_known_ = false;
    return;
  }
  if (assignment->metadata.name != options_.host_uid) return;
  const bool fresh = !assigned_ || assignment->metadata.uid != assignment_uid_;
  assigned_ = true;
  assignment_uid_ = assignment->metadata.uid;
  Order order{.uid = assignment_uid_,
              .generation = assignment->metadata.generation.value_or(0),
              .spec = assignment->spec,
              .prefetch = prefetch_of(*assignment)};
  if (fresh) {
    reported_ = reconcile::encode(assignment->status);
    if (!has_status_) take_up(assignment->status);
    lease_known_ = assignment->status.agent.has_value();
    renew_lease();
  }
  if (order_ == order) return;
  order_ = std::move(order);
  log_(Level::info, "ordered",
       {{"revision", order_->spec.revision.str()},
        {"generation", std::to_string(order_->generation)},
        {"state", std::string(reconcile::name_of(order_->spec.state))},
        {"packages", std::to_string(order_->spec.packages.size())}});
  work();
}

// What an earlier agent has said stands until this one knows better.
void Agent::take_up(const api::HostAssignmentStatus& status) {
  status_ = status;
  const auto free = status.capacity.get(free_disk_key);
  std::from_chars(free.data(), free.data() + free.size(), told_free_);
}

// ---- the work ----

void Agent::work() {
  if (working_) {
    work_again_ = true;
    return;
  }
  working_ = true;
  work_again_ = false;
  next_round_.reset();
  // The engine is the worker's until its round comes back.
  job_ = env_.compute([this, order = order_, now = env_.now()]() -> std::function<void()> {
    auto round = std::make_shared<Round>(engine_.round(order, now));
    return [this, round] { on_round(std::move(*round)); };
  });
}

void Agent::on_round(Round round) {
  const auto done = std::move(job_);  // we may be inside it
  working_ = false;
  if (round.trouble) {
    if (last_trouble_ != round.trouble->message) log_(Level::error, "the host can't be worked on", {{"error", round.trouble->message}});
    last_trouble_ = round.trouble->message;
  } else {
    last_trouble_.clear();
  }
  if (round.did && round.plan.step)
    log_(Level::info, "did",
         {{"step", std::to_string(static_cast<int>(round.plan.step->what))},
          {"slot", round.plan.step->slot.str()},
          {"why", round.plan.step->why}});
  for (const auto& told : round.told) {
    log_(told.warning ? Level::warning : Level::info, told.note, {{"reason", told.reason}});
    if (tell_ && assigned_) tell_(told, assignment_uid_);
  }
  if (round.begin_again && options_.begin_again) {
    log_(Level::info, "another version of the agent takes over", {});
    return options_.begin_again();
  }
  make_report(round);
  const bool rests = !round.did && (rounds_in_a_row_ > 0 || !rested_);
  rounds_in_a_row_ = round.did ? rounds_in_a_row_ + 1 : 0;
  const bool restless = rounds_in_a_row_ >= max_rounds_in_a_row;
  if (work_again_ || (round.did && !restless)) return work();
  if (restless) round.plan.again = env_.now().mono + 1s;  // whatever goes in circles must not take a processor
  if (rests && options_.watch) options_.watch(engine_.owned_paths());
  if (rests && options_.idle) options_.idle();
  rested_ = rested_ || rests;
  next_round_ = env_.at(std::max(round.plan.again, env_.now().mono + 100ms), [this] { work(); });
}

// ---- the report ----

// Told again only when it has changed by an eighth: else every container that writes a log would be news.
std::string Agent::free_disk(std::uint64_t bytes) {
  const auto changed = bytes > told_free_ ? bytes - told_free_ : told_free_ - bytes;
  if (changed > told_free_ / 8) told_free_ = bytes;
  return std::to_string(told_free_);
}

void Agent::make_report(const Round& round) {
  const auto now = env_.now().wall;
  if (round.trouble) {
    // What is installed is what it was, as far as anybody knows; that nothing can be done about it must be told.
    has_status_ = has_status_ || assigned_;
    reconcile::Condition c;
    c.type = "HostWorkable";
    c.status = reconcile::ConditionStatus::false_;
    c.reason = "HostNotWorkable";
    c.message = Text(std::string_view(round.trouble->message).substr(0, 1000));
    reconcile::set_condition(status_.conditions, std::move(c), now);
    return send_report();
  }
  if (!round.order) return;
  const auto types = [&](std::string_view type) {
    return std::any_of(round.plan.conditions.begin(), round.plan.conditions.end(), [&](const auto& c) { return c.type == type; });
  };
  std::erase_if(status_.conditions, [&](const auto& c) { return !types(c.type); });
  for (auto c : round.plan.conditions) reconcile::set_condition(status_.conditions, std::move(c), now);
  status_.observed_generation = round.order->generation;
  status_.observed_revision = round.order->spec.revision;
  status_.packages = round.plan.packages;
  status_.requests = round.plan.requests;
  status_.agent = api::Agent{.version = Text(options_.version), .boot_id = Text(round.boot_id)};
  status_.capacity = options_.capacity;
  status_.capacity.set(free_disk_key, Text(free_disk(round.free_bytes)));
  has_status_ = round.order->uid == assignment_uid_;
  send_report();
}

void Agent::send_report() {
  if (!assigned_ || !has_status_ || report_call_ || report_timer_) return;
  auto text = reconcile::encode(status_);
  if (text == reported_) return engine_.confirm();
  sending_ = std::move(text);
  Call call{.verb = Verb::apply,
            .resource = &reconcile::resource_of<api::HostAssignment>,
            .name = options_.host_uid.str(),
            .subresource = "status",
            .query = reconcile::apply_query(manager),
            .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":)" +
                    reconcile::quote(options_.host_uid) + R"(,"uid":)" + reconcile::quote(assignment_uid_) + R"(},"status":)" + sending_ +
                    "}"};
  report_call_ = env_.call(
      std::move(call), [](std::string_view) {},
      [this](const Result<void>& result) {
        const auto done = std::move(report_call_);
        if (result) {
          engine_.confirm();  // our orders were read and a report was taken: what an agent must be able to do
          reported_ = sending_;
          report_failures_ = 0;
          return send_report();
        }
        ++report_failures_;
        if (report_failures_ == 1) log_(Level::warning, "the report was not taken", {{"error", result.error().message}});
        const auto wait = retry_after(report_failures_);
        report_timer_ = env_.at(env_.now().mono + jitter(wait, wait * 5 / 4), [this] {
          const auto over = std::move(report_timer_);
          send_report();
        });
      });
}

// ---- the Lease ----

std::chrono::nanoseconds Agent::jitter(std::chrono::nanoseconds low, std::chrono::nanoseconds high) {
  return low + std::chrono::nanoseconds(env_.random() % static_cast<std::uint64_t>((high - low).count() + 1));
}

void Agent::renew_lease() {
  if (!assigned_ || lease_call_) return;
  const auto now = env_.now().wall;
  reconcile::Lease lease;
  lease.metadata.name = Text(api::agent_lease_name(options_.host_uid));
  lease.metadata.name_space = api::system_namespace;
  auto& owner = lease.metadata.owner_references.emplace_back();  // garbage collection takes it along
  owner.api_version = "endstate.dev/v1alpha1";
  owner.kind = "HostAssignment";
  owner.name = options_.host_uid;
  owner.uid = assignment_uid_;
  lease.spec.holder_identity = Text(options_.identity);
  lease.spec.lease_duration = options_.lease_period * 3;
  lease.spec.renew_time = {now};
  Call call{.verb = lease_known_ ? Verb::merge_patch : Verb::create,
            .resource = &reconcile::resource_of<reconcile::Lease>,
            .name_space = std::string(api::system_namespace),
            .query = "fieldManager=" + std::string(manager)};
  if (lease_known_) {
    call.name = lease.metadata.name.str();
    call.body = reconcile::encode(lease);
  } else {
    lease.spec.acquire_time = {now};
    call.body = reconcile::encode_object("coordination.k8s.io/v1", "Lease", reconcile::type_of<reconcile::Lease>, &lease);
  }
  lease_call_ = env_.call(
      std::move(call), [](std::string_view) {}, [this](const Result<void>& result) { lease_done(result); });
}

void Agent::lease_done(const Result<void>& result) {
  const auto done = std::move(lease_call_);
  std::chrono::nanoseconds wait =
      jitter(std::chrono::nanoseconds(options_.lease_period) * 9 / 10, std::chrono::nanoseconds(options_.lease_period) * 11 / 10);
  if (result) {
    lease_known_ = true;
    lease_failures_ = 0;
  } else {
    ++lease_failures_;
    const auto code = result.error().code;
    const bool other =
        (code == reconcile::Code::exists) != lease_known_ && (code == reconcile::Code::exists || code == reconcile::Code::not_found);
    if (code == reconcile::Code::exists) lease_known_ = true;
    if (code == reconcile::Code::not_found) lease_known_ = false;
    const auto soon = retry_after(lease_failures_);
    wait = other && lease_failures_ == 1 ? 0ns : jitter(soon, soon * 5 / 4);
    if (!other && lease_failures_ == 1) log_(Level::warning, "the Lease was not renewed", {{"error", result.error().message}});
  }
  lease_timer_ = env_.at(env_.now().mono + wait, [this] {
    const auto over = std::move(lease_timer_);
    renew_lease();
  });
}

}  // namespace endstate::agent
