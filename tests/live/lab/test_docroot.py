# SPDX-License-Identifier: Apache-2.0
"""The document root is found with strace from outside, under each MPM."""

import pytest

from harness.strace import NotPermitted, Trace
from lab import docroot
from tests.live.tracing import skipped_if_forbidden


def test_document_root(each_mpm):
    with skipped_if_forbidden():
        command, trace = docroot.find(each_mpm, each_mpm.root / "strace.out")
    assert f"-p {','.join(map(str, each_mpm.children()))}" in " ".join(command)
    assert docroot.document_root(trace) == str(each_mpm.root / "htdocs")
    assert each_mpm.get("/").status == 200  # it continues without strace


TRACE = """\
7 openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 5
8 openat(AT_FDCWD, "/srv/a b/index.html", O_RDONLY|O_CLOEXEC <unfinished ...>
7 openat(AT_FDCWD, "/srv/log", O_WRONLY|O_APPEND) = 6
8 <... openat resumed>) = 9
"""


def test_what_strace_prints_is_understood():
    assert docroot.opened(TRACE) == ["/etc/hosts", "/srv/a b/index.html"]
    assert docroot.document_root(TRACE) == "/srv/a b"
    assert docroot.document_root(TRACE, "/other.html") is None


def test_a_process_that_may_not_be_traced(tmp_path):
    """Process 1's parent, the kernel, cannot be traced: there is no such process."""
    with pytest.raises((NotPermitted, AssertionError)):
        Trace([2 ** 22 - 1], tmp_path / "trace", "openat")
