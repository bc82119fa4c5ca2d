#!/usr/bin/env bash
# Who may do what to whom, between namespaces, clusters and hosts (docs/security.md): two real API servers, real agents, real certificates, and people
# who are admin or edit of one namespace and nothing else. Each story tries what was possible once, and then that what is right still goes.
set -euo pipefail
export RUN_DIR=.run/test-tenancy PORT_BASE=${TEST_PORT_BASE:-17000} WITHOUT_FLEET=1
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"
kubectl=$(kubectl_binary) work=$RUN_DIR/work server=https://127.0.0.1:$((PORT_BASE + 443)) agents=()
other_dir=$RUN_DIR-other other_port=$((PORT_BASE - 100)) # their ports don't meet

down() {
  kill -CONT "$(process_pid controller-manager)" 2>/dev/null || true
  stop_processes 10 "${agents[@]}" agent-a agent-c agent-k agent-v
  hack/down.sh
  RUN_DIR=$other_dir PORT_BASE=$other_port e2e/kubernetes/down.sh
  rm -rf "$work"
}
down >/dev/null 2>&1
trap down EXIT
hack/up.sh
RUN_DIR=$other_dir PORT_BASE=$other_port COMPONENTS="etcd apiserver controller-manager" e2e/kubernetes/up.sh
mkdir -p "$work"

