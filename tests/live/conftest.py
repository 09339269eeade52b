# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the live tests: servers that end with their test, and marks.

Marks: stm_only (a behaviour that only this MPM has; skipped with STM_TEST_MPM=event), needs_root,
and tiny (for a build with the smallest limits: run alone, with STM_TEST_TINY=1).
STM_TEST_OWN=1 leaves out what a test does with other MPMs for comparison.
"""

import contextlib
import os
import resource
import signal

import pytest
from harness import MPM, Server, places, procs, slowfs


def pytest_configure(config):
    """Marks, this process's limits, and the module under test."""
    config.addinivalue_line("markers", "stm_only: a behaviour that only this MPM has")
    config.addinivalue_line("markers", "needs_root: cannot be done by an ordinary user")
    config.addinivalue_line("markers", "tiny: for the build with tiny limits, STM_TEST_TINY=1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers end with us then, too
    procs.adopt_orphans()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20000)), hard))
    if places.HTTPD is None:
        pytest.exit("no apache2 on this machine: install apache2-bin", 3)
    if MPM == "stm" and not places.STM_MODULE.exists():
        pytest.exit(f"{places.STM_MODULE} is missing: run make first", 3)


def _of_another_mpm(item):
    """Whether its parameters name one."""
    params = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return any(name in params for name in ("event", "worker", "prefork") if name != MPM)


def pytest_collection_modifyitems(config, items):
    """Drops the tests that are not for this run."""
    tiny, own = (bool(os.environ.get(f"STM_TEST_{word}")) for word in ("TINY", "OWN"))
    other = [i for i in items if bool(i.get_closest_marker("tiny")) != tiny
             or (own and _of_another_mpm(i))]
    config.hook.pytest_deselected(items=other)
    items[:] = [i for i in items if i not in other]
    for item in items:
        if MPM != "stm" and item.get_closest_marker("stm_only"):
            item.add_marker(pytest.mark.skip(reason=f"not a behaviour of {MPM}"))
        if os.geteuid() != 0 and item.get_closest_marker("needs_root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of its servers' error logs."""
    report = (yield).get_result()
    if report.failed:
        for server in set(_servers(item)):
            report.sections.append((f"error log of {server.root}", server.error_log()[-2000:]))


def _servers(item):
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Server):
            yield value
        elif hasattr(value, "servers"):
            yield from value.servers


class _Factory:
    """serve(...) makes and starts a server; serve.make(...) only makes it."""

    def __init__(self, name):
        self.name, self.servers = name, []
        self.always = ""  # directives of each

    def make(self, **options):
        """A server that is not started."""
        directives = self.always + options.pop("directives", "")
        self.servers.append(Server(options.pop("name", self.name), directives=directives,
                                   **options))
        return self.servers[-1]

    def __call__(self, **options):
        return self.make(**options).start()

    def end(self):
        """Stops them all, then reports what any of them left."""
        problems = []
        for server in self.servers:
            try:
                server.stop()
            except AssertionError as error:
                problems.append(str(error))
        assert not problems, "\n".join(problems)


def _name(request):
    return request.node.name.removeprefix("test_").split("[")[0].replace("/", "_")


@pytest.fixture
def serve(request):
    """A factory of servers that end with the test."""
    factory = _Factory(_name(request))
    yield factory
    factory.end()


@pytest.fixture(scope="module")
def serve_module(request):
    """A factory of servers that end with the file's last test."""
    factory = _Factory(request.module.__name__.rpartition(".")[2].removeprefix("test_"))
    yield factory
    factory.end()


@pytest.fixture
def slow_fs(serve):
    """A factory of slow file systems; skips the test where there can be none.

    They end before the test's servers do, so that a server that waits for one can end as well.
    """
    del serve
    with contextlib.ExitStack() as mounted:
        def mount(*files, **options):
            try:
                return mounted.enter_context(slowfs.SlowFS(*files, **options))
            except slowfs.Unavailable as reason:
                return pytest.skip(str(reason))
        yield mount
