# SPDX-License-Identifier: Apache-2.0
"""Every message in the error log has a unique number, and docs/messages.md explains it."""

import re
from collections import Counter

import pytest

from . import messages
from .checkout import TOP

LEVELS = {"ERR": "error", "WARNING": "warn"}
KNOWN = {"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "fatal"}
WRITE = re.compile(r"(?:write|fprintf)\((?:STDERR_FILENO|stderr), ([^,)]*)")
# These do not write to the log: traces of debug builds, and messages if there is no server.
TRACES = {"mpm/trace.c", "stiol/debug.c", "stiol/rebind.c"}


def twice(numbers):
    return [number for number, count in Counter(numbers).items() if count > 1]


def test_no_number_is_given_twice():
    found = [message.number for message in messages.in_sources()]
    assert len(found) > 90 and twice(found) == []
    assert twice([entry.number for entry in messages.in_page()]) == []


def test_every_message_is_in_the_page_with_its_text_and_level():
    page = {entry.number: entry for entry in messages.in_page()}
    for message in messages.in_sources():
        entry = page.pop(message.number, None)
        assert entry, f"{message.where}: STM{message.number:04d} is not in {messages.PAGE.name}"
        assert entry.text == message.text, message.where
        levels = set(entry.level.split(", "))
        assert levels <= KNOWN, entry
        if message.levels:
            assert levels == {LEVELS.get(level.upper(), level) for level in message.levels}, \
                message.where
        assert entry.says and entry.do, entry
    assert not page, "messages that are no longer in the sources: say in the page since when"


def test_nothing_is_logged_without_a_number():
    assert list(messages.unnumbered()) == []
    for path, text in messages.sources().items():
        if path in TRACES or "/smoke/" in path or not WRITE.search(text):
            continue
        if path == "st/vp.c":  # st__fatal(), whose callers have the texts
            continue
        assert "STMNO(" in text, path
    for path, text in messages.sources().items():
        for said in re.findall(r"(?<!void )st__fatal\(([^;]*);", text):
            assert said.startswith("STMNO("), path


def test_every_heading_is_an_entry():
    """No entry is missed because it is written differently."""
    headings = re.findall(r"^###.*", messages.PAGE.read_text(), re.M)
    assert len(headings) == len(messages.in_page())


def test_numbers_that_other_pages_name_exist():
    known = {entry.number for entry in messages.in_page()}
    for page in [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")]:
        named = {int(number) for number in re.findall(r"\bSTM(\d{4})\b", page.read_text())}
        assert named <= known, page


@pytest.mark.parametrize("literal, text", [
    ('"VP %d has %lu (%pI)\\n"', "VP … has … (…)"),
    ('"%s%s%s at %" PRIu64 "; %5.1f ms"', "… at …; … ms"),
    ('"caught " AP_SIG ", the \\"end\\""', 'caught …, the "end"'),
])
def test_a_format_is_shown_with_ellipses(literal, text):
    assert messages.shown(literal) == text
