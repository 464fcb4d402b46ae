#!/usr/bin/env bash
# Installs the Debian packages that are missing. usage: tools/install-deps.sh build|test|web|voice|bench|clang|arm …
# Says nothing and needs no rights when everything is there; elsewhere than on Debian it names what to install.
set -euo pipefail

packages=()
for part in "$@"; do
  case "$part" in
    build) packages+=(g++ cmake ninja-build pkg-config libsimdjson-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev
                      libcli11-dev libedit-dev libxxhash-dev libcurl4-openssl-dev libssl-dev libcpp-httplib-dev) ;;
    test)  packages+=(libgtest-dev libgmock-dev xz-utils) ;;
    web)   packages+=(chromium haproxy curl)  # the server's tests: a browser, the npm client, replicas
           command -v node >/dev/null || packages+=(nodejs)
           command -v npm >/dev/null || packages+=(npm) ;;
    voice) packages+=(libpocketsphinx-dev libsphinxbase-dev pocketsphinx-en-us libespeak-ng-dev espeak-ng-data
                      libsndfile1-dev libsamplerate0-dev libasound2-dev) ;;  # qwen35 voice
    bench) packages+=(libbenchmark-dev) ;;
    clang) packages+=(clang libclang-rt-dev) ;;
    arm)   packages+=(g++-aarch64-linux-gnu qemu-user) ;;  # libraries for it: tools/arm-sysroot.sh
    *) echo "unknown part: $part" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null; then
  echo "This is not Debian: make sure that the counterparts of these packages are installed: ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$state" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "Please install as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "Installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
