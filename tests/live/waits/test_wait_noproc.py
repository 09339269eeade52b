# SPDX-License-Identifier: Apache-2.0
"""Servers that cannot see /proc: slow disks hold up nobody there either."""

import pytest

from harness import MPM, slowfs, wait_for
from harness.nameserver import Unavailable, in_namespace

from .inflight import InFlight, quick

pytestmark = pytest.mark.needs_root
BOTH = pytest.mark.parametrize("mpm", sorted({"event", MPM}))
SIZE, SOME = 100000, 8

HIDE = {
    # Whatever the server reads there, it finds nothing.
    "no-proc": "mount -t tmpfs none /proc",
    # The master sees it, its children do not. Everything else has the same names inside.
    "chroot": "mkdir -p $1/jail; mount --rbind / $1/jail; mount -t tmpfs none $1/jail/proc",
}


@BOTH
@pytest.mark.parametrize("hidden", HIDE)
def test_slow_disks(serve, slow_fs, mpm, hidden):
    """What /proc/self/mountinfo says elsewhere is found out by other means."""
    slow = slow_fs(f"cold#.bin:{SIZE}:{SOME}")
    server = serve.make(mpm=mpm, processes=1, threads=64, directives=f"""
        Alias /slow/ {slow.path}/
        EnableMMAP Off
        {"ChrootDir @ROOT@/jail" if hidden == "chroot" else ""}
        """)
    try:
        in_namespace(server, HIDE[hidden], server.root)
    except Unavailable as reason:
        pytest.skip(str(reason))
    server.start()
    paths = [f"/slow/cold{n}.bin" for n in range(SOME)]
    with slow.holding("read"), InFlight(server, paths) as flight:
        wait_for(lambda: slow.calls("read").files == SOME, "all files to be read")
        quick(server)
        assert flight.answered() == 0
        slow.release()
        assert all(got.body == slowfs.content(SIZE) for got in flight.finish())
    said = "mountinfo cannot be read" in server.error_log()
    assert said == (mpm != "event" and hidden == "no-proc")
