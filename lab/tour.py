# SPDX-License-Identifier: Apache-2.0
"""The lab's tour, unattended: what processes and threads do under each MPM. See docs/lab.md.

Run by `make lab`. Writes, into the folder of --output, MPM.txt and MPM.svg for each MPM, and
report.txt and together.svg for all of them. Everything happens on loopback, with servers of its
own.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from harness import BUILD, places, procs, progress, wait_for
from harness.scoreboard import STMSTAT
from harness.strace import NotPermitted

from . import crash, docroot, mpms, picture
from .clients import Kept
from .watch import Watch

CONNECTIONS = 100
FRAGILE = 40        # connections when a process is killed
REST = 2.0          # seconds, before the connections come
GROWTH_BOUND = 15.0  # until every connection has a thread or a process
HOLD = 2.0          # seconds, once they have
DECLINE = 12.0      # maximum seconds for which we watch the server shrink
STEADY = 3.0        # seconds without a change: it has settled
FRESH = 1.1         # seconds after which a scoreboard's counts are current
SETTLE = 4.0        # maximum seconds before the process is killed


class Script:
    """The report: text, commands, and what they printed. Also on the terminal."""

    def __init__(self, path):
        self._file = open(path, "w", encoding="utf-8")

    def close(self):
        """The report is complete."""
        self._file.close()

    def say(self, text=""):
        """A line of text."""
        print(text, flush=True)
        self._file.write(text + "\n")

    def head(self, text):
        """A chapter."""
        self.say(f"\n{text}\n{'-' * len(text)}")

    def show(self, command, output):
        """A command as a user would type it, and its output."""
        self.say(f"$ {command}")
        for line in str(output).rstrip("\n").splitlines():
            self.say(f"  {line}")
        self.say()

    def run(self, shown, command):
        """Runs a command and shows it."""
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        self.show(shown, run.stdout)


# --- the steps -----------------------------------------------------------------------------------

def which_mpm(script, server):
    """The MPM, as the program and as the configuration name it."""
    script.head("Which MPM is it?")
    version = server.control("-V").stdout.splitlines()
    at = next(i for i, line in enumerate(version) if line.startswith("Server MPM"))
    script.show("httpd -V | grep -A 2 'Server MPM'", "\n".join(version[at:at + 3]))
    loads = [line for line in server.conf.read_text().splitlines()
             if line.startswith("LoadModule mpm_")]
    script.show("grep 'LoadModule mpm_' conf/httpd.conf", "\n".join(loads))
    modules = server.control("-M").stdout.splitlines()
    script.show("httpd -M | grep mpm_", "\n".join(line for line in modules if "mpm_" in line))


def viewer(script, server, *options):
    """The processes."""
    script.run(" ".join(["lab/procs.sh", *options, "PID"]),
               [mpms.LAB / "procs.sh", *options, str(server.master)])


def scoreboards(script, server):
    """The state threads of each virtual processor, shown by stmstat."""
    if server.mpm != "stm":
        return
    time.sleep(FRESH)
    names = ["vp.?.pid", "vp.?.threads", "vp.?.threads_busy"]
    options = [part for name in names for part in ("-f", name)]
    script.run("stmstat -1 " + " ".join(f"-f '{name}'" for name in names),
               [STMSTAT, "-d", server.root / "scoreboards", "-1", *options])


def all_have_a_server(server, count):
    """Whether each connection has been taken by a process."""
    return sum(mpms.owners(server).values()) >= count


def until_steady(watch, bound, steady=STEADY):
    """Waits until the figures have not changed for a while."""
    end = time.monotonic() + bound
    since, before = time.monotonic(), None
    while time.monotonic() < end and time.monotonic() - since < steady:
        last = watch.last()
        now = (last.pids, last.kernel_threads, last.state_threads)
        if now != before:
            since, before = time.monotonic(), now
        time.sleep(0.1)


def scaling(script, server):
    """A hundred connections arrive, stay, are answered, and end. Returns the Watch."""
    script.head("At rest")
    viewer(script, server)
    viewer(script, server, "-L")
    scoreboards(script, server)
    script.head(f"{CONNECTIONS} connections")
    with Watch(server) as watch:
        watch.phase("at rest")
        time.sleep(REST)
        watch.phase(f"{CONNECTIONS} connections")
        with Kept("--finish", "127.0.0.1", server.port, CONNECTIONS) as kept:
            begin = time.monotonic()
            wait_for(lambda: all_have_a_server(server, CONNECTIONS),
                     "a process for each connection", GROWTH_BOUND, 0.05)
            took = time.monotonic() - begin
            time.sleep(HOLD)
            full = watch.look_again()
            script.say(f"In the hands of a process after {took:.1f} s. "
                       "Each has sent half a request, so that the server must wait for the rest.")
            viewer(script, server)
            scoreboards(script, server)
            watch.phase("they have gone")
            kept.end()
        script.show(f"make_conn --finish 127.0.0.1 {server.port} {CONNECTIONS}   (then Enter)",
                    "\n".join(kept.lines))
        until_steady(watch, DECLINE)
    script.head("They have gone")
    viewer(script, server)
    scoreboards(script, server)
    watch.full = full
    return watch


def seconds(value):
    """A time in readable form."""
    if value is None:
        return f"none in {crash.PATIENCE:.0f} s"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def shares(outcome):
    """How many connections each process holds; only some of many similar lines."""
    lines = [f"process {pid}: {count}" + "   <- this one" * (pid == outcome.victim)
             for pid, count in sorted(outcome.held.items(), key=lambda item: -item[1])]
    return lines if len(lines) <= 12 else [*lines[:6], f"[... {len(lines) - 6} more ...]"]


def containment(script, server):
    """One process dies. Returns the Outcome."""
    script.head("One process crashes")
    with Watch(server) as watch:
        outcome = crash.crash(server, FRAGILE, lambda: until_steady(watch, SETTLE, STEADY / 2))
    script.say(f"{FRAGILE} connections with half a request each; ss -tnp tells who has them:")
    for text in shares(outcome):
        script.say(f"  {text}")
    script.say()
    script.show(f"kill -SEGV {outcome.victim}", "")
    script.show(f"make_conn --finish 127.0.0.1 {server.port} {FRAGILE}",
                "\n".join(outcome.lines))
    script.say(f"Lost: {outcome.lost}. Served to their end: {outcome.answered}.")
    script.say(f"A new connection is answered after:   {seconds(outcome.first_answer)}")
    script.say(f"There is a new process after:         {seconds(outcome.replaced)}")
    script.say(f"It has answered its first request:    {seconds(outcome.serves)}")
    script.say()
    viewer(script, server)
    return outcome


def strace(script, server):
    """Finds the document root by looking at the system calls."""
    script.head("Where is the document root?")
    try:
        command, trace = docroot.find(server, server.root / "strace.out")
    except NotPermitted as reason:
        script.say(f"strace may not attach here: {reason}")
        return
    script.show(" ".join(command), "\n".join(
        line for line in trace.splitlines() if "openat" in line))
    script.say(f"$ curl http://127.0.0.1:{server.port}/     (meanwhile, in another terminal)")
    script.say(f"So the document root is {docroot.document_root(trace)}")


# --- all of it -----------------------------------------------------------------------------------

def tour(mpm, output):
    """The whole tour of one MPM: (Watch, Outcome)."""
    script = Script(output / f"{mpm}.txt")
    title = f"The lab: {mpm}"
    script.say(f"\n{title}\n{'=' * len(title)}")
    watched = mpms.make(mpm)
    fragile = mpms.make(mpm, "lab-crash")
    try:
        mpms.start(watched)
        which_mpm(script, watched)
        watch = scaling(script, watched)
        watched.stop()
        mpms.start(fragile)
        strace(script, fragile)
        outcome = containment(script, fragile)
        fragile.stop()
    finally:
        for server in (watched, fragile):
            server.stop(check=False)
        script.close()
    (output / f"{mpm}.svg").write_text(picture.one(mpm, watch, subtitle()))
    return watch, outcome


def subtitle():
    """A brief description of the machine and the server."""
    version = subprocess.run([places.HTTPD, "-v"], capture_output=True, text=True, check=True)
    return (f"{version.stdout.split()[2]}, {os.cpu_count()} CPUs; "
            "each connection has sent half a request")


def summary(script, found):
    """The figures of all MPMs in one table."""
    script.say("\nSide by side\n------------")
    script.say(f"{'':<44}" + "".join(f"{mpm:>10}" for mpm in found))

    def row(name, values):
        script.say(f"{name:<44}" + "".join(f"{value:>10}" for value in values))
    for attribute, name, _ in picture.FIGURES[1:]:
        for when, take in (("at rest", lambda w: w.samples[0]),
                           (f"with {CONNECTIONS} connections", lambda w: w.full),
                           ("after", lambda w: w.samples[-1])):
            row(f"{name}, {when}",
                [picture.number(getattr(take(watch), attribute))
                 if mpm == "stm" or attribute != "state_threads" else "-"
                 for mpm, (watch, _) in found.items()])
    row(f"Lost of {FRAGILE} connections by a crash", [o.lost for _, o in found.values()])
    for name, attribute in (("Answer to a new connection after", "first_answer"),
                            ("New process after", "replaced"),
                            ("Its first answer after", "serves")):
        row(name, [seconds(getattr(o, attribute))
                   for _, o in found.values()])


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mpms", default=" ".join(mpms.MPMS), help="those to visit")
    parser.add_argument("--output", type=Path, default=BUILD / "lab")
    options = parser.parse_args()
    options.mpms = options.mpms.replace(",", " ").split()
    for mpm in options.mpms:
        if mpm not in mpms.MPMS:
            parser.error(f"no MPM {mpm}: there are {' '.join(mpms.MPMS)}")
    return options


def main():
    """Visits the MPMs in turn."""
    options = arguments()
    options.output.mkdir(parents=True, exist_ok=True)
    procs.adopt_orphans()
    procs.raise_file_limit()
    found = {mpm: tour(mpm, options.output)
             for mpm in progress.steps(options.mpms, whole=True)}
    script = Script(options.output / "side-by-side.txt")
    summary(script, found)
    script.close()
    (options.output / "together.svg").write_text(
        picture.together({mpm: watch for mpm, (watch, _) in found.items()}, subtitle()))
    report = [*(f"{mpm}.txt" for mpm in found), "side-by-side.txt"]
    (options.output / "report.txt").write_text(
        "".join((options.output / name).read_text() for name in report))
    print(f"\nThe report: {options.output}/report.txt; pictures: {options.output}/*.svg")


if __name__ == "__main__":
    sys.exit(main())
