#!/usr/bin/env bash
# Collects what scripts/gpu_check.sh needs on a machine with a GPU but without cargo: the stripped
# program, the test programs with tests called cuda_*, the operator library, kernels and scripts.
#
#   scripts/gpu_bundle.sh        writes gpu-bundle/ (ignored by git)
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

max_mib=60
bundle=$root/gpu-bundle

[ $# -eq 0 ] || fail "unknown argument $1" "scripts/gpu_bundle.sh (it takes none)"
"$root/scripts/setup.sh" --build-ahead
choose_archs all
cd "$root"
cargo build --release
program=$(target_dir)/release/inverse-flow
# a bundle without kernels would run every check of the GPU on nothing
grep -aq 'sm_[0-9]' "$program" || ! wants_cuda ||
  note "the program seems to hold no kernels: see what 'inverse-flow doctor' says"

rm -rf "$bundle"
mkdir -p "$bundle/bin" "$bundle/tests" "$bundle/scripts" "$bundle/python"

copy_stripped() {
  install -m 755 "$1" "$2"
  if has strip; then strip --strip-debug "$2"; fi
}
copy_stripped "$program" "$bundle/bin/inverse-flow"
copy_stripped "$(target_dir)/release/libinverse_flow.so" "$bundle/bin/libinverse_flow.so"

# cargo names the test programs, one JSON object a line
cargo test --release --no-run --message-format=json >"$bundle/cargo.json"
python3 - "$bundle/cargo.json" >"$bundle/list" <<'PY'
import json
import sys

for line in open(sys.argv[1]):
    if not line.startswith("{"):
        continue
    message = json.loads(line)
    if message.get("executable") and message.get("profile", {}).get("test"):
        print(message["target"]["name"], message["executable"], sep="\t")
PY
# only those that hold tests for a GPU, by the names of their tests
while IFS=$'\t' read -r name path; do
  if LD_LIBRARY_PATH="${LIBTORCH:-$root/.venv/libtorch}/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
    "$path" --list 2>/dev/null | grep -qE '(^|::)cuda_[a-z0-9_]*: test'; then
    copy_stripped "$path" "$bundle/tests/$name"
  fi
done <"$bundle/list"
rm "$bundle/cargo.json" "$bundle/list"
compgen -G "$bundle/tests/*" >/dev/null || note "no test is called cuda_*: the bundle has no GPU tests"

cp scripts/lib.sh scripts/versions.sh scripts/gpu_check.sh "$bundle/scripts/"
[ ! -d kernels ] || cp -r kernels "$bundle/kernels"
# the Python tests find package, fixtures and pages where the source tree has them; TorchScript files would need cargo
mkdir -p "$bundle/checks/python" "$bundle/tests/fixtures" "$bundle/docs"
cp tests/python/test_operator.py tests/python/test_package.py "$bundle/checks/python/"
cp -r python/. "$bundle/python/"
cp tests/fixtures/inv_conv.json "$bundle/tests/fixtures/"
cp README.md "$bundle/"
cp docs/python.md "$bundle/docs/"

commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || commit=$commit-modified
printf '%s\n' "$commit" >"$bundle/commit"

mib=$(($(du -sk "$bundle" | cut -f1) / 1024))
[ "$mib" -lt "$max_mib" ] ||
  fail "$bundle is $mib MiB, and at most $max_mib MiB travel well" "see what is large: du -ah gpu-bundle | sort -h | tail"
printf '%s: %d MiB, commit %s\non the other machine: scripts/gpu_check.sh OUT\n' "$bundle" "$mib" "$commit"
