#!/usr/bin/env bash
# Makes build/longshore_VERSION_ARCH.deb, and build/longshore-image.tar, an OCI archive of Longshore itself that Longshore builds
# from scratch.
#
#   scripts/package.sh VERSION
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=${LONGSHORE:-$root/bin/longshore}
out=${OUT:-$root/build}
arch=$(dpkg --print-architecture)

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 1700000000)}

# debian_version makes a version that sorts as Debian's do: it begins with a digit, and what git adds comes after a release.
debian_version() {
  local v=${1#v}
  v=${v//-/+}
  case $v in
    [0-9]*.*) echo "$v" ;;
    *) echo "0~git$v" ;;
  esac
}

# The example of all settings, and what shells complete, are the program's own words.
deb() {
  local version=$1 r=$work/deb f
  install -D -m 0755 "$program" "$r/usr/bin/longshore"
  install -D -m 0644 "$root/packaging/longshore.service" "$r/lib/systemd/system/longshore.service"
  install -d "$r/etc/longshore" "$r/usr/share/bash-completion/completions" "$r/var/lib/longshore" "$r/DEBIAN"
  chmod 0711 "$r/var/lib/longshore"
  "$program" serve --print-example >"$r/etc/longshore/server.yaml"
  chmod 0640 "$r/etc/longshore/server.yaml"
  install -d "$r/usr/share/zsh/vendor-completions" "$r/usr/share/fish/vendor_completions.d"
  "$program" completion bash >"$r/usr/share/bash-completion/completions/longshore"
  "$program" completion zsh >"$r/usr/share/zsh/vendor-completions/_longshore"
  "$program" completion fish >"$r/usr/share/fish/vendor_completions.d/longshore.fish"
  for f in "$root"/docs/{operating,security}.md "$root"/docs/grafana.json "$root"/packaging/nginx.conf; do
    install -D -m 0644 "$f" "$r/usr/share/doc/longshore/${f##*/}"
  done
  cat "$root/packaging/debian/copyright" "$root/LICENSE" >"$r/usr/share/doc/longshore/copyright"
  install -m 0755 "$root"/packaging/debian/{postinst,prerm,postrm} "$r/DEBIAN"
  install -m 0644 "$root/packaging/debian/conffiles" "$r/DEBIAN"
  sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$(du -sk "$r" | cut -f1)/" "$root/packaging/debian/control" >"$r/DEBIAN/control"
  (cd "$r" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$r/DEBIAN/md5sums"
  chmod -R u=rwX,go=rX "$r/usr" "$r/lib"
  chmod 0755 "$r" "$r/etc" "$r/etc/longshore" "$r/DEBIAN" "$r/var" "$r/var/lib"
  dpkg-deb -Zgzip --root-owner-group --build "$r" "$out/longshore_${version}_$arch.deb" >/dev/null
  echo "$out/longshore_${version}_$arch.deb"
}

image() {
  local c=$work/image
  mkdir -p "$c/tmp"
  chmod 1777 "$c/tmp"
  cp "$program" "$c/longshore"
  cp /etc/ssl/certs/ca-certificates.crt "$c/"
  printf 'root:x:0:0:root:/root:/usr/bin/longshore\n' >"$c/passwd"
  cp "$root/packaging/image/Dockerfile" "$c/"
  "$program" --home "$work/home" -q image build "$c" --name longshore:latest >/dev/null
  "$program" --home "$work/home" -q image save --oci longshore:latest -o "$out/longshore-image.tar"
  echo "$out/longshore-image.tar"
}

main() {
  local version
  version=$(debian_version "${1:-unknown}")
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  umask 022
  mkdir -p "$out"
  deb "$version"
  image
}

main "$@"
