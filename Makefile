# `make` alone prints what there is. Everything a target needs on a fresh Debian machine with Go, it installs (scripts/setup.sh).

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TAGS    := seccomp osusergo netgo sqlite_omit_load_extension
BENCH   ?=
FUZZTIME ?= 10s
ROUNDS  ?= 200

export CGO_ENABLED = 1
export LONGSHORE_TAGS = $(TAGS)

# Steps that install packages or fill the image store come one after the other; go and the tests use all cores anyway.
.NOTPARALLEL:

.PHONY: help build test demo package check base-images s3-server bench torture fuzz fmt lint clean setup-build setup-test setup-demo

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

build: setup-build ## the static binary bin/longshore
	@[ -e bin/longshore ] || echo 'build: fetching modules and compiling; the first time, this takes some minutes' >&2
	@go generate ./internal/convert
	@go build -trimpath -buildvcs=false -tags '$(TAGS)' -ldflags '-s -w -extldflags "-static" -X longshore/internal/cli.Version=$(VERSION)' -o bin/longshore ./cmd/longshore

test: setup-test base-images s3-server ## vet and every test, with the race detector; the full output is kept in build/test
	@scripts/test.sh

demo: setup-demo base-images ## build, then run the examples of all five contracts and print what they answer
	@scripts/demo.sh

package: build ## the Debian package and the image of Longshore itself, in build/
	@scripts/package.sh '$(VERSION)'

check: test demo ## everything that CI runs

s3-server: ## the S3 server that blobs in a bucket are tested against, built once
	@scripts/s3-server.sh

base-images: build setup-demo ## the examples' base images from Debian packages, where the local store lacks them
	@scripts/base-images.sh

bench: build ## the figures of docs/benchmarks.md on this machine (BENCH: arguments for longshore bench)
	@bin/longshore bench $(BENCH)

torture: setup-test ## kill servers, workers and containers at random, ROUNDS=200 times for each database, and see that nothing is lost
	@LONGSHORE_TORTURE=$(ROUNDS) go test -tags '$(TAGS)' -count=1 -timeout 60m -run TestTorture -v ./test/server

fuzz: setup-test ## every fuzz target for a short time each (FUZZTIME=10s)
	@scripts/fuzz.sh $(FUZZTIME)

fmt: ## format the Go files
	@gofmt -w cmd internal scripts

lint: setup-test ## golangci-lint with the rules of .golangci.yml
	@go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

clean: ## remove what make made here; the local image store stays
	@rm -rf bin build .cache

setup-build setup-test setup-demo: setup-%:
	@scripts/setup.sh $*
