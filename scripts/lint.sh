#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# lint.sh            checks the form of all files and the C sources' likely mistakes. Called by
#                    `make lint`, which gives OWN_CFLAGS and APACHE_CFLAGS. Runs every check, and
#                    fails if one of them did.
# lint.sh --format   lets clang-format and form.py rewrite the C sources
# lint.sh --staged   the quick ones of the checks, on what is about to be committed, as it will be

set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failures=0
staged= # the work tree's top, if only what is staged is looked at

# files PATTERN...  the project's files of these names: what git knows or would add; what is staged
files()
{
    local list file
    if [ -n "$staged" ]; then
        list=$(git -C "$staged" diff --cached --name-only --diff-filter=d -- "$@") || exit 1
    else
        list=$(git ls-files -co --exclude-standard -- "$@") || exit 1
    fi
    while read -r file; do
        [ ! -f "$file" ] || echo "$file"
    done <<<"$list"
}

# check NAME FUNCTION  runs it, and shows what it says only if it failed
check()
{
    local output
    if output=$("$2" 2>&1); then
        printf '%-14s ok\n' "$1"
    else
        printf '%-14s FAILED\n%s\n' "$1" "$output"
        failures=$((failures + 1))
    fi
}

# each COMMAND...  one run for each name on stdin, as many at once as there are CPUs
each()
{
    xargs -r -d '\n' -n 1 -P "$(nproc)" "$@"
}

# none  passes what comes on stdin, and fails if that is anything
none()
{
    ! grep .
}

# search REGEX  fails if any file has a line like that; what fuzzers feed to parsers is no text
search()
{
    files ':!LICENSE' ':!tests/*/corpus/*' |
        { xargs -r -d '\n' grep -nIE "$1" /dev/null || true; } | none
}

# --- C -------------------------------------------------------------------------------------------

# What is analysed. Tests are not: they are full of deliberate mistakes, and need other flags.
sources()
{
    files '*.c' | grep -E '^(st|stiol|aprmem|score|mpm|stmstat|lab|bench)/' | grep -v '/smoke/'
}

format()
{
    files '*.c' '*.h' | xargs -r -d '\n' clang-format --dry-run -Werror
}

# What C lets one write in several ways is written in one. In C++, other people's headers decide.
form()
{
    files '*.c' '*.h' | xargs -r -d '\n' python3 scripts/form.py
}

# The checks are in .clang-tidy, with the reasons. stderr only counts suppressed warnings.
tidy()
{
    export FLAGS="${OWN_CFLAGS:-} ${APACHE_CFLAGS:-}"
    # shellcheck disable=SC2016 # for the inner shell
    sources | each sh -c 'clang-tidy --quiet "$1" -- $FLAGS 2>/dev/null' sh
}

# What cppcheck sees and clang-tidy does not: portability, and conditions that are always true.
#   missingInclude*         it does not need system headers, and says so each time
#   unknownMacro            Apache's declaration macros, whose headers it is not given
#   identicalInnerCondition  `if (bits & mask) return bits & mask;` is meant
#   autoVariables           a state thread that waits leaves its record on its stack, on purpose
static()
{
    sources | xargs -r -d '\n' cppcheck --quiet -j "$(nproc)" --std=c11 --language=c \
        --inline-suppr --enable=warning,portability --error-exitcode=1 \
        -Iinclude -I. -D__x86_64__ \
        --suppress=missingInclude --suppress=missingIncludeSystem --suppress=unknownMacro \
        --suppress=identicalInnerCondition --suppress=autoVariables
}

# --- everything else -----------------------------------------------------------------------------

scripts()
{
    files '*.sh' .ci/run | xargs -r -d '\n' shellcheck -x
}

python()
{
    files '*.py' | xargs -r -d '\n' python3 -c '
import ast, sys
for path in sys.argv[1:]:
    ast.parse(open(path, encoding="utf-8").read(), path)'
}

# Calls and includes go one way: see there.
rooms()
{
    python3 scripts/rooms.py
}

# What has a form of its own without comments goes without.
spdx()
{
    local file
    local plain='control|changelog|copyright|source/.*|[^/]*\.[^/]*'
    files | grep -vE "(^LICENSE|^tests/[a-z]+/corpus/.*|^debian/($plain))\$" |
        while read -r file; do
            head -n 4 "$file" | grep -q 'SPDX-License-Identifier: Apache-2\.0' ||
                echo "$file: no SPDX line among the first"
        done | none
}

# 100 columns also where clang-format does not look: comments, scripts, make, pages.
width()
{
    files '*.c' '*.h' '*.S' '*.sh' '*.py' '*.mk' Makefile '*.conf' '*.in' '*.html' |
        xargs -r -d '\n' awk 'length > 100 { print FILENAME ":" FNR ": " length " columns" }' | none
}

# Nothing of the machine that it was written on: no folder of a user, no scratch folder.
places()
{
    search '(^|[^A-Za-z0-9_.$}~/-])/(home|root|work|Users)/'
}

blanks()
{
    search '[[:blank:]]+$'
}

case ${1:-} in
--format)
    files '*.c' '*.h' | xargs -r -d '\n' clang-format -i
    files '*.c' '*.h' | xargs -r -d '\n' python3 scripts/form.py --fix
    exit
    ;;
--staged) # what the index has, which need not be what lies in the work tree
    staged=$PWD
    copy=$(mktemp -d) && trap 'rm -rf "$copy"' EXIT
    git checkout-index --all --prefix="$copy/" && cd "$copy" || exit 1
    ;;
esac
check clang-format format
check form form
if [ -z "$staged" ]; then
    check clang-tidy tidy
    check cppcheck static
fi
check shellcheck scripts
check python python
check rooms rooms
check SPDX spdx
check columns width
check places places
check blanks blanks
[ "$failures" = 0 ]
