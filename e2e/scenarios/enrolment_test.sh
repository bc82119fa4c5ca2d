#!/usr/bin/env bash
# A host's way to its cluster and back on a real API server with a real signer: the operator, the plugin and the agent itself (in a folder, without
# packages). What its credentials may not do is tried with the very certificates.
set -euo pipefail
export RUN_DIR=.run/test-enrolment PORT_BASE=${TEST_PORT_BASE:-17000} WITHOUT_FLEET=1
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"
pki=$RUN_DIR/pki server=https://127.0.0.1:$((PORT_BASE + 443)) disk=$RUN_DIR/disk
identity=$disk/var/lib/endstate/identity

down() {
  stop_processes 10 agent
  RUN_DIR=$RUN_DIR hack/down.sh
  rm -rf "$disk" "${RUN_DIR:?}/stolen"
}
down >/dev/null 2>&1
trap down EXIT
hack/up.sh
mkdir -p "$disk"/{etc/systemd/system,var/lib,usr/local,proc/sys/kernel/random,run}
cat /proc/sys/kernel/random/boot_id >"$disk/proc/sys/kernel/random/boot_id"

until_true() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}
# What the plugin prints is for hosts elsewhere; this one is on loopback.
enrol() {
  "$BUILD_BIN/kubectl-endstate" --kubeconfig "$RUN_DIR/kubeconfig" enrol h1 --server https://elsewhere.example.com | jq -c --arg address "$server" '.server.address = $address' |
    "$BUILD_BIN/endstate-agent" --enrol - --root "$disk" --enrol-timeout-seconds 60
}
start_agent() { start_process agent "$BUILD_BIN/endstate-agent" --root "$disk" --services process --identity h1 --lease-seconds 10; }
# as_host FILE ARGS...: with a certificate of the host: host.pem (meta cluster) or agent.pem (business cluster), which are one cluster here.
as_host() {
  "$(kubectl_binary)" --kubeconfig /dev/null --server "$server" --certificate-authority "$pki/ca.crt" --client-certificate "$identity/$1" \
    --client-key "$identity/$1" "${@:2}"
}
condition() { kubectl_admin get host h1 -o "jsonpath={.status.conditions[?(@.type=='$1')].reason}"; }
condition_is() { [[ $(condition "$1") == "$2" ]]; }

kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Host
metadata: {name: h1, namespace: default}
spec: {address: 10.0.0.1, hardware: {idc: here, rack: r1}}
---
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: own, namespace: default}
spec: {controlPlane: {type: External}}
YAML
uid=$(kubectl_admin get host h1 -o jsonpath='{.metadata.uid}')

# --- certificate 1 ---
refuses "a loopback address is of no use to a host" "give --server" "$BUILD_BIN/kubectl-endstate" --kubeconfig "$RUN_DIR/kubeconfig" enrol h1
refuses "a Host that isn't there is said" "not found" "$BUILD_BIN/kubectl-endstate" --kubeconfig "$RUN_DIR/kubeconfig" enrol h2 --server https://elsewhere.example.com
refuses "what isn't an enrolment is refused" "kubectl endstate enrol" "$BUILD_BIN/endstate-agent" --enrol /etc/hostname --root "$disk"
check "a host enrols" enrol
check "the Host says so" until_true 10 condition_is Enrolled HostEnrolled
phase_is_ready() { [[ $(kubectl_admin get host h1 -o jsonpath='{.status.phase}') == Ready ]]; }
check "and can be claimed" until_true 10 phase_is_ready
modes() { [[ $(stat -c %a "$identity") == 700 && -z $(find "$identity" -type f ! -perm 600) ]]; }
check "its keys are its owner's only" modes
known_as() { [[ $(as_host "$1" auth whoami -o json | jq -r '.status.userInfo | ([.username] + (.groups | sort)) | join(" ")') == "$2 system:authenticated" ]]; }
check "certificate 1 is known as the host, and of which enrolment it is" known_as host.pem "endstate:host:$uid endstate:host:$uid:1 endstate:hosts"
check "and reads its Host" as_host host.pem get host.endstate.dev h1
start_agent
refuses "with nothing handed over there is nothing to read" "not found" as_host host.pem get secret "endstate-host-$uid" -n endstate-system
number() { kubectl_admin get host h1 -o jsonpath='{.status.identity}'; }
check "it was its first enrolment" test "$(number)" = 1
may_read_next_to_its_host() { as_host host.pem get secret "endstate-host-$uid"; }
refuses "what lies beside its Host is not its to read" "orbidden" may_read_next_to_its_host

