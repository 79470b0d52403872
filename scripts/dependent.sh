#!/usr/bin/env bash
# Builds and runs a crate that depends on this one, with exactly the lines that docs/library.md ("As a dependency") gives to
# its users; the crate documentation (src/lib.rs) must hold the same lines.
#
# The crate has a target folder of its own: a library that is also a shared one has no hash in its file name, so two
# builds of it in one folder overwrite each other. What the registry's crates were compiled to is copied there.
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

built=$(target_dir)/release
work=$(target_dir)/dependent
crate=$work/crate
page=$root/docs/library.md
mkdir -p "$crate/src"
sed -n 's|^//! \{0,1\}||p' "$root/src/lib.rs" >"$work/lib.md"
for language in toml rust,ignore; do
  block "$page" "$language" >"$work/page.block"
  [ -s "$work/page.block" ] || fail "docs/library.md has no $language block under \"As a dependency\"" "write it"
  block "$work/lib.md" "$language" | cmp -s "$work/page.block" - ||
    fail "docs/library.md and src/lib.rs differ in the $language block under \"As a dependency\"" "make them equal"
done

# a file that did not change keeps its time, so that nothing is built again
put() { cmp -s - "$1" <<<"$2" || printf '%s\n' "$2" >"$1"; }
put "$crate/Cargo.toml" "[package]
name = \"dependent\"
version = \"0.0.0\"
edition = \"2021\"

$(block "$page" toml | sed "s,\"[^\"]*/inverse-flow\",\"$root\",")

[workspace]"
put "$crate/build.rs" "$(block "$page" rust,ignore)"
put "$crate/src/main.rs" "$(cat "$root/tests/dependent/program.rs")"
[ -e "$crate/Cargo.lock" ] || cp "$root/Cargo.lock" "$crate/"

if [ ! -d "$work/release" ]; then
  mkdir -p "$work/release"
  (cd "$built" && find .fingerprint build deps -type f ! -name '*inverse[_-]flow*' ! -path '*/inverse-flow-*' \
    \( ! -path 'deps/*' -o -name '*.rlib' -o -name '*.rmeta' -o -name '*.so' -o -name '*.d' \) -print0 |
    xargs -0 cp -a --parents -t "$work/release")
fi

# without kernels and optimisation of this crate: what is tested is that the lines link and find libtorch
cd "$root" # .cargo/config.toml says where libtorch is
export INVERSE_FLOW_CUDA=0 CARGO_TARGET_DIR=$work
cargo build --release --manifest-path "$crate/Cargo.toml" --config 'profile.release.package.inverse-flow.opt-level=0'
env -u LD_LIBRARY_PATH "$work/release/dependent" | tee "$work/output"
grep -qx 'dependent: ok' "$work/output"
