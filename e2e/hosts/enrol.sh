# shellcheck shell=bash
# How real hosts enrol, and what their credentials may do: of e2e/hosts/run.sh. To be sourced after lib.sh.
# shellcheck disable=SC2154 # variables of run.sh and of the other parts

identity=/var/lib/endstate/identity

# enrol NAME: what a person does. The Host, and one pipe: the token never stands in a file of anybody but the host.
enrol() {
  local name=$1 disk=$hosts/$1
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: Host
metadata: {name: $name, namespace: ${namespace:-default}}
spec: {address: $(host_address "$name"), hardware: {idc: e2e, rack: $name}}
YAML
  mkdir -p "$disk/etc/endstate"
  tar -C "$disk/usr/local" -xf "$RUN_DIR/shop/agent.tar.gz"
  cp manifests/agent/endstate-agent.service "$disk/etc/systemd/system/"
  printf 'allow-url = ["%s/"]\nlease-seconds = 10\n' "$shop" >"$disk/etc/endstate/agent.conf"
  enrol_again "$name"
}
start_agent() { in_host "$1" systemctl enable --now endstate-agent >/dev/null 2>&1; }
enrol_again() {
  "$BUILD_BIN/kubectl-endstate" --kubeconfig "$RUN_DIR/kubeconfig" --namespace "${namespace:-default}" enrol "$1" --server "$api" |
    in_host "$1" /usr/local/bin/endstate-agent --enrol - --enrol-timeout-seconds 60
}

# as_host NAME FILE ARGS...: kubectl with a certificate that stands on the host: host.pem (meta cluster) or agent.pem (business cluster).
as_host() {
  local disk=$hosts/$1 pem=$2
  shift 2
  "$(kubectl_binary)" --kubeconfig /dev/null --server "$api" --certificate-authority "$PKI/ca.crt" \
    --client-certificate "$disk$identity/$pem" --client-key "$disk$identity/$pem" "$@"
}

enrolled_hosts() { [[ $(kubectl_admin get hosts -o json | jq '[.items[] | select(.status.phase == "Ready") | select(.status.conditions[]? | .type == "Enrolled" and .status == "True")] | length') == "$count" ]]; }
joined_hosts() { [[ $(kubectl_admin get hosts -o json | jq '[.items[] | select(.status.conditions[]? | .type == "Joined" and .status == "True")] | length') == "$count" ]]; }

known_as() { as_host h1 "$1" auth whoami -o jsonpath='{.status.userInfo.username}' | grep -x "$2"; } # FILE USER

# With the very certificates that stand on the host: both are tried on what they may not do.
story_rights() {
  local uid what file
  uid=$(kubectl_admin get host h1 -o jsonpath='{.metadata.uid}')
  check "every host has enrolled, and can be claimed" enrolled_hosts
  check "and has joined its cluster" until_true 30 joined_hosts
  check "keys are for root only" in_host h1 sh -c "[ \$(stat -c %a $identity) = 700 ] && [ -z \"\$(find $identity -type f ! -perm 600)\" ]"
  check "no token stands on the host" in_host h1 sh -c "! grep -lE '\"token\": *\"[^\"]' $identity/*"
  for file in host.pem agent.pem; do
    check "$file is known as this host" known_as "$file" "endstate:host:$uid"
    for what in "get hostassignments" "get secrets -A" "get secrets -n kube-system" "get nodes" "get pods -A" "get hosts -A" "get machines.endstate.dev -A" \
      "get machinepackageversions" "delete hostassignment $uid" "delete csr --all" "get clusterroles" "create configmap x --from-literal=a=b"; do
      # shellcheck disable=SC2086 # words
      refuses "with $file a host may not $what" "forbidden" as_host h1 "$file" $what
    done
  done
  check "certificate 1 reads its Host" as_host h1 host.pem get host h1
  check "certificate 1 reads its hand-over" as_host h1 host.pem get secret "endstate-host-$uid" -n endstate-system
  refuses "certificate 1 reports nothing" "forbidden" as_host h1 host.pem patch hostassignment "$uid" --subresource=status --type=merge -p '{"status":{"observedRevision":"x"}}'
  check "certificate 2 reads its orders" as_host h1 agent.pem get hostassignment "$uid"
  refuses "certificate 2 may not change its orders" "forbidden" as_host h1 agent.pem patch hostassignment "$uid" --type=merge -p '{"spec":{"state":"Released"}}'
  story_requests "$uid"
}

