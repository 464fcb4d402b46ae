#!/usr/bin/env bash
# Unpacks Debian's arm64 libraries that the cross build links into a folder. usage: tools/arm-sysroot.sh DIR
# The machine's own package system stays as it is: apt gets lists and an empty status of its own, so no architecture is
# added and no rights are needed. Does nothing when DIR already holds these packages.
set -euo pipefail

packages=(libsimdjson-dev libsimdjson14 libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2
          libedit-dev libedit2 libbsd-dev libbsd0 libmd-dev libmd0 libncurses-dev libtinfo6
          nlohmann-json3-dev libcli11-dev libgtest-dev libgmock-dev libxxhash-dev)

root=${1:?usage: tools/arm-sysroot.sh DIR}
stamp="$root/packages"
[ "$(cat "$stamp" 2>/dev/null)" != "${packages[*]}" ] || exit 0
command -v apt-get >/dev/null || { echo "tools/arm-sysroot.sh needs Debian's apt-get and dpkg-deb" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/packages"
touch "$work/status"
apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$(id -un)"
     -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache")

echo "Fetching arm64 packages into $root: ${packages[*]}" >&2
# Somebody else's archive in sources.list may lack arm64: what matters is whether the download below succeeds.
"${apt[@]}" update >&2 || true
(cd "$work/packages" && "${apt[@]}" download "${packages[@]}" >&2)
rm -rf "$root"
mkdir -p "$root"
for package in "$work"/packages/*.deb; do dpkg-deb -x "$package" "$root"; done
echo "${packages[*]}" >"$stamp"
