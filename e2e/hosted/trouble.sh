# shellcheck shell=bash
# What goes wrong around a hosted cluster, for e2e/hosted/run.sh: each has an end that is seen, and loses nothing. To be sourced after world.sh.

# Edited, deleted and killed by hand, all at once.
put_back() {
  start_prober
  killed=$(k get pod three-etcd-1 -o jsonpath='{.metadata.uid}')
  k delete pod three-etcd-1 --grace-period=0 --force >/dev/null 2>&1
  k delete networkpolicy three-etcd >/dev/null
  k delete secret three-scheduler >/dev/null
  k set image deployment/three-scheduler kube-scheduler=example.invalid/other >/dev/null
  await 120 "a member killed, a policy and a leaf deleted, an image edited: as it was" put_right
  judge "while it was put right" 5
}
put_right() {
  k get networkpolicy three-etcd && k get secret three-scheduler &&
    [[ $(k get deployment three-scheduler -o jsonpath='{.spec.template.spec.containers[0].image}') == endstate.local/* ]] &&
    [[ $(k get pod three-etcd-1 -o json | jq -r '[.metadata.uid, (.status.conditions[] | select(.type == "Ready") | .status)] | join(" ")') == *" True" ]] &&
    [[ $(k get pod three-etcd-1 -o jsonpath='{.metadata.uid}') != "$killed" ]] && ready
}

# A key that can't be made anew without cutting everybody off.
lost_ca() {
  k get secret three-etcd -o json | jq 'del(.metadata.uid, .metadata.resourceVersion, .metadata.creationTimestamp, .metadata.managedFields)' >"$RUN_DIR/ca.json"
  k delete secret three-etcd >/dev/null
  await 30 "etcd's CA deleted: refused loudly" stalled KeyLost
  sleep 5
  ! k get secret three-etcd >/dev/null 2>&1 || fail "a CA was made anew"
  k apply -f "$RUN_DIR/ca.json" >/dev/null 2>&1
  rm -f "$RUN_DIR/ca.json"
  await 30 "the CA put back" ready
}

missing_image() {
  start_prober
  release nowhere
  await 300 "a release whose image doesn't exist: rolled back by itself" rolled_back nowhere
  judge "while the image was looked for" 2
  release good
  await 30 "edited back: not stalled any more" not_stalled
}

# The disk under one member of three: it stays down and says so, the others serve, and it comes back by itself when there is room.
full_disk() {
  local folder
  folder=$(volume_of data-three-etcd-2)
  start_prober
  dd if=/dev/zero of="$folder/filled" bs=1M 2>/dev/null || true
  k delete pod three-etcd-2 --grace-period=0 --force >/dev/null 2>&1
  await 60 "the disk under a member is full: the cluster says that a member is down" not_ready "etcd 2 of 3"
  judge "while a member's disk was full" 5
  rm "$folder/filled"
  await 120 "there is room again: the member is back, with its data" ready
}
not_ready() { [[ $(status '.status.conditions[] | select(.type == "ControlPlaneReady") | select(.status == "False") | .message') == *"$1"* ]]; }

# The leader's pod is killed without a word: the standby goes on.
kill_operator() {
  leader=$(operator_pod)
  kubectl_admin delete pod "$leader" -n endstate-system --grace-period=0 --force >/dev/null 2>&1
}
other_leads() { [[ $(operator_pod) != "$leader" ]]; }
operator_killed() {
  kill_operator
  await 60 "the leading operator pod is killed: another leads" other_leads
  k delete secret three-scheduler >/dev/null
  await 30 "and puts right what is deleted" k get secret three-scheduler
}
