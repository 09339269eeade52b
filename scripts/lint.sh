#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# lint.sh            checks the form of all files, and the C sources for likely mistakes. Called by
#                    `make lint`, which sets OWN_CFLAGS and APACHE_CFLAGS. Runs every check, and
#                    fails if any of them did.
# lint.sh --format   has clang-format and form.py rewrite the C sources
# lint.sh --staged   runs the quick checks on what is staged, with the contents as staged

set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failures=0
staged= # the top of the work tree if only what is staged is checked

# files PATTERN...  the project's files with matching names: those that git tracks or would add, or
# only those that are staged
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

# check NAME FUNCTION  runs the function, and shows its output only if it fails
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

# each COMMAND...  runs the command once for each name on stdin, as many in parallel as there are
# CPUs
each()
{
    xargs -r -d '\n' -n 1 -P "$(nproc)" "$@"
}

# none  copies stdin, and fails unless it is empty
none()
{
    ! grep .
}

# search REGEX  fails if a line of any file matches; the fuzzers' inputs are not text and are
# skipped
search()
{
    files ':!LICENSE' ':!tests/*/corpus/*' |
        { xargs -r -d '\n' grep -nIE "$1" /dev/null || true; } | none
}

# --- C -------------------------------------------------------------------------------------------

# The files to analyse. Not the tests: they are full of deliberate mistakes, and need other flags.
sources()
{
    files '*.c' | grep -E '^(st|stiol|aprmem|score|mpm|stmstat|lab|bench)/' | grep -v '/smoke/'
}

format()
{
    files '*.c' '*.h' | xargs -r -d '\n' clang-format --dry-run -Werror
}

# What can be written in several ways in C is written in one. In C++, other projects' headers
# decide.
form()
{
    files '*.c' '*.h' | xargs -r -d '\n' python3 scripts/form.py
}

# .clang-tidy lists the checks, with reasons. stderr only counts suppressed warnings.
tidy()
{
    export FLAGS="${OWN_CFLAGS:-} ${APACHE_CFLAGS:-}"
    # shellcheck disable=SC2016 # for the inner shell
    sources | each sh -c 'clang-tidy --quiet "$1" -- $FLAGS 2>/dev/null' sh
}

# Finds what clang-tidy does not: portability problems, and conditions that are always true.
#   missingInclude*         cppcheck reports each system header, and needs none of them
#   unknownMacro            Apache's declaration macros, whose headers are not given to it
#   identicalInnerCondition  `if (bits & mask) return bits & mask;` is meant
#   autoVariables           a waiting state thread keeps its record on its stack, on purpose
#   syntaxError             cppcheck does not understand macro arguments that begin with a dot
static()
{
    sources | xargs -r -d '\n' cppcheck --quiet -j "$(nproc)" --std=c11 --language=c \
        --inline-suppr --enable=warning,portability --error-exitcode=1 \
        -Iinclude -I. -D__x86_64__ \
        --suppress=missingInclude --suppress=missingIncludeSystem --suppress=unknownMacro \
        --suppress=identicalInnerCondition --suppress=autoVariables \
        --suppress=syntaxError:stiol/users.c --suppress=syntaxError:stiol/services.c
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

# Calls and includes go in one direction only: see rooms.py.
rooms()
{
    python3 scripts/rooms.py
}

# Formats that have no comments are exempt.
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

# 100 columns, also where clang-format does not check: comments, scripts, makefiles, pages.
width()
{
    files '*.c' '*.h' '*.S' '*.sh' '*.py' '*.mk' Makefile '*.conf' '*.in' '*.html' |
        xargs -r -d '\n' awk 'length > 100 { print FILENAME ":" FNR ": " length " columns" }' | none
}

# Nothing that is specific to a developer's machine, such as home folders or scratch folders.
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
--staged) # the contents of the index, which may differ from the work tree
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