# ask NAME SUBJECT SIGNER USAGE: with certificate 2 of h1.
ask() {
  openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout /dev/null -subj "$2" 2>/dev/null >"$RUN_DIR/request.pem"
  printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"%s"},"spec":{"request":"%s","signerName":"%s","expirationSeconds":604800,"usages":["digital signature","%s"]}}' \
    "$1" "$(base64 -w 0 "$RUN_DIR/request.pem")" "$3" "$4" | as_host h1 agent.pem create -f -
}
request_is() { [[ $(kubectl_admin get csr "$1" -o jsonpath='{.status.conditions[*].type}') == "$2" ]]; }
denied() { ask "$@" >/dev/null && until_true 10 request_is "$1" Denied; }

# What a host that was taken over could ask for.
story_requests() {
  local client=kubernetes.io/kube-apiserver-client number
  number=$(kubectl_admin get host h1 -o jsonpath='{.status.identity}')
  ask own "/O=endstate:agents/O=endstate:host:$1:$number/CN=endstate:host:$1" $client "client auth" >/dev/null
  check "its own certificate again is approved" until_true 10 request_is own Approved
  check "another host's is denied" denied other "/O=endstate:agents/CN=endstate:host:00000000-0000-0000-0000-000000000000" $client "client auth"
  check "an administrator's is denied" denied admin "/O=cluster-admins/CN=endstate:host:$1" $client "client auth"
  check "the operator's is denied" denied operator "/O=endstate:agents/CN=system:serviceaccount:endstate-system:endstate-operator" $client "client auth"
  check "another Node's is denied" denied node "/O=system:nodes/CN=system:node:h9" kubernetes.io/kube-apiserver-client-kubelet "client auth"
  refuses "a serving certificate is not even asked for" "its own certificate and its kubelet's only" ask serving "/O=system:nodes/CN=system:node:h1" kubernetes.io/kubelet-serving "server auth"
}

# The kubelet's certificates: its own client and serving ones, approved by rule. The host has no openssl.
kubelet_certificate() { in_host h1 cat "/var/lib/kubelet/pki/kubelet-$1-current.pem" | openssl x509 -noout "${@:2}"; }
story_kubelet_certificates() {
  case_client() { kubelet_certificate client -subject | grep 'CN *= *system:node:h1$'; }
  check "the kubelet is known by its own certificate" case_client
  check "and serves with one of the cluster's" until_true 60 in_host h1 test -e /var/lib/kubelet/pki/kubelet-server-current.pem
  case_server() { kubelet_certificate server -ext subjectAltName | tail -n 1 | tr -d ' ' | grep -x "DNS:h1,IPAddress:$(host_address h1)"; }
  check "for its own name and address, and no other" case_server
}

# A host that lost what it is: enrolled again, its containers run on.
story_enrol_again() {
  local before
  before=$(counter_pids)
  in_host h1 systemctl stop endstate-agent
  rm -rf "${hosts:?}/h1$identity"
  check "a host that lost its credentials enrols again" enrol_again h1
  in_host h1 systemctl start endstate-agent
  check "and is back in its cluster" until_true 60 in_host h1 test -s "$identity/agent.pem"
  case_kept() { echo "before: $before now: $(counter_pids)" && [[ -n $before && $(counter_pids) == "$before" ]]; }
  check "its containers have kept their processes" case_kept
}
