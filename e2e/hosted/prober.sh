#!/usr/bin/env bash
# prober.sh KUBECONFIG FILE: a client of a hosted cluster that creates a ConfigMap and gets it again, as often as it can, until it is stopped. A line a
# request in FILE: "<start, seconds> <how long it took until it succeeded> <name>". A request is tried again until it succeeds: what counts is how
# long a client had to wait for it.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
kubeconfig=$1 out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stop=
trap 'stop=1' TERM INT
umask 077
jq -r '.users[0].user["client-certificate-data"]' "$kubeconfig" | base64 -d >"$work/crt"
jq -r '.users[0].user["client-key-data"]' "$kubeconfig" | base64 -d >"$work/key"
jq -r '.clusters[0].cluster["certificate-authority-data"]' "$kubeconfig" | base64 -d >"$work/ca"
url=$(jq -r '.clusters[0].cluster.server' "$kubeconfig")/api/v1/namespaces/default/configmaps
call() { curl -s -o /dev/null -w '%{http_code}' --max-time 2 --cacert "$work/ca" --cert "$work/crt" --key "$work/key" "$@" || true; }

# 409 to a second create means that the first one was done.
n=0
until [[ -n $stop ]]; do
  n=$((n + 1))
  name=probe-$n
  began=${EPOCHREALTIME/./}
  until code=$(call -X POST -H 'Content-Type: application/json' -d "{\"metadata\":{\"name\":\"$name\"}}" "$url") && [[ $code == 201 || $code == 409 ]]; do sleep 0.02; done
  until code=$(call "$url/$name") && [[ $code == 200 ]]; do sleep 0.02; done
  now=${EPOCHREALTIME/./}
  printf '%s.%06d %d.%03d %s\n' "$((began / 1000000))" "$((began % 1000000))" "$(((now - began) / 1000000))" "$(((now - began) / 1000 % 1000))" "$name" >>"$out"
  sleep 0.05
done
