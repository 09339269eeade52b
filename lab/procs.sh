#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# procs.sh [-L] [PID|PIDFILE]  the processes of a server: the master with this pid (by default the
# one of `make run`) and its children, one line each. NLWP is the number of a process's kernel
# threads, PSS_KB its share of memory (shared memory is divided among the processes). -L: a line for
# each kernel thread, as in ps -efL. The middle of a long run of similar lines is left out, the sum
# never.

set -eu
threads=
if [ "${1:-}" = -L ]; then
    threads=-L
    shift
fi
master=${1:-build/run/logs/httpd.pid}
case $master in
*[!0-9]*)
    if [ ! -r "$master" ]; then
        echo "procs.sh: no server: there is no $master" >&2
        exit 1
    fi
    read -r master <"$master"
    ;;
esac
if ! kill -0 "$master" 2>/dev/null && ! [ -d "/proc/$master" ]; then
    echo "procs.sh: no process $master" >&2
    exit 1
fi
columns=user:9,pid,ppid,nlwp,pss:9=PSS_KB,comm
[ -z "$threads" ] || columns=user:9,pid,ppid,lwp,nlwp,comm

# shellcheck disable=SC2086 # -L or nothing
ps $threads -o "$columns" -p "$master" --ppid "$master" | awk -v threads="$threads" '
    NR == 1 { print; next }
    { line[++count] = $0; pids[$2] = threads ? $5 : $4 }
    END {
        for (i = 1; i <= count; i++) {
            if (count > 24 && i == 13)
                printf "[... %d more lines ...]\n", count - 20
            if (count <= 24 || i <= 12 || i > count - 8)
                print line[i]
        }
        for (pid in pids) { processes++; sum += pids[pid] }
        printf "%d processes, %d kernel threads\n", processes, sum
    }'
