#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh PROGRAM...  runs test programs that speak TAP (cmocka's do, when told), as many at once as
# there are CPUs, and closes with one line that counts the tests of all. A program's output is kept
# in PROGRAM.log. What crashed, hung or did not say what it planned counts as failed.
#   TEST_WRAP     a command to run each under (valgrind, qemu)
#   TEST_TIMEOUT  seconds that a program may take, 1800: longer than one test may (harness.c)

set -uo pipefail
timeout=${TEST_TIMEOUT:-1800}
export CMOCKA_MESSAGE_OUTPUT=TAP TEST_WRAP="${TEST_WRAP:-}"

# run_one PROGRAM  leaves the output and, as its last line, the exit status
run_one()
{
    local status
    # A script runs its own programs under the wrapper.
    # shellcheck disable=SC2086 # the wrapper is a list of words
    if head -c 2 "$1" | grep -q '^#!'; then
        timeout -k 5 "$timeout" "$1"
    else
        timeout -k 5 "$timeout" $TEST_WRAP "$1"
    fi >"$1.log" 2>&1 </dev/null
    status=$?
    echo "exit status $status" >>"$1.log"
}

# number PATTERN LOG  how many lines are like that
number()
{
    grep -cE "$1" "$2"
}

running=0
for program in "$@"; do
    run_one "$program" &
    running=$((running + 1))
    if [ "$running" -ge "$(nproc)" ]; then
        wait -n
        running=$((running - 1))
    fi
done
wait

passed=0 failed=0 skipped=0
for program in "$@"; do
    log=$program.log
    planned=$(sed -n 's/^1\.\.\([0-9][0-9]*\).*/\1/p' "$log" | head -n 1)
    good=$(number '^ok [0-9]+ - ' "$log")
    skip=$(number '^(not )?ok [0-9]+ # SKIP' "$log")
    bad=$((${planned:-1} - good - skip))
    if [ "$bad" -eq 0 ] && ! tail -n 1 "$log" | grep -qx 'exit status 0'; then
        bad=1
    fi
    if [ "$bad" -ne 0 ]; then
        printf -- '--- %s (whole output in %s)\n' "$program" "$log"
        grep -vE '^(ok |1\.\.)' "$log" | tail -n 40
    fi
    sed -n 's/^skipped: /  skipped: /p' "$log"
    printf '%-28s %4d passed, %d failed\n' "$(basename "$program")" "$good" "$bad"
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
done
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
