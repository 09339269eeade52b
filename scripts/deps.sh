#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh SET...  installs the Debian packages of scripts/deps/SET.list that are missing, and says
# which. Called by the Makefile before it builds, tests, benches or lints. Says nothing when all are
# there. No service is started on the way, and the package "apache2", which is one, never installed.
# A line of a list is a package, or alternatives, "a | b": the first that is to be had is installed
# unless one of them is there already. "a | b | -" goes without if none is to be had.
#   DEPS=no             trusts the caller that everything is there (other distributions, own builds)
#   POLICY_RC_D=FILE    where invoke-rc.d asks whether it may start services (for the tests)

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# die MESSAGE...  one line each, to stderr
die()
{
    printf 'deps.sh: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '         %s\n' "$@" >&2
    exit 1
}

# wanted SET...  what the sets list, one a line: "package" or "one|other" or "one|other|-"
wanted()
{
    local set
    for set in "$@"; do
        [ -r "$here/deps/$set.list" ] || die "there is no set \"$set\" in scripts/deps/"
        sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$here/deps/$set.list"
    done | sort -u
}

# missing WANT...  those of which dpkg knows no alternative as installed
missing()
{
    local want installed packages=${*%|-}
    # shellcheck disable=SC2086 # names of packages
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' ${packages//|/ } 2>/dev/null |
        sed -n 's/^installed //p' || true)
    for want in "$@"; do
        grep -qxF -e "${want//|/$'\n'}" <<<"$installed" || echo "$want"
    done
}

# optional WANT  whether all goes without it
optional()
{
    [[ $1 = *'|-' ]]
}

