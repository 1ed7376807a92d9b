#!/usr/bin/env bash
# Runs every fuzz target for a while.
#
#   scripts/fuzz.sh [TIME]     default: 10s each
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

time=${1:-10s}
tags=${LONGSHORE_TAGS:-seccomp osusergo netgo sqlite_omit_load_extension}
failed=() ran=0
while IFS=: read -r file target; do
  package=./$(dirname "$file")
  printf '== %s %s\n' "$package" "$target"
  ran=$((ran + 1))
  go test -tags "$tags" -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null || failed+=("$package $target")
done < <(git ls-files -co --exclude-standard '*_test.go' | xargs -r grep -oHE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/')

printf '%d fuzz targets, %d failed\n' "$ran" "${#failed[@]}"
[ ${#failed[@]} -eq 0 ] || {
  printf '  %s\n' "${failed[@]}" "go wrote the input that fails to the package's testdata/fuzz: commit it with the mend"
  exit 1
}
