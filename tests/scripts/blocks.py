# SPDX-License-Identifier: Apache-2.0
"""What the pages show in blocks: indented by four, or between fences."""

import re
import textwrap
from dataclasses import dataclass


@dataclass
class Block:
    """One example of a page."""

    page: str
    line: int
    kind: str  # the word after the fence; "" if there is none
    text: str

    def lines(self):
        """Those that are not empty, without what is around them."""
        return [line.strip() for line in self.text.splitlines() if line.strip()]

    def __str__(self):
        return f"{self.page}:{self.line}"


def _fenced(page, text):
    for found in re.finditer(r"^( *)```(\w*)\n(.*?)^ *```", text, re.M | re.S):
        yield Block(page, text[:found.start()].count("\n") + 2, found[2],
                    textwrap.dedent(found[3]))


def _indented(page, text):
    """Markdown's other form: after an empty line. Within a list it would be a paragraph."""
    for found in re.finditer(r"(?:\A|\n)\n((?: {4}[^\n]*\n)(?:(?: {4}[^\n]*)?\n)*)", text):
        before = text[:found.start()].rstrip().rsplit("\n", 1)[-1]
        if not re.match(r" *([-*]|\d+\.) ", before):
            yield Block(page, text[:found.start(1)].count("\n") + 1, "",
                        textwrap.dedent(found[1]))


def blocks(page, text):
    """All of a page. What lies between fences is not looked at again."""
    fenced = list(_fenced(page, text))
    rest = re.sub(r"^( *)```\w*\n.*?^ *```", lambda m: "\n" * m[0].count("\n"), text,
                  flags=re.M | re.S)
    return [*fenced, *_indented(page, rest)]
