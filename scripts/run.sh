#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh start|stop|status|clean  the server of `make run` and `make stop`: the distribution's
# httpd with a private ServerRoot, $BUILD/run. No configuration outside it is read, and no port
# below 1024 is used. Environment:
#   BUILD    the build folder (build)
#   MPM      stm, event, worker or prefork (stm)
#   MPM_CONF a file with the MPM's settings (conf/mpm_stm.conf, for the others conf/mpm_debian.conf)
#   PORT     1024..65535 (8080)
#   ADDRESS  IPv4 or IPv6 address to listen on (127.0.0.1)
#   APXS     the server's apxs, which knows where its modules are (apxs)
#   HTTPD    the server's program (/usr/sbin/apache2, else /usr/sbin/httpd)
#
# Started by root, httpd's children run as www-data (else nobody). If that user cannot reach
# $BUILD/run, say because the checkout lies in a home folder of mode 0700, the ServerRoot is put
# into a new folder in /var/tmp (else /run), with a copy of the module, and $BUILD/run is a
# symbolic link to it.

set -euo pipefail
umask 022
top=$(cd "$(dirname "$0")/.." && pwd -P)
BUILD=${BUILD:-build}
case $BUILD in /*) build=$BUILD ;; *) build=$top/$BUILD ;; esac
MPM=${MPM:-stm}
PORT=${PORT:-8080}
ADDRESS=${ADDRESS:-127.0.0.1}
PATH=$PATH:/usr/sbin:/sbin
HTTPD=${HTTPD:-$(command -v apache2 || command -v httpd || true)}
APXS=${APXS:-apxs}
start_wait=15              # seconds within which the server must answer
stop_wait=${STOP_WAIT:-10} # seconds that a stop may take before SIGKILL

run=$build/run                     # the path shown to the user
root=$(readlink -f "$run" || true) # the path given to httpd
root=${root:-$run}
user="" group=""

# die MESSAGE...  prints one line each to stderr and exits
die()
{
    printf 'run: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '     %s\n' "$@" >&2
    exit 1
}

# --- processes -----------------------------------------------------------------------------------

# living PGID  the processes of a group, without zombies: where nobody reaps them, they stay
living()
{
    # A process that ended between listing and reading is no failure.
    { cat /proc/[0-9]*/stat 2>/dev/null || true; } |
        sed -n 's/^\([0-9]*\) (.*) \([A-Za-z]\) [0-9]* \([0-9]*\) .*/\1 \2 \3/p' |
        awk -v group="$1" '$3 == group && $2 != "Z" { print $1 }'
}

# with_configuration FILE...  whether one of these /proc/PID/cmdline names $root's configuration
with_configuration()
{
    # The pattern comes from a file, or grep's own command line would match it.
    grep -qszxF -f <(echo "$root/conf/httpd.conf") "$@"
}

# is_ours PID  whether that process was started with this ServerRoot's configuration
is_ours()
{
    with_configuration "/proc/$1/cmdline"
}

# find_server  prints the process group of the server that runs from $root; httpd makes itself the
# leader of a group. Fails if there is none. Children whose master is dead are found, too.
find_server()
{
    local pgid pid
    [ -r "$root/logs/httpd.pid" ] || return 1
    read -r pgid <"$root/logs/httpd.pid" || true
    [[ $pgid =~ ^[1-9][0-9]*$ ]] || return 1
    for pid in $(living "$pgid"); do
        if is_ours "$pid"; then
            echo "$pgid"
            return 0
        fi
    done
    return 1
}

# alive  whether any process was started with $root's configuration (before the pid file is there)
alive()
{
    with_configuration /proc/[0-9]*/cmdline
}

# setting NAME  a setting that the server of $root was started with
setting()
{
    sed -n "s/^# run:.* $1=\([^ ]*\).*/\1/p" "$root/conf/httpd.conf" 2>/dev/null
}

# --- start ---------------------------------------------------------------------------------------

