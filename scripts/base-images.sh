#!/usr/bin/env bash
# Makes images with the names of the public base images that the examples build from, out of this machine's own Debian
# packages and its Go, and puts them into Longshore's local store. It is for machines that reach no public registry; on
# others the real images can be pulled, and these are not needed.
#
#   scripts/base-images.sh [--force] [RECIPE…]   make and import what the store does not have; --force: all of them again
#   scripts/base-images.sh --list                print every name this script knows
#   scripts/base-images.sh --rootfs RECIPE FILE  make one root file system as a tar (what --force does as root)
#
# A root file system is a tar in .cache/base-images/, named after a hash of its recipe, so a second run has nothing to do.
# A new image: a line in images() and, if it needs one, a rootfs_NAME function that writes a tar to its argument.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache/base-images
longshore=${LONGSHORE:-$root/bin/longshore}

# mmdebstrap and tar put no time later than this into an archive, and Python checks its compiled files by content then.
export SOURCE_DATE_EPOCH=1700000000
export LC_ALL=C.UTF-8

# The images: recipe | names | arguments of `longshore image import`, one per word (no blanks inside).
images() {
  local path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin go
  go=$(go_version)
  cat <<END
busybox|busybox:latest busybox:1.36|--env $path --cmd ["sh"]
debian|debian:bookworm-slim|--env $path --cmd ["bash"]
python|python:3.9-slim python:3.9-slim-bullseye python:3.11-slim|--env $path --env LANG=C.UTF-8 --cmd ["python3"]
golang|golang:1-alpine golang:alpine golang:${go%.*}-alpine golang:$go-alpine|--env ${path/=/=/usr/local/go/bin:} --env GOTOOLCHAIN=local --workdir /go --cmd ["sh"]
ffmpeg|jrottenberg/ffmpeg:scratch|--env $path --entrypoint ["ffmpeg"] --cmd ["--help"]
END
}

say() { printf 'base-images: %s\n' "$*" >&2; }

die() {
  printf 'base-images: %s\n' "$@" >&2
  exit 1
}

# ---- recipes -------------------------------------------------------------------------------------------------------

# rootfs_busybox: one static program and a link for each of its applets.
rootfs_busybox() {
  busybox_root "$work/root"
  pack "$work/root" "$1"
}

# rootfs_golang: this machine's Go beside busybox, for programs of the standard library: without C, tests, and the sources
# of Go's own tools. What programs mostly import is compiled already, so that a build in the image takes a second.
rootfs_golang() {
  local r=$work/root from to
  from=$(go env GOROOT)
  to=$r/usr/local/go
  busybox_root "$r"
  mkdir -p "$to"/{bin,pkg} "$r/go"
  (cd "$from" && tar --create --exclude='testdata' --exclude='*_test.go' --exclude='src/cmd/*' \
    VERSION go.env src pkg/include pkg/tool/*/{asm,compile,link} lib/time) | tar --extract --no-same-owner --directory "$to"
  cp "$from/bin/go" "$from/bin/gofmt" "$to/bin"
  mkdir "$work/warm"
  printf 'package main\n\nimport (%s)\n\nfunc main() {}\n' "$(printf '_ "%s";' $go_packages)" >"$work/warm/main.go"
  env -u GOFLAGS GOROOT="$to" GOTOOLCHAIN=local GOCACHE="$r/root/.cache/go-build" CGO_ENABLED=0 \
    "$to/bin/go" build -trimpath -o "$work/warm/program" "$work/warm/main.go"
  pack "$r" "$1"
}

# go_packages are those that the golang image has compiled.
go_packages='archive/zip bufio bytes encoding/base64 encoding/csv encoding/json errors flag fmt image/png io io/fs log
  maps math net/http os os/signal path/filepath regexp slices strconv strings sync time unicode'

# busybox_root DIR makes a root file system of one static program and a link for each of its applets.
busybox_root() {
  local r=$1 applet
  mkdir -p "$r"/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,usr/sbin,var/spool}
  chmod 1777 "$r/tmp"
  chmod 0700 "$r/root"
  cp "$(command -v busybox)" "$r/bin/busybox"
  chmod 0755 "$r/bin/busybox"
  for applet in $("$r/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$r/bin/$applet"
  done
  ln -s ../../bin/env "$r/usr/bin/env" # "#!/usr/bin/env sh"
  accounts "$r"
}

# rootfs_debian: what Debian calls essential, apt, and the certificates that apt needs for a mirror behind TLS.
rootfs_debian() {
  system usr-is-merged,ca-certificates "$1"
}

# rootfs_python: Debian's Python where the official image has its own, with Flask and pip. `pip install flask` finds Flask
# there and needs no network.
rootfs_python() {
  system usr-is-merged,ca-certificates,python3,python3-flask,python3-pip,python-is-python3 "$1" \
    --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
    --customize-hook='for p in python python3 pip pip3; do ln -s "/usr/bin/$p" "$1/usr/local/bin/$p"; done'
}

# rootfs_ffmpeg: ffmpeg, ffprobe and the libraries they are linked with, nothing else, as the public image has it.
rootfs_ffmpeg() {
  local full=$work/full r=$work/root loader alternatives
  bootstrap extract ffmpeg "$full" --format=directory
  mkdir -p "$r"/{dev,etc,proc,sys,tmp,usr/bin,usr/lib,usr/lib64,usr/share}
  chmod 1777 "$r/tmp"
  ln -s usr/bin "$r/bin"
  ln -s usr/lib "$r/lib"
  ln -s usr/lib64 "$r/lib64"
  (
    cd "$full"
    # The packages are unpacked, not configured: BLAS and LAPACK are not yet where the alternatives system links them.
    alternatives=$(printf '/%s:' usr/lib/*/blas usr/lib/*/lapack)
    loader=$(echo lib*/ld-linux*)
    for program in ffmpeg ffprobe; do
      chroot . "/${loader%% *}" --library-path "$alternatives" --list "/usr/bin/$program"
    done >"$work/libraries"
    ! grep 'not found' "$work/libraries" >&2 || die "ffmpeg misses libraries"
    grep -oE '/[^ ]+' "$work/libraries" | sed 's,^/,,' | sort -u | xargs cp -L --parents -t "$r"
    cp -L --parents "${loader%% *}" usr/bin/ffmpeg usr/bin/ffprobe "$r"
    cp -a --parents usr/share/ffmpeg usr/share/fonts/truetype etc/fonts "$r"
  )
  for library in "$r"/usr/lib/*/{blas,lapack}/*; do
    mv "$library" "$(dirname "$library")/.."
  done
  rmdir "$r"/usr/lib/*/{blas,lapack}
  accounts "$r"
  chroot "$r" ffmpeg -hide_banner -version >/dev/null || die "the ffmpeg that was put together does not start"
  pack "$r" "$1"
}

