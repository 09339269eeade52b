# SPDX-License-Identifier: Apache-2.0
"""The soak's measure of what grows: memory and descriptors of the master and of the VPs.

The master lives through the whole run, so it is compared over all of it. VPs are ended now and
then; they are compared over the calm phases, in which nothing ends them.
"""

import time
from collections import namedtuple
from statistics import median

from harness import procs

Sample = namedtuple("Sample", "at restarts pss fds")  # at: s since the start; pss: bytes
MB = 1 << 20


def measure(pid):
    """(PSS in bytes, open descriptors), or None if the process is gone."""
    try:
        return procs.pss(pid), len(procs.fds(pid))
    except (OSError, AssertionError):
        return None


class Leaks:
    """Samples, and their evaluation."""

    def __init__(self, server):
        self.server, self.start = server, time.monotonic()
        self.master, self.calm = [], []  # calm: a dict {pid: [(pss, fds) ...]} for each phase

    def look_at_master(self, restarts):
        """To be called over the whole run, best when nothing is being done."""
        found = measure(self.server.master)
        if found:
            self.master.append(Sample(time.monotonic() - self.start, restarts, *found))

    def begin_calm(self):
        """A calm phase begins."""
        self.calm.append({})

    def look_at_vps(self):
        """To be called several times in a calm phase."""
        for pid in self.server.children():
            found = measure(pid)
            if found:
                self.calm[-1].setdefault(pid, []).append(found)

    def growth_of_master(self):
        """(bytes, descriptors, restarts) between the first and the last third of the run."""
        third = max(1, len(self.master) // 3)
        first, last = self.master[:third], self.master[-third:]

        def middle(samples, name):
            return median(getattr(sample, name) for sample in samples)
        return tuple(middle(last, name) - middle(first, name)
                     for name in ("pss", "fds", "restarts"))

    def growth_of_vps(self):
        """The largest (bytes, descriptors) by which a VP has grown within a calm phase: medians of
        its second half against its first.
        """
        pss, fds = [0], [0]
        for phase in self.calm:
            for samples in phase.values():
                if len(samples) < 6:
                    continue
                half = len(samples) // 2
                pss.append(median(s[0] for s in samples[half:]) -
                           median(s[0] for s in samples[:half]))
                fds.append(median(s[1] for s in samples[half:]) -
                           median(s[1] for s in samples[:half]))
        return max(pss), max(fds)

    def problems(self):
        """Findings as sentences; none if nothing leaks."""
        found = []
        if len(self.master) >= 6:
            pss, fds, restarts = self.growth_of_master()
            # httpd reads its configuration and loads its modules anew: some of it stays, with
            # every MPM.
            if pss > 4 * MB + restarts * 64 * 1024:
                found.append(f"the master grew by {pss / MB:.1f} MB in {restarts:.0f} restarts")
            if fds > 8:
                found.append(f"the master has {fds:.0f} descriptors more")
        pss, fds = self.growth_of_vps()
        if pss > 12 * MB:
            found.append(f"a VP grew by {pss / MB:.1f} MB within a calm phase")
        if fds > 40:
            found.append(f"a VP has {fds:.0f} descriptors more within a calm phase")
        return found
