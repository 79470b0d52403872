#!/usr/bin/env bash
# Checks the rules of the source tree that the compiler does not: who may import whom, where `unsafe`
# and the native crates may stand, what a library must not do, and how long a file may get.
#
#   scripts/check_layers.sh [DIR]    DIR holds src/ and kernels/; the repository by default
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "${1:-$here/..}"

max_lines=400
breaches=0

# report RULE: every line of the input is a breach of it.
report() {
  local line
  while IFS= read -r line; do
    printf '%s\n    %s\n' "$1" "$line" >&2
    breaches=$((breaches + 1))
  done
}

# files MODULE: the module's Rust sources, as a folder or a single file.
files() { find "src/$1" "src/$1.rs" -name '*.rs' 2>/dev/null | sort || true; }

# matches PATTERN FILE...: code lines (no comments) that match, with file and line number.
matches() {
  local pattern=$1
  shift
  [ $# -gt 0 ] || return 0
  grep -nHE "$pattern" "$@" | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(//|/\*|\*)' || true
}

# The order of the layers stands in import_graph.py: imports point one way, and there is no circle.
arrows=$(python3 "$here/import_graph.py" .)
report "imports point one way" < <(printf '%s' "${arrows:+$arrows$'\n'}")

mapfile -t everything < <(find src -name '*.rs' | sort)
mapfile -t outside_border < <(find src -name '*.rs' -not -path 'src/ffi/*' -not -path 'src/cuda/*' | sort)

report "unsafe code belongs in src/ffi or src/cuda" < <(
  matches '\bunsafe[[:space:]]+(\{|fn|impl|extern|trait)|allow\(unsafe_code\)' "${outside_border[@]}"
)
report "cudarc and torch_sys belong in src/ffi or src/cuda" < <(
  matches '\b(cudarc|torch_sys)::' "${outside_border[@]}"
)
report "a library neither prints nor exits nor leaves work undone" < <(
  for module in reproduce models distributions flows nn torchscript ops autograd distributed cuda ffi problem files error data weights \
    plot; do
    while IFS= read -r file; do
      # a file's tests stand at its end and may print why they skip
      awk -v file="$file" '
        /^#\[cfg\(test\)\]/ { exit }
        /^[ \t]*\/\// { next }
        /(^|[^a-z_])(print|println|dbg)!|process::exit|(todo|unimplemented)!/ { print file ":" FNR ":" $0 }' "$file"
    done < <(files "$module")
  done
)
report "files are written through crate::files only" < <(
  while IFS= read -r file; do
    # a file's tests stand at its end; ffi::peak flips a switch of the kernel, which is no file
    [ "$file" != src/files.rs ] && [ "$file" != src/files/place.rs ] && [ "$file" != src/ffi/peak.rs ] || continue
    awk -v file="$file" '
      /^#\[cfg\(test\)\]/ { exit }
      /^[ \t]*\/\// { next }
      /fs::(write|rename|copy|hard_link)\(|File::(create|create_new|options)\(|OpenOptions|NamedTempFile/ { print file ":" FNR ":" $0 }' "$file"
  done < <(printf '%s\n' "${everything[@]}")
)
report "a note to self is no comment" < <(grep -nHE '\b(TODO|FIXME|XXX)\b' "${everything[@]}" || true)
report "a file has at most $max_lines lines" < <(
  find src kernels build.rs \( -name '*.rs' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.h' \) \
    -exec wc -l {} + 2>/dev/null | awk -v max="$max_lines" '$2 != "total" && $1 > max { print $2 ": " $1 " lines" }'
)

if [ "$breaches" -gt 0 ]; then
  printf 'check_layers.sh: %d breaches\n' "$breaches" >&2
  exit 1
fi
printf 'check_layers.sh: %d files keep the rules\n' "${#everything[@]}"
