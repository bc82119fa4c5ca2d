// MachineSet: a number of equal machines, and how a change goes through them.
#pragma once
#include "apis/v1alpha1/machine.hpp"

namespace endstate::v1alpha1 {

// ---- the template ----

struct MatchLabels {
  Labels match_labels;
  friend bool operator==(const MatchLabels&, const MatchLabels&) = default;
};
consteval auto describe(const MatchLabels*) {
  return object("Chooses Machines by their labels.",
                field<&MatchLabels::match_labels>("matchLabels", "Labels that must be there with these values; at least one.",
                                                  {.required = true, .max_length = 63, .max_properties = 16}))
      .check("size(self.matchLabels) > 0", "matchLabels must name at least one label: an empty selector would take every Machine");
}

struct TemplateMeta {
  Labels labels, annotations;
  friend bool operator==(const TemplateMeta&, const TemplateMeta&) = default;
};
consteval auto describe(const TemplateMeta*) {
  return object(
      "Labels and annotations of the set's Machines.",
      field<&TemplateMeta::labels>(
          "labels", "Labels; the selector must match them.",
          {.max_length = 63,
           .max_properties = 32,
           .pattern = label_value,
           .cel = {{{"self.all(k, !k.startsWith('endstate.dev/'))", "labels endstate.dev/... are endstate's own; choose another key"},
                    label_keys}}}),
      field<&TemplateMeta::annotations>("annotations", "Annotations.", {.max_length = 4096, .max_properties = 32}));
}

// No defaults here or below: a default would change every template at once, and with it every revision, at an upgrade of endstate.
struct MachineTemplateSpec {
  std::vector<PackageSlot> packages;
  std::vector<ReadinessGate> readiness_gates;
  std::vector<NodeTaint> taints;
  Labels labels;
  Deletion deletion;
  friend bool operator==(const MachineTemplateSpec&, const MachineTemplateSpec&) = default;
};
consteval auto describe(const MachineTemplateSpec*) {
  using S = MachineTemplateSpec;
  return object("What the set's Machines should be.",
                field<&S::packages>("packages", machine_fields::packages_doc, machine_fields::packages),
                field<&S::readiness_gates>("readinessGates", machine_fields::gates_doc, machine_fields::gates),
                field<&S::taints>("taints", machine_fields::taints_doc, machine_fields::taints),
                field<&S::labels>("labels", machine_fields::labels_doc, machine_fields::labels),
                field<&S::deletion>("deletion", machine_fields::deletion_doc));
}

struct MachineTemplate {
  TemplateMeta metadata;
  MachineTemplateSpec spec;
  friend bool operator==(const MachineTemplate&, const MachineTemplate&) = default;
};
consteval auto describe(const MachineTemplate*) {
  return object("What the set's Machines are made from.",
                field<&MachineTemplate::metadata>("metadata", "Labels and annotations of the Machines.", {.required = true}),
                field<&MachineTemplate::spec>("spec", "What the Machines should be.", {.required = true}));
}
// What a Machine of that template should be.
inline MachineSpec machine_spec(const MachineTemplateSpec& t, Text cluster_name) {
  MachineSpec spec;
  spec.cluster_name = std::move(cluster_name);
  spec.packages = t.packages;
  spec.readiness_gates = t.readiness_gates;
  spec.taints = t.taints;
  spec.labels = t.labels;
  spec.deletion = t.deletion;
  return spec;
}

// ---- the rollout ----

enum class RolloutType : std::uint8_t { in_place, recreate };
consteval auto describe(const RolloutType*) {
  return names("How a machine gets a new revision. InPlace never falls back to Recreate.", "InPlace", "Recreate");
}
enum class Pick : std::uint8_t { spread, random, by_annotation };
consteval auto describe(const Pick*) { return names("Which machines go first.", "Spread", "Random", "ByAnnotation"); }

enum class PauseType : std::uint8_t { duration, promotion };
consteval auto describe(const PauseType*) { return names("What ends a pause.", "Duration", "Promotion"); }
struct Pause {
  PauseType type{};
  std::optional<std::chrono::seconds> seconds, timeout;
  friend bool operator==(const Pause&, const Pause&) = default;
};
consteval auto describe(const Pause*) {
  return object("A wait after a step, once its machines are available.",
                field<&Pause::type>("type", "Duration: for some seconds. Promotion: until somebody promotes.", {.required = true}),
                field<&Pause::seconds>("seconds", "Of a Duration: how long.", duration(1, 2'592'000)),
                field<&Pause::timeout>("timeoutSeconds", "Of a Promotion: the rollout has failed if nobody promotes by then; unset: 86400.",
                                       duration(1, 2'592'000)))
      .check("self.type == 'Duration' ? has(self.seconds) && !has(self.timeoutSeconds) : !has(self.seconds)",
             "a Duration needs seconds and takes no timeoutSeconds; a Promotion takes no seconds");
}
inline std::chrono::seconds promotion_timeout(const Pause& p) { return p.timeout.value_or(std::chrono::seconds(86'400)); }

struct JobProbe {
  Text name;
  Json job_template;
  std::optional<std::chrono::seconds> timeout;
  friend bool operator==(const JobProbe&, const JobProbe&) = default;
};
consteval auto describe(const JobProbe*) {
  return object("A Job that must succeed before the next step.", field<&JobProbe::name>("name", "Its name, for status.", slot_name),
                field<&JobProbe::job_template>("jobTemplate", "The Job (batch/v1 JobTemplateSpec); run in the set's namespace.",
                                               {.required = true, .max_properties = 16}),
                field<&JobProbe::timeout>("timeoutSeconds", "Failed after this; unset: 300.", duration(1, 86'400)));
}
inline std::chrono::seconds timeout(const JobProbe& p) { return p.timeout.value_or(std::chrono::seconds(300)); }

// What endstate sees for itself of the machines that have the new revision.
struct HealthCheck {
  std::optional<IntOrPercent> max_unhealthy;
  std::optional<std::int64_t> max_restarts;
  friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};
consteval auto describe(const HealthCheck*) {
  return object(
      "How many of the updated machines may get worse.",
      field<&HealthCheck::max_unhealthy>("maxUnhealthy",
                                         "More updated machines than this that were available with the revision and aren't any more "
                                         "fail the step: a count, or a share of the updated ones rounded down; absent: no limit.",
                                         share),
      field<&HealthCheck::max_restarts>("maxRestarts",
                                        "More restarts of updated machines' hosts than this, all together, fail the step; absent: no "
                                        "limit.",
                                        duration(0, 100'000)));
}

struct Analysis {
  std::optional<HealthCheck> health;
  std::vector<MetricCheck> checks;
  std::vector<JobProbe> probes;
  friend bool operator==(const Analysis&, const Analysis&) = default;
};
consteval auto describe(const Analysis*) {
  return object(
      "What must be well before the next step.",
      field<&Analysis::health>("health", "What the updated machines themselves say, from the step's beginning on."),
      field<&Analysis::checks>("checks", "Questions to metric sources; asked once the step's machines are available.", list(16, "name")),
      field<&Analysis::probes>("probes", "Jobs.", list(8, "name")));
}

struct RolloutStep {
  Text name;
  IntOrPercent updated;
  std::optional<IntOrPercent> max_failed;
  std::optional<Pause> pause;
  std::optional<Analysis> analysis;
  friend bool operator==(const RolloutStep&, const RolloutStep&) = default;
};
consteval auto describe(const RolloutStep*) {
  using S = RolloutStep;
  return object(
      "A step of a rollout.", field<&S::name>("name", "Its name, for status and for promotion.", slot_name),
      field<&S::updated>("updated",
                         "How many machines have the new revision at its end: a count, or a share rounded up (under 100%: at least 1, at "
                         "most all but one). No fewer than in the step before.",
                         {.required = true, .minimum = 1, .maximum = 100'000, .max_length = 4, .pattern = "^(100|[1-9][0-9]?)%$"}),
      field<&S::max_failed>("maxFailed", "More failed machines than this, of all that were updated, reject the revision; unset: 0.", share),
      field<&S::pause>("pause", "A wait after it; absent: none."),
      field<&S::analysis>("analysis", "What must be well after it; absent: nothing beyond the machines themselves."));
}
inline IntOrPercent max_failed(const RolloutStep& s) { return s.max_failed.value_or(IntOrPercent{}); }

enum class FailureAction : std::uint8_t { rollback, pause };
consteval auto describe(const FailureAction*) { return names("What a rejected revision leads to.", "Rollback", "Pause"); }
struct OnFailure {
  std::optional<FailureAction> action;
  std::optional<IntOrPercent> max_machines;
  friend bool operator==(const OnFailure&, const OnFailure&) = default;
};
consteval auto describe(const OnFailure*) {
  return object(
      "What happens when a revision is rejected.", field<&OnFailure::action>("action", "What it leads to; unset: Rollback."),
      field<&OnFailure::max_machines>(
          "maxMachines", "A rollback that would touch more machines than this pauses and calls a person; unset: no limit.", share));
}

struct RolloutAfter {
  Text kind, name;
  friend bool operator==(const RolloutAfter&, const RolloutAfter&) = default;
};
consteval auto describe(const RolloutAfter*) {
  return object(
      "Another set that must be Complete at the same package versions first.",
      field<&RolloutAfter::kind>("kind", "MachineSet.",
                                 {.required = true, .max_length = 63, .cel = {{{"self == 'MachineSet'", "kind must be MachineSet"}}}}),
      field<&RolloutAfter::name>("name", "Its name, in the same namespace.", required_name));
}

struct Rollout {
  std::optional<RolloutType> type;
  std::optional<IntOrPercent> max_unavailable, max_surge;
  std::optional<Pick> pick;
  std::optional<std::chrono::seconds> min_ready, progress_deadline;
  std::optional<RolloutAfter> after;
  std::optional<std::int64_t> partition;
  std::vector<RolloutStep> steps;
  std::optional<std::chrono::seconds> machine_timeout;
  OnFailure on_failure;
  friend bool operator==(const Rollout&, const Rollout&) = default;
};
consteval auto describe(const Rollout*) {
  using S = Rollout;
  return object("How a change goes through the set.", field<&S::type>("type", "How a machine gets a new revision; unset: InPlace."),
                field<&S::max_unavailable>("maxUnavailable",
                                           "Most machines that may be unavailable at once: a count, or a share rounded down, at least 1. "
                                           "Unset: 10%.",
                                           share),
                field<&S::max_surge>("maxSurge",
                                     "Of Recreate: machines above replicas meanwhile: a count, or a share rounded up; unset: 0.", share),
                field<&S::pick>("pick",
                                "Which machines go first: spread over failure domains, at random, or in the order of the annotation "
                                "endstate.dev/update-order; unset: Spread."),
                field<&S::min_ready>("minReadySeconds", "A machine is available when it has been Ready for this long; unset: 0.",
                                     duration(0, 86'400)),
                field<&S::progress_deadline>(
                    "progressDeadlineSeconds",
                    "Grants without progress for this long stall the rollout; never runs through a pause or a closed budget. "
                    "Unset: 3600.",
                    duration(60, 2'592'000)),
                field<&S::after>("after", "Starts only when that set is Complete at the same package versions; absent: at once."),
                field<&S::partition>("partition",
                                     "So many machines stay on the old revision; raising it rolls back. Not with steps. Unset: 0.",
                                     duration(0, 100'000)),
                field<&S::steps>(
                    "steps", "The steps, at most 20, rising. The rest follows after the last one. None: all at once, under the budgets.",
                    {.max_items = 20,
                     .list_key = "name",
                     .cel = {{{"self.map(s, type(s.updated) == int, int(s.updated)).isSorted()",
                               "steps must rise: each step's updated count must be at least that of the step before"},
                              {"self.map(s, type(s.updated) == string, int(s.updated.replace('%', ''))).isSorted()",
                               "steps must rise: each step's updated share must be at least that of the step before"}}}}),
                field<&S::machine_timeout>("machineTimeoutSeconds",
                                           "An update of one machine has failed after this, from its grant; unset: 1800.",
                                           duration(30, 604'800)),
                field<&S::on_failure>("onFailure", "What happens when a revision is rejected."))
      .check("!has(self.partition) || self.partition == 0 || !has(self.steps) || size(self.steps) == 0",
             "partition and steps exclude each other: take out one of them")
      .check(
          "!has(self.maxUnavailable) || !(self.maxUnavailable == 0 || self.maxUnavailable == '0%') || (has(self.maxSurge) && "
          "!(self.maxSurge == 0 || self.maxSurge == '0%'))",
          "maxUnavailable and maxSurge can't both be 0: no machine could ever be updated")
      .check("!has(self.maxSurge) || self.maxSurge == 0 || self.maxSurge == '0%' || (has(self.type) && self.type == 'Recreate')",
             "maxSurge is for type Recreate only: an InPlace rollout makes no machines");
}
inline RolloutType type(const Rollout& r) { return r.type.value_or(RolloutType::in_place); }
inline IntOrPercent max_unavailable(const Rollout& r) { return r.max_unavailable.value_or(IntOrPercent{10, true}); }
inline IntOrPercent max_surge(const Rollout& r) { return r.max_surge.value_or(IntOrPercent{}); }
inline Pick pick(const Rollout& r) { return r.pick.value_or(Pick::spread); }
inline std::chrono::seconds min_ready(const Rollout& r) { return r.min_ready.value_or(std::chrono::seconds(0)); }
inline std::chrono::seconds progress_deadline(const Rollout& r) { return r.progress_deadline.value_or(std::chrono::seconds(3600)); }
inline std::int64_t partition(const Rollout& r) { return r.partition.value_or(0); }
inline std::chrono::seconds machine_timeout(const Rollout& r) { return r.machine_timeout.value_or(std::chrono::seconds(1800)); }
inline FailureAction action(const OnFailure& f) { return f.action.value_or(FailureAction::rollback); }
// A count of `total`; a share is rounded down (maxUnavailable) or up (everything else). Never below 0 or above total.
std::int64_t scaled(IntOrPercent value, std::int64_t total, bool round_up);

// ---- the set ----

struct MachineSetSpec {
  Text cluster_name;
  std::optional<std::int64_t> replicas;
  MatchLabels selector;
  MachineTemplate template_;
  Rollout rollout;
  std::optional<std::int64_t> revision_history_limit;
  std::optional<bool> paused;
  friend bool operator==(const MachineSetSpec&, const MachineSetSpec&) = default;
};
consteval auto describe(const MachineSetSpec*) {
  using S = MachineSetSpec;
  return object("What the set should be.",
                field<&S::cluster_name>("clusterName", "The Cluster that the machines join, in the same namespace.",
                                        {.required = true,
                                         .min_length = 1,
                                         .max_length = 63,
                                         .pattern = dns_label,
                                         .cel = {{{"self == oldSelf", "clusterName can't change: create another MachineSet"}}}}),
                field<&S::replicas>("replicas", "How many machines; unset: 1.", duration(0, 100'000)),
                field<&S::selector>("selector", "Which Machines are the set's.",
                                    {.required = true, .cel = {{{"self == oldSelf", "selector can't change: create another MachineSet"}}}}),
                field<&S::template_>("template", "What the Machines are made from.", {.required = true}),
                field<&S::rollout>("rollout", "How a change of the template goes through the set."),
                field<&S::revision_history_limit>("revisionHistoryLimit", "How many old revisions are kept to go back to; unset: 10.",
                                                  duration(0, 100)),
                field<&S::paused>("paused", "No loop touches the set; unset: false."))
      .check(
          "has(self.template.metadata.labels) && self.selector.matchLabels.all(k, k in self.template.metadata.labels && "
          "self.template.metadata.labels[k] == self.selector.matchLabels[k])",
          "selector must match the template: give template.metadata.labels every label of selector.matchLabels, with the same value");
}
inline std::int64_t replicas(const MachineSetSpec& s) { return s.replicas.value_or(1); }
inline std::int64_t revision_history_limit(const MachineSetSpec& s) { return s.revision_history_limit.value_or(10); }

struct RejectedRevision {
  Text revision, step, reason, message;
  WallTime time{};
  friend bool operator==(const RejectedRevision&, const RejectedRevision&) = default;
};
consteval auto describe(const RejectedRevision*) {
  using S = RejectedRevision;
  return object("A revision that failed: never tried again, until somebody says so by the annotation endstate.dev/retry.",
                field<&S::revision>("revision", "Its hash.", {.required = true, .min_length = 1, .max_length = 63}),
                field<&S::step>("step", "The step at which it failed.", text(63)),
                field<&S::reason>("reason", "Why, in one CamelCase word; docs/runbook has a page for each.", text(128)),
                field<&S::message>("message", "Why, for people: which machine, which package.", text(1024)),
                field<&S::time>("time", "When."));
}

enum class RolloutPhase : std::uint8_t { progressing, paused, rolling_back, rolled_back, complete };
consteval auto describe(const RolloutPhase*) {
  return names("Where a rollout is.", "Progressing", "Paused", "RollingBack", "RolledBack", "Complete");
}

enum class ProbeResult : std::uint8_t { running, passed, failed };
consteval auto describe(const ProbeResult*) { return names("How a probe stands.", "Running", "Passed", "Failed"); }
struct ProbeStatus {
  Text name, job, job_uid;
  ProbeResult result{};
  Text message;
  WallTime start_time{}, end_time{};
  std::int64_t attempts = 0;
  friend bool operator==(const ProbeStatus&, const ProbeStatus&) = default;
};
consteval auto describe(const ProbeStatus*) {
  using S = ProbeStatus;
  return object("How a probe stands.", field<&S::name>("name", "The probe.", slot_name),
                field<&S::job>("job", "Its Job, in the set's namespace of its cluster.", text(63)),
                field<&S::job_uid>("jobUID", "The uid of its Job; absent: not seen yet.", text(64)),
                field<&S::result>("result", "How it stands.", {.required = true}),
                field<&S::message>("message", "Why, for people.", text(512)), field<&S::start_time>("startTime", "When it began."),
                field<&S::end_time>("endTime", "When it ended."),
                field<&S::attempts>("attempts", "How often its Job was made: once more if somebody deletes it.", counter));
}
struct AnalysisStatus {
  Text step;
  WallTime start_time{};
  std::int64_t unhealthy = 0, restarts = 0;
  std::vector<CheckStatus> checks;
  std::vector<ProbeStatus> probes;
  friend bool operator==(const AnalysisStatus&, const AnalysisStatus&) = default;
};
consteval auto describe(const AnalysisStatus*) {
  using S = AnalysisStatus;
  return object("How a step's analysis stands.", field<&S::step>("step", "Which step.", slot_name),
                field<&S::start_time>("startTime", "When it began: the step's machines were available, its pause over; absent: not yet."),
                field<&S::unhealthy>("unhealthy", "Updated machines that were available with the revision and aren't any more.", counter),
                field<&S::restarts>("restarts", "Restarts of updated machines' hosts.", counter),
                field<&S::checks>("checks", "Its checks.", list(16, "name")), field<&S::probes>("probes", "Its probes.", list(8, "name")));
}

// What is looked at before a release touches its first machine.
enum class PreflightCheck : std::uint8_t { artifacts_reachable, version_skew, cluster_healthy, budget_open, disk_room };
consteval auto describe(const PreflightCheck*) {
  return names("What is looked at before a release touches its first machine.", "ArtifactsReachable", "VersionSkew", "ClusterHealthy",
               "BudgetOpen", "DiskRoom");
}
enum class PreflightResult : std::uint8_t { pending, passed, failed, skipped };
consteval auto describe(const PreflightResult*) { return names("How it was found.", "Pending", "Passed", "Failed", "Skipped"); }
struct PreflightStatus {
  PreflightCheck check{};
  PreflightResult result{};
  Text message;
  friend bool operator==(const PreflightStatus&, const PreflightStatus&) = default;
};
consteval auto describe(const PreflightStatus*) {
  using S = PreflightStatus;
  return object(
      "One pre-flight check.", field<&S::check>("check", "Which.", {.required = true}),
      field<&S::result>("result", "How it was found. Skipped: the annotation endstate.dev/skip-preflight says so.", {.required = true}),
      field<&S::message>("message", "Why, for people.", text(512)));
}

struct RolloutStatus {
  Text revision;
  RolloutPhase phase{};
  Text step, steps_hash, promoted_step, message;
  WallTime start_time{}, step_start_time{}, pause_start_time{}, last_progress_time{};
  std::int64_t target = 0, updated = 0, failed = 0, lost = 0;
  std::vector<PreflightStatus> preflight;
  std::optional<AnalysisStatus> analysis;
  std::optional<BlockedBy> blocked_by;
  friend bool operator==(const RolloutStatus&, const RolloutStatus&) = default;
};
consteval auto describe(const RolloutStatus*) {
  using S = RolloutStatus;
  return object(
      "The rollout that is under way, or the last one.",
      field<&S::revision>("revision", "The revision that it leads to.", {.required = true, .min_length = 1, .max_length = 63}),
      field<&S::phase>("phase", "Where it is.", {.required = true}),
      field<&S::step>("step", "The step that it is at; absent: none, or past the last.", text(63)),
      field<&S::steps_hash>("stepsHash", "Of the steps that it was judged by: an edit of them is seen by this.", text(63)),
      field<&S::promoted_step>("promotedStep", "The step that somebody promoted last.", text(63)),
      field<&S::message>("message", "What it does or waits for, for people.", text(1024)),
      field<&S::start_time>("startTime", "When it began."), field<&S::step_start_time>("stepStartTime", "When the step began."),
      field<&S::pause_start_time>("pauseStartTime", "When the step's machines were available and its pause began; absent: not yet."),
      field<&S::last_progress_time>("lastProgressTime", "When a machine last got on; progressDeadlineSeconds counts from here."),
      field<&S::target>("target", "How many machines have the revision at the end of the step.", counter),
      field<&S::updated>("updated", "How many have it now and are available.", counter),
      field<&S::failed>("failed", "How many failed with it.", counter),
      field<&S::lost>("lost", "How many were lost with their hosts meanwhile; these don't condemn it.", counter),
      field<&S::preflight>("preflight", "What was looked at before its first machine.", list(8, "check")),
      field<&S::analysis>("analysis", "How the analysis of the step stands; absent: not begun, or none."),
      field<&S::blocked_by>("blockedBy", "What keeps it from going on; absent: nothing."));
}

enum class ChangeResult : std::uint8_t { none, complete, rolled_back, rejected, superseded };
consteval auto describe(const ChangeResult*) {
  return names("How a change ended; absent: it is under way.", "", "Complete", "RolledBack", "Rejected", "Superseded");
}
struct MetricRecord {
  Text name, value;
  std::int64_t good = 0, bad = 0, inconclusive = 0;
  friend bool operator==(const MetricRecord&, const MetricRecord&) = default;
};
consteval auto describe(const MetricRecord*) {
  using S = MetricRecord;
  return object("What a check of a metric saw.", field<&S::name>("name", "The check.", slot_name),
                field<&S::value>("value", "The last answer.", text(64)), field<&S::good>("good", "Good answers.", counter),
                field<&S::bad>("bad", "Bad answers.", counter), field<&S::inconclusive>("inconclusive", "Inconclusive answers.", counter));
}
struct StepRecord {
  Text name;
  std::int64_t updated = 0, failed = 0;
  WallTime start_time{}, end_time{};
  std::vector<MetricRecord> metrics;
  std::vector<Text> probes;
  friend bool operator==(const StepRecord&, const StepRecord&) = default;
};
consteval auto describe(const StepRecord*) {
  using S = StepRecord;
  return object("A step of a past change.", field<&S::name>("name", "Its name.", slot_name),
                field<&S::updated>("updated", "How many machines had the revision at its end.", counter),
                field<&S::failed>("failed", "How many had failed by then.", counter), field<&S::start_time>("startTime", "When it began."),
                field<&S::end_time>("endTime", "When it ended."), field<&S::metrics>("metrics", "What its analysis saw.", list(16, "name")),
                field<&S::probes>("probes", "Its probes, as <name>=<result>.", {.max_length = 128, .max_items = 8, .atomic = true}));
}
struct ChangeRecord {
  Text revision, from, field_manager, change, message;
  WallTime request_time{}, start_time{}, end_time{};
  ChangeResult result{};
  std::int64_t permits = 0;
  std::vector<PreflightCheck> skipped_preflight;
  std::vector<StepRecord> steps;
  friend bool operator==(const ChangeRecord&, const ChangeRecord&) = default;
};
consteval auto describe(const ChangeRecord*) {
  using S = ChangeRecord;
  return object(
      "A change of the set.",
      field<&S::revision>("revision", "The revision that it led to.", {.required = true, .min_length = 1, .max_length = 63}),
      field<&S::from>("from", "The revision that it came from.", text(63)),
      field<&S::field_manager>("fieldManager", "Who edited the template, as the API server names them; absent: not known.", text(128)),
      field<&S::request_time>("requestTime", "When they edited it, by the API server's clock; absent: not known."),
      field<&S::change>("change", "What it changes, for people: <slot>: <old version> -> <new version>.", text(1024)),
      field<&S::start_time>("startTime", "When it began."), field<&S::end_time>("endTime", "When it ended; absent: it is under way."),
      field<&S::result>("result", "How it ended."), field<&S::message>("message", "Why it ended so, for people.", text(1024)),
      field<&S::permits>("permits", "How many permits to disturb a machine it was given.", counter),
      field<&S::skipped_preflight>("skippedPreflight", "Pre-flight checks that somebody had skipped.", {.max_items = 8, .set = true}),
      field<&S::steps>("steps", "Its steps.", {.max_items = 20, .atomic = true}));
}

// A word that was carried out isn't carried out again when Git puts it back (as Flux' status.lastHandledReconcileAt).
struct HandledWords {
  Text promote, reject, retry;
  friend bool operator==(const HandledWords&, const HandledWords&) = default;
};
consteval auto describe(const HandledWords*) {
  using S = HandledWords;
  return object("The texts of one-shot annotations that were carried out last: the same text again is ignored.",
                field<&S::promote>("promote", "Of endstate.dev/promote.", text(253)),
                field<&S::reject>("reject", "Of endstate.dev/reject.", text(253)),
                field<&S::retry>("retry", "Of endstate.dev/retry; <revision>@<anything> makes a new word.", text(253)));
}

struct MachineSetStatus {
  std::optional<std::int64_t> observed_generation;
  std::int64_t replicas = 0, ready_replicas = 0, available_replicas = 0, up_to_date_replicas = 0;
  Text current_revision, update_revision;
  std::vector<RejectedRevision> rejected_revisions;
  std::optional<RolloutStatus> rollout;
  HandledWords handled;
  Text selector;
  std::vector<ChangeRecord> history;
  std::vector<Condition> conditions;
  friend bool operator==(const MachineSetStatus&, const MachineSetStatus&) = default;
};
consteval auto describe(const MachineSetStatus*) {
  using S = MachineSetStatus;
  return object(
      "What the set is.", field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
      field<&S::replicas>("replicas", "How many Machines it has.", counter),
      field<&S::ready_replicas>("readyReplicas", "How many of them are Ready.", counter),
      field<&S::available_replicas>("availableReplicas", "How many have been Ready for minReadySeconds.", counter),
      field<&S::up_to_date_replicas>("upToDateReplicas", "How many have the update revision.", counter),
      field<&S::current_revision>("currentRevision", "The revision that went through last: the way back.", text(63)),
      field<&S::update_revision>("updateRevision", "The revision of the template.", text(63)),
      field<&S::rejected_revisions>("rejectedRevisions", "Revisions that failed, the newest last; at most 20.", list(20, "revision")),
      field<&S::rollout>("rollout", "The rollout that is under way, or the last one."),
      field<&S::handled>("handled", "One-shot annotations that were carried out."),
      field<&S::selector>("selector", "The selector as text, for the scale subresource.", text(4096)),
      field<&S::history>("history", "The last 20 changes, the newest last.", {.max_items = 20, .atomic = true}),
      field<&S::conditions>("conditions",
                            "Its conditions: Ready, Reconciling, Stalled, Available, RollingOut, ScalingUp, ScalingDown, UpToDate, "
                            "ReplicaFailure.",
                            condition_list));
}

struct MachineSet {
  ObjectMeta metadata;
  MachineSetSpec spec;
  MachineSetStatus status;
  friend bool operator==(const MachineSet&, const MachineSet&) = default;
};
consteval auto describe(const MachineSet*) {
  using T = MachineSet;
  return object(
             "A number of equal machines of a cluster. A change of the template goes through them step by step, and back by itself if it "
             "fails.",
             field<&T::metadata>("metadata", "Standard object metadata."),
             field<&T::spec>("spec", "What it should be.", {.required = true}),
             field<&T::status>("status", "What it is; written by endstate."))
      .check("size(self.metadata.name) <= 50", "a MachineSet's name begins its Machines' names and must be at most 50 characters");
}
constexpr Resource resource(const MachineSet*) { return api("machinesets", "MachineSet", true); }
inline constexpr Column machine_set_columns[] = {
    {"Cluster", "string", ".spec.clusterName", "The cluster that its machines are part of."},
    {"Desired", "integer", ".spec.replicas", "How many machines it should have."},
    {"Current", "integer", ".status.replicas", "How many it has."},
    {"Ready", "integer", ".status.readyReplicas", "How many are Ready."},
    {"Available", "integer", ".status.availableReplicas", "How many have been Ready long enough."},
    {"Up-to-date", "integer", ".status.upToDateReplicas", "How many have the newest revision."},
    {"Rollout", "string", ".status.rollout.phase", "Where the rollout is."},
    {"Step", "string", ".status.rollout.step", "The step that it is at."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Revision", "string", ".status.updateRevision", "The newest revision.", 1},
    {"Old revision", "string", ".status.currentRevision", "The revision that went through last.", 1},
    {"Rejected", "string", ".status.rejectedRevisions[*].revision", "Revisions that failed.", 1},
    {"Blocked by", "string", ".status.rollout.blockedBy.message", "What keeps the rollout from going on.", 1},
};
constexpr Crd crd(const MachineSet*) {
  return {.singular = "machineset",
          .short_name = "ems",
          .category = category,
          .columns = machine_set_columns,
          .scale_spec = ".spec.replicas",
          .scale_status = ".status.replicas",
          .scale_selector = ".status.selector"};
}

}  // namespace endstate::v1alpha1
