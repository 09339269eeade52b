# SPDX-License-Identifier: Apache-2.0
"""Counts what a request costs one process: user instructions, by valgrind, and system calls, by
strace. Neither depends on what else the machine is doing. Run by `make bench-cost`.
"""

import argparse
import re
import signal
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness import Server, config, procs, progress, wait_for
from harness.drive import SlowBackend
from harness.strace import calls_of

WARM_UP = 50           # warm-up requests, not counted
FEW, MANY = 200, 1200  # requests of the two runs whose difference counts
TRACED = 500
PROXY = "ProxyPass /proxy/ http://127.0.0.1:{port}/delay/\n"
VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--trace-children=yes")


@dataclass
class Scene:
    """What is requested."""

    path: str
    directives: str = ""
    modules: tuple = ()
    backend: bool = False
    tls: bool = False


SCENES = {
    "small": Scene("/45.txt"),
    "10k": Scene("/10k.bin"),
    "100k": Scene("/100k.bin"),
    "10k-sendfile": Scene("/10k.bin", "EnableSendfile On\n"),
    "100k-sendfile": Scene("/100k.bin", "EnableSendfile On\n"),
    "100k-unmapped": Scene("/100k.bin", "EnableMMAP Off\n"),
    "htaccess": Scene("/a/b/45.txt", "<Directory @ROOT@>\nAllowOverride All\n</Directory>\n"),
    "proxied": Scene("/proxy/0", modules=("proxy", "proxy_http"), backend=True),
    "tls": Scene("/45.txt", tls=True),
    "tls-10k": Scene("/10k.bin", tls=True),
    "tls-100k": Scene("/100k.bin", tls=True),
}


@dataclass
class Cost:
    """The cost of one request."""

    instructions: float
    calls: Counter = field(default_factory=Counter)


class Subject:
    """A server of one process: an MPM, or a build of stm."""

    def __init__(self, name, mpm, module):
        self.name, self._mpm, self._module = name, mpm, module

    def _server(self, scene, stack, valgrind=False):
        directives = "LogLevel warn\n" + scene.directives
        if self._mpm == "stm":  # under valgrind, or on a busy machine, any handler may seem slow
            directives += "RunOn state\n"
        if scene.backend:
            backend = stack.enter_context(SlowBackend())
            directives += PROXY.format(port=backend.port)
        server = Server(f"cost-{self.name}", mpm=self._mpm, processes=1, threads=8,
                        modules=scene.modules, directives=directives, tls=scene.tls)
        if valgrind:
            server.launcher = [*VALGRIND, f"--cachegrind-out-file={server.root}/run/count.%p",
                               f"--log-file={server.root}/run/valgrind.%p"]
        for name, content in (("45.txt", b"x" * 45), ("10k.bin", bytes(10_240)),
                              ("100k.bin", bytes(102_400)), ("a/b/45.txt", b"x" * 45)):
            server.page(name, content)
        config.STM_MODULE = self._module
        (server.root / "run").chmod(0o777)  # where the child writes its counts
        stack.callback(server.stop, check=False)
        return server.start()

    @staticmethod
    def _connect(server, scene):
        return server.connect_tls() if scene.tls else server.connect()

    def _asked(self, server, conn, scene, count):
        before = len(server.access_log())
        for _ in range(count):
            assert conn.get(scene.path).status == 200
        wait_for(lambda: len(server.access_log()) >= before + count, "the log")

    def _counted(self, scene, requests):
        with ExitStack() as stack:
            server = self._server(scene, stack, valgrind=True)
            child, = server.children()
            with self._connect(server, scene) as conn:
                self._asked(server, conn, scene, requests)
            server.stop(check=False)
            text = (server.root / f"run/count.{child}").read_text()
            return int(re.search(r"^summary: (\d+)", text, re.M).group(1))

    def _calls(self, scene):
        with ExitStack() as stack:
            server = self._server(scene, stack)
            with self._connect(server, scene) as conn:
                self._asked(server, conn, scene, WARM_UP)
                found = Counter(calls_of(
                    server, lambda: self._asked(server, conn, scene, TRACED)))
        return Counter({name: count / TRACED for name, count in found.items()})

    def cost(self, scene):
        """A request's Cost."""
        few, many = (self._counted(scene, count) for count in (FEW, MANY))
        return Cost((many - few) / (MANY - FEW), self._calls(scene))


def calls_text(calls):
    """Lists calls made for at least every second request, and the rest as a sum."""
    often = [(name, count) for name, count in calls.most_common() if count >= 0.5]
    rest = sum(calls.values()) - sum(count for _, count in often)
    return ", ".join([f"{name} {count:.2f}" for name, count in often] + [f"others {rest:.2f}"])


def report(name, costs):
    """One scene's costs, in relation to those of the last subject."""
    base = list(costs.values())[-1]
    for subject, cost in costs.items():
        ratio = cost.instructions / base.instructions
        calls = sum(cost.calls.values())
        print(f"{name:14} {subject:7} {cost.instructions:9,.0f} instructions ({ratio:.4f})  "
              f"{calls:6.2f} calls ({calls / sum(base.calls.values()):.4f}): "
              f"{calls_text(cost.calls)}", flush=True)


def subjects(options):
    """The requested subjects; the one that others are compared with comes last."""
    found = [Subject(mpm, mpm, config.STM_MODULE) for mpm in options.mpms.split(",")]
    if options.before:
        found.append(Subject("before", "stm", options.before.resolve()))
    return found


def main():
    """Measures and prints, scene by scene."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another build of mod_mpm_stm.so")
    parser.add_argument("--mpms", default="stm")
    parser.add_argument("--scenes", default=",".join(SCENES))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    procs.adopt_orphans()
    measured = subjects(options)
    for name in progress.steps(options.scenes.split(",")):
        costs = {each.name: each.cost(SCENES[name]) for each in measured}
        progress.clear()
        report(name, costs)


if __name__ == "__main__":
    main()
