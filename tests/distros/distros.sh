#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# distros.sh PYTEST-ARGS SUITE...  builds and tests this tree on other releases of Debian: libst,
# STIOL and the other unit tests, live tests, and live tests of the module that was built here, with
# another C library and another httpd. Each release is a chroot, $DISTRO_ROOTS/SUITE, made by
# debootstrap from this machine's mirror (apt's sources) and kept; one run at a time uses it. The
# tests run in namespaces of their own, which end with all their processes; their logs are in
# $BUILD/distros. $DISTRO_PARTS, if it is set, names the parts to run. One runs only if it is named:
# `test`, which is `make test` there, of $DISTRO_TEST_PARTS if that is set (TEST_PARTS in the
# Makefile); as whole tests do, it takes an hour or more. Called by `make test-distros`.

set -euo pipefail
cd "$(dirname "$0")/../.."
live=$1
shift
build=$(cd "${BUILD:-build}" && pwd)
mkdir -p "$build/distros" "${DISTRO_ROOTS:=$build/distros}"
roots=$(cd "$DISTRO_ROOTS" && pwd)
passed=0 failed=0 skipped=0

# skip REASON  counts what cannot be tried here
skip()
{
    echo "test-distros: skipped: $1"
    skipped=$((skipped + 1))
}

# possible  whether there can be chroots at all
possible()
{
    if [ "$(id -u)" != 0 ]; then
        skip "it needs root, for the chroots"
    elif ! command -v debootstrap >/dev/null; then
        skip "debootstrap is not installed"
    elif ! unshare --mount --net --pid --fork true 2>/dev/null; then
        skip "there are no namespaces here"
    else
        return 0
    fi
    return 1
}

# mirror  the archive that this machine installs from
mirror()
{
    # shellcheck disable=SC2016 # apt's variable
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sed -n '/\/debian\/*$/p' | sed -n 1p
}

# enter SUITE COMMAND [OPTION...]  runs a shell command in that chroot, as root, in namespaces of
# its own, and those that unshare's options add. Its root is a mount point, which tests expect that
# mount something over it. Nothing of it is left when it ends, or after four hours.
enter()
{
    local root=$roots/$1 command=$2
    shift 2
    # shellcheck disable=SC2016 # expressions of the inner shells
    timeout --signal KILL 14400 unshare --mount --pid --fork --kill-child "$@" sh -c '
        mount --bind "$1" "$1" && mount --rbind /dev "$1/dev" && mount --rbind /sys "$1/sys" &&
            mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/tmp"
        exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
            DEBIAN_FRONTEND=noninteractive sh -c "$2"' sh "$root" "$command"
}

# within SUITE COMMAND  the same in /stm, with a network of loopback only
within()
{
    enter "$1" "export DEPS=no; ip link set lo up; cd /stm && $2" --net --ipc
}

# make_root SUITE  a system with what is needed to build and test; false if it cannot be had
make_root()
{
    local root=$roots/$1 log=$build/distros/$1.log archive sets="run distro"
    if [ ! -e "$root.made" ]; then
        archive=$(mirror)
        [ -n "$archive" ] || { skip "$1: apt's sources name no Debian archive" && return 1; }
        rm -rf --one-file-system "$root"
        echo "debootstrap $1 ..."
        if ! debootstrap --variant=minbase "$1" "$root" "$archive" >"$log" 2>&1; then
            skip "$1: debootstrap could not make it (is the network there?): see $log"
            return 1
        fi
        touch "$root.made"
    fi
    # Whether packages survive a power cut does not matter here.
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    # A mirror that stands still is as good there as it is here.
    apt-config dump Acquire::Check-Valid-Until >"$root/etc/apt/apt.conf.d/90-validity"
    copy_tree "$root/stm"
    ! named test || sets+=" test"
    # Installs with this machine's network. Some packages do not install without /proc.
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    if ! enter "$1" "/stm/scripts/deps.sh $sets" >>"$log" 2>&1; then
        skip "$1: the packages cannot be installed: see $log"
        return 1
    fi
}

# copy_tree FOLDER  this tree, without files that are no longer in it, and the module built here
copy_tree()
{
    mkdir -p "$1/build/here"
    find "$1" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
        [ ! -e "$file" ] || printf '%s\0' "$file"
    done | tar -c --null -T - | tar -x -C "$1"
    cp "$build/mod_mpm_stm.so" "$1/build/here/"
}

# named PART  whether $DISTRO_PARTS asks for it by name
named()
{
    [[ " ${DISTRO_PARTS:-} " = *" $1 "* ]]
}

# part SUITE NAME COMMAND  one part of the tests; its output is in a log
part()
{
    local log=$build/distros/$1-$2.log
    [ -z "${DISTRO_PARTS:-}" ] || named "$2" || return 0
    if within "$1" "$3" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $1 $2"
    else
        failed=$((failed + 1))
        echo "FAILED  $1 $2: the whole log is $log"
        tail -n 15 "$log"
    fi
}

# try SUITE  all parts on one release
# shellcheck disable=SC2016
try()
{
    local unit lock
    # A tree is built by one make at a time.
    exec {lock}>"$roots/$1.lock"
    flock "$lock"
    make_root "$1" || return 0
    # The expressions are for the shell in the chroot. Other variants than what is shipped are the
    # same on each release.
    part "$1" build 'make -s -j$(nproc) all live-tools'
    for unit in st-run aprmem-run test-score mpm-run stiol-run; do
        part "$1" "$unit" 'make -s -j$(nproc) '"$unit"
    done
    part "$1" live "make -s test-live PYTEST_ARGS=\"$live\""
    # The module that was built here, with this release's C library and httpd.
    part "$1" here 'cp -a build/tests build/here/ &&
        STM_TEST_BUILD=build/here python3 -m pytest -q -p no:cacheprovider tests/live/test_http.py \
            tests/live/test_startup.py tests/live/test_restart.py tests/live/test_http2.py'
    ! named test ||
        part "$1" test "make test ${DISTRO_TEST_PARTS:+TEST_PARTS='$DISTRO_TEST_PARTS'}"
    exec {lock}>&-
}

if possible; then
    for suite in "$@"; do
        try "$suite"
    done
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
