# shellcheck shell=bash
# What the stories of e2e/hosted/run.sh wait for, and the client that writes and reads meanwhile. To be sourced after hack/lib.sh.
business= # the cluster that a story is about
k() { kubectl_admin --namespace prod "$@"; }
b() { "$(kubectl_binary)" --kubeconfig "$RUN_DIR/$business.kubeconfig" "$@"; }
ok() { printf 'ok - %s\n' "$*"; } # a line a case: .ci/run counts them
ms() { printf '%s' "$((${EPOCHREALTIME/./} / 1000))"; }

# await SECONDS WHAT COMMAND...: polls; prints how long it took.
await() {
  local bound=$1 what=$2 began
  shift 2
  began=$(ms)
  until "$@" >/dev/null 2>&1; do
    if (($(ms) - began > bound * 1000)); then
      k get clusters.endstate.dev,pods -o wide >&2 || true
      k get clusters.endstate.dev -o json | jq -c '.items[] | [.metadata.name, .status.phase, (.status.conditions[]? | select(.status != "True") | [.type, .reason, .message])]' >&2 || true
      fail "not within $bound s: $what"
    fi
    sleep 0.3
  done
  took=$(($(ms) - began))
  ok "$(printf '%-78s %6d.%d s' "$what" "$((took / 1000))" "$((took / 100 % 10))")"
}
status() { k get clusters.endstate.dev "$business" -o json | jq -er "$1"; }
volume_of() { printf '%s/volumes/%s' "$RUN_DIR" "$(k get persistentvolumeclaim "$1" -o jsonpath='{.spec.volumeName}' | sed 's/^volume-//')"; } # CLAIM: its folder on this machine
ready() { status '.metadata.generation == .status.observedGeneration and any(.status.conditions[]; .type == "Ready" and .status == "True")'; }
released() { [[ $(status '.status.controlPlane.packageVersion') == "$1" ]] && ready; }
rolled_back() { [[ $(status '.status.controlPlane.rejectedPackageVersion // ""') == "$1" && $(status '.status.history[-1].result') == RolledBack ]] && ready; }
stalled() { [[ $(status '.status.conditions[] | select(.type == "Stalled") | select(.status == "True") | .reason') == "$1" ]]; }
not_stalled() { status 'any(.status.conditions[]; .type == "Stalled" and .status == "False")'; }
gone() { [[ -z $(k get clusters.endstate.dev,deployments,statefulsets,services,poddisruptionbudgets,networkpolicies,secrets,persistentvolumeclaims,jobs -l "endstate.dev/cluster-name=$1" -o name) ]] && ! k get "clusters.endstate.dev/$1"; }
issuer() { openssl x509 -noout -issuer -in <(k get secret "$business-etcd-server" -o jsonpath='{.data.tls\.crt}' | base64 -d); }
fingerprints() { status ".status.controlPlane.certificates[] | select(.name == \"$1\") | .fingerprints | length"; }

take_kubeconfig() { (umask 077 && k get secret "$business-kubeconfig" -o jsonpath='{.data.value}' | base64 -d >"$RUN_DIR/$business.kubeconfig"); }

# --- the client ---
start_prober() {
  : >"$RUN_DIR/probe.txt"
  start_process prober "$ROOT/e2e/hosted/prober.sh" "$RUN_DIR/$business.kubeconfig" "$RUN_DIR/probe.txt"
}
# judge WHAT SECONDS: no request took longer, and every written object is there.
judge() {
  local worst count lost
  await 60 "  the client has written enough" enough
  stop_processes 10 prober
  count=$(wc -l <"$RUN_DIR/probe.txt")
  worst=$(sort -k2 -n "$RUN_DIR/probe.txt" | tail -n 1 | cut -d ' ' -f 2)
  lost=$(comm -23 <(cut -d ' ' -f 3 "$RUN_DIR/probe.txt" | sort) <(b get configmaps -n default -o name | sed 's#configmap/##' | sort) | wc -l)
  say "$1: $count objects written and read, the slowest took $worst s, $lost lost"
  ((lost == 0)) || fail "$1: objects were lost"
  awk -v worst="$worst" -v bound="$2" 'BEGIN { exit !(worst <= bound) }' || fail "$1: a request took longer than $2 s"
  ok "$1: nothing lost, no request longer than $2 s"
  b delete --raw /api/v1/namespaces/default/configmaps >/dev/null
}
enough() { (($(wc -l <"$RUN_DIR/probe.txt") > 50)); }
