#!/usr/bin/env bash
# Collects what scripts/gpu_check.sh needs on a machine with a GPU but without cargo: the stripped program, the test
# programs whose tests run on any device, the operator library and scripts.
#
#   scripts/gpu_bundle.sh [90]    writes gpu-bundle/ (ignored by git), with kernels for this compute capability, or for all
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# what travels well: the bundle, and the checkout, in which it lies
max_mib=60
bundle=$root/gpu-bundle

case $#,${1:-90} in
[01],[0-9]*) ;;
*) fail "$* is no compute capability" "scripts/gpu_bundle.sh 90, or without an argument for all" ;;
esac
[ $# -eq 0 ] || export INVERSE_FLOW_CUDA_ARCHS=$1
"$root/scripts/setup.sh" --build-ahead
choose_archs all
cd "$root"
cargo build --release
program=$(target_dir)/release/inverse-flow
# a bundle without kernels would run every check of the GPU on nothing; the images are compressed, so the program is asked
if wants_cuda; then
  kernels=$("$program" doctor --json | tr -d '\n' | sed -n 's/.*"name": "CUDA kernels", *"verdict": "[a-z]*", *"found": "\([^"]*\)".*/\1/p')
  case $kernels in
  sm_*) ;;
  *) fail "the program has no kernels (${kernels:-doctor does not speak of them})" "scripts/setup.sh && cargo build --release" ;;
  esac
fi

rm -rf "$bundle"
mkdir -p "$bundle/bin" "$bundle/tests" "$bundle/scripts" "$bundle/python"

copy_stripped() {
  install -m 755 "$1" "$2"
  if has strip; then strip --strip-unneeded "$2"; fi
}
copy_stripped "$program" "$bundle/bin/inverse-flow"
copy_stripped "$(target_dir)/release/libinverse_flow.so" "$bundle/bin/libinverse_flow.so"

# the test programs whose tests run on the device that INVERSE_FLOW_TEST_DEVICE names; `program` looks for inverse-flow where
# it was built
mapfile -t names < <(grep -l '"\.\./common/device\.rs"' tests/*/main.rs | sed 's|tests/\(.*\)/main\.rs|\1|' | grep -vx program)
[ ${#names[@]} -gt 0 ] || fail "no test program includes tests/common/device.rs" "run it in a whole checkout"
# cargo names what it has built, one JSON object a line
cargo test --release --no-run --message-format=json "${names[@]/#/--test=}" >"$bundle/cargo.json"
for name in "${names[@]}"; do
  path=$(sed -n 's/.*"target":{[^}]*"name":"'"$name"'".*"test":true.*"executable":"\([^"]*\)".*/\1/p' "$bundle/cargo.json")
  [ -x "$path" ] || fail "cargo names no program for the tests '$name'" "see what 'cargo test --release --no-run --test $name' says"
  copy_stripped "$path" "$bundle/tests/$name"
done
rm "$bundle/cargo.json"

cp scripts/lib.sh scripts/versions.sh scripts/gpu_check.sh scripts/compare_devices.py "$bundle/scripts/"
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

kib=$(du -sk --apparent-size "$bundle" | cut -f1)
# what git knows of, and what it does not ignore
around=$(git ls-files -z --cached --others --exclude-standard 2>/dev/null |
  du -ck --apparent-size --files0-from=- 2>/dev/null | tail -n 1 | cut -f1) || around=0
mib=$(((kib + ${around:-0}) / 1024))
[ "$mib" -lt "$max_mib" ] ||
  fail "$bundle is $((kib / 1024)) MiB, the checkout $((${around:-0} / 1024)) MiB, and at most $max_mib MiB together travel well" \
    "name the GPU's compute capability, such as 90, or see what is large: du -ah gpu-bundle | sort -h | tail"
printf '%s: %d MiB, %d MiB with the checkout, commit %s\non the other machine: scripts/gpu_check.sh OUT\n' \
  "$bundle" $((kib / 1024)) "$mib" "$commit"
