#!/usr/bin/env bash
# Installs the Debian packages that a make target needs, and checks the Go toolchain.
#
#   scripts/setup.sh build|test|demo
#
# It prints nothing when nothing is missing. Missing packages are named, with the reason, and installed with apt-get, as
# root or through sudo. On a system without apt it only says what it does not find: install that, or set
# LONGSHORE_SKIP_SETUP=1 when you know better.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf 'setup: %s\n' "$*" >&2; }

die() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# The groups: "packages | why | what to look for where there is no dpkg (a command, or a .pc file)".
groups_of() {
  echo 'ca-certificates|fetching Go modules|update-ca-certificates'
  echo 'gcc libc6-dev|the C compiler: the sandbox enters namespaces in C, and the race detector needs cgo|gcc'
  case $1 in
    test | demo)
      echo 'git|packages that live in git repositories, and the version of a build|git'
      echo 'busybox-static mmdebstrap|base images made from Debian packages, for machines that reach no public registry|busybox mmdebstrap'
      ;;
  esac
  case $1 in
    test)
      echo 'libseccomp-dev pkg-config|the test that compiles the system-call filters anew and compares|pkg-config libseccomp.pc'
      echo 'uidmap|containers without root: newuidmap and newgidmap|newuidmap'
      echo 'xz-utils|tests of ADD with .tar.xz files|xz'
      echo 'postgresql|tests of the store in a PostgreSQL server that they start themselves|postgres'
      echo 'curl|the commands that the web page shows|curl'
      echo 'chromium|the tests of the web page, in a real browser|chromium'
      echo 'nginx-light sqlite3|tests of docs/operating.md: a reverse proxy, and a backup while the server runs|nginx sqlite3'
      echo 'iproute2|tests that look at network namespaces from outside|ip'
      ;;
  esac
}

check_go() {
  local need have
  need=$(awk '$1 == "go" { print $2; exit }' "$root/go.mod")
  command -v go >/dev/null ||
    die "no go command in PATH: Longshore needs Go $need or newer" "install it from https://go.dev/dl/ (Debian 12's own golang package is too old), then add it to PATH"
  # Inside the module, so that a toolchain that fetches the right version by itself (GOTOOLCHAIN=auto) counts as right.
  have=$(cd "$root" && go env GOVERSION 2>/dev/null) || have=
  have=${have#go}
  if [ -z "$have" ] || [ "$(printf '%s\n%s\n' "$need" "${have%% *}" | sort -V | head -n 1)" != "$need" ]; then
    die "Go is ${have:-too old}; go.mod asks for $need or newer" "install a newer one from https://go.dev/dl/, or set GOTOOLCHAIN=auto to let go fetch it"
  fi
}

# missing prints those of its arguments that dpkg does not call installed.
missing() {
  local installed
  installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true)"
  local p
  for p in "$@"; do
    case $installed in
      *" installed:$p "*) ;;
      *) echo "$p" ;;
    esac
  done
}

found() {
  case $1 in
    *.pc) pkg-config --exists "${1%.pc}" 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@"; }

main() {
  local target=${1-}
  case $target in
    build | test | demo) ;;
    *) die "usage: scripts/setup.sh build|test|demo" ;;
  esac
  [ -z "${LONGSHORE_SKIP_SETUP-}" ] || return 0
  [ "$(uname -s)" = Linux ] || die "Longshore's sandbox needs Linux; this is $(uname -s)"
  check_go

  local packages why probes probe absent=()
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    while IFS='|' read -r packages why probes; do
      for probe in $probes; do
        found "$probe" || absent+=("$probe ($why; Debian calls it: $packages)")
      done
    done < <(groups_of "$target")
    [ ${#absent[@]} -eq 0 ] || die "no apt-get here; install these by hand, then run make again:" "${absent[@]/#/  }"
    return 0
  fi

  local want=() lines=() m
  while IFS='|' read -r packages why probes; do
    # shellcheck disable=SC2086
    m=$(missing $packages)
    [ -n "$m" ] || continue
    # shellcheck disable=SC2206
    want+=($m)
    lines+=("$(echo $m): $why")
  done < <(groups_of "$target")
  [ ${#want[@]} -gt 0 ] || return 0

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      die "these packages are missing, and this is neither root nor is there sudo:" "${lines[@]/#/  }" \
        "as root, run: apt-get install --no-install-recommends ${want[*]}"
    as_root=(sudo)
  fi
  local line
  for line in "${lines[@]}"; do say "installing $line"; done
  # apt-get is quiet, so what it says is worth reading only when it fails.
  log=$(mktemp)
  trap 'rm -f "$log"; [ -z "${still-}" ] || "${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
  # Tests start what they need by themselves: no package may start a server now.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 0755 /dev/stdin /usr/sbin/policy-rc.d && still=yes
  fi
  if ! apt install -y --no-install-recommends "${want[@]}" >"$log" 2>&1; then
    say "the package lists are missing or old; fetching them"
    apt update >>"$log" 2>&1 && apt install -y --no-install-recommends "${want[@]}" >>"$log" 2>&1 || {
      cat "$log" >&2
      die "apt-get could not install: ${want[*]}"
    }
  fi
  say "done"
}

main "$@"