# to_be_had WANT  its first alternative that apt offers; fails if there is none
to_be_had()
{
    local package
    for package in ${1//|/ }; do
        if [ "$package" != - ] && apt-get -s install "$package" >/dev/null 2>&1; then
            echo "$package"
            return
        fi
    done
    return 1
}

# goes_without WANT...  says so
goes_without()
{
    local want
    for want in "$@"; do
        want=${want%|-}
        echo "deps.sh: not to be had here: ${want//|/ or }; what needs it is skipped" >&2
    done
}

# install_as_root WANT...  the part that changes the machine ("deps.sh --as-root WANT..."). A
# policy-rc.d that says no keeps the packages' own scripts from starting services; one that the
# administrator put there stays in charge.
install_as_root()
{
    local policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
    log=$(mktemp)
    rubbish=("$log" "$log.new")
    trap 'rm -f "${rubbish[@]}"' EXIT
    trap 'exit 1' INT TERM HUP
    if [ ! -e "$policy" ]; then
        rubbish+=("$policy")
        printf '%s\n' '#!/bin/sh' '# By deps.sh, while it installs packages; may be removed.' \
            'exit 101' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C
    apt=(apt-get -y -q --no-install-recommends -o DPkg::Lock::Timeout=300
        -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)

    # A list that cannot be fetched is not the end: the old list and apt's cache may do.
    "${apt[@]}" update >"$log" 2>&1 ||
        echo "deps.sh: apt-get update failed, trying with the lists as they are" >&2
    local want needed=()
    for want in "$@"; do
        case $want in
            *'|-') ;;
            *'|'*) needed+=("$(to_be_had "$want" || echo "${want%%|*}")") ;;
            *) needed+=("$want") ;;
        esac
    done
    [ ${#needed[@]} -eq 0 ] || install_needed "${needed[@]}"
    for want in "$@"; do
        if optional "$want"; then
            install_optional "$want" || goes_without "$want"
        fi
    done
    rest_services "$log"
}

# simulate PACKAGE...  what would be installed goes to the log; never the service
simulate()
{
    "${apt[@]}" -s install "$@" >"$log.new" 2>&1 || return
    if grep -q '^Inst apache2 ' "$log.new"; then
        die "installing $* would bring in the package apache2, a service on port 80:" "not done"
    fi
}

# install_needed PACKAGE...  all of them, or it is the end
install_needed()
{
    if ! simulate "$@"; then
        complaints "$log.new"
        die "apt does not find all of: $*" \
            "Is the network there? Debian 12 or newer, or Ubuntu 22.04 or newer, is needed."
    fi
    cat "$log.new" >>"$log"
    if ! "${apt[@]}" install "$@" >>"$log" 2>&1; then
        complaints "$log"
        die "could not install: $*" "Is the network there? Once it is:" \
            "  apt-get install --no-install-recommends $*"
    fi
}

# install_optional WANT
install_optional()
{
    local package
    package=$(to_be_had "$1") && simulate "$package" || return
    cat "$log.new" >>"$log"
    "${apt[@]}" install "$package" >>"$log" 2>&1
}

# complaints LOG  what apt did not like
complaints()
{
    grep -E '^E(rr)?:' "$1" | tail -n 8 >&2 || true
}

# rest_services LOG  services of what came newly, dependencies included, were not started, and shall
# not start at the next boot either: who installs them for a test wants no server on his machine
rest_services()
{
    local packages services service
    packages=$(sed -n 's/^Inst \([^ ]*\) (.*/\1/p' "$1" | xargs)
    # shellcheck disable=SC2086 # names of packages
    services=$(dpkg -L $packages 2>/dev/null | sed -n \
        -e 's|^/etc/init.d/\(..*\)$|\1|p' \
        -e 's|.*/systemd/system/\([^/@]*\)\.service$|\1|p' | sort -u | xargs)
    [ -n "$services" ] || return 0
    for service in $services; do
        if command -v systemctl >/dev/null; then
            systemctl disable "$service" >>"$1" 2>&1 || true
        elif command -v update-rc.d >/dev/null && [ -e "/etc/init.d/$service" ]; then
            update-rc.d "$service" disable >>"$1" 2>&1 || true
        fi
    done
    echo "deps.sh: neither started nor enabled for the next boot: $services"
}

if [ "${1:-}" = --as-root ]; then
    shift
    install_as_root "$@"
    exit
fi
if [ $# -eq 0 ]; then
    die "usage: deps.sh SET...   (sets: $(cd "$here/deps" && echo *.list | sed 's/\.list//g'))"
fi
[ "${DEPS:-}" != no ] || exit 0

wants=$(wanted "$@")
readarray -t packages <<<"$wants"
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    die "this machine has no apt, so nothing can be installed for you." \
        "Needed are, by the names of Debian 12:" "  ${packages[*]%%|*}" \
        "If they are there under other names, say so with DEPS=no (make DEPS=no ...)."
fi
lacking=$(missing "${packages[@]}")
[ -n "$lacking" ] || exit 0
readarray -t packages <<<"$lacking"

# What all goes without is no reason to fetch lists, nor to trouble somebody who may install.
needed=() offered=() without=()
for want in "${packages[@]}"; do
    if ! optional "$want"; then
        needed+=("$want")
    elif to_be_had "$want" >/dev/null; then
        offered+=("$want")
    else
        without+=("$want")
    fi
done
if [ ${#needed[@]} -eq 0 ]; then
    goes_without "${without[@]}"
    [ ${#offered[@]} -gt 0 ] || exit 0
    packages=("${offered[@]}")
fi

# cannot MESSAGE...  nobody here may install: the end, unless all goes without
cannot()
{
    local by_hand="  apt-get install --no-install-recommends ${packages[*]%%|*}"
    if [ ${#needed[@]} -eq 0 ]; then
        goes_without "${packages[@]}"
        exit 0
    fi
    die "these packages are missing: ${packages[*]%%|*}" "$@" "$by_hand"
}

if [ "$(id -u)" = 0 ]; then
    echo "Installing: ${packages[*]%%|*}"
    install_as_root "${packages[@]}"
elif ! command -v sudo >/dev/null; then
    cannot "You are not root and there is no sudo. Somebody who is root has to run:"
elif ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && sudo -v; }; then
    cannot "You are not root and sudo does not let you. Somebody who may has to run:"
else
    echo "Installing: ${packages[*]%%|*}"
    sudo "$here/deps.sh" --as-root "${packages[@]}"
fi
echo "Installed."
