#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# arm64.sh PYTEST-ARG...  runs live tests with arm64's httpd, as Debian ships it, and the module
# cross-built for it, $BUILD/aarch64/mod_mpm_stm.so. qemu-user emulates the processor; the clients
# run as ever. The packages are unpacked, not installed, into $DISTRO_ROOTS/arm64, and kept. httpd
# starts other programs of its own kind (configuration tests), so the kernel must know qemu for
# arm64's programs (binfmt_misc): in a user namespace of the tests' own, where the kernel has that
# (Linux 6.7), so that nothing changes for this machine; else as the machine is set up. Called by
# `make test-arm64`.

set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(cd "${BUILD:-build}" && pwd)
mkdir -p "$build/distros" "${DISTRO_ROOTS:=$build/distros}"
root=$(cd "$DISTRO_ROOTS" && pwd)/arm64
log=$build/distros/arm64.log
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)

# The beginning of a 64-bit ELF file for arm64, and which of its bits count.
magic='\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

skip()
{
    echo "test-arm64: skipped: $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

# apt_arm64 ARGUMENT...  apt-get for arm64, with lists and packages of its own
apt_arm64()
{
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 \
        -o Dir::State::lists="$root.apt/lists" -o Dir::State::status="$root.apt/status" \
        -o Dir::Cache="$root.apt/cache" -o Debug::NoLocking=1 "$@"
}

# unpack  fills $root with httpd of this machine's release and what it needs
unpack()
{
    local package
    [ ! -e "$root.made" ] || return 0
    rm -rf --one-file-system "$root" "$root.apt"
    mkdir -p "$root" "$root.apt"/lists/partial "$root.apt"/cache/archives/partial
    : >"$root.apt/status"
    { apt_arm64 update && apt_arm64 -y --no-install-recommends --download-only install \
        apache2-bin; } >"$log" 2>&1 || return 1
    for package in "$root.apt"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$root" >>"$log" 2>&1 || return 1
    done
    rm -rf "$root.apt"
    touch "$root.made"
}

# in_namespace COMMAND...  with all users, a network of loopback only, and arm64's programs run by
# qemu. The users are mapped once the namespace is there: whoever is in it may not do that.
in_namespace()
{
    local pipe own tries=100 status=0
    pipe=$(mktemp -u "$build/distros/pipe.XXXXXX") && mkfifo "$pipe"
    own=$(readlink /proc/self/ns/user)
    # shellcheck disable=SC2016 # expressions of the inner shell
    unshare --user --mount --pid --net --fork --kill-child sh -c '
        read -r go <"$1" && mount -t proc proc /proc && ip link set lo up &&
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc &&
        printf %s "$2" >/proc/sys/fs/binfmt_misc/register && shift 2 && exec "$@"' \
        sh "$pipe" ":stm-aarch64:M::$magic:$mask:$qemu:OCF" "$@" <&0 &
    while [ "$(readlink "/proc/$!/ns/user")" = "$own" ] && ((tries-- > 0)); do
        sleep 0.1
    done
    if printf '0 0 4294967295' >"/proc/$!/uid_map" && printf '0 0 4294967295' >"/proc/$!/gid_map"
    then
        echo go >"$pipe"
    else
        kill -KILL $!
    fi
    wait $! || status=$?
    rm -f "$pipe"
    return "$status"
}

[ "$(id -u)" = 0 ] || skip "it needs root, for a namespace with all users"
[ -n "$qemu" ] || skip "qemu-aarch64 is missing (package qemu-user-static)"
unpack || skip "arm64's packages cannot be had (is the network there?): see $log"
in_namespace true 2>>"$log" ||
    skip "the kernel does not let a namespace have programs of its own kind (Linux 6.7): see $log"
export QEMU_LD_PREFIX=$root PYTHONDONTWRITEBYTECODE=1
export STM_TEST_HTTPD=$root/usr/sbin/apache2 STM_TEST_BUILD=$build/aarch64
in_namespace "${PYTHON:-/usr/bin/python3}" -m pytest -q -p no:cacheprovider "$@"
