#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh PART...  runs `make test-PART` for each, also when an earlier one failed, and closes with
# one line that counts the tests of all parts. Called by `make test`; BUILD is the build folder. A
# part's output is kept in $BUILD/test-logs. The count is the part's own: its last "N passed ..."
# line, else the sums of cmocka's groups.

set -uo pipefail
logs=${BUILD:-build}/test-logs
mkdir -p "$logs"
# Tests run one after the other, whatever -j says; variables given to the outer make go on.
MAKEFLAGS=$(sed -E 's/(^| )(-j[0-9]*|-l[0-9.]*|--jobserver-(auth|fds)=[^ ]*)//g' \
    <<<"${MAKEFLAGS:-}")
export MAKEFLAGS

# count LOG WORD...  the number before any of the words, by the rules above
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

passed=0 failed=0 broken=
for part in "$@"; do
    printf '\n== test-%s\n' "$part"
    log=$logs/$part.log began=$SECONDS
    make --no-print-directory "test-$part" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    p=$(count "$log" passed)
    f=$(count "$log" failed error)
    # It failed without a failed test (a crash, a build that broke), or it passed without a test.
    if [ "$f" = 0 ] && { [ "$status" != 0 ] || [ "$p" = 0 ]; }; then
        f=1
    fi
    [ "$f" = 0 ] || broken+=" $part"
    passed=$((passed + p))
    failed=$((failed + f))
    rows+=$(printf '%-10s %5d passed, %d failed in %d s' "$part" "$p" "$f" \
        $((SECONDS - began)))$'\n'
done
printf '\n%s' "${rows:-}"
[ -z "$broken" ] || echo "failed:$broken (whole output in $logs)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
