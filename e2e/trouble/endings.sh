# shellcheck shell=bash
# Stories: what is asked to let go ends, whatever is gone already; and what can't be done is said. To be sourced by run.sh.
# shellcheck disable=SC2154 # short, seed and cut_seconds are run.sh's

# Namespaces with a Cluster, Hosts and Machines in them are deleted; before that some of it by hand, in an order by chance.
story_namespaces() {
  local count=20 i name
  [[ -z $short ]] || count=4
  for ((i = 1; i <= count; i++)); do
    name=ns$i
    kubectl create namespace "$name" >/dev/null
    fleet_up "$name" "$name" 3 $((PORT_BASE + 740 + i))
    kubectl apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: c, namespace: $name, labels: {trouble: namespaces}}
spec: {controlPlane: {type: External}}
YAML
    pool "$name" w c 3
  done
  kubectl apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: ChangeBudget
metadata: {name: namespaces}
spec: {clusterSelector: {matchLabels: {trouble: namespaces}}, limits: [{name: one, operations: [MachineDelete], maxConcurrent: 1}]}
YAML
  for ((i = 1; i <= count; i++)); do by 120 ready_are "ns$i" w 3 || check "ns$i: 3 machines are Ready" false; done
  local -a deleting=()
  for ((i = 1; i <= count; i++)); do
    delete_by_chance "ns$i" &
    deleting+=($!)
  done
  wait "${deleting[@]}" # not for the recorder, which is a child too
  for ((i = 1; i <= count; i++)); do check "namespaces: ns$i goes ($(<"$RUN_DIR/order-ns$i"))" by 180 gone namespace "ns$i" --ignore-not-found; done
  check "namespaces: no HostAssignment of them is left" none_left hostassignments '.spec.nodeName'
  check "namespaces: no Node of them is left" none_left nodes '.metadata.name'
  kubectl delete changebudget namespaces >/dev/null
}
delete_by_chance() {
  local -a kinds
  local kind number=$((${1#ns} % 5))
  mapfile -t kinds < <(printf '%s\n' guardledgers machines machinesets clusters hosts | shuf --random-source=<(openssl enc -aes-256-ctr -pass "pass:$seed$1" -nosalt </dev/zero 2>/dev/null) | head -n "$number")
  printf '%s' "first ${kinds[*]:-nothing}, then the namespace" >"$RUN_DIR/order-$1"
  for kind in ${kinds[@]+"${kinds[@]}"}; do kubectl delete "$kind.endstate.dev" -n "$1" --all --wait=false >/dev/null || true; done
  kubectl delete namespace "$1" --wait=false >/dev/null
}
none_left() { # KIND PATH of the name
  local left
  left=$(kubectl get "$1" -o json | jq -r ".items[] | $2" | grep -E '^ns[0-9]+-' || true)
  [[ -z $left ]] || { printf '%s\n' "$left" && return 1; }
}

# play_lost NAME: a business cluster is gone for good, with machines in it; all is deleted by force.
play_lost() {
  local name=$1 port=$((PORT_BASE + 620 + ${#1}))
  relay_up "$name" "$port"
  kubectl create namespace "$name" >/dev/null
  fleet_up "$name" "${name//_/-}" 2 $((PORT_BASE + 780 + ${#1}))
  far_secret "$name" "$name" "$port"
  far_cluster "$name" "$name"
  pool "$name" fs "$name" 2
  check "$name: 2 machines are Ready" by 90 ready_are "$name" fs 2
  relay_down "$name"
  "lose_$1"
  kubectl delete machineset fs -n "$name" --wait=false >/dev/null
  kubectl annotate machines -n "$name" --all endstate.dev/force-delete="site burnt down" >/dev/null
  kubectl delete cluster.endstate.dev "$name" -n "$name" --wait=false >/dev/null
  check "$name: the forced Machines go" by 90 gone machines -n "$name"
  check "$name: the Cluster goes" by 90 gone clusters.endstate.dev -n "$name"
  check "$name: the Hosts are free, and said to be not wiped" not_wiped "$name"
}
not_wiped() {
  kubectl get hosts -n "$1" -o json | jq -e 'all(.items[]; (.spec | has("consumerRef") | not) and any(.status.conditions[]?; .type == "Wiped" and .status == "False"))'
}
story_lost_cluster() { play_lost lost; }
lose_lost() { sleep 30; }
# The Secret is gone too, and a new operator has never seen the cluster.
story_lost_secret() { play_lost lost-all; }
lose_lost-all() {
  kubectl delete secret lost-all -n lost-all >/dev/null
  kill_operator
  start_operator
  sleep 5
}

# Pods that can't be evicted, or come back at once; a volume that stays attached.
story_stubborn_pods() {
  kubectl create namespace stubborn >/dev/null
  fleet_up stubborn stubborn 3 $((PORT_BASE + 730))
  kubectl apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: stubborn, namespace: stubborn}
spec: {controlPlane: {type: External}}
YAML
  local name
  for name in two-budgets comes-back attached; do pool stubborn "$name" stubborn 1; done
  for name in two-budgets comes-back attached; do by 90 ready_are stubborn "$name" 1 || check "$name: Ready" false; done
  kubectl apply -f - >/dev/null <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: two-budgets, namespace: stubborn}
spec:
  replicas: 1
  selector: {matchLabels: {app: two-budgets}}
  template:
    metadata: {labels: {app: two-budgets}}
    spec: {nodeSelector: {pool: two-budgets}, containers: [{name: c, image: example.com/shop:1}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: one, namespace: stubborn}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: two-budgets}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: two, namespace: stubborn}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: two-budgets}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: comes-back, namespace: stubborn}
spec:
  replicas: 1
  selector: {matchLabels: {app: comes-back}}
  template:
    metadata: {labels: {app: comes-back}}
    spec:
      nodeSelector: {pool: comes-back}
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: example.com/shop:1}]
YAML
  by 60 pods_run stubborn 2 || check "stubborn: the pods run" false
  local node
  node=$(kubectl get machines -n stubborn -l pool=attached -o jsonpath='{.items[0].status.nodeRef.name}')
  kubectl apply -f - >/dev/null <<YAML
apiVersion: storage.k8s.io/v1
kind: VolumeAttachment
metadata: {name: stubborn}
spec: {attacher: csi.example.com, nodeName: $node, source: {persistentVolumeName: pv-stubborn}}
YAML
  kubectl delete machines -n stubborn --all --wait=false >/dev/null
  check "two budgets: the API server's words stand at the Machine" by 40 machine_says stubborn two-budgets "more than one PodDisruptionBudget"
  check "an attached volume is waited for, and named" by 40 machine_says stubborn attached stubborn
  kubectl delete volumeattachment stubborn >/dev/null
  check "detached, its machine goes" by 60 replaced stubborn attached
  check "a pod that comes back is left, its machine goes" by 60 replaced stubborn comes-back
  # As it was, and two comebacks; and one more, if it was back within the second in which the drain began (times of objects are whole seconds).
  check "it was evicted at most 3 times, or 4" test "$(evictions stubborn comes-back)" -le 5
  kubectl delete poddisruptionbudget two -n stubborn >/dev/null
  check "one budget: its machine goes" by 90 replaced stubborn two-budgets
  kubectl delete deployment -n stubborn --all >/dev/null
  kubectl delete machinesets -n stubborn --all --wait=false >/dev/null
}
pods_run() { [[ $(kubectl get pods -n "$1" --field-selector status.phase=Running -o name | wc -l) == "$2" ]]; }
machine_says() { kubectl get machines -n "$1" -l "pool=$2" -o json | jq -e --arg text "$3" 'any(.items[] | select(.metadata.deletionTimestamp); (.status.blockedBy.message // "") + (.status.blockedBy.name // "") | contains($text))'; }
replaced() { kubectl get machines -n "$1" -l "pool=$2" -o json | jq -e 'all(.items[]; .metadata.deletionTimestamp == null)'; }
# Pods of the Deployment that were ever made: by what the ReplicaSet's events say.
evictions() { kubectl get events -n "$1" -o json | jq --arg app "$2" '[.items[] | select(.reason == "SuccessfulCreate" and (.message | startswith("Created pod: \($app)"))) | .count // 1] | add // 0'; }

# A quota refuses Machines: said at the set, with the API server's words.
story_quota() {
  kubectl create namespace quota >/dev/null
  kubectl apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: quota, namespace: quota}
spec: {controlPlane: {type: External}}
YAML
  by 90 quota_counts || true
  pool quota quo quota 3
  check "quota: the set says ReplicaFailure with the API server's words" by 30 set_says quota quo "exceeded quota"
  check "quota: and a Warning event tells it" by 30 event_says quota FailedCreate "exceeded quota"
  check "quota: it isn't called up to date" not_up_to_date quota quo
  kubectl delete quota q -n quota >/dev/null
  check "quota: the rest is made when it is gone" by 60 machines_number quota 3
  kubectl delete machinesets -n quota --all --wait=false >/dev/null
}
# Made anew until it counts: one from before the quota controller saw the CRD is looked at only each five minutes.
quota_counts() {
  kubectl delete quota q -n quota --ignore-not-found
  kubectl create quota q -n quota --hard=count/machines.endstate.dev=1
  sleep 3
  [[ $(kubectl get quota q -n quota -o jsonpath='{.status.used}') == *machines* ]]
}
set_says() { kubectl get machineset "$2" -n "$1" -o json | jq -e --arg text "$3" 'any(.status.conditions[]; .type == "ReplicaFailure" and .status == "True" and (.message | contains($text)))'; }
event_says() { kubectl get events.events.k8s.io -n "$1" -o json | jq -e --arg reason "$2" --arg text "$3" 'any(.items[]; .reason == $reason and .type == "Warning" and (.note | contains($text)))'; }
not_up_to_date() { kubectl get machineset "$2" -n "$1" -o json | jq -e 'any(.status.conditions[]; .type == "UpToDate" and .status != "True")'; }
machines_number() { [[ $(kubectl get machines -n "$1" -o name | wc -l) == "$2" ]]; }
