# shellcheck shell=bash
# What e2e/rollouts and e2e/chaos share: a set that covers the whole fleet, what its status says, and the outside recorder. To be sourced after
# hack/lib.sh. Every wait has a deadline and shows how far it is.

readonly SET=machineset.endstate.dev/fleet
kubectl() { kubectl_admin --namespace default "$@"; }
utc() { date -u +%FT%T.%6NZ; }

# package NAME VERSION [FAULT]: a kubelet's package version; nobody fetches the address, simulated hosts have no network.
package() {
  cat <<YAML
---
apiVersion: endstate.dev/v1alpha1
kind: MachinePackageVersion
metadata: {name: $1, annotations: {fleet.endstate.dev/fault: "${3:-}"}}
spec:
  packageName: kubelet
  version: $2
  disruption: RestartService
  install: {method: Archive, artifacts: [{arch: amd64, url: "https://packages.example.com/$1.tar.gz", sha256: "$(printf '%s' "$1" | sha256sum | cut -d ' ' -f 1)"}]}
YAML
}

# cluster_and_set CLUSTER MACHINES PROGRESS_DEADLINE_SECONDS < steps: the Cluster, and $SET over the whole fleet, at the package kubelet-a.
cluster_and_set() {
  cat <<YAML
---
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: $1, namespace: default}
spec: {controlPlane: {type: External}}
---
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: fleet, namespace: default, annotations: {endstate.dev/skip-preflight: ArtifactsReachable}}
spec:
  clusterName: $1
  replicas: $2
  selector: {matchLabels: {pool: fleet}}
  template:
    metadata: {labels: {pool: fleet}}
    spec:
      packages: [{name: kubelet, versionRef: {name: kubelet-a}}]
  rollout:
    maxUnavailable: 10%
    machineTimeoutSeconds: 120
    progressDeadlineSeconds: $3
    steps:
YAML
  cat
}

# change VERSION ROUND: what a user would do by editing the set. The round makes it a revision of its own: what was rejected once is never tried again.
change() {
  kubectl patch "$SET" --type merge -p "$(jq -n --arg version "$1" --arg round "$2" \
    '{spec: {template: {metadata: {annotations: {"example.com/round": $round}}, spec: {packages: [{name: "kubelet", versionRef: {name: $version}}]}}}}')" >/dev/null
}

# look: one read of the set, taken apart into globals; `line` says it in words.
look() {
  local fields
  fields=$(kubectl get "$SET" -o json | jq -r '
    .spec.replicas as $want | .status as $s | ($s.rollout // {}) as $r
    | [.metadata.generation == $s.observedGeneration, $want, $s.readyReplicas // 0, $s.upToDateReplicas // 0, $r.phase // "-", $r.step // "-", $r.updated // 0,
       $r.target // 0, $s.currentRevision // "-", $s.updateRevision // "-", $r.revision // "-",
       ([$s.rejectedRevisions[]? | select(.revision == $s.updateRevision) | .reason] | last) // "-",
       (($r.blockedBy // {}) | if .reason then "\(.kind // "") \(.name // "") \(.reason)" else "-" end), ($r.message // "-")]
    | map(tostring) | join("\u0001")') || return 1
  # shellcheck disable=SC2034 # for those who source this
  IFS=$'\001' read -r seen want ready up_to_date phase step step_updated target current update revision rejected blocked message <<<"$fields"
  line="ready $ready/$want, $phase"
  [[ $step == - ]] || line+=" at step $step ($step_updated/$target)"
  [[ $blocked == - ]] || line+=", waits for $blocked"
  [[ $rejected == - ]] || line+=", rejected: $rejected"
}
is_seen() { [[ $seen == true && $revision == "$update" ]]; } # the status speaks of the template that stands in the spec
is_complete() { look && is_seen && [[ $phase == Complete && $current == "$update" ]] && ((ready == want && up_to_date == want)); }
is_rolled_back() { look && is_seen && [[ $phase == RolledBack && $rejected != - ]] && ((ready == want)); }

# await SECONDS CONDITION: polls it until it holds; says where it stands each 10 s and what was not reached.
await() {
  local bound=$1 condition=$2 began=$SECONDS shown=$SECONDS
  until "$condition"; do
    if ((SECONDS - began >= bound)); then
      say "not reached within $bound s: $condition. Where it stands: $line ($message)"
      return 1
    fi
    if ((SECONDS - shown >= 10)); then
      shown=$SECONDS
      say "  $((SECONDS - began)) s: $line"
    fi
    sleep 0.5
  done
  say "  $((SECONDS - began)) s: $line"
}

# start_operator: as hack/up.sh does, without looking at all the rest: it is started again right after it was killed.
start_operator() {
  local -a args
  read -ra args <<<"${OPERATOR_ARGS:-}"
  [[ ! -s $RUN_DIR/operator.log ]] || cat "$RUN_DIR/operator.log" >>"$RUN_DIR/operator-killed.log"
  start_process operator "$BUILD_BIN/endstate-operator" --kubeconfig "$RUN_DIR/operator.kubeconfig" --identity endstate-operator-local \
    --namespace endstate-system --http-address "127.0.0.1:$((PORT_BASE + 80))" ${args[@]+"${args[@]}"}
  disown "$(<"$RUN_DIR/operator.pid")" # or the shell tells of its violent end
}
kill_operator() {
  local pid
  pid=$(process_pid operator) || fail "the operator doesn't run; the end of its log: $(tail -n 5 "$RUN_DIR/operator.log")"
  kill -KILL "$pid" # and nothing in between: no lease is given back, no write is finished
  while is_running operator; do sleep 0.02; done
}

start_recorder() {
  [[ -x $ROOT/build/release/chaos_recorder ]] || fail "no build/release/chaos_recorder: run hack/build.sh release chaos_recorder"
  rm -f "$RUN_DIR/recorder.tsv" # of a recorder before this one: the new file says that the whole cluster is seen
  start_process recorder "$ROOT/build/release/chaos_recorder" --kubeconfig "$RUN_DIR/kubeconfig" --out "$RUN_DIR/recorder.tsv"
  await_process recorder 60 test -s "$RUN_DIR/recorder.tsv"
}
# stop_recorder: its table on stdout; 1 if a limit was exceeded, or it didn't live to the end.
stop_recorder() {
  local pid
  pid=$(process_pid recorder) || { tail -n 5 "$RUN_DIR/recorder.log" && return 1; }
  cp "$RUN_DIR/recorder.tsv" "$RUN_DIR/recorder-last.tsv"
  stop_processes 20 recorder
  grep -v '^chaos_recorder: watching' "$RUN_DIR/recorder.log" || true
  [[ $pid ]] && ! grep -q EXCEEDED "$RUN_DIR/recorder.log" && grep -q '^WHAT' "$RUN_DIR/recorder.log"
}
# recorded KEY NAME: the number that the recorder has for it now: touched REVISION, started OPERATION.
recorded() { awk -F '\t' -v key="$1" -v name="$2" '$1 == key && $2 == name { print $3; found = 1 } END { if (!found) print 0 }' "$RUN_DIR/recorder.tsv"; }