# ---- what recipes are made of --------------------------------------------------------------------------------------

# system PACKAGES OUT [OPTION…]: a tar of a Debian system with PACKAGES, and an empty /dev: an image holds no device nodes.
system() {
  local packages=$1 out=$2
  shift 2
  bootstrap minbase "$packages" "$out" "$@"
  mkdir -p "$work/empty/dev"
  tar --append --file "$out" --directory "$work/empty" --numeric-owner --owner=0 --group=0 --mtime="@$SOURCE_DATE_EPOCH" ./dev
}

# bootstrap VARIANT PACKAGES OUT [OPTION…]: a root file system by mmdebstrap, from the sources this machine's apt uses.
bootstrap() {
  local variant=$1 packages=$2 out=$3
  shift 3
  # shellcheck disable=SC1091
  local suite sources apt_options=() option
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
  mapfile -t sources < <(debian_sources "$suite")
  # mmdebstrap starts from an empty configuration: take over what reaching the mirror may need.
  while read -r option; do
    apt_options+=("--aptopt=$option")
  done < <(apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date|Retries) ' || true)

  # Names and addresses of this machine, and the options of this build, have no place in an image. An extracted root
  # (not configured) has neither.
  local clean
  clean='cd "$1" && rm -f etc/hostname etc/resolv.conf etc/apt/apt.conf.d/99mmdebstrap etc/dpkg/dpkg.cfg.d/99mmdebstrap && rm -rf var/log/*.log var/log/apt var/cache/apt/*.bin var/cache/debconf/*-old var/lib/dpkg/*-old'
  # merged-usr: /bin is a link from the start, so that the package that makes it one, and all of Perl with it, stays away.
  # Documents, translations and manuals, less the licences: as the official slim images do.
  TMPDIR=$work mmdebstrap --variant="$variant" --include="$packages" --skip=output/dev \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --format=tar "${apt_options[@]}" --customize-hook="$clean" "$@" \
    "$suite" "$out" "${sources[@]}" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    die "mmdebstrap could not make the root file system; it needs the Debian mirror that apt on this machine uses"
  }
}

# debian_sources SUITE prints the files under /etc/apt that name Debian itself, not third parties: those with the suite and
# the component "main". An empty answer leaves the choice of mirror to mmdebstrap.
debian_sources() {
  local file suites="($1|oldoldstable|oldstable|stable|testing|unstable|sid)(-updates|-security|/updates)?"
  shopt -s nullglob
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    grep -E "^deb .*[[:space:]]$suites[[:space:]]+(.*[[:space:]])?main([[:space:]]|\$)" "$file" >"$work/$(basename "$file")" &&
      echo "$work/$(basename "$file")"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    grep -qE "^Suites:(.*[[:space:]])?$suites([[:space:]]|\$)" "$file" &&
      grep -qE '^Components:(.*[[:space:]])?main([[:space:]]|$)' "$file" && echo "$file"
  done
  return 0
}

