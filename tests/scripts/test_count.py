# SPDX-License-Identifier: Apache-2.0
"""scripts/test.sh: every part runs, and the last line counts the tests of all."""

import os
import re
import signal
import subprocess

import pytest
from harness import wait_for

from .checkout import TOP, run


def write(folder, parts):
    """A Makefile that has the parts, each a recipe."""
    rules = "".join(f"test-{name}:\n\t@{recipe}\n" for name, recipe in parts.items())
    (folder / "Makefile").write_text(rules)


def outcome(folder, **parts):
    """Runs the parts; returns the exit status and the last line."""
    write(folder, parts)
    done = run([TOP / "scripts/test.sh", *parts], cwd=folder)
    return done.returncode, done.stdout.splitlines()[-1]


CMOCKA = r"printf '[==========] 3 tests run.\n[  PASSED  ] 3 test(s).\n'"
CMOCKA_FAILED = (r"printf '[  PASSED  ] 2 test(s).\n[  FAILED  ] 1 test(s), listed below:\n"
                 r"[  FAILED  ] f\n\n 1 FAILED TEST(S)\n'; exit 1")


@pytest.mark.parametrize("parts, status, line", [
    ({"a": "echo 3 passed in 0.1s", "b": "echo 4 passed, 0 failed"}, 0, "7 passed, 0 failed"),
    ({"a": "echo 1 failed, 5 passed, 2 skipped; exit 1", "b": "echo 1 passed"}, 1,
     "6 passed, 1 failed"),
    ({"a": "echo 5 passed, 2 errors; exit 1"}, 1, "5 passed, 2 failed"),
    ({"a": f"{CMOCKA}; {CMOCKA}"}, 0, "6 passed, 0 failed"),
    ({"a": f"{CMOCKA}; {CMOCKA_FAILED}"}, 1, "5 passed, 1 failed"),
    ({"a": f"{CMOCKA}; echo 3 passed, 0 failed"}, 0, "3 passed, 0 failed"),
    ({"a": "exit 1", "b": "echo 2 passed"}, 1, "2 passed, 1 failed"),
    ({"a": "echo 2 passed; kill -SEGV $$$$", "b": "echo 2 passed"}, 1, "4 passed, 1 failed"),
    ({"a": "echo nothing here"}, 1, "0 passed, 1 failed"),
    ({"a": "echo 0 passed"}, 1, "0 passed, 1 failed"),
])
def test_count(folder, parts, status, line):
    """The line and the exit status say the same."""
    assert outcome(folder, **parts) == (status, line)


def test_progress(folder):
    """While they run beside each other: what is done, what runs and how far, what is to come."""
    wait = "until [ -e go ]; do sleep 0.01; done"
    write(folder, {"a": "echo 1 passed", "b": f"echo 'x.py .. [ 40%]'; {wait}; echo 2 passed",
                   "c": "echo 3 passed", "d": f"{wait}; echo 4 passed"})
    with subprocess.Popen([TOP / "scripts/test.sh", "a", "b", "c", "--", "d"], cwd=folder,
                          stdout=subprocess.PIPE, text=True,
                          env=dict(os.environ, STM_TEST_REPORT="0.1")) as runs:
        lines = []
        for line in runs.stdout:
            lines.append(line.rstrip("\n"))
            if re.fullmatch(r"\[1 of 4 parts done after \d+:\d\d\] running: b \(40%\) d; "
                            r"to come: c", lines[-1]):
                (folder / "go").touch()
        assert runs.wait(60) == 0
    assert (folder / "go").exists()
    assert lines[-1] == "10 passed, 0 failed"


def test_beside_each_other(folder):
    """Each waits for the other; their outputs are not mixed."""
    wait = "while [ ! -e {other} ]; do sleep 0.01; done"
    write(folder, {name: f"echo first {name}; touch {name}; {wait.format(other=other)}; "
                         f"echo {count} passed; exit {status}"
                   for name, other, count, status in (("a", "c", 3, 0), ("b", "c", 1, 0),
                                                      ("c", "a", 5, 1))})
    done = run([TOP / "scripts/test.sh", "a", "b", "--", "c"], cwd=folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "9 passed, 1 failed")
    for name, count in (("a", 3), ("b", 1), ("c", 5)):
        assert re.search(f"^== test-{name}\nfirst {name}\n{count} passed\n", done.stdout, re.M)
    rows = re.findall(r"^(\w+) +\d+ passed, \d+ failed in", done.stdout, re.M)
    assert rows == ["a", "b", "c"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_both(folder, number):
    """Nothing of a part keeps running."""
    write(folder, {name: f"echo $$$$ > {name}.new; mv {name}.new {name}; exec sleep 600"
                   for name in "ab"})
    # A shell cannot trap what is ignored when it starts, as SIGINT may be for us.
    with subprocess.Popen([TOP / "scripts/test.sh", "a", "--", "b"], cwd=folder,
                          stdout=subprocess.DEVNULL,
                          preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)) as script:
        pids = [int(wait_for(lambda n=name: (folder / n).exists() and (folder / n).read_text(),
                             "a part")) for name in "ab"]
        try:
            script.send_signal(number)
            assert script.wait(60) == 130
        finally:
            script.kill()
    for pid in pids:
        wait_for(lambda p=pid: not os.path.exists(f"/proc/{p}"), "its end")


def test_a_list_that_ends_early(folder):
    """What an earlier run has left there is not taken for its result."""
    write(folder, {"a": "echo 3 passed; [ ! -e again ] || "
                        "kill -KILL $$(cut -d' ' -f4 /proc/$$PPID/stat)", "b": "echo 4 passed"})
    lines = []
    for _ in range(2):
        done = run([TOP / "scripts/test.sh", "a", "--", "b"], cwd=folder)
        lines.append((done.returncode, done.stdout.splitlines()[-1]))
        (folder / "again").touch()
    assert lines == [(0, "7 passed, 0 failed"), (1, "7 passed, 1 failed")]