# --- who speaks, and how ---
k() { kubectl_admin "$@"; }
o() { "$kubectl" --kubeconfig "$other_dir/kubeconfig" "$@"; }
as() { "$kubectl" --kubeconfig "$work/$1.kubeconfig" "${@:2}"; } # NAMESPACE ARGS...: as the person who is admin (or edit) of it
tenant() {                                                       # NAMESPACE [ROLE [WHOSE]]: WHOSE: the namespace that the person comes from
  local whose=${3:-$1}
  k create namespace "$1" 2>/dev/null || true
  k create serviceaccount person -n "$whose" 2>/dev/null || true
  k create rolebinding "person-of-$whose" -n "$1" --clusterrole="${2:-admin}" --serviceaccount="$whose:person"
  [[ $whose == "$1" ]] || return 0
  k config view --raw -o json | jq --arg t "$(k create token person -n "$whose" --duration=1h)" --arg n "$1" \
    '.users[0].user = {token: $t} | .contexts[0].context.namespace = $n' >"$work/$whose.kubeconfig"
}
with() { # PEM ARGS...: by a certificate and its key
  "$kubectl" --kubeconfig /dev/null --server "$server" --certificate-authority "$RUN_DIR/pki/ca.crt" --client-certificate "$1" --client-key "$1" "${@:2}"
}
by() { # SECONDS COMMAND...: until it succeeds
  local deadline=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.3
  done
}
holds() { # SECONDS COMMAND...: it succeeds all the time
  local deadline=$((SECONDS + $1))
  while ((SECONDS < deadline)); do
    "${@:2}" || return 1
    sleep 0.5
  done
}
cluster() { printf 'apiVersion: endstate.dev/v1alpha1\nkind: Cluster\nmetadata: {name: %s}\nspec: {controlPlane: {type: External%s}}\n' "$1" "${2:+, kubeconfigSecret: {name: $2\}}"; }
host() { printf 'apiVersion: endstate.dev/v1alpha1\nkind: Host\nmetadata: {name: %s}\nspec: {address: %s}\n' "$1" "${2:-10.1.0.1}"; }
machine() { printf 'apiVersion: endstate.dev/v1alpha1\nkind: Machine\nmetadata: {name: %s}\nspec: {clusterName: %s, packages: []%s}\n' "$1" "$2" "${3:+, hostName: $3}"; }
uid() { k get "$2.endstate.dev" "$3" -n "$1" -o jsonpath='{.metadata.uid}'; }
condition_is() { [[ $(k get "$2.endstate.dev" "$3" -n "$1" -o jsonpath="{.status.conditions[?(@.type=='$4')].reason}") == "$5" ]]; }
phase_is() { [[ $(k get "$2.endstate.dev" "$3" -n "$1" -o jsonpath='{.status.phase}') == "$4" ]]; }
consumer() { k get host.endstate.dev "$2" -n "$1" -o jsonpath='{.spec.consumerRef}'; }
blocked_is() { [[ $(k get machine.endstate.dev "$2" -n "$1" -o jsonpath='{.status.blockedBy.reason}') == "$3" ]]; }
# enrol NAMESPACE HOST: by its person; the host's disk is the folder $work/HOST
enrol() {
  mkdir -p "$work/$2"/{etc/systemd/system,var/lib,usr/local,proc/sys/kernel/random,run}
  cat /proc/sys/kernel/random/boot_id >"$work/$2/proc/sys/kernel/random/boot_id"
  "$BUILD_BIN/kubectl-endstate" --kubeconfig "$work/$1.kubeconfig" enrol -n "$1" "$2" --server https://elsewhere.example.com | jq -c --arg a "$server" '.server.address = $a' |
    "$BUILD_BIN/endstate-agent" --enrol - --root "$work/$2" --enrol-timeout-seconds 60
}
agent() { # HOST: its agent runs
  start_process "agent-$1" "$BUILD_BIN/endstate-agent" --root "$work/$1" --services process --identity "$1" --lease-seconds 10
  agents+=("agent-$1")
}
pem() { printf '%s' "$work/$1/var/lib/endstate/identity/$2.pem"; }
has_joined() { [[ -s $(pem "$1" agent) ]]; }
# ask PEM NAME SUBJECT SIGNER USAGE [SAN]: a request with that certificate; its key lies in $work/NAME.key
ask() {
  local -a san=()
  [[ -z ${6:-} ]] || san=(-addext "subjectAltName=$6")
  openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout "$work/$2.key" -subj "$3" ${san[@]+"${san[@]}"} 2>/dev/null >"$work/$2.csr"
  request "$2" "$4" "$5" | with "$1" create -f -
}
request() { # NAME SIGNER USAGE
  printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"%s"},"spec":{"request":"%s","signerName":"kubernetes.io/%s","expirationSeconds":604800,"usages":["digital signature","%s"]}}' \
    "$1" "$(base64 -w 0 "$work/$1.csr")" "$2" "$3"
}
word() { [[ $(k get csr "$1" -o jsonpath='{.status.conditions[*].type}') == "$2" ]]; }
issued() { [[ -n $(k get csr "$1" -o jsonpath='{.status.certificate}') ]]; }
fetch() { # NAME: what was issued, with its key: $work/NAME.pem
  by 10 issued "$1" && k get csr "$1" -o jsonpath='{.status.certificate}' | base64 -d >"$work/$1.pem" && cat "$work/$1.key" >>"$work/$1.pem"
}
signed() { ask "$@" >/dev/null && fetch "$2"; }
denied() { ask "$@" >/dev/null && by 10 word "$2" Denied; }
unanswered() { ask "$@" >/dev/null && holds 5 word "$2" ""; }
# in_service HOST: plays the kubelet of a claimed host: its certificate, its Node, Ready
in_service() {
  signed "$(pem "$1" agent)" "kubelet-$1" "/O=system:nodes/CN=system:node:$1" kube-apiserver-client-kubelet "client auth" || return 1
  printf 'apiVersion: v1\nkind: Node\nmetadata: {name: %s}\n' "$1" | with "$work/kubelet-$1.pem" create -f - || return 1
  curl -sf --cacert "$RUN_DIR/pki/ca.crt" --cert "$work/kubelet-$1.pem" --key "$work/kubelet-$1.pem" -X PATCH -H 'Content-Type: application/strategic-merge-patch+json' \
    "$server/api/v1/nodes/$1/status" -d '{"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady"}]}}'
}
role_reads() { k auth can-i get "hostassignments.endstate.dev/$1" --as="endstate:host:$1" --as-group=endstate:agents --as-group="endstate:host:$1:${2:-1}" --as-group=system:authenticated; }

# --- the world: three namespaces; `far`, a cluster of b's own, made without the agents' policies ---
for n in a b c; do tenant "$n"; done >/dev/null
o apply --server-side -f manifests/rbac/namespace.yaml -f manifests/crds/endstate.dev_hostassignments.yaml -f manifests/rbac/agent.yaml >/dev/null
as b create secret generic far --from-file=value="$other_dir/kubeconfig" >/dev/null
{ cluster far far && echo --- && machine m far; } | as b apply -f - >/dev/null
host a | as a apply -f - >/dev/null

