# SPDX-License-Identifier: Apache-2.0
"""What the loss of a backend costs, under stm and event: the figures of docs/scale-out.md.

    make bench-cluster

32 clients ask without a pause, on connections that they keep, while a backend is killed, and then
another one's cable is pulled. Needs root.
"""

import time
from pathlib import Path

from harness import procs, wait_for
from harness.cluster import Cluster

CLIENTS = 32
ALL = {"b1", "b2", "b3"}


def since(start):
    """Seconds."""
    return f"{time.monotonic() - start:.1f} s"


def all_answer(cluster):
    """Waits until each backend answers. Returns how long that took."""
    start = time.monotonic()
    wait_for(lambda: cluster.spread(12).keys() >= ALL, "all backends")
    return since(start)


def kill(cluster):
    """Kills b1, and starts it again."""
    with cluster.load(CLIENTS) as load:
        load.wait_more(500)
        cluster.kill("b1")
        load.wait_more(2000)
    print(f"  killed: {sum(load.lost.values())} requests lost: {load.lost}")
    cluster.script("httpd", "b1", "-k", "start")
    print(f"  in use again after its start: {all_answer(cluster)}")


def cut_off(cluster):
    """Pulls b2's cable, and plugs it in again."""
    with cluster.load(CLIENTS) as load:
        load.wait_more(500)
        start = time.monotonic()
        cluster.cable("b2", "down")
        wait_for(lambda: cluster.state("198.18.77.22").split()[1] != "Ok", "a notice")
        print(f"  cut off: noticed after {since(start)}")
        cluster.cable("b2", "up")
        print(f"  in use again after the cable: {all_answer(cluster)}")
    print(f"  {sum(load.lost.values())} requests lost")


def main():
    """Both MPMs."""
    procs.adopt_orphans()
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    print(f"{len(cpus)} CPUs, {CLIENTS} clients")
    for mpm in ("stm", "event"):
        cluster = Cluster(mpm)
        try:
            all_answer(cluster)
            print(mpm)
            kill(cluster)
            cut_off(cluster)
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
