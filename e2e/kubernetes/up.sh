#!/usr/bin/env bash
# up.sh: starts a real Kubernetes control plane on loopback, in the order of its parts; what runs already is left alone.
#
#   RUN_DIR     where it lives (default .run): pki/, etcd/, kubeconfig (administrator), audit.log, NAME.pid, NAME.log
#   PORT_BASE   etcd +379 and +380, kube-apiserver +443, kube-controller-manager +257, kube-scheduler +259 (default 16000)
#   MORE_CONTROLLERS  of kube-controller-manager, beside those that endstate needs; blank-separated
#   AUDIT_POLICY  what of requests goes into audit.log (default: e2e/kubernetes/audit-policy.yaml)
#   POD_GATEWAY  an address at which pods reach the API server: the Service `kubernetes` leads there. Who sets it forwards it to loopback. Default: none
#   COMPONENTS  what to start (default "etcd apiserver controller-manager scheduler"); "etcd apiserver" is enough for most tests
#
# A development cluster that is thrown away: fast before durable, generous before fair.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/kubernetes/pki.sh
source "$ROOT/e2e/kubernetes/pki.sh"

COMPONENTS=${COMPONENTS:-etcd apiserver controller-manager scheduler}
bin=$(kube_bin_dir)
server=https://127.0.0.1:$((PORT_BASE + 443))

start_etcd() {
  local client=https://127.0.0.1:$((PORT_BASE + 379)) peer=http://127.0.0.1:$((PORT_BASE + 380))
  # --unsafe-no-fsync: a power failure may cost this cluster its data, a killed etcd doesn't. In return the figures measured on it don't depend
  # on the disk of the day (an fsync takes 1-20 ms on rented disks, and etcd does one a write batch).
  start_process etcd "$bin/etcd" --name=endstate --data-dir="$RUN_DIR/etcd" --unsafe-no-fsync \
    --listen-client-urls="$client" --advertise-client-urls="$client" \
    --cert-file="$PKI/etcd.crt" --key-file="$PKI/etcd.key" --trusted-ca-file="$PKI/etcd-ca.crt" --client-cert-auth \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="endstate=$peer" \
    --quota-backend-bytes=4294967296 --log-level=warn
  await_process etcd 30 curl -sf --max-time 2 --cacert "$PKI/etcd-ca.crt" --cert "$PKI/etcd-client.crt" --key "$PKI/etcd-client.key" "$client/readyz"
}

start_apiserver() {
  # Inflight limits: 2,000 simulated hosts write ~500 times a second from two identities; Priority and Fairness stays on (it is what production
  # has), but with ten times the default seats it queues nobody here.
  # --audit-log-mode=blocking (the default, said because it matters): batches are dropped when they overflow, and then the counts would lie.
  # --enable-admission-plugins: as kubeadm has it; the others that production has are on by default. Without NodeRestriction no test would see what a
  # kubelet may not do.
  # --shutdown-watch-termination-grace-period: without it the server waits up to a minute for its clients' watches to end by themselves.
  # --endpoint-reconciler-type=none: where no pods are, nothing reaches this server by the `kubernetes` Service, and loopback is no valid endpoint for it.
  local -a endpoint=(--advertise-address=127.0.0.1 --endpoint-reconciler-type=none)
  [[ -z ${POD_GATEWAY:-} ]] || endpoint=(--advertise-address="$POD_GATEWAY")
  start_process apiserver "$bin/kube-apiserver" \
    --etcd-servers="https://127.0.0.1:$((PORT_BASE + 379))" --etcd-cafile="$PKI/etcd-ca.crt" --etcd-certfile="$PKI/etcd-client.crt" --etcd-keyfile="$PKI/etcd-client.key" \
    --bind-address=127.0.0.1 "${endpoint[@]}" --secure-port=$((PORT_BASE + 443)) \
    --tls-cert-file="$PKI/serving.crt" --tls-private-key-file="$PKI/serving.key" --client-ca-file="$PKI/ca.crt" --cert-dir="$RUN_DIR/pki" \
    --service-account-issuer="$server" --service-account-key-file="$PKI/service-account.pub" --service-account-signing-key-file="$PKI/service-account.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --enable-bootstrap-token-auth=true --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
    --kubelet-client-certificate="$PKI/admin.crt" --kubelet-client-key="$PKI/admin.key" --kubelet-preferred-address-types=InternalIP \
    --max-requests-inflight=4000 --max-mutating-requests-inflight=2000 --shutdown-watch-termination-grace-period=1s \
    --audit-policy-file="${AUDIT_POLICY:-$ROOT/e2e/kubernetes/audit-policy.yaml}" --audit-log-path="$RUN_DIR/audit.log" --audit-log-mode=blocking \
    --audit-log-maxsize=200 --audit-log-maxbackup=4 --audit-log-maxage=7
  await_process apiserver 90 curl -sf --max-time 5 --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" "$server/readyz"
}

