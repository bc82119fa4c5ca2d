// Every name that endstate writes into or reads out of objects that others see too: changing one breaks users.
#pragma once
#include <string_view>

namespace endstate::v1alpha1 {

inline constexpr std::string_view group = "endstate.dev";
inline constexpr std::string_view version = "v1alpha1";
inline constexpr std::string_view system_namespace = "endstate-system";
inline constexpr std::string_view category = "endstate";

namespace label {
inline constexpr std::string_view cluster_name = "endstate.dev/cluster-name";    // Machine, Node, GuardLedger, Host when claimed
inline constexpr std::string_view set_name = "endstate.dev/set-name";            // Machine
inline constexpr std::string_view set_uid = "endstate.dev/set-uid";              // ControllerRevision: the only thing it is found by
inline constexpr std::string_view revision = "endstate.dev/revision";            // Machine: the ControllerRevision hash that it should have
inline constexpr std::string_view component = "endstate.dev/component";          // child of a Hosted Cluster: etcd, apiserver, ..., pki
inline constexpr std::string_view addon = "endstate.dev/addon";                  // object in a Hosted cluster: the add-on that it is of
inline constexpr std::string_view condition_for = "endstate.dev/condition-for";  // ConfigMap with external conditions of a machine
// Pod of a DaemonSet, in a business cluster: the condition type that it speaks for on its node.
inline constexpr std::string_view readiness_gate = "endstate.dev/readiness-gate";
}  // namespace label

namespace annotation {
inline constexpr std::string_view paused = "endstate.dev/paused";                                // any value: no loop touches the object
inline constexpr std::string_view delete_machine = "endstate.dev/delete-machine";                // goes first when its set shrinks
inline constexpr std::string_view skip_remediation = "endstate.dev/skip-remediation";            // repair leaves it alone
inline constexpr std::string_view remediate_machine = "endstate.dev/remediate-machine";          // repair takes it now
inline constexpr std::string_view exclude_node_draining = "endstate.dev/exclude-node-draining";  // deleted without a drain
// Machine, or Cluster for all of its Machines: why a deletion goes on without hooks, drain and the host's word. Said in an event.
inline constexpr std::string_view force_delete = "endstate.dev/force-delete";
inline constexpr std::string_view delete_protection = "endstate.dev/delete-protection";  // Always | Cascading
inline constexpr std::string_view reset_breaker = "endstate.dev/reset-breaker";          // ChangeBudget: <namespace>/<cluster>
inline constexpr std::string_view update_order = "endstate.dev/update-order";            // Machine: integer, lower goes first
inline constexpr std::string_view promote = "endstate.dev/promote";                      // <revision>[/<step>], one-shot
inline constexpr std::string_view reject = "endstate.dev/reject";                        // <revision>, one-shot
inline constexpr std::string_view retry = "endstate.dev/retry";                          // <revision>, one-shot
// MachineSet: pre-flight checks that are not made, by name, separated by commas; or "all". Recorded in status.history.
inline constexpr std::string_view skip_preflight = "endstate.dev/skip-preflight";
// Machine: so long an operation of it may take (its set's rollout.machineTimeoutSeconds); absent: 1800.
inline constexpr std::string_view operation_timeout = "endstate.dev/operation-timeout-seconds";
// Machine: the revision that was assigned while it was unavailable already: its trouble doesn't speak against that revision.
inline constexpr std::string_view was_unavailable = "endstate.dev/was-unavailable";
inline constexpr std::string_view probe_attempt = "endstate.dev/probe-attempt";  // Job of a probe: which analysis, and which try
inline constexpr std::string_view owned = "endstate.dev/owned";              // Node: JSON of the labels and taints that endstate set on it
inline constexpr std::string_view machine = "endstate.dev/machine";          // Node: <namespace>/<name> of its Machine
inline constexpr std::string_view machine_uid = "endstate.dev/machine-uid";  // Node: uid of its Machine
// Machine: the uid of a Node that endstate didn't make, which it takes over.
inline constexpr std::string_view adopt_node = "endstate.dev/adopt-node";
// Node that endstate didn't make: counts no more, since kubelets may write it; a Machine's adopt-node says it.
inline constexpr std::string_view adopt = "endstate.dev/adopt";
inline constexpr std::string_view grant = "endstate.dev/grant";              // Host that is claimed: id of the guard's grant for that
inline constexpr std::string_view rollback_to = "endstate.dev/rollback-to";  // Machine: the revision that its set takes it back to
// Cluster: "until=<RFC 3339> by=<user> reason=<text>": schedules, windows, breakers and maxConcurrent hold nothing until then.
inline constexpr std::string_view break_glass = "endstate.dev/break-glass";
// Children of a Hosted Cluster: the ClusterPackageVersion that a workload is of; of pods: the CAs that they started with; of a kubeconfig's
// Secret: where it leads to. Cluster: a CA that is to be replaced (ca, etcd, proxy), one-shot.
inline constexpr std::string_view package_version = "endstate.dev/package-version";
inline constexpr std::string_view trust = "endstate.dev/trust";
inline constexpr std::string_view made_for = "endstate.dev/made-for";
inline constexpr std::string_view rotate_ca = "endstate.dev/rotate-ca";
// Cluster: the ClusterPackageVersion that may be released without a snapshot of etcd. Of a pod of etcd: with whom it may begin when its
// volume is empty, and whether with new data; absent: it may not. Of a Job at etcd: what it does.
inline constexpr std::string_view skip_snapshot = "endstate.dev/skip-snapshot";
inline constexpr std::string_view initial_cluster = "endstate.dev/initial-cluster";
inline constexpr std::string_view initial_cluster_state = "endstate.dev/initial-cluster-state";
inline constexpr std::string_view etcd_operation = "endstate.dev/etcd-operation";
inline constexpr std::string_view pre_drain_hook_prefix = "pre-drain.delete.hook.endstate.dev/";
inline constexpr std::string_view pre_terminate_hook_prefix = "pre-terminate.delete.hook.endstate.dev/";
}  // namespace annotation

// The add-on that endstate itself brings into each Hosted cluster; a package can't have one of that name.
inline constexpr std::string_view builtin_addon = "endstate";

namespace protection {                                      // values of annotation::delete_protection
inline constexpr std::string_view always = "Always";        // never deleted while the annotation stands
inline constexpr std::string_view cascading = "Cascading";  // Cluster: its sets and Machines are deleted with it (else they hold it)
}  // namespace protection

namespace taint {                                                        // effect NoSchedule, always
inline constexpr std::string_view not_ready = "endstate.dev/not-ready";  // kubelets register with it
inline constexpr std::string_view isolated = "endstate.dev/isolated";
inline constexpr std::string_view no_schedule = "NoSchedule";
}  // namespace taint

namespace finalizer {
inline constexpr std::string_view machine = "endstate.dev/machine";
inline constexpr std::string_view cluster = "endstate.dev/cluster";
inline constexpr std::string_view machine_set = "endstate.dev/machine-set";
inline constexpr std::string_view in_use = "endstate.dev/in-use";    // package versions
inline constexpr std::string_view claimed = "endstate.dev/claimed";  // Host, while a Machine has it
}  // namespace finalizer

namespace condition {
// kstatus: every kind that a loop drives.
inline constexpr std::string_view ready = "Ready";
inline constexpr std::string_view reconciling = "Reconciling";
inline constexpr std::string_view stalled = "Stalled";
// Shared.
inline constexpr std::string_view available = "Available";
inline constexpr std::string_view paused = "Paused";
inline constexpr std::string_view deleting = "Deleting";
// Cluster.
inline constexpr std::string_view connected = "Connected";
inline constexpr std::string_view control_plane_ready = "ControlPlaneReady";
inline constexpr std::string_view machines_ready = "MachinesReady";
inline constexpr std::string_view certificates_ready = "CertificatesReady";
inline constexpr std::string_view addons_ready = "AddonsReady";
inline constexpr std::string_view etcd_backed_up = "EtcdBackedUp";
inline constexpr std::string_view rights_complete = "RightsComplete";  // of its connection: endstate may do there what it must
// MachineSet.
inline constexpr std::string_view rolling_out = "RollingOut";
inline constexpr std::string_view scaling_up = "ScalingUp";
inline constexpr std::string_view scaling_down = "ScalingDown";
inline constexpr std::string_view up_to_date = "UpToDate";
inline constexpr std::string_view replica_failure = "ReplicaFailure";  // a Machine can't be made or deleted, as a ReplicaSet says it
// Machine.
inline constexpr std::string_view host_claimed = "HostClaimed";
inline constexpr std::string_view packages_ready = "PackagesReady";
inline constexpr std::string_view node_ready = "NodeReady";
inline constexpr std::string_view scheduling_open = "SchedulingOpen";
inline constexpr std::string_view drained = "Drained";
inline constexpr std::string_view wiped = "Wiped";  // of a released host; also on Host: False keeps it from being claimed
inline constexpr std::string_view external_conditions = "ExternalConditionsReadable";  // of its condition ConfigMaps
// Host, HostAssignment.
inline constexpr std::string_view agent_alive = "AgentAlive";
// MetricSource.
inline constexpr std::string_view reachable = "Reachable";
// ChangeBudget.
inline constexpr std::string_view ledgers_trusted = "LedgersTrusted";
}  // namespace condition

// Reasons come in pairs where a condition has two sides (Cluster API's habit): RollingOut/NotRollingOut.
namespace reason {
inline constexpr std::string_view ready = "Ready";
inline constexpr std::string_view not_ready = "NotReady";
inline constexpr std::string_view unknown = "Unknown";
inline constexpr std::string_view progressing = "Progressing";
inline constexpr std::string_view up_to_date = "UpToDate";
inline constexpr std::string_view not_up_to_date = "NotUpToDate";
inline constexpr std::string_view not_stalled = "NotStalled";
inline constexpr std::string_view paused = "Paused";
inline constexpr std::string_view deleting = "Deleting";
inline constexpr std::string_view delete_protected = "DeleteProtected";
// References.
inline constexpr std::string_view cluster_not_found = "ClusterNotFound";
inline constexpr std::string_view cluster_deleting = "ClusterDeleting";
inline constexpr std::string_view package_not_found = "PackageNotFound";
inline constexpr std::string_view secret_not_found = "SecretNotFound";
inline constexpr std::string_view invalid_spec = "InvalidSpec";
// Cluster.
inline constexpr std::string_view connected = "Connected";
inline constexpr std::string_view connecting = "Connecting";
inline constexpr std::string_view connection_lost = "ConnectionLost";
inline constexpr std::string_view waiting_for_connection = "WaitingForConnection";  // its cluster can't be seen: nothing is changed there
inline constexpr std::string_view too_many_objects = "TooManyObjects";              // its API server sends more than a cluster can have
inline constexpr std::string_view rights_complete = "RightsComplete";
inline constexpr std::string_view rights_missing = "RightsMissing";
inline constexpr std::string_view rights_unknown = "RightsUnknown";
inline constexpr std::string_view agents_not_isolated = "AgentsNotIsolated";  // it lacks the policy that keeps agents apart
inline constexpr std::string_view clock_jump = "ClockJump";                   // of an event: the operator's clock was moved
inline constexpr std::string_view break_glass = "BreakGlass";                 // budgets don't hold, by a person's word
inline constexpr std::string_view break_glass_ended = "BreakGlassEnded";
inline constexpr std::string_view break_glass_refused = "BreakGlassRefused";
inline constexpr std::string_view machines_remain = "MachinesRemain";
inline constexpr std::string_view secret_not_usable = "SecretNotUsable";
// Keys of a Hosted cluster that are never made anew: CAs, and what service accounts' tokens are signed with.
inline constexpr std::string_view key_lost = "KeyLost";
inline constexpr std::string_view key_not_usable = "KeyNotUsable";
inline constexpr std::string_view key_replaced = "KeyReplaced";
inline constexpr std::string_view hosted_control_planes_off = "HostedControlPlanesOff";  // the operator isn't to run them
// Releases of a Hosted cluster.
inline constexpr std::string_view version_skew = "VersionSkew";
inline constexpr std::string_view downgrade_refused = "DowngradeRefused";
inline constexpr std::string_view release_rejected = "ReleaseRejected";
inline constexpr std::string_view release_failed = "ReleaseFailed";
inline constexpr std::string_view control_plane_creating = "ControlPlaneCreating";
inline constexpr std::string_view control_plane_unhealthy = "ControlPlaneUnhealthy";
inline constexpr std::string_view certificates_rotating = "CertificatesRotating";
inline constexpr std::string_view applying_addons = "ApplyingAddons";
inline constexpr std::string_view addon_invalid = "AddonInvalid";  // its manifest can't be used
inline constexpr std::string_view addon_failed = "AddonFailed";    // its cluster refuses an object of it
inline constexpr std::string_view child_refused = "ChildRefused";  // the API server refused a child
// Its store, and its replicas.
inline constexpr std::string_view snapshot_pending = "SnapshotPending";
inline constexpr std::string_view snapshot_failed = "SnapshotFailed";
inline constexpr std::string_view etcd_member_lost = "EtcdMemberLost";  // its data is gone; the others make it anew
inline constexpr std::string_view etcd_data_lost = "EtcdDataLost";      // of more than they can make anew
inline constexpr std::string_view replica_failing = "ReplicaFailing";   // it was made anew, again and again
// MachineSet.
inline constexpr std::string_view waiting_for_control_plane = "WaitingForControlPlane";
inline constexpr std::string_view rolling_out = "RollingOut";
inline constexpr std::string_view not_rolling_out = "NotRollingOut";
inline constexpr std::string_view rolling_back = "RollingBack";
inline constexpr std::string_view rolled_back = "RolledBack";
inline constexpr std::string_view revision_rejected = "RevisionRejected";
inline constexpr std::string_view waiting_for_promotion = "WaitingForPromotion";
inline constexpr std::string_view step_pause = "StepPause";
inline constexpr std::string_view waiting_for_set = "WaitingForSet";
inline constexpr std::string_view progress_deadline_exceeded = "ProgressDeadlineExceeded";
inline constexpr std::string_view too_many_failures = "TooManyFailures";
inline constexpr std::string_view machines_lost = "MachinesLost";
inline constexpr std::string_view machine_failed = "MachineFailed";
inline constexpr std::string_view rejected_by_user = "RejectedByUser";
inline constexpr std::string_view promotion_timed_out = "PromotionTimedOut";
inline constexpr std::string_view promotion_ignored = "PromotionIgnored";  // of a Warning event: it asked for what isn't there
inline constexpr std::string_view rejection_ignored = "RejectionIgnored";  // the same
inline constexpr std::string_view retry_ignored = "RetryIgnored";          // the same: the word was carried out once already
inline constexpr std::string_view failed_create = "FailedCreate";          // the API server refuses a Machine
inline constexpr std::string_view failed_delete = "FailedDelete";          // the same, of a deletion
inline constexpr std::string_view successful_create = "SuccessfulCreate";  // of events, as ReplicaSets tell it
inline constexpr std::string_view successful_delete = "SuccessfulDelete";
inline constexpr std::string_view adopted = "Adopted";                   // of an event: a Machine without an owner became the set's
inline constexpr std::string_view too_many_to_adopt = "TooManyToAdopt";  // more such Machines than replicas: none is taken
inline constexpr std::string_view rollback_too_large = "RollbackTooLarge";
inline constexpr std::string_view analyzing = "Analyzing";
inline constexpr std::string_view analysis_failed = "AnalysisFailed";
inline constexpr std::string_view analysis_inconclusive = "AnalysisInconclusive";
inline constexpr std::string_view metric_source_not_found = "MetricSourceNotFound";
inline constexpr std::string_view probe_failed = "ProbeFailed";
inline constexpr std::string_view health_degraded = "HealthDegraded";
inline constexpr std::string_view preflight_pending = "PreflightPending";
inline constexpr std::string_view preflight_failed = "PreflightFailed";
inline constexpr std::string_view unknown_preflight_check = "UnknownPreflightCheck";
inline constexpr std::string_view revision_not_found = "RevisionNotFound";
inline constexpr std::string_view partition_reached = "PartitionReached";
inline constexpr std::string_view no_machine_to_update = "NoMachineToUpdate";
inline constexpr std::string_view machines_protected = "MachinesProtected";
inline constexpr std::string_view scaling_up = "ScalingUp";
inline constexpr std::string_view not_scaling_up = "NotScalingUp";
inline constexpr std::string_view scaling_down = "ScalingDown";
inline constexpr std::string_view not_scaling_down = "NotScalingDown";
inline constexpr std::string_view available = "Available";
inline constexpr std::string_view not_available = "NotAvailable";
// Machine.
inline constexpr std::string_view claimed = "Claimed";
inline constexpr std::string_view no_free_host = "NoFreeHost";
inline constexpr std::string_view host_not_found = "HostNotFound";
inline constexpr std::string_view host_not_claimable = "HostNotClaimable";
inline constexpr std::string_view waiting_for_agent = "WaitingForAgent";
inline constexpr std::string_view agent_silent = "AgentSilent";
inline constexpr std::string_view host_lost = "HostLost";
inline constexpr std::string_view package_failed = "PackageFailed";
inline constexpr std::string_view packages_pending = "PackagesPending";
inline constexpr std::string_view waiting_for_node = "WaitingForNode";
inline constexpr std::string_view waiting_for_pod = "WaitingForPod";
inline constexpr std::string_view node_gone = "NodeGone";
inline constexpr std::string_view node_unhealthy = "NodeUnhealthy";
inline constexpr std::string_view node_name_taken = "NodeNameTaken";
inline constexpr std::string_view scheduling_open = "SchedulingOpen";
inline constexpr std::string_view scheduling_closed = "SchedulingClosed";
inline constexpr std::string_view draining = "Draining";
inline constexpr std::string_view drained = "Drained";
inline constexpr std::string_view drain_blocked = "DrainBlocked";
inline constexpr std::string_view drain_timed_out = "DrainTimedOut";
inline constexpr std::string_view drain_skipped = "DrainSkipped";
inline constexpr std::string_view eviction_refused = "EvictionRefused";  // for another cause than a budget for pods
inline constexpr std::string_view pods_come_back = "PodsComeBack";       // pods that tolerate everything: left on the node
inline constexpr std::string_view volumes_attached = "VolumesAttached";  // the host isn't given back before they are detached
inline constexpr std::string_view node_refused = "NodeRefused";          // the API server refuses labels or taints of the Node
inline constexpr std::string_view delete_forced = "DeleteForced";
inline constexpr std::string_view waiting_for_hook = "WaitingForHook";
inline constexpr std::string_view machine_timed_out = "MachineTimedOut";
inline constexpr std::string_view superseded = "Superseded";
inline constexpr std::string_view recovered = "Recovered";
inline constexpr std::string_view succeeded = "Succeeded";
inline constexpr std::string_view agent_alive = "AgentAlive";
inline constexpr std::string_view cluster_suspect = "ClusterSuspect";  // many look ill at once: nothing is closed
inline constexpr std::string_view host_taken = "HostTaken";
inline constexpr std::string_view wiping = "Wiping";
inline constexpr std::string_view wiped = "Wiped";
inline constexpr std::string_view not_wiped = "NotWiped";
inline constexpr std::string_view node_deletion_blocked = "NodeDeletionBlocked";
inline constexpr std::string_view malformed = "Malformed";
inline constexpr std::string_view readable = "Readable";
inline constexpr std::string_view drain_not_needed = "DrainNotNeeded";
inline constexpr std::string_view closing = "Closing";
// Packages.
inline constexpr std::string_view in_use = "InUse";
inline constexpr std::string_view not_in_use = "NotInUse";
// Guard: why a permit was refused (status.blockedBy.reason).
inline constexpr std::string_view window_full = "WindowFull";
inline constexpr std::string_view max_concurrent = "MaxConcurrent";
inline constexpr std::string_view max_unavailable = "MaxUnavailable";
inline constexpr std::string_view schedule_closed = "ScheduleClosed";
inline constexpr std::string_view breaker_open = "BreakerOpen";
inline constexpr std::string_view schedule_invalid = "ScheduleInvalid";
inline constexpr std::string_view metrics_unknown = "MetricsUnknown";                      // a breaker's checks have no fresh, clear answer
inline constexpr std::string_view too_many_operations_failed = "TooManyOperationsFailed";  // why a breaker opened
inline constexpr std::string_view metric_failed = "MetricFailed";                          // why a breaker opened
inline constexpr std::string_view reset_by_user = "ResetByUser";
inline constexpr std::string_view trial_running = "TrialRunning";  // half-open: as many operations as may be tried are under way
// MetricSource.
inline constexpr std::string_view reachable = "Reachable";
inline constexpr std::string_view not_reachable = "NotReachable";
inline constexpr std::string_view ledger_missing = "LedgerMissing";
inline constexpr std::string_view ledger_edited = "LedgerEdited";  // its digest doesn't match: somebody wrote into it
inline constexpr std::string_view ledger_old = "LedgerOld";        // a copy from before what has been done since
inline constexpr std::string_view ledger_full = "LedgerFull";
inline constexpr std::string_view caches_not_synced = "CachesNotSynced";
inline constexpr std::string_view budget_unreadable = "BudgetUnreadable";  // this version can't read a ChangeBudget: it may say no
inline constexpr std::string_view budget_too_wide = "BudgetTooWide";       // its windows times the failure domains are too many to count
}  // namespace reason

// Operation names as budgets know them (PermitRequest::operation, ChangeBudget limits' operations).
namespace operation {
inline constexpr std::string_view machine_create = "MachineCreate";
inline constexpr std::string_view machine_update = "MachineUpdate";
inline constexpr std::string_view machine_rollback = "MachineRollback";
inline constexpr std::string_view machine_repair = "MachineRepair";
inline constexpr std::string_view machine_reinstall = "MachineReinstall";
inline constexpr std::string_view machine_delete = "MachineDelete";
inline constexpr std::string_view close_scheduling = "CloseScheduling";
inline constexpr std::string_view control_plane_update = "ControlPlaneUpdate";
inline constexpr std::string_view control_plane_rollback = "ControlPlaneRollback";
inline constexpr std::string_view control_plane_repair = "ControlPlaneRepair";
inline constexpr std::string_view certificate_rotation = "CertificateRotation";
inline constexpr std::string_view teardown = "Teardown";
}  // namespace operation

}  // namespace endstate::v1alpha1
