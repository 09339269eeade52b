# SPDX-License-Identifier: Apache-2.0
"""The numbered messages, as found in the sources and in docs/messages.md."""

import re
from collections import namedtuple

from .checkout import TOP

PARTS = ("st", "stiol", "aprmem", "mpm")
PAGE = TOP / "docs/messages.md"
Message = namedtuple("Message", "number levels text where")
Entry = namedtuple("Entry", "number level text says do")

STRING = r'"(?:\\.|[^"\\])*"'
NUMBERED = re.compile(rf"STMNO\((\d+)\)((?:\s*(?:{STRING}|[A-Z_]+\w*(?=\s*\"|\s+\w*\")|PRI\w+))+)")
LOG_CALL = re.compile(r"\bap_log_[a-z]*error\(")
CONVERSION = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?(?:l|ll|z|j|h)?(?:p[a-zA-Z]|[a-zA-Z])|%(?=…)")
ENTRY = re.compile(r"^### STM(\d{4}) \(([a-z, ]+)\)\n\n`([^\n]+)`\n\n(.*?)(?=^##|\Z)", re.M | re.S)


def sources():
    """{path from the top: text} of all sources of the module."""
    return {str(path.relative_to(TOP)): path.read_text() for part in PARTS
            for path in sorted((TOP / part).rglob("*.[ch]"))}


def shown(literal):
    """A format as the page shows it, with an ellipsis for each part that varies."""
    pieces = re.findall(rf"{STRING}|\w+", literal)
    text = "".join(piece[1:-1] if piece.startswith('"') else "…" for piece in pieces)
    text = CONVERSION.sub("…", text.replace(r"\n", "").replace(r"\"", '"'))
    return re.sub("…+", "…", text).strip()


def statement(text, at):
    """The part of the statement before position `at`, which has the levels of a message."""
    return text[max(text.rfind(mark, 0, at) for mark in (";", "{", "}")) + 1:at]


def in_sources():
    """All messages in the sources, by file."""
    return [Message(int(found.group(1)),
                    {level.lower() for level in re.findall(
                        r"APLOG_(EMERG|ALERT|CRIT|ERR|WARNING|NOTICE|INFO|DEBUG)\b",
                        statement(text, found.start()))},
                    shown(found.group(2)), f"{path}:{text.count(chr(10), 0, found.start()) + 1}")
            for path, text in sources().items() for found in NUMBERED.finditer(text)]


def in_page():
    """All entries of the page, in order."""
    found = []
    for number, level, text, rest in ENTRY.findall(PAGE.read_text()):
        says, _, todo = rest.strip().partition("**What to do:** ")
        found.append(Entry(int(number), level, text, says.strip(), todo.strip()))
    return found


def unnumbered():
    """Calls that write to the error log and whose text has no number."""
    for path, text in sources().items():
        for call in LOG_CALL.finditer(text):
            words = text[call.end():text.index(";", call.end())]
            first = re.search(STRING, words)
            if first and first.group() != '"%s"' and not re.search(
                    r"STMNO\(\d{4}\)\s*\w*\s*$", words[:first.start()]):
                yield f"{path}:{text.count(chr(10), 0, call.start()) + 1}"
