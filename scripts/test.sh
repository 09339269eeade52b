#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh PART... [-- PART...]  runs `make test-PART` for each, even if an earlier one failed, and
# ends with one line that counts the tests of all parts. Lists separated by -- run in parallel; then
# a part's output is shown in one piece when the part ends. Called by `make test`; BUILD is the
# build folder. A part's output is kept in $BUILD/test-logs. The count is the part's own: its last
# "N passed ..." line, or else the sums of cmocka's groups.

set -uo pipefail
logs=${BUILD:-build}/test-logs
mkdir -p "$logs"
# What an earlier run has left is no result of this one.
for part in "$@"; do
    [ "$part" = -- ] || rm -f "$logs/$part.result" "$logs/$part.log"
done
# A part's tests run one after another, whatever -j says; the outer make's variables are passed on.
MAKEFLAGS=$(sed -E 's/(^| )(-j[0-9]*|-l[0-9.]*|--jobserver-(auth|fds)=[^ ]*)//g' \
    <<<"${MAKEFLAGS:-}")
export MAKEFLAGS

# count LOG WORD...  the number before any of the words, according to the rules above
count()
{
    local log=$1 words cmocka
    shift
    words=$(IFS='|' && echo "$*")
    case $1 in passed) cmocka=PASSED ;; *) cmocka=FAILED ;; esac
    sed 's/\x1b\[[0-9;]*m//g' "$log" | awk -v words="$words" -v cmocka="$cmocka" '
        /[0-9]+ (passed|failed|errors?)([^a-z]|$)/ { summary = $0 }
        $0 ~ "\\[ *" cmocka " *\\] [0-9]+ test\\(s\\)" {
            match($0, /[0-9]+ test/); sum += substr($0, RSTART)
        }
        END {
            if (summary == "") { print sum + 0; exit }
            while (match(summary, "[0-9]+ (" words ")")) {
                total += substr(summary, RSTART)
                summary = substr(summary, RSTART + RLENGTH)
            }
            print total + 0
        }'
}

# whole COMMAND...  runs it; what it prints is never mixed with what another `whole` prints
whole()
{
    {
        flock 9
        "$@"
    } 9>>"$logs/shown"
}

# show PART  its heading and its full output
show()
{
    printf '\n== test-%s\n' "$1"
    cat "$logs/$1.log"
}

# run PART  leaves the result in $logs/PART.result: exit status and seconds
run()
{
    local part=$1 log=$logs/$1.log began=$SECONDS status
    if [ -z "$beside" ]; then
        printf '\n== test-%s\n' "$part"
        make --no-print-directory "test-$part" 2>&1 | tee "$log"
        status=${PIPESTATUS[0]}
    else
        whole echo "test-$part starts"
        make --no-print-directory "test-$part" >"$log" 2>&1
        status=$?
        whole show "$part"
    fi
    echo "$status $((SECONDS - began))" >"$logs/$part.result"
    whole progress "${parts[@]}"
}

run_all()
{
    local part
    for part in "$@"; do
        run "$part"
    done
}

# progress PART...  one line: how many parts are done, which run and how far they are, and which are
# still to come
progress()
{
    local part all=0 ended=0 now="" later="" percent
    for part in "$@"; do
        [ "$part" != -- ] || continue
        all=$((all + 1))
        if [ -e "$logs/$part.result" ]; then
            ended=$((ended + 1))
        elif [ -e "$logs/$part.log" ]; then
            percent=$(grep -oE '\[ *[0-9]+%\]' "$logs/$part.log" | tail -n 1 | tr -d '[] ')
            now+=" $part${percent:+ ($percent)}"
        else
            later+=" $part"
        fi
    done
    printf '[%d of %d parts done after %d:%02d] running:%s; to come:%s\n' "$ended" "$all" \
        $((SECONDS / 60)) $((SECONDS % 60)) "${now:- -}" "${later:- -}"
}

# report PART...  says how far it is, again and again
report()
{
    while sleep "${STM_TEST_REPORT:-30}"; do
        whole progress "$@"
    done
}

# Each list is a process group, so that an interrupt ends everything that it started.
run_beside()
{
    local list=() lists=() part
    set -m
    trap 'kill -- "${lists[@]/#/-}"; wait; exit 130' INT TERM HUP
    report "$@" &
    lists+=("$!")
    for part in "$@" --; do
        if [ "$part" = -- ]; then
            run_all "${list[@]}" </dev/null &
            lists+=("$!")
            list=()
        else
            list+=("$part")
        fi
    done
    wait "${lists[@]:1}"
    kill -- "-${lists[0]}"
    wait
    trap - INT TERM HUP
    set +m
}

parts=("$@")
beside=
for part in "$@"; do
    [ "$part" != -- ] || beside=yes
done
if [ -n "$beside" ]; then
    run_beside "$@"
else
    run_all "$@"
fi

passed=0 failed=0 broken=
for part in "$@"; do
    [ "$part" != -- ] || continue
    log=$logs/$part.log
    # Without a result, something has ended the list before its time.
    if ! read -r status took 2>/dev/null <"$logs/$part.result"; then
        status=1 took=0
        : >>"$log"
    fi
    p=$(count "$log" passed)
    f=$(count "$log" failed error)
    # It failed without a failed test (a crash, a broken build), or passed without running any.
    if [ "$f" = 0 ] && { [ "$status" != 0 ] || [ "$p" = 0 ]; }; then
        f=1
    fi
    [ "$f" = 0 ] || broken+=" $part"
    passed=$((passed + p))
    failed=$((failed + f))
    rows+=$(printf '%-10s %5d passed, %d failed in %d s' "$part" "$p" "$f" "$took")$'\n'
done
printf '\n%s' "${rows:-}"
[ -z "$broken" ] || echo "failed:$broken (full output in $logs)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
