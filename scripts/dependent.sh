#!/usr/bin/env bash
# Builds and runs a crate that depends on this one, with exactly the lines that docs/library.md ("As a dependency") gives to
# its users; the crate documentation (src/lib.rs) must hold the same lines.
#
#   scripts/dependent.sh            the operators and flows alone, as the page has it
#   scripts/dependent.sh --times    builds it with the default features too, and says how long either took
#
# A build begins where tch and what tch needs are compiled, and nothing else.
#
# The crate has target folders of its own: a library that is also a shared one has no hash in its file name, so two builds
# of it in one folder overwrite each other.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# block FILE LANGUAGE: the first block of code in that language of the section "As a dependency".
block() {
  awk -v fence='```'"$2" '
    /^#+ / { inside = ($0 ~ /^#+ As a dependency$/) }
    inside && $0 == fence { on = 1; next }
    on && /^```$/ { exit }
    on' "$1"
}

builds=(without-program)
case $#,${1:-} in
0,) ;;
1,--times) builds+=(with-program) ;;
*) fail "$* is no argument" "scripts/dependent.sh [--times]" ;;
esac

built=$(target_dir)/release
work=$(target_dir)/dependent
page=$root/docs/library.md
mkdir -p "$work"
sed -n 's|^//! \{0,1\}||p' "$root/src/lib.rs" >"$work/lib.md"
for language in toml rust,ignore; do
  block "$page" "$language" >"$work/page.block"
  [ -s "$work/page.block" ] || fail "docs/library.md has no $language block under \"As a dependency\"" "write it"
  block "$work/lib.md" "$language" | cmp -s "$work/page.block" - ||
    fail "docs/library.md and src/lib.rs differ in the $language block under \"As a dependency\"" "make them equal"
done

# make_crate NAME EDIT: the crate with the lines of the page, the first block edited.
make_crate() {
  local crate=$work/$1
  rm -rf "$crate"
  mkdir -p "$crate/src"
  printf '[package]\nname = "dependent"\nversion = "0.0.0"\nedition = "2021"\n\n%s\n\n[workspace]\n' \
    "$(block "$page" toml | sed "s,\"[^\"]*/inverse-flow\",\"$root\",;$2")" >"$crate/Cargo.toml"
  block "$page" rust,ignore >"$crate/build.rs"
  cp "$root/tests/dependent/program.rs" "$crate/src/main.rs"
  cp "$root/Cargo.lock" "$crate/"
}

# crates NAME: the crates that the program is linked with.
crates() { cargo tree --manifest-path "$work/$1/Cargo.toml" -e normal --prefix none | cut -d' ' -f1 | sort -u; }

# copy_tch NAME: what the crates up to tch were compiled to, into the crate's target folder.
copy_tch() {
  local target=$work/$1/target/release name file hash='????????????????'
  local -a files=()
  mkdir -p "$target"
  cd "$built"
  while read -r name; do
    # the pattern of the hash is not quoted on purpose
    # shellcheck disable=SC2086
    for file in .fingerprint/"$name"-$hash build/"$name"-$hash deps/{,lib}"${name//-/_}"-$hash.*; do
      [ ! -e "$file" ] || files+=("$file")
    done
  done < <(cargo tree --manifest-path "$root/Cargo.toml" -p tch -e normal,build --prefix none | cut -d' ' -f1 | sort -u)
  [ ${#files[@]} -eq 0 ] || cp -a --parents -t "$target" "${files[@]}"
  cd "$root"
}

# build NAME: builds the crate and says how long it took.
build() {
  local started=$SECONDS
  # without kernels and optimisation of this crate: what is tested is that the lines link and find libtorch
  INVERSE_FLOW_CUDA=0 cargo build --release --manifest-path "$work/$1/Cargo.toml" --target-dir "$work/$1/target" \
    --config 'profile.release.package.inverse-flow.opt-level=0' 2>&1 | tee "$work/build.log"
  ! grep -q '^warning' "$work/build.log" || fail "the build that users make of the crate has warnings" "mend them"
  printf 'dependent: %s: %d crates, %d s\n' "$1" "$(crates "$1" | wc -l)" "$((SECONDS - started))" | tee -a "$work/times"
}

cd "$root" # .cargo/config.toml says where libtorch is
: >"$work/times"
make_crate without-program ''
make_crate with-program 's/, default-features = false//'
cmp -s "$work/without-program/Cargo.toml" "$work/with-program/Cargo.toml" &&
  fail "the toml block of docs/library.md does not leave the default features out" "write default-features = false there"
with=$(crates with-program)
without=$(crates without-program)
for crate in clap indicatif plotters signal-hook; do
  grep -qx "$crate" <<<"$with" || fail "$crate is no dependency any more" "take it out of scripts/dependent.sh"
  ! grep -qx "$crate" <<<"$without" ||
    fail "$crate is compiled without the feature program too" "make it optional in Cargo.toml"
done
for name in "${builds[@]}"; do
  copy_tch "$name"
  build "$name"
done
program=$work/without-program/target/release/dependent
env -u LD_LIBRARY_PATH "$program" | tee "$work/output"
grep -qx 'dependent: ok' "$work/output"
cat "$work/times"