story_far_cluster_claims() { # 01
  check "a's host enrols" enrol a a
  check "and is free" by 10 phase_is a host a Ready
  agent a
  check "b's Machine waits for a host of its own namespace" by 30 blocked_is b m NoFreeHost
  o apply -f - >/dev/null <<Y
apiVersion: endstate.dev/v1alpha1
kind: HostAssignment
metadata: {name: $(uid a host a), annotations: {endstate.dev/machine: b/m}}
spec: {machineUID: $(uid b machine m), nodeName: a, state: Active, files: [{path: /etc/cron.d/forged, content: "* * * * * root id"}]}
Y
  is_free() { [[ -z $(consumer a a) ]]; }
  check "b's cluster doesn't claim a's host by a forged assignment" holds 5 is_free
  nothing_installed() { ! test -L "$work/a/etc/cron.d/forged"; }
  check "and its agent installs nothing" nothing_installed
  host q | as a apply -f - >/dev/null
  k patch host.endstate.dev q -n a --subresource=status --type=merge -p '{"status":{"phase":"Failed","conditions":[{"type":"Wiped","status":"False","reason":"NotWiped","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}' >/dev/null
  o apply -f - >/dev/null <<Y
apiVersion: endstate.dev/v1alpha1
kind: HostAssignment
metadata: {name: $(uid a host q), annotations: {endstate.dev/machine: b/never-was}, labels: {endstate.dev/cluster-name: far}}
spec: {machineUID: any, nodeName: q, state: Released}
Y
  o patch hostassignment "$(uid a host q)" --subresource=status --type=merge -p '{"status":{"observedGeneration":1}}' >/dev/null
  check "nor does it lift the quarantine of a's host" holds 4 phase_is a host q Failed
}

story_claims_are_written_by_endstate() { # C3
  local claim
  host spare | as b apply -f - >/dev/null
  machine waits nowhere | as a apply -f - >/dev/null
  claim=$(jq -cn --arg u "$(uid a machine waits)" '{spec: {consumerRef: {kind: "Machine", namespace: "a", name: "waits", uid: $u}}}')
  refuses "b doesn't write a claim of a's Machine into his own Host" "written by endstate alone" as b patch host.endstate.dev spare --type=merge -p "$claim"
  claimed_host() { host spare2 | jq -Rs . >/dev/null && printf '%s\n  consumerRef: {kind: Machine, namespace: a, name: waits, uid: u}\n' "$(host spare2 | sed 's/spec: {address: \(.*\)}/spec:\n  address: \1/')" | as b create -f -; }
  refuses "nor make a Host that has one" "written by endstate alone" claimed_host
  check "he edits the rest of his Host" as b patch host.endstate.dev spare --type=merge -p '{"spec":{"maintenance":{"reason":"fan"}}}'
  check "who may restore objects writes it" k patch host.endstate.dev spare -n b --type=merge -p "$claim"
  no_hand_over() { ! k get secret -n endstate-system "endstate-host-$(uid b host spare)" 2>/dev/null && ! k get secret -n b "endstate-host-$(uid b host spare)" 2>/dev/null; }
  check "but a claim across namespaces leads nowhere" holds 3 no_hand_over
  k delete host.endstate.dev spare -n b >/dev/null
}

