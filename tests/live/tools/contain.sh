#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# contain.sh FOLDER COMMAND...  runs the command as process 1 of a container, as far as there can be
# one without an engine: its own processes and mounts, a read-only root (this machine's, with FOLDER
# as /usr/local/apache2), and an empty /run/httpd. Must be started as root by `unshare --mount --pid
# --fork`; prints "ready" once the container is made. tests/live/test_container.py calls it.
set -e
image=$1
shift
mount --make-rprivate /
root=$(dirname "$image")/root
mkdir "$root"
mount --bind / "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o size=1m none "$root/usr/local"
mkdir "$root/usr/local/apache2"
mount --bind "$image" "$root/usr/local/apache2"
mount -o remount,bind,ro "$root/usr/local/apache2"
mount -o remount,ro "$root/usr/local"
mount -t tmpfs -o mode=755,size=1m none "$root/run"
mkdir "$root/run/httpd"
mount -t tmpfs -o mode=1777,size=16m none "$root/run/httpd"
mount -o remount,ro "$root/run"
mount -t proc none "$root/proc"
cd "$root"
exec chroot . "$@"