# accounts DIR writes the accounts that programs expect to find.
accounts() {
  printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'nobody:x:65534:65534:nobody:/nonexistent:/bin/false' >"$1/etc/passwd"
  printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' >"$1/etc/group"
}

# pack DIR FILE writes DIR as a tar that depends on its content alone.
pack() {
  tar --create --file "$2" --directory "$1" --sort=name --numeric-owner --owner=0 --group=0 \
    --mtime="@$SOURCE_DATE_EPOCH" --format=gnu .
}

# ---- the work ------------------------------------------------------------------------------------------------------

# key RECIPE is the hash that the recipe's tar is named after: its own text, what it is made of, and the kind of machine.
key() {
  { declare -f "rootfs_$1" system bootstrap debian_sources accounts pack; also "$1"; uname -m; sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; } |
    sha256sum | cut -c1-16
}

# also RECIPE prints what else the images of a recipe come from.
also() {
  case $1 in
    busybox) declare -f busybox_root ;;
    golang) declare -f busybox_root && echo "$go_packages" && go version ;;
  esac
}

# go_version prints the version of this machine's Go: "1.26.8".
go_version() { go env GOVERSION | sed -E 's/^go([0-9.]+).*/\1/'; }

# make_rootfs RECIPE FILE runs a recipe in a folder of its own; FILE appears when it is complete.
make_rootfs() {
  [ "$(id -u)" -eq 0 ] || die "making a root file system needs root"
  declare -F "rootfs_$1" >/dev/null || die "no recipe $1"
  local out folder
  out=$(realpath --canonicalize-missing "$2")
  folder=$(dirname "$out")
  mkdir -p "$folder"
  work=$(mktemp -d "$folder/.work.XXXXXX")
  chmod 0755 "$work"
  trap 'rm -rf "$work"' EXIT
  "rootfs_$1" "$work/rootfs.tar"
  # The folder's owner also owns what is in it, when this runs through sudo.
  chown --reference="$folder" "$work/rootfs.tar"
  mv "$work/rootfs.tar" "$out"
}

main() {
  local force=
  case ${1-} in
    --list)
      images | cut -d'|' -f2 | tr ' ' '\n'
      return
      ;;
    --rootfs)
      [ $# -eq 3 ] || die "usage: scripts/base-images.sh --rootfs RECIPE FILE"
      make_rootfs "$2" "$3"
      return
      ;;
    --force)
      force=yes
      shift
      ;;
    -*) die "usage: scripts/base-images.sh [--force] [RECIPE…] | --list | --rootfs RECIPE FILE" ;;
  esac
  [ -x "$longshore" ] || die "$longshore is not there: run make build first"
  mkdir -p "$cache"
  # One at a time: make test and make demo may both be here.
  exec 9>"$cache/.lock"
  flock 9

  local recipe names arguments name made=0
  while IFS='|' read -r recipe names arguments; do
    [ $# -eq 0 ] || [[ " $* " == *" $recipe "* ]] || continue
    local absent=()
    for name in $names; do
      if [ "$force" ] || ! "$longshore" image exists "$name" >/dev/null 2>&1 </dev/null 9>&-; then
        absent+=(--name "$name")
      fi
    done
    [ ${#absent[@]} -gt 0 ] || continue
    [ $made -gt 0 ] || say "making images from what this machine has; where a public registry is reachable, the real ones can be pulled instead (some minutes, the first time)"
    made=$((made + 1))

    local tar start=$SECONDS
    tar=$cache/$recipe-$(key "$recipe").tar
    if [ ! -f "$tar" ]; then
      rm -f "$cache/$recipe"-*.tar
      if [ "$(id -u)" -eq 0 ]; then
        "$0" --rootfs "$recipe" "$tar" </dev/null 9>&-
      elif command -v sudo >/dev/null; then
        sudo env "PATH=$PATH" "$0" --rootfs "$recipe" "$tar" </dev/null 9>&-
      else
        die "making images needs root, and there is no sudo: run make base-images as root, or pull them: $names"
      fi
    fi
    local words
    read -ra words <<<"$arguments"
    "$longshore" image import "${absent[@]}" "${words[@]}" "$tar" >/dev/null </dev/null 9>&-
    say "$names ($(du -h --apparent-size "$tar" | cut -f1), $((SECONDS - start)) s)"
  done < <(images)
}

main "$@"
