# SPDX-License-Identifier: Apache-2.0
"""What the documentation says works: links, targets, files, and CONTRIBUTING.md's examples, which
are applied to a copy and compiled."""

import re
import shlex

import pytest
from .checkout import BUILD, TOP, run
from .test_make import phony

PAGES = sorted(path for path in [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")])
FOR_CONTRIBUTORS = [TOP / name for name in ("CONTRIBUTING.md", "SECURITY.md", "docs/README.md",
                                            "docs/internals/debugging.md")]


def name_of(path):
    """A page, for people."""
    return str(path.relative_to(TOP))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", FOR_CONTRIBUTORS, ids=name_of)
def test_targets_exist(page):
    """Every `make X` of the pages, and the files that it names, according to make."""
    said = re.findall(r"(?:^    (?:\$ )?|`(?:\w+=\w+ )?)make((?: [^`\n#&]+)?)", page.read_text(),
                      re.M)
    if page.name == "CONTRIBUTING.md":
        assert len(said) > 10
    named = phony()
    for words in sorted(set(said)):
        arguments = [word for word in shlex.split(words) if not word.startswith(("V=", "--"))]
        if not all("=" in word or word in named for word in arguments):  # then make knows, slowly
            done = run(["make", "-n", "-q", *arguments], cwd=TOP)
            assert "No rule to make target" not in done.stderr, done.stderr
        for path in re.findall(r"tests/\w+/\w+\.py", words):
            assert (TOP / path).exists(), path


@pytest.mark.parametrize("page", FOR_CONTRIBUTORS, ids=name_of)
def test_files_exist(page):
    """Everything in `...` that begins with one of our folders."""
    for path in re.findall(r"`((?:st|stiol|aprmem|mpm|score|stmstat|dev|docs|scripts|include|tests|"
                           r"conf)/[\w./-]*)`", page.read_text()):
        assert (TOP / path).exists(), path


def test_commands_of_the_debugger():
    """The page has every command of dev/gdb/st.py, and no other."""
    script = (TOP / "dev/gdb/st.py").read_text()
    page = (TOP / "docs/internals/debugging.md").read_text()
    ours = set(re.findall(r"^[A-Z]\w+\(\"(stm? \w+)\"\)$", script, re.M))
    rows = set(re.findall(r"^\| `(stm? \w+)", page, re.M))
    assert ours == rows and len(ours) == 5


def examples():
    """[(heading, {path: [(old lines, new lines)]})] of CONTRIBUTING.md."""
    text = (TOP / "CONTRIBUTING.md").read_text()
    found = []
    for heading, block in re.findall(r"^## Example: ([^\n]+)\n.*?^```diff\n(.*?)^```", text,
                                     re.M | re.S):
        files = {}
        for path, hunks in re.findall(r"^--- (\S+)\n(.*?)(?=^--- |\Z)", block, re.M | re.S):
            for hunk in hunks.split("@@\n")[1:]:
                lines = hunk.splitlines()
                old = [line[1:] for line in lines if not line.startswith("+")]
                new = [line[1:] for line in lines if not line.startswith("-")]
                files.setdefault(path, []).append(("\n".join(old), "\n".join(new)))
        found.append((heading, files))
    return found


def applied(files, folder):
    """The changed files, in a folder that is searched before the checkout's."""
    for path, hunks in files.items():
        text = (TOP / path).read_text()
        for old, new in hunks:
            assert text.count(f"\n{old}\n") == 1, f"{path} has no longer:\n{old}"
            text = text.replace(f"\n{old}\n", f"\n{new}\n")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def test_there_are_three_examples():
    assert [heading for heading, _ in examples()] == [
        "rebind another call", "add a directive", "add a counter"]


@pytest.mark.skipif(not (BUILD / "flags").exists(), reason="not built")
@pytest.mark.parametrize("heading, files", examples(), ids=lambda value: str(value)[:8])
def test_example(tmp_path, heading, files):
    """It applies, and what it changes compiles without a warning, in all places that use it."""
    applied(files, tmp_path)
    sources = [path for path in files if path.endswith(".c")]
    sources += {"rebind another call": ["stiol/elf.c"], "add a counter": ["score/fields.c"]}.get(
        heading, [])
    flags = shlex.split((BUILD / "flags").read_text())
    for source in sources:
        path = tmp_path / source if (tmp_path / source).exists() else TOP / source
        done = run([flags[0], f"-I{tmp_path}", *flags[1:], "-fsyntax-only", path], cwd=TOP)
        assert done.returncode == 0, done.stderr
