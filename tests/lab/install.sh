#!/bin/sh
# Installs what the lab needs and this machine lacks. Run it again at any time: it does only what is still to be done.
#   Debian as root   packages by apt-get; no service is started
#   npm              two old Node.js releases, unpacked under .cache/npm; nothing is installed globally
# Whatever it cannot install it prints, and the tests leave out; with CI=true that is a failure.
set -eu
cd "$(dirname "$0")/../.."

python="${PYTHON:-python3}"
cache=.cache/npm

needed() { # debian, npm or missing: one a line
  "$python" tests/lab/requirements.py "$1"
}

is_available() {
  candidate="$(apt-cache policy "$1" | sed -n 's/^  Candidate: //p')"
  [ -n "$candidate" ] && [ "$candidate" != '(none)' ]
}

install_debian_packages() {
  wanted="$(needed debian)"
  if [ -z "$wanted" ]; then
    return
  fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
    echo "Not installed, since that needs root on Debian:" $wanted >&2
    return
  fi
  # The lists are fetched only where they are absent or do not know everything.
  for package in $wanted; do
    if ! is_available "$package"; then
      apt-get -o Acquire::Retries=3 update
      break
    fi
  done
  # Another release of Debian may lack a package: that server is left out, not all of them.
  packages=''
  for package in $wanted; do
    if is_available "$package"; then
      packages="$packages $package"
    else
      echo "Not installed, since this Debian has no package $package" >&2
    fi
  done
  # Debian's own switch against starting services: 101 means "forbidden". An administrator's policy is left alone.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  set -- -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 --no-install-recommends --yes install
  # A list that is too old names files that the mirror no longer has; after a fresh one, failure counts.
  if ! apt-get "$@" $packages; then
    apt-get -o Acquire::Retries=3 update
    apt-get "$@" $packages
  fi
}

install_npm_package() {
  name="${1%@*}"
  version="${1#*@}"
  release="node-v$version-linux-x64"
  work="$(mktemp -d "$cache/unpack.XXXXXX")"
  archive="$work/$name-$version.tgz"
  published="$(npm view "$1" dist.integrity)"
  npm pack "$1" --pack-destination "$work" --silent > /dev/null
  openssl dgst -sha512 -binary -out "$work/digest" "$archive"
  actual="sha512-$(base64 "$work/digest" | tr -d '\n')"
  if [ "$published" != "$actual" ]; then
    echo "$1: integrity is $actual, published is '$published'" >&2
    rm -rf "$work"
    exit 1
  fi
  # The package holds Node's own release archive.
  tar -xzf "$archive" -C "$work" "package/$release.tar.gz"
  tar -xzf "$work/package/$release.tar.gz" -C "$work"
  # Moved into place whole: an interrupted run leaves nothing that looks installed.
  rm -rf "${cache:?}/$release"
  mv "$work/$release" "$cache/$release"
  rm -rf "$work"
}

install_npm_packages() {
  wanted="$(needed npm)"
  if [ -z "$wanted" ]; then
    return
  fi
  if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "Not installed, since they are programs for Linux on x86_64:" $wanted >&2
    return
  fi
  if ! command -v npm > /dev/null; then
    echo "Not installed, since there is no npm:" $wanted >&2
    return
  fi
  mkdir -p "$cache"
  for package in $wanted; do
    install_npm_package "$package"
  done
}

install_debian_packages
install_npm_packages

left_out="$(needed missing)"
if [ -n "$left_out" ]; then
  printf 'LEFT OUT of the lab, not installed:\n%s\n' "$left_out" >&2
  if [ "${CI:-}" = true ]; then
    exit 1
  fi
fi
