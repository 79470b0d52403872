#!/usr/bin/env bash
# Runs every row of every table of the paper once at smoke size and says how long it took. A CPU is enough.
#
#   scripts/reproduce_smoke.sh [OUT [FLAG...]]    OUT is runs/reproduce-smoke by default; called again it goes on
#
# Without flags it runs on the CPU, two tables at a time with half of the cores each. Flags go to `inverse-flow reproduce`, for
# instance --device cuda or --threads 1; the tables then run one after the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
-h | --help)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
out=${1:-runs/reproduce-smoke}
flags=("${@:2}")
program=${INVERSE_FLOW:-target/release/inverse-flow}
if ! [ -x "$program" ]; then
  printf 'reproduce_smoke.sh: no %s: cargo build --release\n' "$program" >&2
  exit 1
fi

at_once=1
if [ ${#flags[@]} -eq 0 ]; then
  cores=$(nproc)
  at_once=$((cores > 1 ? 2 : 1))
  flags=(--device cpu --threads "$((cores / at_once))")
fi

# run_table TABLE: what it prints comes in one piece, when it has ended.
run_table() {
  local code=0
  "$program" reproduce "$1" --budget smoke "${flags[@]}" --out "$out/$1" >"$out/$1.log" 2>&1 </dev/null || code=$?
  printf '\n== %s ==\n%s\n' "$1" "$(cat "$out/$1.log")"
  [ "$code" -eq 0 ] || printf '%s\n' "$1" >>"$out/failed"
}

mkdir -p "$out"
rm -rf "$out/failed" "$out"/*.taken # of a call that was ended
SECONDS=0
# the longest first, so that both ends are near each other
tables=(table7 table3 table6 table9 table10)
for ((nth = 0; nth < at_once; nth++)); do
  (
    # each takes the next table that nobody has taken
    for table in "${tables[@]}"; do
      if mkdir "$out/$table.taken" 2>/dev/null; then run_table "$table"; fi
    done
  ) &
done
trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM # the programs have had the signal too, and save
wait
rm -rf "$out"/*.taken
if [ -s "$out/failed" ]; then
  printf 'reproduce_smoke.sh: FAILED: %s\n' "$(tr '\n' ' ' <"$out/failed")" >&2
  exit 1
fi
printf '\nreproduce_smoke.sh: ok, %d s\n' "$SECONDS"