story_meta_cluster_is_joined_by_right() { # 02
  joins() { cluster "$1" | as c create -f -; }
  refuses "the admin of a namespace doesn't take the meta cluster as his" "verb join-meta" joins here
  k create secret generic far -n c --from-file=value="$other_dir/kubeconfig" >/dev/null
  cluster away far | as c create -f - >/dev/null
  refuses "nor by editing the kubeconfigSecret away" "verb join-meta" as c patch cluster.endstate.dev away --type=json -p '[{"op":"remove","path":"/spec/controlPlane/kubeconfigSecret"}]'
  as c delete cluster.endstate.dev away --wait=false >/dev/null
  cluster here | k create -n c -f - >/dev/null
  check "what an administrator has allowed stays, and can be edited" as c annotate cluster.endstate.dev here example.com/note=x
  k create clusterrolebinding joiner --clusterrole=endstate-meta-joiner --serviceaccount=c:person >/dev/null
  check "with the right he may" by 10 joins also-here
  as c delete cluster.endstate.dev also-here --wait=false >/dev/null

  # A Node that is there, and a Host of its name.
  printf 'apiVersion: v1\nkind: Node\nmetadata: {name: v}\n' | k create -f - >/dev/null
  { host v kubernetes.default.svc && echo --- && machine mv here v; } | as c apply -f - >/dev/null
  enrol c v >/dev/null 2>&1 && agent v
  check "a Machine doesn't become a Node that is somebody else's" by 20 blocked_is c mv NodeNameTaken
  not_assigned() { ! k get hostassignment "$(uid c host v)" 2>/dev/null && ! has_joined v; }
  check "its host gets no orders, and no certificate there" holds 3 not_assigned
  as c annotate machine.endstate.dev mv "endstate.dev/adopt-node=$(k get node v -o jsonpath='{.metadata.uid}')" >"$work/adopt.log" 2>&1 || true
  check "taking the Node over is another right" grep -q "verb adopt-node" "$work/adopt.log"
  as c delete machine.endstate.dev mv --wait=false >/dev/null
  check "the Node stays" holds 3 k get node v -o name
}

story_what_hosts_are_handed() { # 03
  local u
  u=$(uid a host a)
  tenant a edit b >/dev/null
  forge_secret() { as b create secret generic "$1" -n "$2" --from-literal=value=x; }
  refuses "who has edit writes no hand-over beside a Host" "endstate-operator alone" forge_secret "endstate-host-$u" a
  refuses "nor a token" "endstate-operator alone" forge_secret "endstate-enrol-$u" a
  refuses "nor anything in endstate-system" "orbidden" forge_secret "endstate-host-$u" endstate-system
  refuses "nor reads there" "orbidden" as b get secrets -n endstate-system
  keys() { printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","labels":{"endstate.dev/component":"pki"}}}' "$1" | as b create -n a -f -; }
  refuses "nor keys of a control plane" "restore-keys" keys c-ca
  printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"keys","labels":{"endstate.dev/component":"pki"}}}' | k create -n a -f - >/dev/null
  refuses "nor takes such away" "restore-keys" as b delete secret keys -n a
  refuses "nor the mark off them" "restore-keys" as b label secret keys -n a endstate.dev/component-
  check "other Secrets are his" forge_secret mine a
}

story_kubelets() { # 02, 04
  host k 10.1.0.9 | as c apply -f - >/dev/null
  enrol c k >/dev/null 2>&1 && agent k
  machine mk here k | as c apply -f - >/dev/null
  check "a host that is claimed joins" by 30 has_joined k
  check "its kubelet gets its Node's certificate, and the Node" in_service k
  check "the Machine is in service" by 30 phase_is c machine mk Running
  local kubelet=$work/kubelet-k.pem node=/O=system:nodes/CN=system:node:k
  check "its kubelet is renewed" signed "$kubelet" renewed-k "$node" kube-apiserver-client-kubelet "client auth"
  check "and serves by its name and address" signed "$kubelet" serving-k "$node" kubelet-serving "server auth" DNS:k,IP:10.1.0.9
  check "not by the API server's name" denied "$kubelet" serving-api "$node" kubelet-serving "server auth" DNS:kubernetes.default.svc
  check "not by another address" denied "$kubelet" serving-ip "$node" kubelet-serving "server auth" DNS:k,IP:127.0.0.1

  k taint node k quarantine=incident:NoExecute >/dev/null
  k label node k node-restriction.kubernetes.io/pci=no >/dev/null
  refuses "a kubelet doesn't write endstate's notes on its Node" "endstate's notes" \
    with "$kubelet" annotate node k --overwrite 'endstate.dev/owned={"labels":["node-restriction.kubernetes.io/pci"],"taints":[{"key":"quarantine","effect":"NoExecute"}]}'
  refuses "nor its labels" "endstate.dev/..." with "$kubelet" label node k endstate.dev/cluster-name=other --overwrite
  refuses "NodeRestriction is on, as in production" "is not allowed to modify taints" with "$kubelet" taint node k quarantine-
  check "its own annotations are its own" with "$kubelet" annotate node k example.com/note=x
  both_stay() { [[ $(k get node k -o jsonpath='{.spec.taints[?(@.key=="quarantine")].key}{.metadata.labels.node-restriction\.kubernetes\.io/pci}') == quarantineno ]]; }
  check "an administrator's taint and label stay" holds 3 both_stay

  # The Node was made again by somebody else: it isn't what we recorded.
  k delete node k >/dev/null
  printf 'apiVersion: v1\nkind: Node\nmetadata: {name: k, annotations: {endstate.dev/adopt: "true"}}\n' | k create -f - >/dev/null
  check "a Node of another uid is not its own" unanswered "$(pem k agent)" again-k "$node" kube-apiserver-client-kubelet "client auth"
  k delete node k >/dev/null
  check "without it there is no doubt" by 10 word again-k Approved
}

