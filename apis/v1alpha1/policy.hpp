// What limits and what repairs: budgets and their ledger, metric sources, repair policies and repairs.
#pragma once
#include "apis/v1alpha1/common.hpp"

namespace endstate::v1alpha1 {

// ---- ChangeBudget ----

// Every operation that the guard knows. Names: names.hpp, namespace operation.
enum class BudgetOperation : std::uint8_t {
  machine_create,
  machine_update,
  machine_rollback,
  machine_repair,
  machine_reinstall,
  machine_delete,
  close_scheduling,
  control_plane_update,
  control_plane_rollback,
  certificate_rotation,
  teardown,
  control_plane_repair
};
consteval auto describe(const BudgetOperation*) {
  return names("Something that disturbs.", operation::machine_create, operation::machine_update, operation::machine_rollback,
               operation::machine_repair, operation::machine_reinstall, operation::machine_delete, operation::close_scheduling,
               operation::control_plane_update, operation::control_plane_rollback, operation::certificate_rotation, operation::teardown,
               operation::control_plane_repair);
}
inline constexpr Rules operation_list{.required = true, .min_items = 1, .max_items = 12, .set = true};

enum class LimitScope : std::uint8_t { cluster, failure_domain };
consteval auto describe(const LimitScope*) { return names("What is counted together.", "Cluster", "FailureDomain"); }

struct BudgetWindow {
  std::chrono::seconds duration{};
  std::int64_t max = 0;
  friend bool operator==(const BudgetWindow&, const BudgetWindow&) = default;
};
consteval auto describe(const BudgetWindow*) {
  return object(
      "At most so many in so long, at any time.",
      field<&BudgetWindow::duration>("durationSeconds", "The length of the window.", {.required = true, .minimum = 1, .maximum = 604'800}),
      field<&BudgetWindow::max>("max", "The most operations in it; 0 allows none.",
                                {.required = true, .minimum = 0, .maximum = 1'000'000}));
}

struct BudgetLimit {
  Text name;
  std::vector<BudgetOperation> operations;
  std::optional<LimitScope> scope;
  std::vector<BudgetWindow> windows;
  std::optional<IntOrPercent> max_concurrent;
  friend bool operator==(const BudgetLimit&, const BudgetLimit&) = default;
};
consteval auto describe(const BudgetLimit*) {
  using S = BudgetLimit;
  return object(
             "A limit of some operations.", field<&S::name>("name", "Its name, for refusals.", slot_name),
             field<&S::operations>("operations", "What it counts.", operation_list),
             field<&S::scope>("scope", "What is counted together: each cluster, or each failure domain of each cluster; unset: Cluster."),
             field<&S::windows>("windows", "Rates; all must hold.",
                                {.max_items = 8,
                                 .atomic = true,
                                 .cel = {{{"self.all(w, self.exists_one(o, o.durationSeconds == w.durationSeconds))",
                                           "two windows have the same durationSeconds: keep one of them"}}}}),
             field<&S::max_concurrent>(
                 "maxConcurrent",
                 "The most that may be under way at once: a count, or a share of the scope's machines rounded up; absent: any.", share))
      .check("(has(self.windows) && size(self.windows) > 0) || has(self.maxConcurrent)",
             "a limit needs windows or maxConcurrent: without them it limits nothing");
}
inline LimitScope scope(const BudgetLimit& l) { return l.scope.value_or(LimitScope::cluster); }

enum class ScheduleType : std::uint8_t { allow, deny };
consteval auto describe(const ScheduleType*) { return names("What a schedule does while it is on.", "Allow", "Deny"); }
struct BudgetSchedule {
  Text name;
  ScheduleType type{};
  Text cron, time_zone;
  std::chrono::seconds duration{};
  std::vector<BudgetOperation> operations;
  friend bool operator==(const BudgetSchedule&, const BudgetSchedule&) = default;
};
consteval auto describe(const BudgetSchedule*) {
  using S = BudgetSchedule;
  return object("Times when operations may or may not start. Rollback and certificate rotation are never held by one.",
                field<&S::name>("name", "Its name, for refusals.", slot_name),
                field<&S::type>("type", "Allow: only while it is on. Deny: not while it is on.", {.required = true}),
                field<&S::cron>("cron", "When it goes on: minute, hour, day of month, month, day of week.",
                                {.required = true, .min_length = 9, .max_length = 128, .pattern = "^[^ ]+( [^ ]+){4}$"}),
                field<&S::time_zone>("timeZone", "In which time zone, by its IANA name; unset: UTC.", text(64)),
                field<&S::duration>("durationSeconds", "For how long.", {.required = true, .minimum = 60, .maximum = 604'800}),
                field<&S::operations>("operations", "What it holds.", operation_list));
}

struct FailureLimit {
  std::int64_t max = 0;
  std::chrono::seconds duration{};
  friend bool operator==(const FailureLimit&, const FailureLimit&) = default;
};
consteval auto describe(const FailureLimit*) {
  return object(
      "At most so many failed operations in so long.",
      field<&FailureLimit::max>("max", "More than this open the breaker.", {.required = true, .minimum = 0, .maximum = 100'000}),
      field<&FailureLimit::duration>("durationSeconds", "The length of the window.", {.required = true, .minimum = 1, .maximum = 604'800}));
}
enum class BreakerReset : std::uint8_t { manual, automatic };
consteval auto describe(const BreakerReset*) {
  return names("Who closes an open breaker. Manual: a person, by the annotation endstate.dev/reset-breaker.", "Manual", "Automatic");
}
struct Breaker {
  std::vector<MetricCheck> checks;
  std::optional<FailureLimit> failures;
  std::optional<BreakerReset> reset;
  std::optional<std::chrono::seconds> cooldown;
  std::optional<std::int64_t> trials;
  friend bool operator==(const Breaker&, const Breaker&) = default;
};
consteval auto describe(const Breaker*) {
  return object(
      "Stops all forward changes of a cluster when it gets worse.",
      field<&Breaker::checks>("checks", "Opens it when one of these fails.", list(16, "name")),
      field<&Breaker::failures>("failures", "Opens it when too many operations fail."),
      field<&Breaker::reset>("reset", "Who closes it; unset: Manual."),
      field<&Breaker::cooldown>("cooldownSeconds", "Of an Automatic reset: so long after it opened it goes half-open; unset: 600.",
                                duration(1, 604'800)),
      field<&Breaker::trials>("trials",
                              "Half-open: so many operations are let through; when all have succeeded it closes, when one fails it opens "
                              "again. Unset: 1.",
                              duration(1, 1000)));
}
inline BreakerReset reset(const Breaker& b) { return b.reset.value_or(BreakerReset::manual); }
inline std::chrono::seconds cooldown(const Breaker& b) { return b.cooldown.value_or(std::chrono::seconds(600)); }
inline std::int64_t trials(const Breaker& b) { return b.trials.value_or(1); }

struct ChangeBudgetSpec {
  LabelSelector cluster_selector;
  std::optional<IntOrPercent> max_unavailable;
  std::vector<BudgetLimit> limits;
  std::vector<BudgetSchedule> schedules;
  std::optional<Breaker> breaker;
  friend bool operator==(const ChangeBudgetSpec&, const ChangeBudgetSpec&) = default;
};
consteval auto describe(const ChangeBudgetSpec*) {
  using S = ChangeBudgetSpec;
  return object(
      "How much may change at once. All budgets that select a cluster must agree.",
      field<&S::cluster_selector>("clusterSelector", "The Clusters that it is for; empty: all."),
      field<&S::max_unavailable>(
          "maxUnavailable",
          "The most machines of each selected cluster that may be unavailable, whatever the cause: a count, or a share "
          "rounded down, at least 1. Absent: no limit of this budget.",
          share),
      field<&S::limits>("limits", "Limits of rates and of what is under way; each cluster has its own account.", list(16, "name")),
      field<&S::schedules>("schedules", "Times when operations may or may not start.", list(16, "name")),
      field<&S::breaker>("breaker", "Stops forward changes of a cluster that gets worse."));
}

struct WindowUsage {
  std::chrono::seconds duration{};
  std::int64_t used = 0;
  friend bool operator==(const WindowUsage&, const WindowUsage&) = default;
};
consteval auto describe(const WindowUsage*) {
  return object("How full a window is.", field<&WindowUsage::duration>("durationSeconds", "Which window.", {.minimum = 0}),
                field<&WindowUsage::used>("used", "How many operations are in it.", counter));
}
struct LimitUsage {
  Text cluster, limit;
  std::int64_t in_flight = 0;
  std::vector<WindowUsage> windows;
  friend bool operator==(const LimitUsage&, const LimitUsage&) = default;
};
consteval auto describe(const LimitUsage*) {
  using S = LimitUsage;
  return object(
      "How full a limit is, for one cluster.",
      field<&S::cluster>("cluster", "The Cluster, as <namespace>/<name>.", {.required = true, .min_length = 1, .max_length = 317}),
      field<&S::limit>("limit", "The limit.", {.required = true, .min_length = 1, .max_length = 63}),
      field<&S::in_flight>("inFlight", "How many operations are under way.", counter),
      field<&S::windows>("windows", "How full its windows are.", {.max_items = 8, .atomic = true}));
}
enum class BreakerState : std::uint8_t { closed, open, half_open };
consteval auto describe(const BreakerState*) {
  return names("Closed: changes go on. Open: they don't. HalfOpen: a few are tried.", "Closed", "Open", "HalfOpen");
}
struct BreakerStatus {
  Text cluster;
  BreakerState state{};
  Text reason, message;
  WallTime since{};
  friend bool operator==(const BreakerStatus&, const BreakerStatus&) = default;
};
consteval auto describe(const BreakerStatus*) {
  using S = BreakerStatus;
  return object(
      "A breaker, of one cluster.",
      field<&S::cluster>("cluster", "The Cluster, as <namespace>/<name>.", {.required = true, .min_length = 1, .max_length = 317}),
      field<&S::state>("state", "Whether changes go on.", {.required = true}),
      field<&S::reason>("reason", "Why, in one CamelCase word; docs/runbook has a page for each.", text(128)),
      field<&S::message>("message", "Why, for people.", text(1024)), field<&S::since>("since", "Since when."));
}
struct BudgetChecks {
  Text cluster;
  std::vector<CheckStatus> checks;
  friend bool operator==(const BudgetChecks&, const BudgetChecks&) = default;
};
consteval auto describe(const BudgetChecks*) {
  using S = BudgetChecks;
  return object(
      "How the checks of breaker.checks stand, for one cluster.",
      field<&S::cluster>("cluster", "The Cluster, as <namespace>/<name>.", {.required = true, .min_length = 1, .max_length = 317}),
      field<&S::checks>("checks", "Each check. They never end: good and bad count the last answers in a row.", list(16, "name")));
}
struct ScheduleStatus {
  Text name;
  bool on = false;
  WallTime until{};
  Text message;
  friend bool operator==(const ScheduleStatus&, const ScheduleStatus&) = default;
};
consteval auto describe(const ScheduleStatus*) {
  using S = ScheduleStatus;
  return object("Whether a schedule is on.", field<&S::name>("name", "The schedule.", slot_name),
                field<&S::on>("on", "Whether it is on now."), field<&S::until>("until", "When that changes; absent: not within a year."),
                field<&S::message>("message", "What is wrong with it; then it holds what it names.", text(512)));
}
struct ChangeBudgetStatus {
  std::optional<std::int64_t> observed_generation;
  std::vector<LimitUsage> usage;
  std::vector<BreakerStatus> breakers;
  std::vector<BudgetChecks> checks;
  std::vector<ScheduleStatus> schedules;
  std::vector<Condition> conditions;
  friend bool operator==(const ChangeBudgetStatus&, const ChangeBudgetStatus&) = default;
};
consteval auto describe(const ChangeBudgetStatus*) {
  using S = ChangeBudgetStatus;
  return object("A summary for people, at most every 10 s; the account itself is the GuardLedger.",
                field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
                field<&S::usage>("usage", "How full its limits are; of the first 64 clusters.", {.max_items = 1024, .atomic = true}),
                field<&S::breakers>("breakers", "Its breakers.", list(256, "cluster")),
                field<&S::checks>("checks", "How the breaker's checks stand; the guard decides by them.", list(64, "cluster")),
                field<&S::schedules>("schedules", "Which of its schedules are on.", list(16, "name")),
                field<&S::conditions>("conditions", "Its conditions: Ready, Reconciling, Stalled, LedgersTrusted.", condition_list));
}

struct ChangeBudget {
  ObjectMeta metadata;
  ChangeBudgetSpec spec;
  ChangeBudgetStatus status;
  friend bool operator==(const ChangeBudget&, const ChangeBudget&) = default;
};
consteval auto describe(const ChangeBudget*) {
  using T = ChangeBudget;
  return object("How much may change at once, whatever wants to change it.", field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "The policy.", {.required = true}), field<&T::status>("status", "A summary; written by endstate."))
      .check("size(self.metadata.name) <= 63", "a ChangeBudget's name must be at most 63 characters");
}
constexpr Resource resource(const ChangeBudget*) { return api("changebudgets", "ChangeBudget", false); }
inline constexpr Column change_budget_columns[] = {
    {"Max unavailable", "string", ".spec.maxUnavailable", "The most unavailable machines."},
    {"Limits", "string", ".spec.limits[*].name", "Its limits."},
    {"Breakers", "string", ".status.breakers[?(@.state!=\"Closed\")].cluster", "Clusters whose breaker is open or half-open."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"In flight", "string", ".status.usage[*].inFlight", "Operations under way, by limit.", 1},
    {"Schedules", "string", ".spec.schedules[*].name", "Its schedules.", 1},
};
constexpr Crd crd(const ChangeBudget*) {
  return {.singular = "changebudget", .short_name = "ecb", .category = category, .columns = change_budget_columns};
}

// ---- GuardLedger: the account. Written by the operator's guard only, by compare-and-swap, before what it permits is done ----

struct GuardLedgerSpec {
  Text cluster_name, cluster_uid;
  friend bool operator==(const GuardLedgerSpec&, const GuardLedgerSpec&) = default;
};
consteval auto describe(const GuardLedgerSpec*) {
  return object("Whose account it is.",
                field<&GuardLedgerSpec::cluster_name>("clusterName", "The Cluster, in the same namespace.",
                                                      {.required = true, .min_length = 1, .max_length = 63}),
                field<&GuardLedgerSpec::cluster_uid>("clusterUID", "Its uid: a new Cluster of the same name has a new account.",
                                                     {.required = true, .min_length = 1, .max_length = 64}))
      .check("self == oldSelf", "a ledger's Cluster can't change");
}

struct LedgerBucket {
  WallTime start{};
  std::int64_t used = 0;
  friend bool operator==(const LedgerBucket&, const LedgerBucket&) = default;
};
consteval auto describe(const LedgerBucket*) {
  return object("A part of a window.", field<&LedgerBucket::start>("start", "When it begins.", {.required = true}),
                field<&LedgerBucket::used>("used", "How many operations began in it.", counter));
}
struct LedgerWindow {
  Text budget, limit, domain;
  std::chrono::seconds duration{};
  std::vector<LedgerBucket> buckets{};
  WallTime start{};
  Text counts{};
  friend bool operator==(const LedgerWindow&, const LedgerWindow&) = default;
};
consteval auto describe(const LedgerWindow*) {
  using S = LedgerWindow;
  return object(
      "The account of one window: buckets of a 60th of its length.",
      field<&S::budget>("budget", "The ChangeBudget.", {.required = true, .min_length = 1, .max_length = 63}),
      field<&S::limit>("limit", "Its limit.", {.required = true, .min_length = 1, .max_length = 63}),
      field<&S::domain>("domain", "The failure domain, with scope FailureDomain.", text(256)),
      field<&S::duration>("durationSeconds", "The length of the window.", {.required = true, .minimum = 1}),
      field<&S::buckets>("buckets", "As operators before wrote what start and counts say now.", {.max_items = 61, .atomic = true}),
      field<&S::start>("start", "When the first bucket begins."),
      field<&S::counts>(
          "counts",
          "Those that aren't empty, the oldest first: the seconds since the one before, and what was begun, packed and in base64.",
          text(1024)));
}
struct LedgerGrant {
  Text id, machine_uid, machine, operation, revision;
  Text domain;
  std::vector<Text> limits;
  WallTime grant_time{}, expire_time{};
  friend bool operator==(const LedgerGrant&, const LedgerGrant&) = default;
};
consteval auto describe(const LedgerGrant*) {
  using S = LedgerGrant;
  return object("A permit that has been given and not returned.",
                field<&S::id>("id", "Its id, made of machine, operation, revision and attempt.",
                              {.required = true, .min_length = 1, .max_length = 64}),
                field<&S::machine_uid>("machineUID", "The uid of what it disturbs.", text(64)),
                field<&S::machine>("machine", "Its name, for people.", text(253)),
                field<&S::operation>("operation", "What is done.", {.required = true, .min_length = 1, .max_length = 63}),
                field<&S::revision>("revision", "The revision that it leads to.", text(63)),
                field<&S::domain>("domain", "The machine's failure domain.", text(256)),
                field<&S::limits>("limits", "The limits that it counts in, as <budget>/<limit>.",
                                  {.max_length = 128, .max_items = 64, .atomic = true}),
                field<&S::grant_time>("grantTime", "When it was given.", {.required = true}),
                field<&S::expire_time>("expireTime", "When it ends by itself."));
}
struct LedgerBreaker {
  Text budget;
  BreakerState state{};
  Text reason, message;
  WallTime since{};
  std::vector<Text> trials;
  std::int64_t succeeded = 0;
  std::vector<LedgerBucket> failures;
  friend bool operator==(const LedgerBreaker&, const LedgerBreaker&) = default;
};
consteval auto describe(const LedgerBreaker*) {
  using S = LedgerBreaker;
  return object(
      "A breaker and what it counts.",
      field<&S::budget>("budget", "The ChangeBudget.", {.required = true, .min_length = 1, .max_length = 63}),
      field<&S::state>("state", "Whether changes go on.", {.required = true}),
      field<&S::reason>("reason", "Why, in one CamelCase word; docs/runbook has a page for each.", text(128)),
      field<&S::message>("message", "Why, for people.", text(1024)), field<&S::since>("since", "Since when."),
      field<&S::trials>("trials", "Half-open: the grants that were let through and haven't ended.",
                        {.max_length = 64, .max_items = 1000, .atomic = true}),
      field<&S::succeeded>("succeeded", "Half-open: how many of those have succeeded.", counter),
      field<&S::failures>("failures", "Failed operations, counted in buckets of a 60th of its window.", {.max_items = 61, .atomic = true}));
}

struct LedgerDistrust {
  Text reason, message;
  WallTime time{};
  friend bool operator==(const LedgerDistrust&, const LedgerDistrust&) = default;
};
consteval auto describe(const LedgerDistrust*) {
  using S = LedgerDistrust;
  return object("Why the account was not trusted: from then on all its windows counted as full, until they had passed.",
                field<&S::reason>("reason", "Why, in one CamelCase word; docs/runbook has a page for each.", text(128)),
                field<&S::message>("message", "Why, for people.", text(1024)),
                field<&S::time>("time", "When its windows were filled.", {.required = true}));
}

// Windows of scope FailureDomain, all domains of one limit and duration together: a big cluster has some hundred domains.
struct LedgerDomainWindows {
  Text budget, limit;
  std::chrono::seconds duration{};
  WallTime start{};
  Text counts{};
  friend bool operator==(const LedgerDomainWindows&, const LedgerDomainWindows&) = default;
};
consteval auto describe(const LedgerDomainWindows*) {
  using S = LedgerDomainWindows;
  return object("The windows of all failure domains, of one limit and duration: 12 buckets each.",
                field<&S::budget>("budget", "The ChangeBudget.", {.required = true, .min_length = 1, .max_length = 63}),
                field<&S::limit>("limit", "Its limit.", {.required = true, .min_length = 1, .max_length = 63}),
                field<&S::duration>("durationSeconds", "The length of the window.", {.required = true, .minimum = 1}),
                field<&S::start>("start", "When the first bucket begins."),
                field<&S::counts>("counts", "What was begun, by place in status.domains and bucket, packed and in base64.", text(65'536)));
}
struct LedgerChecks {
  Text budget;
  std::vector<CheckStatus> checks;
  friend bool operator==(const LedgerChecks&, const LedgerChecks&) = default;
};
consteval auto describe(const LedgerChecks*) {
  using S = LedgerChecks;
  return object("How a budget's breaker.checks stand for this cluster.",
                field<&S::budget>("budget", "The ChangeBudget.", {.required = true, .min_length = 1, .max_length = 63}),
                field<&S::checks>("checks", "Each check; the guard decides by them.", list(16, "name")));
}
// What the writer's caches had reached: a successor decides only when its own have, too.
struct LedgerSeen {
  Text machines, hosts, clusters;
  friend bool operator==(const LedgerSeen&, const LedgerSeen&) = default;
};
consteval auto describe(const LedgerSeen*) {
  using S = LedgerSeen;
  return object("The highest resourceVersion of an object of each kind that the writer had seen when it decided.",
                field<&S::machines>("machines", "Of Machines.", text(64)), field<&S::hosts>("hosts", "Of Hosts.", text(64)),
                field<&S::clusters>("clusters", "Of Clusters.", text(64)));
}

struct GuardLedgerStatus {
  std::int64_t generation = 0;
  WallTime time{};
  Text digest;
  std::optional<LedgerDistrust> distrusted;
  std::vector<LedgerWindow> windows;
  std::vector<Text> domains;
  std::vector<LedgerDomainWindows> domain_windows;
  std::vector<LedgerGrant> grants;
  Text open;
  LedgerSeen seen;
  std::vector<LedgerBreaker> breakers;
  std::vector<LedgerChecks> checks;
  friend bool operator==(const GuardLedgerStatus&, const GuardLedgerStatus&) = default;
};
consteval auto describe(const GuardLedgerStatus*) {
  using S = GuardLedgerStatus;
  return object(
      "The account.", field<&S::generation>("generation", "Counts its changes: a lower one than was seen before is an old copy.", counter),
      field<&S::time>("time", "When it was written: a machine that began later than this says that it is an old copy."),
      field<&S::digest>("digest", "Of all the rest: an edit by hand is told by it, and makes all windows count as full.", text(64)),
      field<&S::distrusted>("distrusted", "The last time that it was found missing, edited or old; absent: never."),
      field<&S::windows>("windows", "What was begun, by window.", {.max_items = 1024, .atomic = true}),
      field<&S::domains>("domains", "The failure domains that domainWindows counts, in its order.",
                         {.max_length = 256, .max_items = 3000, .atomic = true}),
      field<&S::domain_windows>("domainWindows", "What was begun, by window of scope FailureDomain.", {.max_items = 64, .atomic = true}),
      field<&S::grants>(
          "grants",
          "Permits whose operation isn't seen yet; what is seen is known from Machines, Hosts and the Cluster. At most 500 are "
          "written.",
          {.max_items = 3000, .atomic = true}),
      field<&S::open>("open",
                      "What is under way and whose end isn't counted yet, where a budget has breaker.failures: short ids, in base64.",
                      text(32'768)),
      field<&S::seen>("seen", "What the writer had seen when it decided."),
      field<&S::breakers>("breakers", "The breakers.", list(64, "budget")),
      field<&S::checks>("checks", "How breaker.checks stand.", list(64, "budget")));
}

struct GuardLedger {
  ObjectMeta metadata;
  GuardLedgerSpec spec;
  GuardLedgerStatus status;
  friend bool operator==(const GuardLedger&, const GuardLedger&) = default;
};
consteval auto describe(const GuardLedger*) {
  using T = GuardLedger;
  return object("The account of a Cluster's changes, kept by the operator. Don't edit it: without it all windows count as full.",
                field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "Whose account it is.", {.required = true}),
                field<&T::status>("status", "The account; written by endstate."));
}
constexpr Resource resource(const GuardLedger*) { return api("guardledgers", "GuardLedger", true); }
inline constexpr Column guard_ledger_columns[] = {
    {"Cluster", "string", ".spec.clusterName", "Whose account it is."},
    {"Generation", "integer", ".status.generation", "Counts its changes."},
    {"Breakers", "string", ".status.breakers[?(@.state!=\"Closed\")].budget", "Budgets whose breaker is open or half-open."},
    {"Distrusted", "string", ".status.distrusted.reason", "Why it was not trusted last; its windows counted as full then."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Grants", "string", ".status.grants[*].machine", "The machines that are being disturbed.", 1},
};
constexpr Crd crd(const GuardLedger*) {
  return {.singular = "guardledger", .short_name = "egl", .category = category, .columns = guard_ledger_columns};
}

// ---- MetricSource ----

struct Prometheus {
  Text address;
  std::optional<NameRef> secret_ref, ca_ref;
  std::optional<std::chrono::seconds> timeout;
  friend bool operator==(const Prometheus&, const Prometheus&) = default;
};
consteval auto describe(const Prometheus*) {
  using S = Prometheus;
  return object(
      "A Prometheus server, or what speaks its query API.",
      field<&S::address>("address", "Its base URL.", {.required = true, .min_length = 1, .max_length = 512, .pattern = "^https?://[^ ]+$"}),
      field<&S::secret_ref>("secretRef", "A Secret in the same namespace with a bearer token under the key `token`; absent: none."),
      field<&S::ca_ref>("caRef", "A ConfigMap in the same namespace with CA certificates under the key `ca.crt`; absent: the system's."),
      field<&S::timeout>("timeoutSeconds", "Longest wait for an answer; unset: 10.", duration(1, 60)));
}
inline std::chrono::seconds timeout(const Prometheus& p) { return p.timeout.value_or(std::chrono::seconds(10)); }

struct MetricSourceSpec {
  Prometheus prometheus;
  friend bool operator==(const MetricSourceSpec&, const MetricSourceSpec&) = default;
};
consteval auto describe(const MetricSourceSpec*) {
  return object("Where numbers come from.", field<&MetricSourceSpec::prometheus>("prometheus", "A Prometheus server.", {.required = true}));
}
struct MetricSourceStatus {
  std::optional<std::int64_t> observed_generation;
  std::vector<Condition> conditions;
  friend bool operator==(const MetricSourceStatus&, const MetricSourceStatus&) = default;
};
consteval auto describe(const MetricSourceStatus*) {
  using S = MetricSourceStatus;
  return object("Whether it answers.",
                field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
                field<&S::conditions>("conditions", "Its conditions: Ready, Reconciling, Stalled, Reachable.", condition_list));
}
struct MetricSource {
  ObjectMeta metadata;
  MetricSourceSpec spec;
  MetricSourceStatus status;
  friend bool operator==(const MetricSource&, const MetricSource&) = default;
};
consteval auto describe(const MetricSource*) {
  using T = MetricSource;
  return object("Where checks ask for numbers.", field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "Where it is.", {.required = true}),
                field<&T::status>("status", "Whether it answers; written by endstate."));
}
constexpr Resource resource(const MetricSource*) { return api("metricsources", "MetricSource", true); }
inline constexpr Column metric_source_columns[] = {
    {"Address", "string", ".spec.prometheus.address", "Where it is."},
    {"Reachable", "string", ".status.conditions[?(@.type==\"Reachable\")].status", "Whether it answers."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Message", "string", ".status.conditions[?(@.type==\"Reachable\")].message", "What it said.", 1},
};
constexpr Crd crd(const MetricSource*) {
  return {.singular = "metricsource", .short_name = "emt", .category = category, .columns = metric_source_columns};
}

// ---- RepairPolicy ----

struct RepairCondition {
  Text type;
  ConditionStatus status{};
  std::optional<std::chrono::seconds> timeout;
  friend bool operator==(const RepairCondition&, const RepairCondition&) = default;
};
consteval auto describe(const RepairCondition*) {
  return object(
      "A sign of illness.",
      field<&RepairCondition::type>("type", "Type of a condition of the Machine.",
                                    {.required = true, .min_length = 1, .max_length = 316, .pattern = condition_type_pattern}),
      field<&RepairCondition::status>("status", "The status that is ill.", {.required = true}),
      field<&RepairCondition::timeout>("timeoutSeconds", "It counts when it has stood for this long; unset: 300.", duration(0, 86'400)));
}
inline std::chrono::seconds timeout(const RepairCondition& c) { return c.timeout.value_or(std::chrono::seconds(300)); }

enum class RepairStepType : std::uint8_t {
  isolate,
  evict,
  restart_service,
  recover_package,
  reboot,
  reinstall,
  replace,
  hardware_repair,
  reopen,
  escalate
};
consteval auto describe(const RepairStepType*) {
  return names("A step of a repair.", "Isolate", "Evict", "RestartService", "RecoverPackage", "Reboot", "Reinstall", "Replace",
               "HardwareRepair", "Reopen", "Escalate");
}
struct WorkflowStep {
  RepairStepType step{};
  std::optional<std::chrono::seconds> timeout;
  friend bool operator==(const WorkflowStep&, const WorkflowStep&) = default;
};
consteval auto describe(const WorkflowStep*) {
  return object(
      "A step of a workflow.", field<&WorkflowStep::step>("step", "What is done.", {.required = true}),
      field<&WorkflowStep::timeout>("timeoutSeconds", "The next step is tried after this; unset: 1800.", duration(10, 2'592'000)));
}
inline std::chrono::seconds timeout(const WorkflowStep& s) { return s.timeout.value_or(std::chrono::seconds(1800)); }

struct RepairRule {
  Text name;
  std::vector<RepairCondition> conditions;
  std::vector<WorkflowStep> workflow;
  friend bool operator==(const RepairRule&, const RepairRule&) = default;
};
consteval auto describe(const RepairRule*) {
  using S = RepairRule;
  return object("What an illness looks like, and what is done about it.", field<&S::name>("name", "Its name, for status.", slot_name),
                field<&S::conditions>("conditions", "The signs; all must be there.",
                                      {.required = true, .min_items = 1, .max_items = 8, .list_key = "type"}),
                field<&S::workflow>("workflow", "The steps, in order, until the machine is well.",
                                    {.required = true, .min_items = 1, .max_items = 16, .atomic = true}));
}
struct RepairPolicySpec {
  LabelSelector selector;
  std::vector<RepairRule> rules;
  std::optional<IntOrPercent> max_unhealthy;
  std::optional<std::chrono::seconds> cooldown;
  std::optional<std::int64_t> priority;
  friend bool operator==(const RepairPolicySpec&, const RepairPolicySpec&) = default;
};
consteval auto describe(const RepairPolicySpec*) {
  using S = RepairPolicySpec;
  return object(
      "Which machines are repaired, and how.", field<&S::selector>("selector", "The Machines that it is for; empty: all of the namespace."),
      field<&S::rules>("rules", "What is ill and what is done; the first that fits is taken.",
                       {.required = true, .min_items = 1, .max_items = 16, .list_key = "name"}),
      field<&S::max_unhealthy>(
          "maxUnhealthy", "Repair stands still when more of the selected machines are ill: a count, or a share rounded down; unset: 20%.",
          share),
      field<&S::cooldown>("cooldownSeconds", "Time between two repairs of one machine; unset: 3600.", duration(0, 604'800)),
      field<&S::priority>("priority", "Of two policies that select a machine the higher one is taken; unset: 0.", duration(-1000, 1000)));
}
inline IntOrPercent max_unhealthy(const RepairPolicySpec& s) { return s.max_unhealthy.value_or(IntOrPercent{20, true}); }
inline std::chrono::seconds cooldown(const RepairPolicySpec& s) { return s.cooldown.value_or(std::chrono::seconds(3600)); }
inline std::int64_t priority(const RepairPolicySpec& s) { return s.priority.value_or(0); }

struct RepairPolicyStatus {
  std::optional<std::int64_t> observed_generation;
  std::int64_t active = 0, unhealthy = 0;
  std::vector<Condition> conditions;
  friend bool operator==(const RepairPolicyStatus&, const RepairPolicyStatus&) = default;
};
consteval auto describe(const RepairPolicyStatus*) {
  using S = RepairPolicyStatus;
  return object("What it does.",
                field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
                field<&S::active>("active", "How many repairs are under way.", counter),
                field<&S::unhealthy>("unhealthy", "How many of the selected machines are ill.", counter),
                field<&S::conditions>("conditions", "Its conditions: Ready, Reconciling, Stalled.", condition_list));
}
struct RepairPolicy {
  ObjectMeta metadata;
  RepairPolicySpec spec;
  RepairPolicyStatus status;
  friend bool operator==(const RepairPolicy&, const RepairPolicy&) = default;
};
consteval auto describe(const RepairPolicy*) {
  using T = RepairPolicy;
  return object("What is done about machines that are ill.", field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "The policy.", {.required = true}),
                field<&T::status>("status", "What it does; written by endstate."));
}
constexpr Resource resource(const RepairPolicy*) { return api("repairpolicies", "RepairPolicy", true); }
inline constexpr Column repair_policy_columns[] = {
    {"Rules", "string", ".spec.rules[*].name", "Its rules."},
    {"Active", "integer", ".status.active", "Repairs under way."},
    {"Unhealthy", "integer", ".status.unhealthy", "Machines that are ill."},
    {"Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", "Whether it works."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Max unhealthy", "string", ".spec.maxUnhealthy", "Stands still above this.", 1},
    {"Priority", "integer", ".spec.priority", "The higher one is taken.", 1},
};
constexpr Crd crd(const RepairPolicy*) {
  return {.singular = "repairpolicy", .short_name = "erp", .category = category, .columns = repair_policy_columns};
}

// ---- Repair ----

struct RepairMachineRef {
  Text name, uid;
  friend bool operator==(const RepairMachineRef&, const RepairMachineRef&) = default;
};
consteval auto describe(const RepairMachineRef*) {
  return object("The Machine that is repaired, in the same namespace.", field<&RepairMachineRef::name>("name", "Its name.", required_name),
                field<&RepairMachineRef::uid>("uid", "Its uid: another Machine of the same name isn't touched.", text(64)));
}
struct RepairSpec {
  RepairMachineRef machine_ref;
  NameRef policy_ref;
  Text rule;
  friend bool operator==(const RepairSpec&, const RepairSpec&) = default;
};
consteval auto describe(const RepairSpec*) {
  using S = RepairSpec;
  return object("What is repaired, and by which rule.", field<&S::machine_ref>("machineRef", "The Machine.", {.required = true}),
                field<&S::policy_ref>("policyRef", "The RepairPolicy, in the same namespace.", {.required = true}),
                field<&S::rule>("rule", "Its rule.", slot_name))
      .check("self == oldSelf", "a Repair can't change: create another one");
}
enum class RepairOutcome : std::uint8_t { none, recovered, replaced, escalated, cancelled };
consteval auto describe(const RepairOutcome*) {
  return names("How a repair ended; absent: it is under way.", "", "Recovered", "Replaced", "Escalated", "Cancelled");
}
enum class StepResult : std::uint8_t { none, succeeded, failed, timed_out, skipped };
consteval auto describe(const StepResult*) {
  return names("How a step ended; absent: it is under way.", "", "Succeeded", "Failed", "TimedOut", "Skipped");
}
struct RepairRecord {
  RepairStepType step{};
  std::int64_t attempt = 0;
  WallTime start_time{}, end_time{};
  StepResult result{};
  Text message;
  friend bool operator==(const RepairRecord&, const RepairRecord&) = default;
};
consteval auto describe(const RepairRecord*) {
  using S = RepairRecord;
  return object("A step that was tried.", field<&S::step>("step", "What was done.", {.required = true}),
                field<&S::attempt>("attempt", "Which try it was, from 0.", counter), field<&S::start_time>("startTime", "When it began."),
                field<&S::end_time>("endTime", "When it ended; absent: it is under way."), field<&S::result>("result", "How it ended."),
                field<&S::message>("message", "Why, for people.", text(1024)));
}
struct RepairStatus {
  std::optional<std::int64_t> observed_generation;
  std::optional<RepairStepType> step;
  std::int64_t attempts = 0;
  std::vector<RepairRecord> history;
  RepairOutcome outcome{};
  std::optional<BlockedBy> blocked_by;
  std::vector<Condition> conditions;
  friend bool operator==(const RepairStatus&, const RepairStatus&) = default;
};
consteval auto describe(const RepairStatus*) {
  using S = RepairStatus;
  return object("How far it is.",
                field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
                field<&S::step>("step", "The step that is under way: what repair wants the machine loop to do."),
                field<&S::attempts>("attempts", "How often the step was tried.", counter),
                field<&S::history>("history", "The last 50 steps, the newest last.", {.max_items = 50, .atomic = true}),
                field<&S::outcome>("outcome", "How it ended; absent: it is under way."),
                field<&S::blocked_by>("blockedBy", "What keeps it from going on; absent: nothing."),
                field<&S::conditions>("conditions", "Its conditions: Ready, Reconciling, Stalled.", condition_list));
}
struct Repair {
  ObjectMeta metadata;
  RepairSpec spec;
  RepairStatus status;
  friend bool operator==(const Repair&, const Repair&) = default;
};
consteval auto describe(const Repair*) {
  using T = Repair;
  return object("One repair of one Machine, from diagnosis to its end.", field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "What is repaired, and by which rule.", {.required = true}),
                field<&T::status>("status", "How far it is; written by endstate."));
}
constexpr Resource resource(const Repair*) { return api("repairs", "Repair", true); }
inline constexpr Column repair_columns[] = {
    {"Machine", "string", ".spec.machineRef.name", "What is repaired."},
    {"Rule", "string", ".spec.rule", "By which rule."},
    {"Step", "string", ".status.step", "The step that is under way."},
    {"Outcome", "string", ".status.outcome", "How it ended."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Policy", "string", ".spec.policyRef.name", "The policy.", 1},
    {"Attempts", "integer", ".status.attempts", "How often the step was tried.", 1},
    {"Blocked by", "string", ".status.blockedBy.message", "What keeps it from going on.", 1},
};
constexpr Crd crd(const Repair*) { return {.singular = "repair", .short_name = "ere", .category = category, .columns = repair_columns}; }

}  // namespace endstate::v1alpha1
