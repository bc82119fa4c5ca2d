# shellcheck shell=bash
# What is told of real hosts, one function a story, in the order of run.sh. To be sourced after cluster.sh and packages.sh.
#
# The counter is a pod on each host that writes the next number five times a second. Its process is looked at by its PID, and what it wrote by
# a second counter's log: a number that is missing there is a container that was stopped or frozen for longer than a moment.
# shellcheck disable=SC2016,SC2034,SC2154 # what the host's shell expands; variables of run.sh and of the other parts

now_ms() { printf '%s' $((${EPOCHREALTIME/./} / 1000)); }
times=()
# timed LABEL COMMAND...: a row of the table at the end, if the command succeeds.
timed() {
  local label=$1 began status=0
  began=$(now_ms)
  shift
  "$@" || status=$?
  ((status != 0)) || times+=("$(printf '%6d ms  %s' $(($(now_ms) - began)) "$label")")
  return "$status"
}
print_times() {
  say "times:"
  ((${#times[@]} == 0)) || printf '  %s\n' "${times[@]}"
}

good_set() { machine_set workers containerd-new "kubelet-$kubelet_new" "${agent_line:-}"; }

# --- from bare to nodes ---------------------------------------------------------------------------------------------------------------------------
story_join() {
  machine_set workers containerd-old "kubelet-$kubelet_old"
  for name in $(all_hosts); do start_agent "$name"; done
  check "$count bare hosts become nodes" timed "$count bare hosts become schedulable nodes" until_true 240 running_machines "$count"
  kubectl_admin get nodes -o wide
}

# What others on the host can read, and what the unit leaves the agent.
story_surface() {
  case_secrets() {
    local found
    found=$(in_host h1 sh -c 'find /etc/endstate /etc/kubernetes -type f -perm /o+r -exec grep -l -e "PRIVATE KEY" -e client-key-data -e token: {} +
      find /var/lib/endstate -path /var/lib/endstate/generations -prune -o -type f -perm /o+r -print')
    echo "$found"
    [[ -z $found ]]
  }
  check "no secret on a host can be read by others" case_secrets
  case_unprivileged() { ! in_host h1 setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'cat /var/lib/endstate/identity/agent.pem || cat /etc/endstate/kubelet/bootstrap-kubeconfig || cat /var/lib/endstate/journal.json || ls /var/lib/endstate/blobs'; }
  check "another user reads neither credentials nor the journal nor artifacts" case_unprivileged
  case_exposure() { in_host h1 systemd-analyze security --no-pager --threshold=80 endstate-agent; }
  check "the unit's exposure by systemd's own measure is below 8 (9.6 without its options)" case_exposure
}

import_images() { # NAME
  local file
  for file in "$pause" "$counter"; do
    cp "$file" "$hosts/$1/root/image.tar"
    in_host "$1" ctr -n k8s.io images import /root/image.tar >/dev/null
  done
}
counter_pods() { # counter_label: one more label of theirs
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: counter, namespace: default}
spec:
  selector: {matchLabels: {app: counter}}
  template:
    metadata: {labels: {app: counter${counter_label:+, $counter_label}}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers:
      - name: counter
        image: docker.io/library/counter:e2e
        imagePullPolicy: Never
        command: [/bin/sh, -c, 'i=0; while :; do i=\$((i+1)); echo \$i >/count/count; echo \$i \$(date +%s) >>/count/log; sleep 0.2; done; : e2e-counter']
        volumeMounts: [{name: count, mountPath: /count}]
      volumes: [{name: count, hostPath: {path: /var/lib/e2e, type: DirectoryOrCreate}}]
YAML
}
# Their pods, too: Kubernetes collects those of nodes that are gone some time later, and one of them may still be said to run.
counters_away() {
  kubectl_admin delete daemonset counter --ignore-not-found >/dev/null
  kubectl_admin delete pods -l app=counter --force --grace-period=0 --ignore-not-found >/dev/null 2>&1
}
story_pods() {
  for name in $(all_hosts); do import_images "$name"; done
  counter_pods
  check "pods run on them" timed "a pod on each" until_true 60 pods_run
  pids=$(counter_pids)
}

# Every container has the process that it had, and has written each number: the longest time between two is 5 s (the machine is shared).
same_processes() { echo "before: $pids now: $(counter_pids)" && [[ -n $pids && $(counter_pids) == "$pids" ]]; }
host_never_skipped() {
  in_host "$1" cat /var/lib/e2e/log | awk -v host="$1" 'NR > 1 && ($1 != last + 1 || $2 > time + 5) { print host ": after " last " at " time " came " $0; bad = 1 }
    { last = $1; time = $2 } END { exit bad || NR < 10 }'
}
never_skipped() {
  local name
  for name in $(all_hosts); do host_never_skipped "$name" || return 1; done
}
containers_unharmed() { same_processes && never_skipped; }

# --- upgrades -------------------------------------------------------------------------------------------------------------------------------------
upgraded() { until_true 240 reported "$1" "$2" && until_true 120 rollout_is Complete; }
story_containerd() {
  machine_set workers containerd-new "kubelet-$kubelet_old"
  check "containerd is upgraded in place" timed "containerd 1.6 to 1.7, host by host" upgraded runtime containerd-new
  case_version() { for name in $(all_hosts); do in_host "$name" ctr version | grep '1\.7\.29' >/dev/null || return 1; done; }
  check "the new containerd runs" case_version
  check "no container was harmed by it" containers_unharmed
}
story_kubelet() {
  good_set
  check "the kubelet is upgraded in place" timed "kubelet $kubelet_old to $kubelet_new, host by host" upgraded kubelet "kubelet-$kubelet_new"
  case_kubelets() { [[ $(kubectl_admin get nodes -o json | jq --arg version "v$kubelet_new" '[.items[] | select(.status.nodeInfo.kubeletVersion == $version)] | length') == "$count" ]]; }
  check "nodes say the new version" until_true 30 case_kubelets
  order_to_change
  check "no container was harmed by it" containers_unharmed
}
# A row of the table out of h1's own log: its last update, from the order's arrival to changed files; stopping and starting is the package's own.
order_to_change() {
  local row
  row=$(in_host h1 journalctl -u endstate-agent --no-pager -o cat | awk 'function ms(t, p) { split(substr(t, 12), p, ":"); return ((p[1] * 60 + p[2]) * 60 + p[3]) * 1000 }
    / ordered revision/ { order = $1 } /Update, Change/ { from = order; to = $1 } END { if (from) printf "%6d ms  an agent, from the order of its last update to changed files", ms(to) - ms(from) }')
  times+=("$row")
}
story_bad() {
  local before
  before=$(unit_pids containerd)
  machine_set workers containerd-bad "kubelet-$kubelet_new"
  check "a bad version is taken back and rejected" timed "a bad containerd is tried, taken back, and rejected" until_true 240 rollout_is RolledBack
  check "the one before runs" until_true 60 reported runtime containerd-new
  case_one_host() { [[ $(paste <(printf '%s\n' "$before") <(unit_pids containerd) | awk '$1 != $2' | wc -l) == 1 ]]; }
  check "one host has tried it, and no other" case_one_host
  check "no container was harmed by it" containers_unharmed
  check "all machines are well" until_true 60 running_machines "$count"
  good_set
}

# What a change needs is on the host before anything is asked for or moved.
story_drain() {
  good_set
  check "nothing else is under way" until_true 120 rollout_is Complete
  machine_set workers containerd-drain "kubelet-$kubelet_new" "${agent_line:-}"
  check "a release that drains goes through" timed "a containerd that wants its host drained, host by host" upgraded runtime containerd-drain
  case_before() {
    in_host h1 journalctl -u endstate-agent --no-pager -o cat | grep -E ' ordered | did .*containerd-drain' | tail -n 40 |
      awk '/ did .*containerd-drain\.tar\.gz/ { fetched = NR } / ordered / { ordered = NR } { print } END { exit !(fetched && fetched < ordered) }'
  }
  check "its artifact was there before it was ordered" case_before
  check "the pods of DaemonSets ran on" containers_unharmed
  good_set
  check "and back to the one before" upgraded runtime containerd-new
}

# --- the agent itself ------------------------------------------------------------------------------------------------------------------------------
agent_slot() { printf '      - {name: endstate-agent, versionRef: {name: agent-%s}}' "$1"; }
bad_agent() { # VERSION WHAT
  good_set
  check "nothing else is under way" until_true 120 rollout_is Complete
  machine_set workers containerd-new "kubelet-$kubelet_new" "$(agent_slot "$1")"
  check "an agent that $2 is taken back" timed "an agent that $2 is taken back, and rejected" until_true 300 rollout_is RolledBack
  check "the agent before it reports" until_true 60 reported endstate-agent agent-next
}
story_agent() {
  agent_line=$(agent_slot next)
  good_set
  check "the agent upgrades itself" timed "the agent upgrades itself, host by host" upgraded endstate-agent agent-next
  case_runs() { for name in $(all_hosts); do in_host "$name" sh -c 'readlink "/proc/$(systemctl show -p MainPID --value endstate-agent)/exe"' | grep /generations/ || return 1; done; }
  check "the new agent is what runs" case_runs
  bad_agent ends "ends at once"
  bad_agent lost "can't reach the API server"
  good_set
  check "no container was harmed by it" containers_unharmed
}

# --- trouble --------------------------------------------------------------------------------------------------------------------------------------
story_drift() {
  case_drift() {
    in_host h1 rm /etc/containerd/config.toml
    in_host h1 systemctl stop kubelet
    in_host h1 sysctl -qw net.ipv4.ip_forward=0
    until_true 30 in_host h1 sh -c 'test -e /etc/containerd/config.toml && systemctl is-active kubelet && [ "$(sysctl -n net.ipv4.ip_forward)" = 1 ]'
  }
  check "a file, a unit and a sysctl that were changed by hand are put right within 30 s" timed "drift of a file, a unit and a sysctl" case_drift
}
story_kill() {
  case_kill_agent() {
    in_host h1 systemctl kill -s KILL endstate-agent
    until_true 20 in_host h1 systemctl is-active endstate-agent
  }
  check "an agent that is killed is back" timed "SIGKILL for the agent" case_kill_agent
  case_kill_kubelet() {
    in_host h1 systemctl kill -s KILL --kill-whom=main kubelet
    until_true 60 in_host h1 sh -c 'systemctl is-active kubelet && [ "$(systemctl show -p NRestarts --value kubelet)" -gt 0 ]' && until_true 60 running_machines "$count"
  }
  check "a kubelet that is killed is back" timed "SIGKILL for the kubelet" case_kill_kubelet
  check "no container was harmed by it" containers_unharmed
}
node_ready() { [[ $(kubectl_admin get node h1 -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}') == "$1" ]]; }
story_network() {
  ip link set vb-h1 down
  case_without() {
    in_host h1 rm /etc/containerd/config.toml
    until_true 30 in_host h1 test -e /etc/containerd/config.toml
  }
  check "a host without a network is kept as it is" timed "drift without a network" case_without
  check "its node is seen to be away" timed "a pulled network is seen" until_true 120 node_ready Unknown
  ip link set vb-h1 up
  case_back() { until_true 90 node_ready True && until_true 60 running_machines "$count"; }
  check "the network is back, and the machine well" timed "the network is back" case_back
  check "no container was harmed by it" containers_unharmed
}
story_power() {
  host_off h1
  sleep 1
  counts_again() { in_host h1 pgrep -f 'e2e-counter'; } # what the API server says of the pod may be of before
  case_power() { host_on h1 && until_true 120 running_machines "$count" && until_true 120 counts_again && until_true 60 reported kubelet "kubelet-$kubelet_new"; }
  check "a host that lost its power comes back as it was" timed "power off and on, to a running pod" case_power
  pids=$(counter_pids)
  for name in $(all_hosts); do in_host "$name" sh -c ': >/var/lib/e2e/log'; done # h1 has begun again
}
story_disk() {
  local before
  before=$(unit_pids containerd)
  in_host h1 sh -c 'fallocate -l $(($(df --output=avail -B1 /var/lib/endstate | tail -1) - 1048576)) /var/lib/endstate/filler'
  machine_set workers containerd-more "kubelet-$kubelet_new" "${agent_line:-}"
  check "a full disk is reported" timed "a full disk is reported" until_true 200 says runtime DiskFull
  case_stays() { [[ $(unit_pids containerd | head -n 1) == $(head -n 1 <<<"$before") ]] && node_ready True; }
  check "the host stays as it was" case_stays
  in_host h1 rm /var/lib/endstate/filler
  check "with room, it goes on" timed "with room again, the release is done" upgraded runtime containerd-more
  check "no container was harmed by it" containers_unharmed
  good_set
  check "and back to the newer one" upgraded runtime containerd-new
}

# What the agent costs while all is well: memory, and processor time over 60 s (clock ticks of 10 ms).
story_idle() {
  # shellcheck disable=SC2016 # the host's shell expands it
  in_host h1 sh -c 'p=$(systemctl show -p MainPID --value endstate-agent)
    ticks() { awk "{ print \$14 + \$15 }" "/proc/$p/stat"; }
    before=$(ticks); sleep 60
    echo "the agent, idle: $(grep VmRSS "/proc/$p/status" | tr -s "\t " " "), $(($(ticks) - before)) ticks of 10 ms in 60 s"'
}

# --- the end, and again ---------------------------------------------------------------------------------------------------------------------------
bare() {
  local name
  for name in $(all_hosts); do
    in_host "$name" sh -c '! ls /usr/local/bin/containerd /usr/local/bin/kubelet /etc/containerd /opt/cni /usr/local/lib/endstate-agent /etc/systemd/system/kubelet.service /var/lib/kubelet/pki /var/lib/kubelet/kubeconfig 2>/dev/null | grep . &&
      ! systemctl is-active containerd kubelet && ! dpkg-query -W crun libyajl2 e2e-slow 2>/dev/null | grep .' || return 1
    ! in_host "$name" find /var/lib/endstate/generations /var/lib/endstate/current /var/lib/endstate/displaced -mindepth 1 | grep . || return 1
  done
}
story_delete() { # NAME
  kubectl_admin delete machineset "$1" --wait=false >/dev/null
  check "deleted, its hosts are free" timed "machines are deleted, their hosts free" until_true 180 hosts_free
  check "and bare" bare
}

# The second runtime: Debian's crun, with a library of it, as packages of the distribution. The hosts are claimed again for it.
crun_lines() { printf '      - {name: yajl, versionRef: {name: libyajl2}}\n      - {name: oci, versionRef: {name: crun}}'; }
story_crun() {
  counters_away
  machine_set again containerd-crun "kubelet-$kubelet_new" "$(crun_lines)"
  check "the hosts are claimed again, with crun from Debian's packages" timed "bare hosts become nodes with crun" until_true 240 running_machines "$count"
  for name in $(all_hosts); do
    in_host "$name" rm -rf /var/lib/e2e
    import_images "$name"
  done
  counter_pods
  check "pods run under it" timed "a pod on each, under crun" until_true 90 pods_run
  case_crun() { in_host h1 sh -c 'ls /run/containerd/runc/k8s.io/*/status'; } # runc has a state.json there
  check "it is crun that runs them" case_crun
  case_removed() {
    in_host h1 dpkg --purge --force-depends crun >/dev/null 2>&1
    until_true 30 in_host h1 sh -c 'dpkg-query -W -f "\${db:Status-Status}" crun | grep -x installed && test -x /usr/bin/crun'
  }
  check "a package that was removed by hand is put back" timed "drift of a Debian package" case_removed
  # The agent and the dpkg that it runs are killed while the package is being configured.
  slow_is() { [[ $(in_host h1 dpkg-query -W -f '${db:Status-Status}' e2e-slow) == "$1" ]]; }
  case_cut() {
    machine_set again containerd-crun "kubelet-$kubelet_new" "$(crun_lines; printf '\n      - {name: slow, versionRef: {name: e2e-slow}}')"
    until_true 120 slow_is half-configured || return 1
    in_host h1 systemctl kill -s KILL --kill-whom=all endstate-agent
    slow_is half-configured && until_true 120 reported slow e2e-slow && slow_is installed
  }
  check "a dpkg that was killed half-way is made whole" timed "SIGKILL for the agent and its dpkg, to a whole package" case_cut
  story_delete again
}