check_arguments()
{
    case $MPM in
    stm | event | worker | prefork) ;;
    *) die "MPM=$MPM is unknown: must be stm, event, worker or prefork" ;;
    esac
    MPM_CONF=${MPM_CONF:-$top/conf/$([ "$MPM" = stm ] && echo mpm_stm || echo mpm_debian).conf}
    [ -r "$MPM_CONF" ] || die "MPM_CONF=$MPM_CONF cannot be read"
    if ! [[ $PORT =~ ^[0-9]{1,5}$ ]] || ((10#$PORT < 1024 || 10#$PORT > 65535)); then
        die "PORT=$PORT: must be a number from 1024 to 65535 (lower ones are the system's)"
    fi
    [[ $ADDRESS =~ ^[0-9a-fA-F.:]+$ ]] || die "ADDRESS=$ADDRESS: must be an IPv4 or IPv6 address"
    [[ $root != *[\"\\\$%\|*?[]* ]] ||
        die "$root: httpd cannot use a folder with any of \" \\ \$ % | * ? [ in its name"
    find_modules
    [ -n "$HTTPD" ] ||
        die "httpd is missing (on Debian: /usr/sbin/apache2, package apache2-bin)"
    if ! [ -f "$HTTPD" ] || ! [ -x "$HTTPD" ]; then
        die "HTTPD=$HTTPD is no program (on Debian: /usr/sbin/apache2, package apache2-bin)"
    fi
    compiled_in=$("$HTTPD" -l 2>&1) || die "HTTPD=$HTTPD cannot be run:" "$compiled_in"
    command -v curl >/dev/null || die "curl is missing"
}

# find_modules  sets $modules to the folder with httpd's modules, by that httpd's apxs
find_modules()
{
    if ! command -v "$APXS" >/dev/null; then
        [ "$APXS" = apxs ] || die "APXS=$APXS is no program"
        modules=/usr/lib/apache2/modules
        return
    fi
    modules=$("$APXS" -q LIBEXECDIR 2>/dev/null) || die "APXS=$APXS -q LIBEXECDIR fails"
    [ -d "$modules" ] || die "APXS=$APXS: its folder of modules, $modules, is missing"
}

# is_compiled_in MODULE  whether httpd has that module without loading it
is_compiled_in()
{
    grep -qx " *\(mod_\)\{0,1\}$1\.c" <<<"$compiled_in"
}

# load_modules  the LoadModule lines of what the configuration needs and httpd has not compiled in
load_modules()
{
    local name
    for name in authz_core authz_host dir log_config logio mime reqtimeout status unixd; do
        is_compiled_in "$name" || echo "LoadModule ${name}_module $modules/mod_$name.so"
    done
}

# check_mpm  an httpd with an MPM compiled in cannot load another one
check_mpm()
{
    local name
    for name in event worker prefork; do
        ! is_compiled_in "$name" ||
            die "HTTPD=$HTTPD has the MPM $name compiled in and can load no other" \
                "Configure it with --enable-mpms-shared=all."
    done
}

# listeners  who already listens on $PORT where we want to, one per line; nothing if it is free
listeners()
{
    local host
    if command -v ss >/dev/null; then
        ss -Hltnp "sport = :$PORT" | awk -v own="$ADDRESS" '
            { address = $4; sub(/:[0-9]+$/, "", address); gsub(/[][]|%.*/, "", address) }
            address == own || address ~ /^(\*|0\.0\.0\.0|::|::1|127\..*|::ffff:127\..*)$/ ||
            own == "0.0.0.0" || own == "::" { print $4, $6 }'
    else
        for host in 127.0.0.1 ::1 "$ADDRESS"; do
            ! (exec 3<>"/dev/tcp/$host/$PORT") 2>/dev/null || echo "$host:$PORT"
        done | sort -u
    fi
}

check_port()
{
    local found
    found=$(listeners)
    [ -z "$found" ] || die "port $PORT is in use:" "$found" \
        "Choose another, for example: make run PORT=$((10#$PORT % 65535 + 1))"
}

# module_of MPM  path of its module
module_of()
{
    local path=$modules/mod_mpm_$1.so
    [ "$1" != stm ] || path=$build/mod_mpm_stm.so
    [ -r "$path" ] || die "$path is missing$([ "$1" != stm ] || echo "; make builds it")"
    echo "$path"
}

# choose_user  the user whom a root server's children become
choose_user()
{
    local name
    for name in www-data nobody; do
        if id "$name" >/dev/null 2>&1; then
            user=$name
            group=$(id -gn "$name")
            return
        fi
    done
    die "there is no user www-data or nobody as whom httpd's children could run"
}

as_user()
{
    setpriv --reuid "$user" --regid "$group" --clear-groups -- "$@"
}

# reachable FOLDER  whether $user can read the page in that ServerRoot
reachable()
{
    as_user cat "$1/htdocs/index.html" >/dev/null 2>&1
}

# fill FOLDER  creates what a ServerRoot needs; keeps a page that the user has changed
fill()
{
    mkdir -p "$1"/{conf,htdocs,logs,run,scoreboards} || die "cannot write to $1"
    [ -w "$1/conf" ] || die "$1 belongs to $(stat -c %U "$1"), who ran the server earlier." \
        "As that user: make stop clean"
    [ -e "$1/htdocs/index.html" ] ||
        echo '<html><body><h1>It works!</h1></body></html>' >"$1/htdocs/index.html"
}

# move_outside  a ServerRoot that $user can reach, and $run as a link to it
move_outside()
{
    local base
    for base in /var/tmp /run; do
        root=$(mktemp -d "$base/stm-run.XXXXXX") || continue
        chmod 755 "$root"
        cp -r "$run/." "$root/" # the user's page, and the logs
        fill "$root"
        if reachable "$root"; then
            rm -rf "$run"
            ln -s "$root" "$run"
            echo "$user cannot reach $run: the ServerRoot is $root, and $run is a link to it."
            return
        fi
        rm -rf "$root"
    done
    die "the user $user, as whom httpd's children run, can reach neither $run" \
        "nor a folder in /var/tmp or /run"
}

prepare_root()
{
    mkdir -p "$build"
    # A link whose target is gone or belongs to another user: start afresh.
    if [ -L "$run" ] && ! [ -O "$root" ]; then
        [ ! -d "$root" ] || echo "$root belongs to $(stat -c %U "$root") and is no longer used."
        rm -f "$run"
        root=$run
    fi
    fill "$root"
    choose_user
    [ "$(id -u)" = 0 ] || return 0
    as_user true 2>/dev/null ||
        die "root cannot switch to user $user here (a container without CAP_SETUID?)" \
            "Run it as an ordinary user."
    reachable "$root" || move_outside
}

write_configuration()
{
    local module map listen=$ADDRESS:$PORT mime=/etc/mime.types
    [[ $ADDRESS != *:* ]] || listen=[$ADDRESS]:$PORT
    module=$(module_of "$MPM")
    if [ "$MPM" = stm ] && [ "$root" != "$run" ]; then
        mkdir -p "$root/modules"
        install -m 755 "$module" "$root/modules/"
        module=$root/modules/mod_mpm_stm.so
    fi
    if [ ! -r "$mime" ]; then
        mime=$root/conf/mime.types
        cp "$top/conf/mime.types" "$mime"
    fi
    cp "$MPM_CONF" "$root/conf/mpm.conf"
    map="MPM=$MPM|ADDRESS=$ADDRESS|PORT=$PORT|LISTEN=$listen|ROOT=$root|USER=$user|GROUP=$group"
    map+="|MPM_MODULE=$module|MODULES=$modules|MIME_TYPES=$mime"
    map+="|LOAD_MODULES=$(load_modules | awk '{ printf "%s\\n", $0 }')"
    awk -v map="$map" '
        BEGIN { count = split(map, pairs, "|") }
        {
            for (i = 1; i <= count; i++) {
                at = index(pairs[i], "=")
                key = "@" substr(pairs[i], 1, at - 1) "@"
                value = substr(pairs[i], at + 1)
                while ((found = index($0, key)) > 0)
                    $0 = substr($0, 1, found - 1) value substr($0, found + length(key))
            }
            print
        }' "$top/conf/run.conf.in" >"$root/conf/httpd.conf"
}

# launch  starts httpd, which detaches itself. It inherits nothing from make: no descriptor of a
# job server, no flags.
launch()
{
    (
        cd /
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            ((fd <= 2)) || eval "exec $fd>&-"
        done
        unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
        # Room for 10,000 connections and more, the same for each MPM; less where less is allowed.
        ulimit -Sn 65536 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"
        exec "$HTTPD" -d "$root" -f "$root/conf/httpd.conf" -k start
    ) </dev/null >"$root/logs/start.log" 2>&1
}

# give_up MESSAGE  ends a server that did not come up, and shows its messages
give_up()
{
    local pgid
    {
        cat "$root/logs/start.log"
        [ ! -s "$root/logs/error.log" ] || tail -n 8 "$root/logs/error.log"
    } | sed 's/^/  /' >&2
    if pgid=$(find_server); then
        end_server "$pgid"
    fi
    die "$1"
}

# url  the URL of the server, as seen from here
url()
{
    local host=$ADDRESS
    case $host in
    0.0.0.0 | 127.0.0.1) host=localhost ;;
    :: | ::1) host="[::1]" ;;
    *:*) host=[$host] ;;
    esac
    echo "http://$host:$PORT/"
}

# answers  whether the server returns our page
answers()
{
    curl -gfsS --noproxy '*' --max-time 5 "$(url)" 2>/dev/null |
        cmp -s - "$root/htdocs/index.html"
}

# wait_for_answer  waits for the page; gives up when the server is gone or the time is up
wait_for_answer()
{
    local deadline=$((SECONDS + start_wait))
    while ((SECONDS < deadline)); do
        if answers && find_server >/dev/null; then
            return 0
        fi
        alive || give_up "httpd ended before it answered"
        sleep 0.1
    done
    give_up "httpd did not answer $(url) within $start_wait s"
}

start()
{
    local pgid
    check_arguments
    check_mpm
    if pgid=$(find_server); then
        die "a server is already running from $run:" \
            "process $pgid, MPM $(setting MPM), port $(setting PORT). Stop it first: make stop"
    fi
    check_port
    module_of "$MPM" >/dev/null
    prepare_root
    rm -f "$root/logs/httpd.pid" "$root/logs/error.log" "$root/logs/access.log"
    write_configuration
    launch || give_up "httpd did not start"
    wait_for_answer
    tell
}

# --- status --------------------------------------------------------------------------------

# tell  prints the address, the processes with their kernel threads, where the logs are and how to
# stop
tell()
{
    local pgid prefix="" members version
    pgid=$(find_server) || die "no server is running from $run"
    MPM=$(setting MPM) PORT=$(setting PORT) ADDRESS=$(setting ADDRESS)
    members=$(living "$pgid" | paste -sd,)
    [ "$BUILD" = build ] || prefix=" BUILD=$BUILD"
    version=$("$HTTPD" -v | sed -n 's/^Server version: //p')
    echo "Server:     $(url)   (MPM $MPM, $version)"
    echo "Status:     $(url)server-status"
    if [ "$MPM" = stm ]; then
        echo "Dashboard:  $(url)stm-dashboard"
        echo "Threads:    $(url)stm-threads"
        echo "Metrics:    $(url)stm-metrics"
        echo "Scoreboard: $build/stmstat/stmstat -d $root/scoreboards"
    fi
    echo "Processes:  NLWP is the number of kernel threads"
    ps -o pid,ppid,user,nlwp,rss,args -p "$members" | sed 's/^/  /'
    echo "Logs:       $run/logs/"
    echo "Stop:       make stop$prefix"
}

# --- stop ----------------------------------------------------------------------------------------

# gone PGID SECONDS  waits until no process of the group is left
gone()
{
    local deadline=$((SECONDS + $2))
    while [ -n "$(living "$1")" ]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# end_server PGID  SIGTERM to the master (or to the children, if it is dead), finally SIGKILL to all
end_server()
{
    local pgid=$1 pid
    if is_ours "$pgid"; then
        kill -TERM "$pgid" 2>/dev/null || true
    else
        echo "The master, process $pgid, is dead; its children are not."
        for pid in $(living "$pgid"); do
            kill -TERM "$pid" 2>/dev/null || true
        done
    fi
    if ! gone "$pgid" "$stop_wait"; then
        echo "Not all ended within $stop_wait s. Sending SIGKILL to: $(living "$pgid" | xargs)"
        kill -KILL -- "-$pgid" 2>/dev/null || true
        gone "$pgid" 3 || die "still running in process group $pgid: $(living "$pgid" | xargs)"
    fi
    rm -f "$root/logs/httpd.pid"
}

stop()
{
    local pgid pidfile=$root/logs/httpd.pid
    if [ ! -e "$pidfile" ]; then
        echo "Nothing to stop: no server is running from $run."
        return
    fi
    [ -O "$pidfile" ] || [ "$(id -u)" = 0 ] ||
        die "the server of $run was started by $(stat -c %U "$pidfile"):" \
            "only that user or root can stop it"
    if pgid=$(find_server); then
        end_server "$pgid"
        echo "Stopped."
    else
        rm -f "$pidfile"
        echo "No server is running from $run: removed the pid file that an earlier one left behind."
    fi
}

# clean  removes the ServerRoots of this build folder and of the variants in it
clean()
{
    for run in "$build/run" "$build"/*/run; do
        [ -e "$run" ] || [ -L "$run" ] || continue
        root=$(readlink -f "$run")
        ! find_server >/dev/null || die "a server is running from $run. Stop it first: make stop"
        case $root in
        /var/tmp/stm-run.* | /run/stm-run.*) rm -rf "$root" ;;
        esac
        rm -rf "$run"
    done
}

# Only one of us at a time. The lock is on the folder itself: no user's lock file blocks another's.
if [ "${1:-}" = start ]; then
    mkdir -p "$build"
fi
if [ -d "$build" ] && [ "${1:-}" != status ]; then
    exec 9<"$build"
    flock -w 30 9 || die "another make run or make stop is in progress in $build"
fi
case ${1:-} in
start | stop | clean) "$1" ;;
status) tell ;;
*) die "usage: run.sh start|stop|status|clean" ;;
esac
