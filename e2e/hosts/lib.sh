# shellcheck shell=bash
# Real hosts for e2e/hosts/run.sh: machines of systemd-nspawn with disks of their own, on a bridge of the run's own. To be sourced after hack/lib.sh.
# shellcheck disable=SC2034,SC2154 # variables of run.sh and of the other parts
cache=$ROOT/.cache/hosts
bridge=br-endstate
net=10.231.77 # .1 is the bridge, .11 and on are the hosts
hosts=$RUN_DIR/hosts

# Interfaces and NAT rules of the run; nothing else of this machine is touched.
network_up() {
  ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
  ip addr replace "$net.1/24" dev "$bridge"
  ip link set "$bridge" up
}
network_down() { ! ip link show "$bridge" >/dev/null 2>&1 || ip link del "$bridge"; }

host_address() { printf '%s.%d' "$net" $((10 + ${1#h})); }
# leader NAME: the PID of the host's init.
leader() {
  local pid
  pid=$(process_pid "$1") || return 1
  pgrep -P "$pid" | head -n 1
}
# in_host NAME COMMAND...
in_host() {
  local pid
  pid=$(leader "$1") || return 1
  shift
  nsenter -t "$pid" -m -u -i -n -p -C -- "$@"
}

host_runs() { in_host "$1" systemctl is-system-running 2>/dev/null | grep -qE '^(running|degraded)$'; }

# A small disk for what the agent keeps on h1, so that it can be filled; it stays when the power goes.
disk_of_h1() { mountpoint -q "$hosts/h1/var/lib/endstate" || { mkdir -p "$hosts/h1/var/lib/endstate" && mount -t tmpfs -o size=900m,mode=0711 tmpfs "$hosts/h1/var/lib/endstate"; }; }
disk_away() { ! mountpoint -q "$hosts/$1/var/lib/endstate" || umount "$hosts/$1/var/lib/endstate"; }

# host_on NAME: power. Its disk is a copy of the tree, made once.
host_on() {
  local name=$1 disk=$hosts/$1 group
  if [[ ! -d $disk ]]; then
    mkdir -p "$hosts"
    cp -a --reflink=auto "$cache/tree" "$disk.part"
    printf '%s\n' "$name" >"$disk.part/etc/hostname"
    # A host knows its own name, and asks nobody that it can't reach: a kubelet looks its name up twice before it registers, and each wait for a
    # name server of 10 s makes it miss its moment (it tries to write its CSINode at 0.6, 1, 2, 4, 20 and 120 s).
    printf '%s %s\n' "$(host_address "$name")" "$name" >>"$disk.part/etc/hosts"
    : >"$disk.part/etc/resolv.conf"
    mv "$disk.part" "$disk"
  fi
  [[ $name != h1 ]] || disk_of_h1
  # SYSTEMD_SECCOMP=0: the filter has no rule for some of what containers need. /dev/kmsg: the kubelet wants it.
  start_process "$name" env SYSTEMD_SECCOMP=0 systemd-nspawn -q -D "$disk" --boot --network-bridge="$bridge" -M "$name" --register=no --keep-unit \
    --capability=all --bind=/dev/kmsg --console=pipe
  local deadline=$((SECONDS + 120))
  until host_runs "$name"; do
    if ((SECONDS >= deadline)); then
      in_host "$name" sh -c 'systemctl is-system-running; systemctl list-jobs --no-pager; journalctl -b -n 20 --no-pager' >&2 || true
      fail "host $name doesn't come up: see $RUN_DIR/$name.log"
    fi
    sleep 0.2
  done
  in_host "$name" ip addr replace "$(host_address "$name")/24" dev host0
  in_host "$name" ip link set host0 up
  in_host "$name" ip route replace default via "$net.1"
  # cgroup v1: containers need to write below what is theirs. All hosts, and this machine, see one tree of most controllers, and a kubelet kills
  # what it doesn't know below its root: so each has a root of its own. A cpuset has nothing before it is given something.
  for group in cpuset cpu pids memory freezer devices cpuacct blkio; do
    in_host "$name" mount -o remount,bind,rw "/sys/fs/cgroup/$group" 2>/dev/null || true
  done
  # shellcheck disable=SC2016 # the host's shell expands it
  in_host "$name" sh -c 'for group in /sys/fs/cgroup/*/; do mkdir -p "$group/endstate-$0"; done
    for file in cpuset.cpus cpuset.mems; do cat "/sys/fs/cgroup/cpuset/$file" >"/sys/fs/cgroup/cpuset/endstate-$0/$file"; done' "$name" || true
}

# host_off NAME: as when the plug is pulled.
host_off() {
  local pid
  pid=$(leader "$1") && kill -KILL "$pid" 2>/dev/null
  stop_processes 15 "$1"
  local folder
  for folder in /sys/fs/cgroup/*/endstate-"$1"; do
    [[ ! -d $folder ]] || find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

# archive NAME FOLDER: a .tar.gz of the folder in the shop; prints its SHA-256.
archive() {
  local file=$RUN_DIR/shop/$1.tar.gz # packed for speed: it goes over a bridge of this machine
  tar -C "$2" --owner=0 --group=0 --sort=name --mtime=@0 -I 'gzip -1' -cf "$file" .
  sha256sum "$file" | cut -d ' ' -f 1
}

# image NAME COMMAND-JSON: an image whose one layer is a static busybox, as a tar that `ctr images import` takes; prints the file's name.
image() {
  local name=$1 command=$2 work file=$RUN_DIR/shop/image-$1.tar layer config manifest
  work=$(mktemp -d)
  mkdir -p "$work/root/bin" "$work/root/tmp" "$work/oci/blobs/sha256"
  cp /bin/busybox "$work/root/bin/busybox"
  for applet in sh sleep cat echo date; do ln -s busybox "$work/root/bin/$applet"; done
  tar -C "$work/root" --owner=0 --group=0 --sort=name --mtime=@0 -cf "$work/layer.tar" .
  blob() { # FILE: stores it, prints "sha size"
    local sha
    sha=$(sha256sum "$1" | cut -d ' ' -f 1)
    cp "$1" "$work/oci/blobs/sha256/$sha"
    printf '%s %s' "$sha" "$(stat -c %s "$1")"
  }
  read -r layer layer_size < <(blob "$work/layer.tar"; echo)
  printf '{"architecture":"amd64","os":"linux","config":{"Cmd":%s,"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$command" "$layer" >"$work/config"
  read -r config config_size < <(blob "$work/config"; echo)
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%s}]}' \
    "$config" "$config_size" "$layer" "$layer_size" >"$work/manifest"
  read -r manifest manifest_size < <(blob "$work/manifest"; echo)
  printf '{"imageLayoutVersion":"1.0.0"}' >"$work/oci/oci-layout"
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"io.containerd.image.name":"docker.io/library/%s:e2e","org.opencontainers.image.ref.name":"e2e"}}]}' \
    "$manifest" "$manifest_size" "$name" >"$work/oci/index.json"
  tar -C "$work/oci" -cf "$file" .
  rm -rf "$work"
  printf '%s' "$file"
}
