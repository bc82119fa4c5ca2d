#!/usr/bin/env bash
# run.sh: what a fleet costs, and how that grows with it (`make bench`). For each size a fresh API server, operator and fleet on this machine: a
# MachineSet goes from `kubectl apply` to all Ready, then all of it is updated, then it rests. One table at the end, with the ratios of the sizes.
# Prints figures, never judges: a slow machine is no failure. Exit code 1 only when a run did not come to its end.
#
#   BENCH_MACHINES   the sizes, blank-separated (default "500 2000 10000": some half an hour)
#   BENCH_IDLE       seconds to watch the idle operator (default 60)
#   KEEP             not empty: leave the last one running to look around (RUN_DIR=.run/bench make down ends it)
set -euo pipefail
export RUN_DIR=${RUN_DIR:-.run/bench} PORT_BASE=${PORT_BASE:-21000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
read -ra sizes <<<"${BENCH_MACHINES:-500 2000 10000}"
results=$ROOT/.run/bench-results
mkdir -p "$results"
rm -f "$results"/*.tsv
for n in "${sizes[@]}"; do "$ROOT/e2e/bench/size.sh" "$n" "$results/$n.tsv"; done

echo
echo "endstate on $(nproc) cores (API server, etcd, fleet and operator together; agents' leases of 15 minutes):"
{
  printf 'FIGURE'
  printf '\t%s' "${sizes[@]}"
  ((${#sizes[@]} < 2)) || printf '\t%s / %s\tTARGET' "${sizes[-1]}" "${sizes[-2]}"
  printf '\n'
  files=()
  for n in "${sizes[@]}"; do files+=("$results/$n.tsv"); done
  # Each file: FIGURE, VALUE, TARGET (of the ratio of the last two sizes, or of the value itself).
  awk -F '\t' -v last="${#sizes[@]}" '
    FNR == 1 { file++ }
    { if (!($1 in row)) { row[$1] = ++rows; name[rows] = $1 }
      value[row[$1], file] = $2
      target[row[$1]] = $3 }
    END {
      for (r = 1; r <= rows; r++) {
        line = name[r]
        for (f = 1; f <= last; f++) line = line "\t" value[r, f]
        if (last > 1) line = line "\t" (value[r, last - 1] > 0 ? sprintf("%.2f", value[r, last] / value[r, last - 1]) : "-") "\t" target[r]
        print line
      }
    }' "${files[@]}"
} | column -t -s $'\t'