# --- certificate 2 ---
claim() {
  kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Machine
metadata: {name: m1, namespace: default}
spec: {clusterName: own, hostName: h1, packages: []}
YAML
}
check "a Machine claims it" claim
check "its agent joins the cluster" until_true 30 condition_is Joined HostJoined
reports() { [[ -n $(kubectl_admin get hostassignment "$uid" -o jsonpath='{.status.agent.version}') ]]; }
check "and reports there" until_true 30 reports
check "it lives" until_true 30 kubectl_admin get lease -n endstate-system "host-$uid"
check "certificate 2 is known as the agent" known_as agent.pem "endstate:host:$uid endstate:agents endstate:host:$uid:1"
lives_a_week() { [[ $(openssl x509 -noout -enddate -in "$identity/$1" | cut -d= -f2 | xargs -0 date +%s -d) -lt $(date +%s -d '8 days') ]]; }
for file in host.pem agent.pem; do check "$file lives a week" lives_a_week "$file"; done
check "the kubelet's bootstrap stands ready" test -s "$disk/etc/endstate/kubelet/bootstrap-kubeconfig"

# --- what they may not do ---
for file in host.pem agent.pem; do
  for what in "get hostassignments" "get secrets -A" "get secrets -n kube-system" "get nodes" "get pods -A" "get hosts.endstate.dev -A" "get machines.endstate.dev -A" \
    "get machinepackageversions" "delete hostassignment $uid" "delete csr --all" "get clusterroles" "create configmap x --from-literal=a=b" "get leases -n endstate-system" \
    "delete lease -n endstate-system host-$uid"; do
    # shellcheck disable=SC2086 # words
    refuses "with $file a host may not $what" "orbidden" as_host "$file" $what
  done
  refuses "with $file a host doesn't change its orders" "orbidden" as_host "$file" patch hostassignment "$uid" --type=merge -p '{"spec":{"state":"Released"}}'
done
refuses "certificate 1 reports nothing" "orbidden" as_host host.pem patch hostassignment "$uid" --subresource=status --type=merge -p '{"status":{"observedRevision":"x"}}'
check "certificate 2 reads its orders" as_host agent.pem get hostassignment "$uid"

# --- what a host that was taken over could ask for ---
ask() { # WITH NAME SUBJECT SIGNER USAGE [SAN]
  local -a san=()
  [[ -z ${6:-} ]] || san=(-addext "subjectAltName=$6")
  openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout "$identity/$2.key" -subj "$3" ${san[@]+"${san[@]}"} 2>/dev/null >"$RUN_DIR/request.pem"
  printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"%s"},"spec":{"request":"%s","signerName":"kubernetes.io/%s","expirationSeconds":604800,"usages":["digital signature","%s"]}}' \
    "$2" "$(base64 -w 0 "$RUN_DIR/request.pem")" "$4" "$5" | as_host "$1" create -f -
}
became() { [[ $(kubectl_admin get csr "$1" -o 'jsonpath={.status.conditions[*].type}') == "$2" ]]; }
issued() { [[ -n $(kubectl_admin get csr "$1" -o 'jsonpath={.status.certificate}') ]]; }
denied() { ask "$@" >/dev/null && until_true 10 became "$2" Denied; }
signed() { ask "$@" >/dev/null && until_true 10 issued "$2"; }
client=kube-apiserver-client
check "its own certificate is renewed" signed agent.pem renewal "/O=endstate:agents/O=endstate:host:$uid:1/CN=endstate:host:$uid" $client "client auth"
check "without the number of its enrolment it is denied" denied agent.pem numberless "/O=endstate:agents/CN=endstate:host:$uid" $client "client auth"
check "another host's is denied" denied agent.pem other "/O=endstate:agents/CN=endstate:host:00000000-0000-0000-0000-000000000000" $client "client auth"
check "an administrator's is denied" denied agent.pem admin "/O=cluster-admins/CN=endstate:host:$uid" $client "client auth"
check "the operator's is denied" denied agent.pem operator "/O=endstate:agents/CN=system:serviceaccount:endstate-system:endstate-operator" $client "client auth"
check "another Node's is denied" denied agent.pem node "/O=system:nodes/CN=system:node:h9" $client-kubelet "client auth"
refuses "a serving certificate is the kubelet's to ask for" "its own certificate and its kubelet's only" ask agent.pem serving "/O=system:nodes/CN=system:node:h1" kubelet-serving "server auth"
check "its kubelet's client certificate is signed" signed agent.pem kubelet "/O=system:nodes/CN=system:node:h1" $client-kubelet "client auth"
kubectl_admin get csr kubelet -o 'jsonpath={.status.certificate}' | base64 -d >"$identity/kubelet.pem"
cat "$identity/kubelet.key" >>"$identity/kubelet.pem"
check "the kubelet's serving certificate is signed for its name and address" signed kubelet.pem serving-1 "/O=system:nodes/CN=system:node:h1" kubelet-serving "server auth" DNS:h1,IP:10.0.0.1
check "for the API server's name it is denied" denied kubelet.pem serving-3 "/O=system:nodes/CN=system:node:h1" kubelet-serving "server auth" DNS:kubernetes.default.svc
check "for another address it is denied" denied kubelet.pem serving-2 "/O=system:nodes/CN=system:node:h1" kubelet-serving "server auth" DNS:h1,IP:10.0.0.1,IP:10.0.0.2
stranger() {
  kubectl_admin --as=jane --as-group=system:masters --as-group=system:authenticated create -f - >/dev/null < <(
    printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"stranger"},"spec":{"request":"%s","signerName":"kubernetes.io/kube-apiserver-client","usages":["digital signature","client auth"]}}' \
      "$(openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout /dev/null -subj "/O=endstate:agents/CN=endstate:host:$uid" 2>/dev/null | base64 -w 0)"
  ) && until_true 10 became stranger Denied
}
check "a stranger's request in a host's name is denied" stranger