story_agents_are_kept_apart() { # 05
  as b delete machine.endstate.dev m --wait=false >/dev/null
  o delete hostassignment --all >/dev/null
  k create secret generic far -n a --from-file=value="$other_dir/kubeconfig" >/dev/null
  { cluster far far && echo --- && machine m far a; } | as a apply -f - >/dev/null
  check "no agent is let into a cluster without the agents' policy, and the Host says so" by 40 condition_is a host a Joined AgentsNotIsolated
  check "it has no certificate" test ! -e "$(pem a agent)"
  o apply --server-side -f manifests/policies/agents.yaml -f manifests/policies/nodes.yaml >/dev/null
  check "with the policy it is let in" by 90 has_joined a
  o create -f - >/dev/null <<<"{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: host-another, namespace: endstate-system}}"
  takes_lease() { # without a GET before, which is forbidden anyway
    local answer
    answer=$(curl -s --cacert "$other_dir/pki/ca.crt" --cert "$(pem a agent)" --key "$(pem a agent)" -X PATCH -H 'Content-Type: application/merge-patch+json' \
      "https://127.0.0.1:$((other_port + 443))/apis/coordination.k8s.io/v1/namespaces/endstate-system/leases/host-another" -d '{"spec":{"holderIdentity":"x"}}')
    echo "$answer" && [[ $answer == *'"kind":"Lease"'* ]]
  }
  refuses "and takes nobody else's Lease" "its own Lease only" takes_lease
}

story_roles_come_back() { # 06
  local u manager
  u=$(uid c host k)
  manager=$(process_pid controller-manager)
  machine mk2 here k | as c apply -f - >/dev/null
  kill -STOP "$manager"
  as c delete machine.endstate.dev mk --wait=false >/dev/null
  has_it() { [[ $(k get hostassignment "$u" -o jsonpath='{.spec.machineUID}') == "$(uid c machine "$1")" ]]; }
  check "claimed again while the garbage collector is behind" by 60 has_it mk2
  kill -CONT "$manager"
  sleep 8
  check "its agent may read its orders" by 40 role_reads "$u"
  k delete clusterrole,clusterrolebinding "endstate:host:$u" >/dev/null
  check "roles that somebody deleted are made again" by 15 role_reads "$u"
}

story_token_that_nobody_uses() { # 07
  host t 10.1.0.20 | as c apply -f - >/dev/null
  enrol c t >/dev/null 2>&1
  check "a host has enrolled" by 10 phase_is c host t Ready
  "$BUILD_BIN/kubectl-endstate" --kubeconfig "$work/c.kubeconfig" enrol -n c t --server https://elsewhere.example.com >/dev/null
  check "a token is open beside its certificate" by 10 condition_is c host t TokenOpen EnrolmentOpen
  k annotate secret "endstate-enrol-$(uid c host t)" -n endstate-system --overwrite "endstate.dev/token-expires=$(date -u -d '-1 min' +%FT%TZ)" >/dev/null
  check "which is over, unused" by 10 condition_is c host t TokenOpen ""
  check "what it has is good as before" condition_is c host t Enrolled HostEnrolled
  check "its certificate works" with "$(pem t host)" get host.endstate.dev t -n c
  agent t
  machine mt here t | as c apply -f - >/dev/null
  check "it is claimed, and its agent joins" by 40 has_joined t

  host never 10.1.0.21 | as c apply -f - >/dev/null
  "$BUILD_BIN/kubectl-endstate" --kubeconfig "$work/c.kubeconfig" enrol -n c never --server https://elsewhere.example.com >/dev/null
  k patch host.endstate.dev never -n c --subresource=status --type=merge -p '{"status":{"phase":"Ready"}}' >/dev/null
  machine mn here never | as c apply -f - >/dev/null
  check "a host of which no agent can come isn't claimed" by 20 blocked_is c mn HostNotClaimable
}

