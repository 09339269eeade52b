# SPDX-License-Identifier: Apache-2.0
"""docs/internals/trust.md says of each field in shared memory who writes it and what a lie does."""

import re

import pytest

from .checkout import TOP

STRUCTS = [("mpm/shared/share.h", "stm_share_vp_t"), ("mpm/shared/share.h", "stm_share_seat_t"),
           ("mpm/shared/pulse.h", "stm_pulse_t"),
           ("score/layout.h", "stm_score_header_t"),
           ("score/layout.h", "stm_score_block_t")]
# What a block's tables consist of; their counters are score.def's.
BEHIND_A_BLOCK = [("score/layout.h", "stm_score_listener_t"),
                  ("score/layout.h", "stm_score_row_t"),
                  ("score/layout.h", "stm_score_wait_t")]


def fields(path, struct):
    """The names of the members that are declared one by one."""
    text = re.sub(r"/\*.*?\*/", "", (TOP / path).read_text(), flags=re.S)
    body = next(each for each in re.findall(r"\{([^}]*)\}\s*(\w+);", text) if each[1] == struct)[0]
    lines = "\n".join(line for line in body.splitlines() if not line.startswith("#"))
    found = []
    for declaration in lines.split(";"):
        names = re.sub(r"\[[^]]*\]", "", declaration).strip()
        if names:
            first, *rest = names.split(",")
            found += [first.split()[-1], *(name.strip() for name in rest)]
    return found


def documented(struct):
    """The names in the first column of the table under the struct's heading."""
    text = (TOP / "docs/internals/trust.md").read_text()
    section = re.split(r"^##", text[text.index(f"### {struct}"):], flags=re.M)[1]
    return {name.strip() for row in re.findall(r"^\| ([^|]+)\|", section, re.M)
            for name in row.split(",")}


def test_fields_are_found():
    assert fields("mpm/shared/share.h", "stm_share_seat_t") == ["page", "incarnation"]
    assert {"magic", "sequence", "options", "pairs_max", "prior_listeners"} <= set(
        fields("score/layout.h", "stm_score_header_t"))


@pytest.mark.parametrize("path, struct", STRUCTS)
def test_every_field_is_documented(path, struct):
    assert set(fields(path, struct)) <= documented(struct)


@pytest.mark.parametrize("path, struct", BEHIND_A_BLOCK)
def test_every_field_of_a_table_is_documented(path, struct):
    assert set(fields(path, struct)) <= documented("stm_score_block_t")


def test_nothing_is_documented_that_is_not_there():
    here = set().union(*(fields(*each) for each in STRUCTS + BEHIND_A_BLOCK), {"field", "---"})
    for _, struct in STRUCTS:
        assert documented(struct) <= here
