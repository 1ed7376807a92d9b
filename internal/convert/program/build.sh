#!/bin/sh
# Builds the program that converted images hold (cmd/longshore-adapter), without cgo and compressed, beside this file.
set -eu
cd "$(dirname "$0")"
CGO_ENABLED=0 go build -tags nethttpomithttp2 -trimpath -buildvcs=false -ldflags '-s -w' -o adapter ../../../cmd/longshore-adapter
gzip -9nf adapter
