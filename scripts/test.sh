#!/usr/bin/env bash
# Checks the formatting, vets, and runs every test with the race detector. Prints a line per package and the whole output
# of each test that fails; everything is kept in build/test/.
#
#   scripts/test.sh [PACKAGE…]     default: ./...
#
# With CI set, a test that is skipped and not in scripts/allowed-skips.txt is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tags=${LONGSHORE_TAGS:-seccomp osusergo netgo sqlite_omit_load_extension}
[ $# -gt 0 ] || set -- ./...
out=build/test
mkdir -p "$out"

unformatted=$(gofmt -l cmd internal scripts)
if [ -n "$unformatted" ]; then
  printf 'not formatted (run make fmt):\n%s\n' "$unformatted" >&2
  exit 1
fi
echo "test: vet first, then the tests; the first time, compiling them takes some minutes, and the stories of test/script some more" >&2
# The program that converted images hold is embedded.
go generate ./internal/convert
go vet -tags "$tags" "$@"

go build -buildvcs=false -o "$out/testreport" ./scripts/testreport
# A program built for the race detector sleeps a second before it exits, unless told otherwise; the stories start hundreds.
export GORACE=${GORACE:-atexit_sleep_ms=10}
# Compression and checksums share nothing between goroutines, and take ten times as long when each of their memory accesses
# is watched.
unwatched=()
for packages in 'compress/...' 'hash/...' 'github.com/klauspost/compress/...'; do
  unwatched+=("-gcflags=$packages=-race=false")
done
status=0
go test -json -race "${unwatched[@]}" -shuffle=on -vet=off -timeout 30m -tags "$tags" "$@" </dev/null 2>"$out/stderr.txt" |
  "$out/testreport" -o "$out/output.txt" -allowed-skips scripts/allowed-skips.txt ${CI:+-strict} || status=$?
# What go itself has to say, such as a package that does not compile, is in the report already; this is the rest.
[ ! -s "$out/stderr.txt" ] || cat "$out/stderr.txt" >&2
exit "$status"
