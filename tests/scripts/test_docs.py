# SPDX-License-Identifier: Apache-2.0
"""The pages of docs name files and functions that exist, and every directive."""

import re

import pytest

from .checkout import TOP

PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")])
FILE = re.compile(r"`((?:mpm|stiol|st|score|aprmem|stmstat|include|scripts|harness|dev|bench|lab)/"
                  r"[\w./-]+\.(?:[chS]|py|sh|def))`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FUNCTION = re.compile(r"`(stm_\w+)\(\)`")


def sources():
    """All that a page may mean by a function of the MPM."""
    return "\n".join(path.read_text() for part in ("mpm", "score")
                     for path in (TOP / part).rglob("*.[ch]"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_files_are_there(page):
    named = {name for name in FILE.findall(page.read_text()) if "ROOM" not in name}
    assert [name for name in sorted(named) if not (TOP / name).exists()] == []


def anchors(page):
    """What a link may name after its #: the page's headings, as forges write them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", each.strip().lower()).replace(" ", "-") for each in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page):
    """In the checkout, and in the package, which has only some of the files."""
    packaged = (TOP / "debian/libapache2-mpm-stm.docs").read_text().split()
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    broken = []
    for link in LINK.findall(text):
        name, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / name).resolve() if name else page
        if (not target.exists() or target.relative_to(TOP).parts[0] not in packaged
                or (anchor and anchor not in anchors(target))):
            broken.append(link)
    assert broken == []


def test_functions_are_there():
    code = sources()
    named = {name for page in PAGES for name in FUNCTION.findall(page.read_text())}
    assert "stm_conn_serve" in named
    assert [name for name in sorted(named) if not re.search(rf"\b{name}\b", code)] == []


@pytest.mark.parametrize("page", ["docs/directives.md", "docs/man/mod_mpm_stm.8"])
def test_every_directive_is_there(page):
    code = (TOP / "mpm/config/directives.c").read_text()
    known = set(re.findall(r'\b(?:AP_INIT_\w+|FOREIGN)\(\s*"(\w+)"', code))
    assert {"NumVPs", "Listen", "StartServers"} <= known and len(known) > 30
    text = (TOP / page).read_text()
    assert [name for name in sorted(known) if not re.search(rf"\b{name}\b", text)] == []