story_stolen_host() { # 08
  local u
  u=$(uid c host t)
  cp "$(pem t host)" "$work/stolen.pem"
  stop_processes 10 agent-t
  check "the machine is enrolled anew" enrol c t
  number() { [[ $(k get host.endstate.dev t -n c -o jsonpath='{.status.identity}') == 2 ]]; }
  check "its enrolment has another number" by 10 number
  check "the old key isn't renewed" denied "$work/stolen.pem" stolen-1 "/O=endstate:hosts/O=endstate:host:$u:1/CN=endstate:host:$u" kube-apiserver-client "client auth"
  check "not as the new one either" denied "$work/stolen.pem" stolen-2 "/O=endstate:hosts/O=endstate:host:$u:2/CN=endstate:host:$u" kube-apiserver-client "client auth"
  check "the new key reads what it is handed" by 20 with "$(pem t host)" get secret "endstate-host-$u" -n endstate-system
  refuses "the old key doesn't" "orbidden" with "$work/stolen.pem" get secret "endstate-host-$u" -n endstate-system
  refuses "nor its Host" "orbidden" with "$work/stolen.pem" get host.endstate.dev t -n c
}

story_operator() { # 09
  local token
  k create serviceaccount boss -n kube-system >/dev/null
  k create clusterrolebinding boss --clusterrole=cluster-admin --serviceaccount=kube-system:boss >/dev/null
  token=$(k create token endstate-operator -n endstate-system)
  k config view --raw -o json | jq --arg t "$token" '.users[0].user = {token: $t}' >"$work/operator.kubeconfig"
  k create secret generic bootstrap-token-kubead -n kube-system --type=bootstrap.kubernetes.io/token --from-literal=token-id=kubead --from-literal=token-secret=0123456789abcdef \
    --from-literal=usage-bootstrap-authentication=true --from-literal=auth-extra-groups=system:bootstrappers:kubeadm >/dev/null
  refuses "the operator deletes nobody else's bootstrap token" "of its own only" as operator delete secret bootstrap-token-kubead -n kube-system
  make_token() { as operator create secret generic bootstrap-token-aaaaaa -n kube-system --type=bootstrap.kubernetes.io/token --from-literal=token-id=aaaaaa; }
  refuses "nor makes one that isn't of enrolment" "of enrolment only" make_token
  openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout "$work/boss.key" -subj "/CN=system:serviceaccount:kube-system:boss" 2>/dev/null >"$work/boss.csr"
  request boss kube-apiserver-client "client auth" | k create -f - >/dev/null
  approves() {
    curl -s --cacert "$RUN_DIR/pki/ca.crt" -H "Authorization: Bearer $token" -X PATCH -H 'Content-Type: application/merge-patch+json' \
      "$server/apis/certificates.k8s.io/v1/certificatesigningrequests/$1/approval" -d '{"status":{"conditions":[{"type":"Approved","status":"True","reason":"x","message":"x"}]}}' |
      tee /dev/stderr | jq -e '.kind == "CertificateSigningRequest"'
  }
  refuses "nor approves what no host asks for" "of hosts, of their one-time tokens" approves boss
  refuses "nor lists the Secrets of a namespace" "orbidden" as operator get secrets -n a
  k delete clusterrolebinding boss >/dev/null
}

