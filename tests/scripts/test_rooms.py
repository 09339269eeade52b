# SPDX-License-Identifier: Apache-2.0
"""scripts/rooms.py: no part and no room uses what is not below it, and the check would notice if
one did."""

import shutil
import sys

import pytest
from .checkout import TOP, run

PARTS = ("st", "stiol", "aprmem", "score", "mpm", "stmstat")
RECORD = "mpm/conn/record.c"


def check(top):
    """Runs the check on a tree: returns whether it passes, and its output."""
    result = run([sys.executable, TOP / "scripts/rooms.py", top])
    return result.returncode == 0, result.stdout.splitlines()


@pytest.fixture(name="tree")
def _tree(folder):
    """A copy of the sources, to be modified."""
    for part in PARTS:
        shutil.copytree(TOP / part, folder / part)
    return folder


def spoil(tree, path, old, new):
    """Changes a file of the copy."""
    text = (tree / path).read_text()
    assert old in text
    (tree / path).write_text(text.replace(old, new, 1))


def test_rooms_use_only_what_is_below_them():
    assert check(TOP) == (True, [])


def test_a_call_up_is_seen(tree):
    spoil(tree, RECORD, "\n    conn->timed_out = false;\n",
          "\n    stm_listeners_publish();\n    conn->timed_out = false;\n")
    content, said = check(tree)
    assert not content and len(said) == 1
    assert said[0].startswith(f"{RECORD}:")
    assert said[0].endswith("stm_listeners_publish is mpm/accept's, which is not below mpm/conn")


def test_an_include_of_an_upper_room_is_seen(tree):
    spoil(tree, RECORD, '#include "mpm/conn/conn.h"\n',
          '#include "mpm/conn/conn.h"\n#include "mpm/process/process.h"\n')
    content, said = check(tree)
    assert not content and len(said) == 1
    assert "mpm/process/process.h is mpm/process's, which is not below mpm/conn" in said[0]


def test_a_variable_of_an_upper_room_is_seen(tree):
    spoil(tree, RECORD, "\n    conn->timed_out = false;\n",
          "\n    extern int stm_accept;\n    stm_accept++;\n    conn->timed_out = false;\n")
    content, said = check(tree)
    assert not content
    assert all("stm_accept is mpm/accept's" in line for line in said)


def test_a_part_that_is_not_below_is_seen(tree):
    spoil(tree, "stmstat/main.c", "#include", '#include "mpm/stm.h"\n#include')
    content, said = check(tree)
    assert not content and "mpm/stm.h is mpm's, which is not below stmstat" in said[0]


def test_comments_and_strings_do_not_count(tree):
    spoil(tree, RECORD, "\n    conn->timed_out = false;\n",
          '\n    /* stm_listeners_publish() */\n    (void)"stm_listeners_publish()";\n'
          '    conn->timed_out = false;\n')
    assert check(tree) == (True, [])


def test_a_room_without_a_place_is_seen(tree):
    (tree / "mpm/attic").mkdir()
    (tree / "mpm/attic/attic.c").write_text("int stm_attic;\n")
    content, said = check(tree)
    assert not content and "mpm/attic has no place in the order of rooms" in said[0]
