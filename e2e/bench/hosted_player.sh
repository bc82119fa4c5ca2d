#!/usr/bin/env bash
# hosted_player.sh ADMIN-PEM COUNT: plays the pods of hosted control planes, until it is stopped (e2e/bench/hosted.sh).
#
#   their status   each StatefulSet and Deployment of a control plane is told to be ready, a second after its spec was written
#   their servers  the endpoint of each cluster answers with the certificate that endstate made for it: haproxy takes TLS off and passes on to this
#                  run's own API server, as administrator. So all of them are one API server, and what they cost isn't counted. Until a cluster
#                  has its certificate, its port answers with one that nobody trusts. haproxy is never started anew: that would cut the
#                  connections of all.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
admin=$1 count=$2 server=https://127.0.0.1:$((PORT_BASE + 443)) first=$((PORT_BASE + 500)) control=$((PORT_BASE + 499)) work=$RUN_DIR/player
rm -rf "$work"
mkdir -p "$work/pem" "$work/known"
haproxy=
stop() {
  kill "$haproxy" 2>/dev/null || true
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

# One bind for each port that a cluster may have.
configure() {
  cat <<CFG
global
  maxconn 4000
  nbthread 1
  stats socket ipv4@127.0.0.1:$control level admin
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend clusters
CFG
  local port
  for ((port = first; port < first + count; port++)); do
    cp "$admin" "$work/pem/$port.pem"
    printf '  bind 127.0.0.1:%s ssl crt %s alpn h2,http/1.1\n' "$port" "$work/pem/$port.pem"
  done
  cat <<CFG
  default_backend api
backend api
  server api ${server#https://} ssl verify none crt $admin alpn h2
CFG
}
start_servers() {
  configure >"$work/haproxy.cfg"
  haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
  haproxy=$!
}
# tell COMMAND: haproxy's answer to it.
tell() {
  local link
  exec {link}<>"/dev/tcp/127.0.0.1/$control" || return 1
  printf '%s\n' "$1" >&"$link"
  timeout 5 cat <&"$link"
  exec {link}>&-
}
play_servers() {
  local port secret pem
  while read -r port secret; do
    [[ ! -e $work/known/$port ]] || continue
    pem=$(api "$server/api/v1/namespaces/$secret" 2>/dev/null | jq -r '.data["tls.crt"], .data["tls.key"] | @base64d' 2>/dev/null) || continue
    tell "set ssl cert $work/pem/$port.pem <<"$'\n'"$(sed '/^$/d' <<<"$pem")"$'\n' >/dev/null
    [[ $(tell "commit ssl cert $work/pem/$port.pem") == *Success* ]] || continue
    : >"$work/known/$port"
  done < <(api "$server/apis/endstate.dev/v1alpha1/clusters" | jq -r '.items[] | "\(.spec.controlPlane.endpoint.port) \(.metadata.namespace)/secrets/\(.metadata.name)-apiserver"')
}

umask 077
start_servers
while kill -0 "$haproxy" 2>/dev/null; do
  is_running apiserver || stop # `make down` knows nothing of the player
  play_status || true
  play_servers || true
  sleep 1
done
cat "$work/haproxy.log" >&2
fail "haproxy has ended"
