#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A test in TAP form: every call that include/st.h declares is made by some unit test, and every
# call of State Threads 1.9 by the program that is compared with it. st-tests.mk puts it beside the
# others; run from the top folder.

calls=$(sed -En '/^(typedef|static)/d
    s/^(extern )?[a-z][a-z_ ]*[ *]+(st_[a-z0-9_]+)\(.*/\2/p' include/st.h)
old=$(awk '/@since/ { since = $3 }
    !/^(typedef|static)/ && match($0, /^(extern )?[a-z][a-z_ ]*[ *]+st_[a-z0-9_]+\(/) {
    sub(/\(.*/, ""); sub(/.*[ *]/, ""); if (since == "1.9") print }' include/st.h)

# missing FILES CALL...  those calls that none of the files makes
missing()
{
    files=$1
    shift
    for call; do
        # shellcheck disable=SC2086 # a list of names
        grep -qw "$call" $files || echo "$call"
    done
}

# report NUMBER NAME MISSING
report()
{
    if [ -z "$3" ]; then
        echo "ok $1 - $2"
    else
        echo "not ok $1 - $2"
        echo "$3" | sed 's/^/# not called: /'
    fi
}

echo 1..3
# shellcheck disable=SC2086 # lists of names
report 1 "every call is tested" "$(missing "$(echo tests/st/*.c)" $calls)"
# shellcheck disable=SC2086
report 2 "every call of 1.9 is compared" "$(missing tests/st/compat/every_call.c $old)"
# Makes sure that the two checks above have checked something.
if [ "$(echo "$calls" | wc -l)" -ge 80 ] && [ "$(echo "$old" | wc -l)" -ge 60 ]; then
    echo "ok 3 - the header was understood"
else
    echo "not ok 3 - the header was understood"
fi
