#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cluster.sh start|status|add|httpd|stop  the machines of `make cluster` on one machine: network
# namespaces, joined by a bridge that is in one of them as well. A front server, three backends, an
# application server; HAProxy and nginx beside the front server if they are installed. The
# configurations are in conf/cluster, and docs/scale-out.md explains them. Environment:
#   BUILD    the build folder (build)
#   MPM      stm or event: of the front server and the backends (stm)
#   CLUSTER  prefix of the namespaces (stm). With any other than stm, this machine gets no address
#            in the network, and no application server is started: for tests
#   HTTPD    the server's program (/usr/sbin/apache2, else /usr/sbin/httpd)
# Needs root. Addresses are of 198.18.0.0/15, which is reserved for measurements. Exit status 77:
# this system allows no network namespaces.

set -euo pipefail
umask 022
top=$(cd "$(dirname "$0")/.." && pwd -P)
BUILD=${BUILD:-build}
case $BUILD in /*) build=$BUILD ;; *) build=$top/$BUILD ;; esac
MPM=${MPM:-stm}
CLUSTER=${CLUSTER:-stm}
PATH=$PATH:/usr/sbin:/sbin
HTTPD=${HTTPD:-$(command -v apache2 || command -v httpd || true)}
net=198.18.77
link=$build/cluster
[ "$CLUSTER" = stm ] || link=$build/cluster-$CLUSTER
start_wait=30 # seconds within which each server must answer
stop_wait=10  # seconds that a stop may take before SIGKILL

# die MESSAGE...  prints one line each to stderr and exits
die()
{
    printf 'cluster: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '     %s\n' "$@" >&2
    exit 1
}

# in_ns NAME COMMAND...  runs it in a machine's namespace
in_ns()
{
    local name=$1
    shift
    ip netns exec "$CLUSTER-$name" "$@"
}

# machines  the names of all that there are, the network itself first
machines()
{
    local file
    for file in net host app front b1 b2 b3 b4 b5 b6 b7 b8; do
        [ ! -e "/run/netns/$CLUSTER-$file" ] || echo "$file"
    done
}

address_of()
{
    case $1 in
    host) echo $net.1 ;;
    front) echo $net.10 ;;
    app) echo $net.30 ;;
    b*) echo "$net.$((20 + ${1#b}))" ;;
    esac
}

# plug NAME  a machine with a cable to the bridge. Interfaces are made in namespaces, so that their
# names meet nobody else's.
plug()
{
    local ns=$CLUSTER-$1
    ip netns add "$ns"
    ip -n "$CLUSTER-net" link add "$1" type veth peer name eth0 netns "$ns"
    ip -n "$CLUSTER-net" link set "$1" master bridge up
    ip -n "$ns" address add "$(address_of "$1")/24" dev eth0
    ip -n "$ns" link set lo up
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add 239.0.0.0/8 dev eth0
}

make_network()
{
    if ! ip netns add "$CLUSTER-net" 2>/dev/null ||
        ! ip -n "$CLUSTER-net" link add bridge type bridge mcast_snooping 0 2>/dev/null; then
        ip netns del "$CLUSTER-net" 2>/dev/null || true
        echo "cluster: network namespaces with a bridge cannot be made here" >&2
        exit 77
    fi
    ip -n "$CLUSTER-net" link set bridge up
    if [ "$CLUSTER" = stm ]; then # for a browser on this machine
        ip link add stm-cluster type veth peer name host netns "$CLUSTER-net"
        ip -n "$CLUSTER-net" link set host master bridge up
        ip address add $net.1/24 dev stm-cluster
        ip link set stm-cluster up
    else
        plug host
    fi
}

# --- servers -------------------------------------------------------------------------------------

choose_user()
{
    for user in www-data nobody; do
        ! id "$user" >/dev/null 2>&1 || return 0
    done
    die "there is no user www-data or nobody as whom httpd's children could run"
}

# httpd NAME ARGUMENTS...  runs httpd with that machine's configuration, in its namespace
httpd()
{
    local name=$1 role=backend threads=100 module=$modules/mod_mpm_$MPM.so
    shift
    [ "$name" != front ] || role=front threads=500
    [ "$MPM" != stm ] || module=$root/mod_mpm_stm.so
    in_ns "$name" "$HTTPD" -C "Define ROLE $role" -C "Define NAME $name" \
        -C "Define ADDRESS $(address_of "$name")" -C "Define ROOT $root/$name" \
        -C "Define CONF $root/conf" -C "Define MODULES $modules" -C "Define MPM $MPM" \
        -C "Define MPM_MODULE $module" -C "Define USER $user" \
        -C "Define THREADS $threads" -C "Define REQUESTS $((2 * threads))" \
        -f "$root/conf/server.conf" "$@"
}

start_httpd()
{
    local name=$1
    mkdir -p "$root/$name"/{htdocs,logs,run,scoreboards}
    echo "$name" >"$root/$name/htdocs/index.html"
    echo fine >"$root/$name/htdocs/health"
    httpd "$name" -k start </dev/null >"$root/$name/logs/start.log" 2>&1 ||
        die "httpd does not start on $name:" "$(cat "$root/$name/logs/start.log")"
}

# wait_for NAME  waits until a machine's server answers
wait_for()
{
    local deadline=$((SECONDS + start_wait)) path=health
    until in_ns front curl -gfs --noproxy '*' --max-time 5 -o /dev/null \
        "http://$(address_of "$1")/$path"; do
        ((SECONDS < deadline)) || die "$1 did not answer within $start_wait s" \
            "$(tail -n 5 "$root/$1/logs/error.log" 2>/dev/null)"
        sleep 0.1
    done
}

start_fronts()
{
    if command -v haproxy >/dev/null; then
        in_ns front haproxy -D -f "$root/conf/haproxy.cfg" -p "$root/front/run/haproxy.pid" \
            </dev/null >"$root/front/logs/haproxy.log" 2>&1 ||
            die "HAProxy does not start:" "$(cat "$root/front/logs/haproxy.log")"
    fi
    if command -v nginx >/dev/null && [ -e /usr/lib/nginx/modules/ngx_stream_module.so ]; then
        in_ns front nginx -p "$root/front/" -c "$root/conf/nginx.conf" </dev/null \
            >"$root/front/logs/nginx-start.log" 2>&1 ||
            die "nginx does not start:" "$(cat "$root/front/logs/nginx-start.log")"
    fi
}

start_app()
{
    local program=$build/tests/slowbackend
    [ -x "$program" ] || die "$program is missing: make cluster builds it"
    mkdir -p "$root/app"
    mkfifo "$root/app/input" # it ends with its input
    in_ns app "$program" -a "$(address_of app)" -p 8000 -d 20 <>"$root/app/input" \
        >"$root/app/log" 2>&1 &
}

start()
{
    local name starting=()
    [ "$(id -u)" = 0 ] || die "network namespaces need root: sudo make cluster"
    [[ $CLUSTER =~ ^[a-z][a-z0-9]*$ ]] || die "CLUSTER=$CLUSTER: must be lower case letters, digits"
    case $MPM in stm | event) ;; *) die "MPM=$MPM: must be stm or event" ;; esac
    command -v ip >/dev/null || die "ip is missing (on Debian: package iproute2)"
    [ -x "$HTTPD" ] || die "httpd is missing (on Debian: package apache2-bin)"
    [ -z "$(machines)" ] || die "a cluster is running: make stop ends it"
    choose_user
    make_network
    trap 'stop >/dev/null 2>&1' EXIT
    rm -rf "$(readlink -f "$link" || true)" "$link"
    root=$(mktemp -d /var/tmp/stm-cluster.XXXXXX) # where httpd's children can go
    chmod 755 "$root"
    mkdir -p "$build"
    ln -s "$root" "$link"
    cp -r "$top/conf/cluster" "$root/conf"
    install -m 755 "$build/mod_mpm_stm.so" "$root/"
    printf 'MPM=%s\nuser=%s\nmodules=%s\n' "$MPM" "$user" "$modules" >"$root/settings"
    for name in app front b1 b2 b3; do
        plug "$name"
    done
    [ "$CLUSTER" != stm ] || start_app
    for name in b1 b2 b3 front; do
        start_httpd "$name" &
        starting+=($!)
    done
    for name in "${starting[@]}"; do
        wait "$name" || exit 1
    done
    for name in b1 b2 b3 front; do
        wait_for "$name"
    done
    start_fronts
    trap - EXIT
    status
}

# settings  those of the running cluster
settings()
{
    root=$(readlink -f "$link" || true)
    [ -r "$root/settings" ] && [ -n "$(machines)" ] || return 1
    # shellcheck source=/dev/null
    . "$root/settings"
}

# add  one backend more; the front server does not know it yet
add()
{
    local number=1
    settings || die "no cluster is running: make cluster starts one"
    while [ -e "/run/netns/$CLUSTER-b$number" ]; do
        ((number++ < 8)) || die "there are 8 backends already"
    done
    plug "b$number"
    start_httpd "b$number"
    wait_for "b$number"
    echo "b$number: http://$(address_of "b$number")/ (the balancer manager can add it)"
}

# run_httpd NAME ARGUMENTS...  httpd on one of the machines: -k graceful, -k start, -t ...
run_httpd()
{
    settings || die "no cluster is running: make cluster starts one"
    [ -d "$root/${1:-none}/run" ] || die "usage: cluster.sh httpd front|b1|... ARGUMENTS"
    httpd "$@"
}

status()
{
    local name address
    settings || die "no cluster is running"
    for name in $(machines); do
        address=$(address_of "$name")
        case $name in
        front)
            echo "front:     http://$address/   (MPM $MPM)"
            echo "           http://$address/balancer-manager"
            [ ! -e "$root/front/run/haproxy.pid" ] ||
                echo "           http://$address:8081/ and :8082/   (HAProxy, PROXY protocol 1, 2)"
            [ ! -e "$root/front/run/nginx.pid" ] ||
                echo "           http://$address:8083/ and :8084/   (nginx, http and stream)"
            ;;
        app) echo "app:       http://$address:8000/delay/MS   (through a server: /app/delay/MS)" ;;
        b*) echo "$name:        http://$address/" ;;
        *) continue ;;
        esac
        [ "$name" = app ] || [ "$MPM" != stm ] || echo "           http://$address/stm-dashboard"
    done
    echo "A shell:   ip netns exec $CLUSTER-front bash"
    echo "Cable out: ip -n $CLUSTER-net link set b1 down"
    echo "Logs:      $link/*/logs/"
    echo "Stop:      make stop"
}

