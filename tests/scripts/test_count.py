# SPDX-License-Identifier: Apache-2.0
"""scripts/test.sh: every part runs, and the last line counts the tests of all."""

import pytest

from .checkout import TOP, run


def outcome(folder, **parts):
    """Runs the parts, each a recipe; gives the exit status and the last line."""
    rules = "".join(f"test-{name}:\n\t@{recipe}\n" for name, recipe in parts.items())
    (folder / "Makefile").write_text(rules)
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
