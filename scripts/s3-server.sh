#!/usr/bin/env bash
# Builds the S3 server that the tests of blobs in a bucket run against, once, into .cache/s3-server.
#
# It is a program of its own (Versity's gateway, Apache-2.0) and no part of Longshore: it is built outside of the module, so that
# go.mod does not know it.
set -euo pipefail

version=v1.8.0
dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.cache/s3-server
[ -x "$dir/versitygw-$version" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 's3-server: building it, which takes a minute the first time\n' >&2
cd "$work"
GOFLAGS=-mod=mod GOBIN=$work go install "github.com/versity/versitygw/cmd/versitygw@$version"
mkdir -p "$dir"
mv "$work/versitygw" "$dir/versitygw-$version.new"
mv "$dir/versitygw-$version.new" "$dir/versitygw-$version"