# --- stop ----------------------------------------------------------------------------------------

# processes  those in the cluster's namespaces
processes()
{
    local name
    for name in $(machines); do
        ip netns pids "$CLUSTER-$name" 2>/dev/null || true
    done
}

# masters  those that are to be told to end: the servers' first processes, and the application
masters()
{
    local pid all
    all=$'\n'$(processes)$'\n'
    for pid in $(cat "$root"/*/run/*.pid 2>/dev/null) \
        $(ip netns pids "$CLUSTER-app" 2>/dev/null); do
        [[ $all != *$'\n'$pid$'\n'* ]] || echo "$pid"
    done
}

# end SIGNAL PID...
end()
{
    local signal=$1
    shift
    [ $# -eq 0 ] || kill "-$signal" "$@" 2>/dev/null || true
}

stop()
{
    local name deadline=$((SECONDS + stop_wait))
    root=$(readlink -f "$link" || true)
    if [ -z "$(machines)" ]; then
        rm -rf "$root" "$link"
        return
    fi
    [ "$(id -u)" = 0 ] || die "root started the cluster, and must stop it: sudo make stop"
    # shellcheck disable=SC2046 # numbers
    end TERM $(masters)
    while [ -n "$(processes)" ] && ((SECONDS < deadline)); do
        sleep 0.1
    done
    # shellcheck disable=SC2046
    end KILL $(processes)
    for name in $(machines); do
        ip netns del "$CLUSTER-$name"
    done
    [ "$CLUSTER" != stm ] || ip link del stm-cluster 2>/dev/null || true
    rm -rf "$root" "$link"
    echo "The cluster has ended."
}

modules=$(apxs -q LIBEXECDIR 2>/dev/null || echo /usr/lib/apache2/modules)
case ${1:-} in
start | status | add | stop) "$1" ;;
httpd) shift && run_httpd "$@" ;;
*) die "usage: cluster.sh start|status|add|httpd|stop" ;;
esac
