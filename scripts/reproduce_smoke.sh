#!/usr/bin/env bash
# Runs every row of every table of the paper once at smoke size and says how long it took. A CPU is enough.
#
#   scripts/reproduce_smoke.sh [OUT [FLAG...]]    OUT is runs/reproduce-smoke by default; called again it goes on
#
# Flags go to `inverse-flow reproduce`, for instance --device cuda or --threads 1.
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
[ ${#flags[@]} -gt 0 ] || flags=(--device cpu)
program=${INVERSE_FLOW:-target/release/inverse-flow}
if ! [ -x "$program" ]; then
  printf 'reproduce_smoke.sh: no %s: cargo build --release\n' "$program" >&2
  exit 1
fi

failed=()
SECONDS=0
for table in table3 table6 table7 table9 table10; do
  printf '\n== %s ==\n' "$table"
  "$program" reproduce "$table" --budget smoke "${flags[@]}" --out "$out/$table" || failed+=("$table")
done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'reproduce_smoke.sh: FAILED: %s\n' "${failed[*]}" >&2
  exit 1
fi
printf '\nreproduce_smoke.sh: ok, %d s\n' "$SECONDS"
