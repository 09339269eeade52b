#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# deb.sh  builds the Debian packages in $BUILD/deb, from a copy of the sources, and leaves them
# there. dpkg-buildpackage writes beside the source folder: hence the copy. Called by `make deb`.

set -euo pipefail
cd "$(dirname "$0")/.."
deb=${BUILD:-build}/deb
mkdir -p "$deb"
deb=$(cd "$deb" && pwd)
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
source=$deb/apache2-mpm-stm-$version

rm -rf "$deb"
mkdir -p "$source"
if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -co --exclude-standard -z
else
    find . \( -name build -o -name .git \) -prune -o -type f -print0
fi | while IFS= read -r -d '' file; do
    [ ! -e "$file" ] || printf '%s\0' "$file"
done | tar -c --null -T - | tar -x -C "$source"

# Nothing of the outer make is passed on, neither its flags nor its variables.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL BUILD CFLAGS CPPFLAGS LDFLAGS CC
if ! (cd "$source" && dpkg-buildpackage -b -us -uc) >"$deb/build.log" 2>&1; then
    tail -n 30 "$deb/build.log" >&2
    echo "deb: dpkg-buildpackage failed; the whole log is $deb/build.log" >&2
    exit 1
fi
rm -rf "$source"
ls -l "$deb"/*.deb