# Only what endstate and its tests need: garbage collection, namespaces, service accounts, role aggregation, the node's life, workloads with
# their disruption budgets (a drain must meet them), the signing of certificates that were approved. No cloud, volumes or endpoints.
controllers() {
  local -a needed=(garbage-collector-controller namespace-controller serviceaccount-controller root-ca-certificate-publisher-controller
    clusterrole-aggregation-controller validatingadmissionpolicy-status-controller node-lifecycle-controller taint-eviction-controller
    pod-garbage-collector-controller disruption-controller deployment-controller replicaset-controller statefulset-controller
    daemonset-controller job-controller resourcequota-controller certificatesigningrequest-signing-controller
    certificatesigningrequest-cleaner-controller)
  # shellcheck disable=SC2206 # words
  needed+=(${MORE_CONTROLLERS:-})
  local IFS=,
  printf '%s' "${needed[*]}"
}

start_controller_manager() {
  local port=$((PORT_BASE + 257))
  write_kubeconfig "$RUN_DIR/controller-manager.kubeconfig" controller-manager "$server"
  # --node-monitor-grace-period: simulated nodes renew their leases each 60 s (real kubelets: 10 s, and 50 s of grace), so three renewals may be missed.
  # --leader-elect=false: there is one of it; its renewals would be a third of an idle cluster's writes.
  start_process controller-manager "$bin/kube-controller-manager" --kubeconfig="$RUN_DIR/controller-manager.kubeconfig" --controllers="$(controllers)" \
    --bind-address=127.0.0.1 --secure-port="$port" --tls-cert-file="$PKI/serving.crt" --tls-private-key-file="$PKI/serving.key" \
    --use-service-account-credentials=true --service-account-private-key-file="$PKI/service-account.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --leader-elect=false "--node-monitor-grace-period=${NODE_MONITOR_GRACE:-180s}" --kube-api-qps=500 --kube-api-burst=1000
  await_process controller-manager 60 curl -sf --max-time 2 --cacert "$PKI/ca.crt" "https://127.0.0.1:$port/healthz"
}

start_scheduler() {
  local port=$((PORT_BASE + 259))
  write_kubeconfig "$RUN_DIR/scheduler.kubeconfig" scheduler "$server"
  cat >"$RUN_DIR/scheduler.yaml" <<YAML
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: "$RUN_DIR/scheduler.kubeconfig", qps: 500, burst: 1000}
leaderElection: {leaderElect: false}
YAML
  start_process scheduler "$bin/kube-scheduler" --config="$RUN_DIR/scheduler.yaml" \
    --bind-address=127.0.0.1 --secure-port="$port" --tls-cert-file="$PKI/serving.crt" --tls-private-key-file="$PKI/serving.key"
  await_process scheduler 60 curl -sf --max-time 2 --cacert "$PKI/ca.crt" "https://127.0.0.1:$port/healthz"
}

with_lock 8 kubernetes
for component in $COMPONENTS; do
  case $component in
    etcd) program=etcd ;;
    apiserver | controller-manager | scheduler) program=kube-$component ;;
    *) fail "COMPONENTS: etcd, apiserver, controller-manager and scheduler, not '$component'" ;;
  esac
  [[ -x $bin/$program ]] || fail "no $program in $bin: run 'make setup'"
  if is_running "$component"; then
    say "$component runs already (PID $(process_pid "$component"))"
    continue
  fi
  make_pki
  write_kubeconfig "$RUN_DIR/kubeconfig" admin "$server"
  began=${EPOCHREALTIME/./}
  "start_${component//-/_}" || fail "$component did not start"
  say "$component: ready after $(((${EPOCHREALTIME/./} - began) / 1000)) ms (PID $(process_pid "$component"))"
done