story_break_glass() { # 10
  local person=system:serviceaccount:c:person first
  k apply -f - >/dev/null <<'Y'
apiVersion: endstate.dev/v1alpha1
kind: ChangeBudget
metadata: {name: nothing-today}
spec:
  clusterSelector: {matchLabels: {glass: "true"}}
  limits: [{name: creations, operations: [MachineCreate], windows: [{durationSeconds: 86400, max: 0}]}]
Y
  as c label cluster.endstate.dev here glass=true >/dev/null
  host g 10.1.0.30 | as c apply -f - >/dev/null
  k patch host.endstate.dev g -n c --subresource=status --type=merge -p '{"status":{"phase":"Ready"}}' >/dev/null
  machine mg here g | as c apply -f - >/dev/null
  check "a budget holds a creation" by 30 blocked_is c mg WindowFull

  said() { printf 'until=%s by=%s reason=%s' "$(date -u -d "$1" +%FT%TZ)" "${3:-$person}" "$2"; } # UNTIL REASON [WHO]
  says() { as c annotate cluster.endstate.dev here --overwrite endstate.dev/break-glass="$1"; }
  glass() { k get cluster.endstate.dev here -n c -o jsonpath="{.status.breakGlass.$1}"; }
  glass_is() { [[ $(glass state) == "$1" ]]; }
  first=$(said '+1 day' 'the fix cannot wait')
  refuses "the admin of a namespace doesn't break the glass" "bind the ClusterRole endstate-glass-breaker to you in this namespace" says "$first"
  makes() { printf 'apiVersion: endstate.dev/v1alpha1\nkind: Cluster\nmetadata: {name: there, annotations: {endstate.dev/break-glass: "%s"}}\nspec: {controlPlane: {type: External, kubeconfigSecret: {name: far}}}\n' "$first" | as c create --dry-run=server -f -; }
  refuses "nor with a new Cluster" "bind the ClusterRole endstate-glass-breaker" makes
  check "he edits the rest of the Cluster" as c annotate cluster.endstate.dev here --overwrite example.com/note=y
  k create rolebinding on-call -n c --clusterrole=endstate-glass-breaker --serviceaccount=c:person >/dev/null
  may_break() { [[ $(as c auth can-i break-glass cluster.endstate.dev/here -n c) == yes ]]; }
  by 10 may_break
  refuses "with the right: not without a reason" "at least 8 characters" says "$(said '+1 hour' short)"
  refuses "not without an end" "until=" says "by=$person reason=the fix cannot wait"
  refuses "not in another's name" "must say by=$person" says "$(said '+1 hour' 'the fix cannot wait' alice)"
  check "nothing of that was taken for said" test -z "$(glass state)"
  check "as it must be, it is accepted" says "$first"
  check "endstate takes it up" by 10 glass_is Active
  four_hours() { (($(date -d "$(glass endTime)" +%s) - $(date -d "$(glass startTime)" +%s) == 4 * 3600)); }
  check "for 4 hours and no longer" four_hours
  is_claimed() { [[ -n $(consumer c g) ]]; }
  check "and the creation goes on" by 30 is_claimed
  told() { [[ $(k get events.events.k8s.io -n c -o json | jq -r --arg r "$1" '[.items[] | select(.reason == $r and .regarding.name == "here")] | length') -gt 0 ]]; }
  check "it is told by an event" by 10 told BreakGlass
  audited() { grep -F '"break-glass.endstate.dev/said"' "$RUN_DIR/audit.log" | jq -e --arg who "$person" --arg said "$first" 'select(.user.username == $who and .annotations["break-glass.endstate.dev/said"] == $said)'; }
  check "and stands in the audit log with who said it" audited

  k delete rolebinding on-call -n c >/dev/null
  may_not_break() { ! may_break; }
  by 10 may_not_break
  check "who may edit the Cluster may end it" as c annotate cluster.endstate.dev here endstate.dev/break-glass-
  check "it has ended" by 10 glass_is Ended
  check "and told" by 10 told BreakGlassEnded
  k create rolebinding on-call -n c --clusterrole=endstate-glass-breaker --serviceaccount=c:person >/dev/null
  by 10 may_break
  says "$first" >/dev/null
  check "the same text is not accepted twice" holds 4 glass_is Ended
  says "$(said '+6 seconds' 'and another thing')" >/dev/null
  check "another is" by 5 glass_is Active
  check "until its time" by 15 glass_is Ended
  k delete rolebinding on-call -n c >/dev/null
  k delete changebudget.endstate.dev nothing-today >/dev/null
}

story_far_cluster_claims
story_claims_are_written_by_endstate
story_meta_cluster_is_joined_by_right
story_what_hosts_are_handed
story_kubelets
story_agents_are_kept_apart
story_roles_come_back
story_token_that_nobody_uses
story_stolen_host
story_operator
story_break_glass
finish
