# shellcheck shell=bash
# Stories of e2e/hosted/run.sh about etcd: snapshots, a member that loses its data, a restore. To be sourced after world.sh.

# snapshot_was_before VERSION: one was taken for its release, and checked.
snapshot_was_before() {
  status "any(.status.controlPlane.etcd.snapshots[]; .before == \"$1\" and .revision > 0 and .bytes > 0)" >/dev/null || fail "no snapshot before the release of $1"
  status '.status.conditions[] | select(.type == "EtcdBackedUp") | .status == "True"' >/dev/null || fail "EtcdBackedUp isn't True"
  ok "a snapshot of etcd was taken before the release of $1: $(status "[.status.controlPlane.etcd.snapshots[] | select(.before == \"$1\")][-1] | \"revision \\(.revision), \\(.bytes) bytes\"")"
}

# The disk under one member is emptied while a client writes.
member_lost() {
  local folder before
  before=$(member_ids) folder=$(volume_of data-three-etcd-1)
  start_prober
  rm -rf "${folder:?}"/*
  k delete pod three-etcd-1 --grace-period=0 --force >/dev/null 2>&1
  await 300 "a member's data is killed: removed, added as a learner, promoted" made_anew "$before"
  judge "while the member was made anew" 5
  [[ -z $(k get pods -l endstate.dev/component=etcd -o json | jq '.items[].metadata.annotations["endstate.dev/initial-cluster"] // empty') ]] ||
    fail "a member may still begin without data"
}
# As a Job printed them.
member_ids() {
  k exec three-etcd-0 -- etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/ca.crt --cert=/etc/kubernetes/pki/peer-client.crt \
    --key=/etc/kubernetes/pki/peer-client.key member list --write-out=json | jq -c '[.members[] | select(.isLearner | not) | .ID] | sort'
}
made_anew() {
  [[ $(k get job three-etcd-promote -o jsonpath='{.status.succeeded}') == 1 && $(k get statefulset three-etcd -o jsonpath='{.status.readyReplicas}') == 3 ]] &&
    ready && [[ $(member_ids) != "$1" && $(member_ids | jq length) == 3 ]]
}

# The commands of docs/restore-etcd.md, as they stand there.
restore() {
  local since snapshot
  b create configmap kept -n default >/dev/null
  since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  k patch clusters.endstate.dev three --type merge -p '{"spec":{"controlPlane":{"etcd":{"snapshots":{"intervalSeconds":60}}}}}' >/dev/null
  await 180 "a snapshot on schedule" newer_snapshot "$since"
  snapshot=$(status '.status.controlPlane.etcd.snapshots | max_by(.time) | .name')
  k patch clusters.endstate.dev three --type merge -p '{"spec":{"controlPlane":{"etcd":{"snapshots":{"intervalSeconds":3600}}}}}' >/dev/null
  b delete configmap kept -n default >/dev/null
  b create configmap later -n default >/dev/null
  (
    kubectl() { kubectl_admin "$@"; }
    eval "$(awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' docs/restore-etcd.md |
      sed "s#^namespace=.*#namespace=prod cluster=three snapshot=$snapshot tools=endstate.local/shell:1#")"
  ) >"$RUN_DIR/restore.log" 2>&1 || fail "docs/restore-etcd.md: $(<"$RUN_DIR/restore.log")"
  await 240 "etcd restored by the commands of docs/restore-etcd.md: Ready again" ready
  await 30 "what was deleted after the snapshot is there again" b get configmap kept -n default
  ! b get configmap later -n default >/dev/null 2>&1 || fail "what was created after the snapshot is still there"
  ok "what was created after the snapshot is gone"
}
newer_snapshot() { status ".status.controlPlane.etcd.snapshots | any(.time > \"$1\" and .revision > 0)"; }

# No room for the snapshot before a release: it waits, and says how to go on without; then it goes on.
skip_snapshot() {
  local folder
  folder=$(volume_of three-etcd-snapshots)
  dd if=/dev/zero of="$folder/filled" bs=1M 2>/dev/null || true
  release again
  await 120 "no room for the snapshot before a release: it waits, and says so" stalled SnapshotFailed
  [[ $(status '.status.controlPlane.packageVersion') == good ]] || fail "it was released without a snapshot"
  k annotate clusters.endstate.dev three endstate.dev/skip-snapshot=again >/dev/null
  await 180 "released without one, since a person said so" released again
  rm "$folder/filled"
}

# A database that was large and is mostly empty is given back, member by member.
defragment() {
  # shellcheck disable=SC2034 # read by b and status
  local i business=one
  head -c 700000 /dev/urandom | base64 -w 0 >"$RUN_DIR/large"
  for ((i = 0; i < 130; i++)); do b create configmap "large-$i" -n default --from-file="$RUN_DIR/large" >/dev/null; done
  rm "$RUN_DIR/large"
  b delete configmaps -n default --all --wait=false >/dev/null
  k patch clusters.endstate.dev one --type merge -p '{"spec":{"controlPlane":{"etcd":{"snapshots":{"intervalSeconds":60,"keep":2}}}}}' >/dev/null
  await 180 "its size is known: more than 100 MiB" status 'any(.status.controlPlane.etcd.members[]; .databaseBytes > 104857600)'
  await 240 "emptied, it is defragmented" status '[.status.controlPlane.etcd.members[].databaseBytes < 52428800] | all'
  b get --raw /readyz >/dev/null || fail "the API server isn't well after it"
  k patch clusters.endstate.dev one --type merge -p '{"spec":{"controlPlane":{"etcd":{"snapshots":{"intervalSeconds":3600}}}}}' >/dev/null
}
