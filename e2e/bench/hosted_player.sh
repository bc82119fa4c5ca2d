#!/usr/bin/env bash
# hosted_player.sh ADMIN-PEM: plays the pods of hosted control planes, until it is stopped (e2e/bench/hosted.sh).
#
#   their status   each StatefulSet and Deployment of a control plane is told to be ready, a second after its spec was written
#   their servers  the endpoint of each cluster answers with the certificate that endstate made for it: haproxy takes TLS off and passes on to this
#                  run's own API server, as administrator. So all of them are one API server, and what they cost isn't counted.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
admin=$1 server=https://127.0.0.1:$((PORT_BASE + 443)) work=$RUN_DIR/player
mkdir -p "$work/pem"
haproxy=
stop() {
  [[ -z $haproxy ]] || kill "$haproxy" 2>/dev/null || true
  exit 0
}
trap stop TERM INT
api() { curl -sf --max-time 20 --cacert "$RUN_DIR/pki/ca.crt" --cert "$admin" "$@"; }
list() { api "$server/$1?labelSelector=endstate.dev%2Fcomponent"; }

# A curl configuration that patches the status of each workload that isn't well.
patches() { # KIND-PATH
  list "apis/apps/v1/$1" | jq -r --arg server "$server" --arg kind "$1" --arg ca "$RUN_DIR/pki/ca.crt" --arg cert "$admin" '
    .items[] | . as $o | (.spec.replicas // 1) as $n
    | select(.status.observedGeneration != .metadata.generation or .status.availableReplicas != $n)
    | {status: {observedGeneration: .metadata.generation, replicas: $n, readyReplicas: $n, updatedReplicas: $n, availableReplicas: $n}} as $status
    | "next", "cacert = \"\($ca)\"", "cert = \"\($cert)\"", "max-time = 20", "request = PATCH", "url = \"\($server)/apis/apps/v1/namespaces/\($o.metadata.namespace)/\($kind)/\($o.metadata.name)/status\"",
      "header = \"Content-Type: application/merge-patch+json\"", "data = \($status | tojson | tojson)", "output = /dev/null", "silent"'
}
play_status() {
  { patches statefulsets && patches deployments; } | sed '1{/^next$/d}' >"$work/patches" || return 0
  [[ ! -s $work/patches ]] || curl --no-progress-meter --parallel --parallel-max 16 --config "$work/patches" || true # each transfer has options of its own
}

# The ports, and which certificate each has.
configure() {
  cat <<CFG
global
  maxconn 4000
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend clusters
CFG
  local pem
  for pem in "$work"/pem/*.pem; do printf '  bind 127.0.0.1:%s ssl crt %s alpn h2,http/1.1\n' "$(basename "$pem" .pem)" "$pem"; done
  cat <<CFG
  default_backend api
backend api
  server api ${server#https://} ssl verify none crt $admin alpn h2
CFG
}
play_servers() {
  local port secret changed=
  while read -r port secret; do
    [[ ! -s $work/pem/$port.pem ]] || continue
    api "$server/api/v1/namespaces/$secret" 2>/dev/null | jq -r '.data["tls.crt"], .data["tls.key"] | @base64d' >"$work/part" 2>/dev/null || continue
    mv "$work/part" "$work/pem/$port.pem"
    changed=1
  done < <(api "$server/apis/endstate.dev/v1alpha1/clusters" | jq -r '.items[] | "\(.spec.controlPlane.endpoint.port) \(.metadata.namespace)/secrets/\(.metadata.name)-apiserver"')
  [[ -n $changed ]] || return 0
  configure >"$work/haproxy.cfg"
  if [[ -z $haproxy ]] || ! kill -0 "$haproxy" 2>/dev/null; then
    haproxy -W -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
    haproxy=$!
  else
    kill -USR2 "$haproxy"
  fi
}

umask 077
while true; do
  play_status || true
  play_servers || true
  sleep 1
done
