#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh SET...  installs the missing Debian packages of scripts/deps/SET.list and says which.
# Called by the Makefile before it builds, tests, benches or lints. Silent when all are installed.
# No service is started on the way, and the package "apache2", which is one, is never installed. A
# line of a list is a package, or alternatives, "a | b": the first that is available is installed
# unless one of them already is. "a | b | -": optional, skipped if none is available.
#   DEPS=no             trusts the caller that everything is there (other distributions, own builds)
#   POLICY_RC_D=FILE    where invoke-rc.d asks whether it may start services (for the tests)

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# die MESSAGE...  prints one line each to stderr and exits
die()
{
    printf 'deps.sh: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '         %s\n' "$@" >&2
    exit 1
}

# wanted SET...  the entries of the sets, one per line: "package" or "one|other" or "one|other|-"
wanted()
{
    local set
    for set in "$@"; do
        [ -r "$here/deps/$set.list" ] || die "there is no set \"$set\" in scripts/deps/"
        sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$here/deps/$set.list"
    done | sort -u
}

# missing WANT...  those of which no alternative is installed
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

# optional WANT  whether it may be missing
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

# goes_without WANT...  reports what is left out
goes_without()
{
    local want
    for want in "$@"; do
        want=${want%|-}
        echo "deps.sh: not available here: ${want//|/ or }; whatever needs it is skipped" >&2
    done
}

# install_as_root WANT...  the part that changes the machine ("deps.sh --as-root WANT..."). A
# policy-rc.d that forbids it keeps the packages' own scripts from starting services; one that the
# administrator put there takes precedence.
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

    # A list that cannot be fetched is not fatal: the old list and apt's cache may suffice.
    "${apt[@]}" update >"$log" 2>&1 ||
        echo "deps.sh: apt-get update failed; continuing with the existing lists" >&2
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

# simulate PACKAGE...  logs what would be installed; refuses the service
simulate()
{
    "${apt[@]}" -s install "$@" >"$log.new" 2>&1 || return
    if grep -q '^Inst apache2 ' "$log.new"; then
        die "installing $* would bring in the package apache2, a service on port 80:" "refused"
    fi
}

# install_needed PACKAGE...  all of them, or it exits
install_needed()
{
    if ! simulate "$@"; then
        complaints "$log.new"
        die "apt cannot find all of: $*" \
            "Is there a network connection? Debian 12, Ubuntu 22.04 or newer is required."
    fi
    cat "$log.new" >>"$log"
    if ! "${apt[@]}" install "$@" >>"$log" 2>&1; then
        complaints "$log"
        die "could not install: $*" "Is there a network connection? Once there is:" \
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

# complaints LOG  apt's error messages
complaints()
{
    grep -E '^E(rr)?:' "$1" | tail -n 8 >&2 || true
}

# rest_services LOG  services of newly installed packages, dependencies included, were not started,
# and must not start at the next boot either: nobody who installs them for a test wants a new server
rest_services()
{
    local packages services service
    packages=$(sed -n 's/^Inst \([^ ]*\) (.*/\1/p' "$1" | xargs)
    # None: all has come meanwhile, or was only renewed. dpkg -L would fail without a name.
    [ -n "$packages" ] || return 0
    # shellcheck disable=SC2086 # names of packages
    services=$({ dpkg -L $packages 2>/dev/null || true; } | sed -n \
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
    echo "deps.sh: neither started nor enabled at boot: $services"
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
        "Required packages, by their names in Debian 12:" "  ${packages[*]%%|*}" \
        "If they are installed under other names, say so with DEPS=no (make DEPS=no ...)."
fi
lacking=$(missing "${packages[@]}")
[ -n "$lacking" ] || exit 0
readarray -t packages <<<"$lacking"

# Optional packages that apt does not offer are no reason to fetch lists or to ask for a password.
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

# cannot MESSAGE...  nobody here may install: exits, unless everything missing is optional
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
    cannot "You are not root and there is no sudo. Ask root to run:"
elif ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && sudo -v; }; then
    cannot "You are not root and may not use sudo. Ask someone who may to run:"
else
    echo "Installing: ${packages[*]%%|*}"
    sudo "$here/deps.sh" --as-root "${packages[@]}"
fi
echo "Installed."
