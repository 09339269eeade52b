#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# package.sh FOLDER  tests the Debian package in a chroot: installation, a2enmod and a2dismod both
# ways, an upgrade under a running server, removal and purge. FOLDER has the packages (`make deb`).
# Called by `make test-package`. The chroot is made by debootstrap once, kept in build/package as an
# archive, and unpacked anew for each run. The server in it listens to a free port of loopback.

# Expressions for eval and dpkg-query stand in single quotes.
# shellcheck disable=SC2016
set -euo pipefail
packages=$(cd "$1" && pwd)
work=${packages%/*}/package
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
root="" passed=0 failed=0
mkdir -p "$work"

skip()
{
    echo "test-package: skipped, nothing was tested: $1"
    exit 0
}

[ "$(id -u)" = 0 ] || skip "it needs root, for the chroot"
command -v debootstrap >/dev/null || skip "debootstrap is not installed"

finish()
{
    local pid
    [ -n "$root" ] || return 0
    # Whatever still runs in the chroot is ours.
    for pid in /proc/[0-9]*; do
        if [ "$(readlink "$pid/root" 2>/dev/null)" = "$root" ]; then
            kill -KILL "${pid#/proc/}" 2>/dev/null || true
        fi
    done
    umount -l "$root/proc" 2>/dev/null || true
    umount -l "$root/dev" 2>/dev/null || true
    mountpoint -q "$root/proc" || rm -rf --one-file-system "$root"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

within()
{
    timeout 120 chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# --- the chroot ----------------------------------------------------------------------------------

# needs  what the package depends on, except for the server's own packages, which apache2 brings
needs()
{
    dpkg-deb -f "$packages"/libapache2-mpm-stm_*.deb Depends | tr ',' '\n' |
        sed 's/ *|.*//; s/ *(.*//; s/ //g; /^apache2/d' | sort -u | paste -sd,
}

make_base()
{
    local folder
    folder=$(mktemp -d /var/tmp/stm-package.XXXXXX)
    root=$folder
    echo "debootstrap $suite ..."
    debootstrap --variant=minbase --include="apache2,curl,$needs" "$suite" "$folder" \
        >"$work/debootstrap.log" 2>&1 || {
        tail -n 5 "$work/debootstrap.log" >&2
        finish
        root=""
        skip "debootstrap could not make a system (is the network there?)"
    }
    rm -rf "$folder"/var/cache/apt/archives/*.deb
    tar -C "$folder" --exclude=./proc/* -cf "$base.new" .
    mv "$base.new" "$base"
    finish
    root=""
}

unpack()
{
    root=$(mktemp -d /var/tmp/stm-package.XXXXXX)
    tar -C "$root" -xf "$base"
    chmod 755 "$root" # only now: the archive has the permissions of the folder that mktemp made
    mount -t proc proc "$root/proc" || skip "nothing can be mounted here"
    allow_services
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0));
print(s.getsockname()[1])')
    echo "Listen 127.0.0.1:$port" >"$root/etc/apache2/ports.conf"
    echo "ServerName localhost" >"$root/etc/apache2/conf-enabled/name.conf"
    sed -i "s/\*:80/*:$port/" "$root"/etc/apache2/sites-available/000-default.conf
    mkdir -p "$root/packages"
    cp "$packages"/libapache2-mpm-stm_*.deb "$root/packages/new.deb"
    older "$root/packages/new.deb" "$root/packages/old.deb"
}

# allow_services  invoke-rc.d calls the init script, also where the machine itself has no init: then
# it asks this, and for the runlevel
allow_services()
{
    printf '#!/bin/sh\nexit 0\n' >"$root/usr/sbin/policy-rc.d"
    printf '#!/bin/sh\necho N 5\n' >"$root/usr/sbin/runlevel"
    chmod 755 "$root/usr/sbin/policy-rc.d" "$root/usr/sbin/runlevel"
}

refuse_services()
{
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
}

# older NEW OLD  the same files as a version before
older()
{
    local folder=$work/older
    rm -rf "$folder"
    dpkg-deb -R "$1" "$folder"
    sed -i 's/^Version: .*/Version: 0.0.9/' "$folder/DEBIAN/control"
    dpkg-deb -b "$folder" "$2" >/dev/null
    rm -rf "$folder"
}

# --- assertions ----------------------------------------------------------------------------------

# check WORDS COMMAND...  one test
check()
{
    local words=$1
    shift
    if "$@" >"$work/check.log" 2>&1; then
        echo "ok    $words"
        passed=$((passed + 1))
    else
        echo "FAIL  $words"
        sed 's/^/      /' "$work/check.log" | tail -n 20
        failed=$((failed + 1))
    fi
}

fails()
{
    ! "$@"
}

# mpm NAME  whether the server that runs has this MPM, and answers
mpm()
{
    local deadline=$((SECONDS + 30))
    until curl -fsS --noproxy '*' --max-time 5 -o /dev/null "http://127.0.0.1:$port/"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
    [ "$(running_mpm)" = "$1" ]
}

master()
{
    cat "$root/run/apache2/apache2.pid"
}

running_mpm()
{
    sed -n 's|.*/mod_mpm_\([a-z]*\)\.so\( (deleted)\)\{0,1\}$|\1|p' "/proc/$(master)/maps" | sort -u
}

configured_mpm()
{
    within apache2ctl -V | grep -qi "^Server MPM: *$1"
}

enabled()
{
    [ -e "$root/etc/apache2/mods-enabled/mpm_$1.load" ]
}

# switch FROM TO  as README.Debian says
switch()
{
    within a2dismod -q "mpm_$1" && within a2enmod -q "mpm_$2" && within apache2ctl configtest &&
        within /etc/init.d/apache2 stop && within /etc/init.d/apache2 start && mpm "$2"
}

stopped()
{
    local deadline=$((SECONDS + 30))
    while [ -n "$(pids)" ]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

pids()
{
    local pid
    for pid in /proc/[0-9]*; do
        if [ "$(readlink "$pid/root" 2>/dev/null)" = "$root" ]; then
            echo "${pid#/proc/}"
        fi
    done
}

mode()
{
    stat -c '%a %U:%G' "$root$1"
}

# reloaded COMMAND...  the command changes nothing of the process that is the master
reloaded()
{
    local before
    before=$(master)
    "$@" && mpm stm && [ "$(master)" = "$before" ]
}

# refused  the server is told to reload, says that it cannot, and serves on
refused()
{
    local log=$root/var/log/apache2/error.log deadline=$((SECONDS + 30)) before
    before=$(grep -c "restart needed" "$log" || true)
    within apache2ctl graceful || true
    until [ "$(grep -c "restart needed" "$log" || true)" -gt "$before" ]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
    mpm stm
}

replaced()
{
    local before
    before=$(master)
    "$@" && mpm stm && [ "$(master)" != "$before" ]
}

install_version()
{
    within dpkg -i --force-confold "/packages/$1.deb"
}

is_version()
{
    within dpkg-query -W -f '${Version}' libapache2-mpm-stm | grep -qx "$1"
}

# --- the tests -----------------------------------------------------------------------------------

# Another archive if the package needs others than before.
needs=$(needs)
base=$work/base-$suite-$(cksum <<<"$needs" | cut -d' ' -f1).tar
if [ ! -e "$base" ]; then
    rm -f "$work"/base-*.tar
    make_base
fi
unpack

check "the server runs with Debian's own MPM" eval 'within /etc/init.d/apache2 start && mpm event'
check "the package is installed" install_version old
check "the installation does not enable the module" eval \
    '! enabled stm && enabled event && mpm event'
check "the directory of the scoreboards is there, for root and adm" \
    test "$(mode /run/apache2/scoreboards)" = "750 root:adm"
check "tmpfiles.d makes it at each boot" \
    grep -qx "d /run/apache2/scoreboards 0750 root adm -" \
    "$root/usr/lib/tmpfiles.d/libapache2-mpm-stm.conf"

check "event to stm as README.Debian says" switch event stm
check "stmstat reads the scoreboards" eval 'within stmstat -1 | grep "^vp.0.pid"'
check "stm to event" switch stm event
check "event to worker" switch event worker
check "worker to stm" switch worker stm
check "a reload is a reload" reloaded within apache2ctl graceful

for other in event prefork worker; do
    check "mpm_$other enabled beside stm: the configuration has $other" \
        eval "within a2enmod -q mpm_$other && configured_mpm $other"
    check "and a reload is refused, while stm serves on" \
        refused
    check "without mpm_$other it is stm again" \
        eval "within a2dismod -q mpm_$other && configured_mpm stm"
done

check "a server without /run/apache2/scoreboards starts" eval '
    within /etc/init.d/apache2 stop && rm -rf "$root/run/apache2/scoreboards" &&
    within /etc/init.d/apache2 start && mpm stm && ! within stmstat -1'

check "an upgrade restarts the server" replaced install_version new
check "it is the new version" \
    is_version "$(dpkg-deb -f "$packages"/libapache2-mpm-stm_*.deb Version)"
check "the module is still enabled" enabled stm
refuse_services
check "an upgrade that may not restart the server leaves it alone" reloaded install_version old
check "and a reload takes the new file over" reloaded within apache2ctl graceful
allow_services
echo "# the administrator's" >>"$root/etc/apache2/mods-available/mpm_stm.conf"
check "an upgrade keeps a changed configuration" eval 'install_version new &&
    grep -q "^# the administrator" "$root/etc/apache2/mods-available/mpm_stm.conf" && mpm stm'

check "removal gives event back" eval \
    'within dpkg -r libapache2-mpm-stm && mpm event && ! enabled stm'
check "it can be installed and enabled again" eval 'install_version new && switch event stm'
check "purged while it is enabled: event, and nothing left" eval '
    within dpkg -P libapache2-mpm-stm && mpm event &&
    [ -z "$(find "$root/etc/apache2" "$root/var/lib/apache2" "$root/run/apache2" \
        "$root/usr/lib/tmpfiles.d" -name "*mpm_stm*" -o -name "*mpm-stm*" -o -name scoreboards)" ]'
check "the server stops" eval 'within /etc/init.d/apache2 stop && stopped'

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