# --- killed, enrolled again, released ---
renewed() { kubectl_admin get lease -n endstate-system "host-$uid" -o jsonpath='{.spec.renewTime}'; }
before=$(renewed)
lives_on() { [[ $(renewed) > $before ]]; }
dying=$(process_pid agent)
disown "$dying" # or the shell tells of its end
kill -KILL "$dying"
start_agent
check "an agent that was killed goes on" until_true 30 lives_on
mkdir "$RUN_DIR/stolen" && cp "$identity"/{host,agent}.pem "$RUN_DIR/stolen/"
rm -rf "$identity"
check "a host that lost what it is enrols again, under a running agent" enrol
check "and is back in its cluster" until_true 60 test -s "$identity/agent.pem"
as_thief() { # FILE ARGS...: with a certificate of the enrolment before
  "$(kubectl_binary)" --kubeconfig /dev/null --server "$server" --certificate-authority "$pki/ca.crt" --client-certificate "$RUN_DIR/stolen/$1" \
    --client-key "$RUN_DIR/stolen/$1" "${@:2}"
}
check "its number is another" test "$(number)" = 2
check "its new key reads what it is handed" until_true 20 as_host host.pem get secret "endstate-host-$uid" -n endstate-system
check "and its orders" until_true 20 as_host agent.pem get hostassignment "$uid"
assignment_is_told() { [[ $(kubectl_admin get hostassignment "$uid" -o jsonpath='{.spec.identity}') == 2 ]]; }
check "its assignment says who may report" until_true 20 assignment_is_told
refuses "the old key reads no hand-over" "orbidden" as_thief host.pem get secret "endstate-host-$uid" -n endstate-system
refuses "and no Host" "orbidden" as_thief host.pem get host.endstate.dev h1
refuses "and no orders" "orbidden" as_thief agent.pem get hostassignment "$uid"
refuses "and reports nothing" "orbidden" as_thief agent.pem patch hostassignment "$uid" --subresource=status --type=merge -p '{"status":{"observedRevision":"x"}}'
before=$(renewed)
check "and lives there" until_true 30 lives_on
kubectl_admin delete machine.endstate.dev m1 --wait=false >/dev/null
gone() { ! kubectl_admin get hostassignment "$uid" 2>/dev/null && ! kubectl_admin get secret "endstate-host-$uid" -n endstate-system 2>/dev/null; }
check "released, nothing is handed over any more" until_true 90 gone
forgotten() { [[ ! -e $identity/agent.pem && ! -e $disk/etc/endstate/kubelet/bootstrap-kubeconfig && -s $identity/host.pem ]]; }
check "and the host has only its first certificate" until_true 120 forgotten
role_gone() { ! kubectl_admin get clusterrole "endstate:host:$uid"; }
check "its role went with its assignment" until_true 60 role_gone
kubectl_admin delete host.endstate.dev h1 >/dev/null
nothing_left() { ! kubectl_admin get role,rolebinding,secret -n endstate-system -o name | grep -q "$uid"; }
check "and nothing of a Host that is gone is left" until_true 20 nothing_left
finish
