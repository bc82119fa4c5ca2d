# shellcheck shell=bash
# What every script here shares: messages with times, and processes that are stopped by identity, never by name. To be sourced.
#
# RUN_DIR (default .run) holds one run's state: NAME.pid, NAME.log, kubeconfigs, data. PORT_BASE (default 16000) is where its ports begin:
# two runs with other values live side by side (`make test` does that).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RUN_DIR=${RUN_DIR:-.run}
[[ $RUN_DIR == /* ]] || RUN_DIR=$ROOT/$RUN_DIR
PORT_BASE=${PORT_BASE:-16000}
BUILD_BIN=${BUILD_BIN:-$ROOT/build/bin}
export ROOT RUN_DIR PORT_BASE

# A shell's KUBECONFIG may be a production cluster: nothing here may ever fall back to it.
unset KUBECONFIG

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
warn() { printf '%s  warning: %s\n' "$(date +%T)" "$*" >&2; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# complain_each TEXT < names: says TEXT of each name, and sets the caller's `status` to 1: a check goes on, and fails at its end.
complain_each() {
  local name
  while IFS= read -r name; do
    printf '%s: %s\n' "$1" "$name" >&2
    # shellcheck disable=SC2034 # the caller's
    status=1
  done
}

# with_progress LABEL LOG COMMAND...: runs the command with its output in LOG; shows that it is alive, says how long it took, and prints the log's
# tail if it failed. A terminal gets one updating line, a file a line each 30 s.
with_progress() {
  local label=$1 log=$2 began=$SECONDS shown=0 status=0
  shift 2
  [[ -t 1 ]] || say "$label ..."
  "$@" >"$log" 2>&1 &
  local pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [[ -t 1 ]]; then
      printf '\r\033[K%s  %s ... %d s' "$(date +%T)" "$label" "$((SECONDS - began))"
    elif ((SECONDS - began - shown >= 30)); then
      shown=$((SECONDS - began))
      say "$label ... $shown s"
    fi
    sleep 0.2
  done
  wait "$pid" || status=$?
  [[ -t 1 ]] && printf '\r\033[K'
  if ((status != 0)); then
    say "$label: failed after $((SECONDS - began)) s; the end of $log:" >&2
    tail -n 30 "$log" >&2
    return "$status"
  fi
  say "$label: $((SECONDS - began)) s"
}

# Where the Kubernetes binaries are: the caller's, or those that e2e/kubernetes/build.sh makes.
kube_bin_dir() { printf '%s' "${ENDSTATE_KUBE_BIN_DIR:-$ROOT/.cache/kubernetes/bin}"; }

# The kubectl to use. On a cluster of the caller's (ENDSTATE_KUBECONFIG) nothing is built, so the PATH's will do.
kubectl_binary() {
  local own
  own=$(kube_bin_dir)/kubectl
  if [[ -x $own ]]; then
    printf '%s' "$own"
  elif [[ -n ${ENDSTATE_KUBECONFIG:-} ]] && type -P kubectl; then # -P: no function of that name
    return 0
  else
    fail "no kubectl in $(kube_bin_dir): run 'make setup'"
  fi
}

# use_foreign_cluster: keeps a flat copy of the caller's kubeconfig (ENDSTATE_KUBECONFIG) as this run's, so that every script has one place to look.
use_foreign_cluster() {
  [[ -r $ENDSTATE_KUBECONFIG ]] || fail "ENDSTATE_KUBECONFIG: can't read $ENDSTATE_KUBECONFIG"
  mkdir -p "$RUN_DIR"
  (umask 077 && "$(kubectl_binary)" --kubeconfig "$ENDSTATE_KUBECONFIG" config view --raw --flatten --minify >"$RUN_DIR/kubeconfig")
  kubectl_admin get --raw /readyz --request-timeout 20s >/dev/null || fail "the cluster of ENDSTATE_KUBECONFIG ($ENDSTATE_KUBECONFIG) doesn't answer"
  say "using the cluster of $ENDSTATE_KUBECONFIG"
}

# kubectl as the run's administrator.
kubectl_admin() { "$(kubectl_binary)" --kubeconfig "$RUN_DIR/kubeconfig" "$@"; }

# --- processes -------------------------------------------------------------------------------------------------------------------------
# A PID alone is not an identity: after a reboot or a wrap it belongs to a stranger. So NAME.birth keeps the boot and the start time (field 22
# of /proc/PID/stat, proc(5)), and only a process with both is ours.

process_birth() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  local -a field
  read -ra field <<<"${stat##*) }" # the command's name may hold blanks; what follows starts at field 3, the state
  [[ ${field[0]} != Z && ${field[0]} != X ]] || return 1
  printf '%s %s' "$(</proc/sys/kernel/random/boot_id)" "${field[19]}"
}

# process_pid NAME: prints the PID if that process runs and is ours.
process_pid() {
  local pid birth
  [[ -s $RUN_DIR/$1.pid && -s $RUN_DIR/$1.birth ]] || return 1
  pid=$(<"$RUN_DIR/$1.pid")
  birth=$(process_birth "$pid") || return 1
  [[ $birth == "$(<"$RUN_DIR/$1.birth")" ]] || return 1
  printf '%s' "$pid"
}

is_running() { process_pid "$1" >/dev/null; }

# start_process NAME COMMAND...: in a session of its own, so that Ctrl-C in the terminal doesn't reach it. The log before this one is kept once.
start_process() {
  local name=$1 log=$RUN_DIR/$1.log
  shift
  [[ ! -s $log ]] || mv -f "$log" "$log.1"
  setsid "$@" >"$log" 2>&1 </dev/null 7>&- 8>&- 9>&- & # 7 to 9 are locks; a child would hold them for ever
  local pid=$!
  process_birth "$pid" >"$RUN_DIR/$name.birth" || true
  printf '%s\n' "$pid" >"$RUN_DIR/$name.pid"
}

# stop_processes SECONDS NAME...: SIGTERM to all, waits, SIGKILL to what is left after the bound. Forgets the PID files.
stop_processes() {
  local bound=$1 name pid deadline
  shift
  local -a stopping=()
  for name in "$@"; do
    if pid=$(process_pid "$name"); then
      kill -TERM "$pid" 2>/dev/null || true
      stopping+=("$name")
    else
      rm -f "$RUN_DIR/$name.pid" "$RUN_DIR/$name.birth"
    fi
  done
  deadline=$((SECONDS + bound))
  for name in "${stopping[@]}"; do
    while pid=$(process_pid "$name"); do
      if ((SECONDS >= deadline)); then
        warn "$name (PID $pid) did not end within $bound s: killed"
        kill -KILL "$pid" 2>/dev/null || true
        deadline=$((SECONDS + 5))
      fi
      sleep 0.1
    done
    rm -f "$RUN_DIR/$name.pid" "$RUN_DIR/$name.birth"
  done
}

# await_process NAME SECONDS COMMAND...: until the command succeeds. A process that died, or the bound, ends it with the tail of its log.
await_process() {
  local name=$1 bound=$2 deadline
  shift 2
  deadline=$((SECONDS + bound))
  until "$@" >/dev/null 2>&1; do
    if ! is_running "$name"; then
      printf 'error: %s ended; the end of %s:\n' "$name" "$RUN_DIR/$name.log" >&2
    elif ((SECONDS >= deadline)); then
      printf 'error: %s is not ready after %s s; the end of %s:\n' "$name" "$bound" "$RUN_DIR/$name.log" >&2
    else
      sleep 0.1
      continue
    fi
    tail -n 20 "$RUN_DIR/$name.log" >&2
    return 1
  done
}

# with_lock FD NAME: one such script at a time in this RUN_DIR; the kernel drops the lock when the script ends, however it ends.
with_lock() {
  mkdir -p "$RUN_DIR"
  eval "exec $1>\"\$RUN_DIR/.$2.lock\""
  flock -w 300 "$1" || fail "another $2 is still at work in $RUN_DIR"
}
