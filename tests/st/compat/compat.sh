#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A test in TAP form: the program written for State Threads 1.9 prints the same with 1.9 and with
# ours. st-tests.mk puts it beside the builds of every_call.c: every_call (ours) and
# every_call_st19.

here=$(dirname "$0")
ours=$here/every_call.out
theirs=$here/every_call_st19.out

echo 1..2
if $TEST_WRAP "$here/every_call" >"$ours" 2>&1 </dev/null; then
    echo "ok 1 - a program for 1.9 runs to its end"
else
    echo "not ok 1 - a program for 1.9 runs to its end"
    tail -n 5 "$ours" | sed 's/^/# /'
fi
if ! [ -x "$here/every_call_st19" ]; then
    echo "skipped: State Threads 1.9 (package libst-dev) is not here to compare with" >&2
    echo "ok 2 # SKIP"
elif "$here/every_call_st19" >"$theirs" 2>&1 </dev/null && cmp -s "$theirs" "$ours"; then
    echo "ok 2 - it says the same with 1.9 and with ours"
else
    echo "not ok 2 - it says the same with 1.9 and with ours"
    diff "$theirs" "$ours" | sed 's/^/# /'
fi
