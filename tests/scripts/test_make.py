# SPDX-License-Identifier: Apache-2.0
"""What make prints: a line for each file it makes, and all of its targets in `make help`."""

import re

import pytest
from .checkout import TOP, run

SHORT = re.compile(r"  (CC|CXX|AS|AR|LD|GEN|INST) +\S+")


def make(folder, *arguments):
    """make's output, with a build folder of its own."""
    done = run(["make", "--no-print-directory", f"BUILD={folder}", *arguments], cwd=TOP)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(name="plain", autouse=True)
def _plain(monkeypatch):
    """What was passed to the tests' own make must not reach these."""
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "V"):
        monkeypatch.delenv(name, raising=False)


def test_a_build_is_quiet(tmp_path):
    """One line for each object: compiled, assembled, archived and linked."""
    lines = make(tmp_path, f"{tmp_path}/libst.a", f"{tmp_path}/libst.so.2").splitlines()
    assert all(SHORT.fullmatch(line) for line in lines), lines
    said = {line.split()[0] for line in lines}
    assert said == {"CC", "AS", "AR", "LD"}
    assert f"  CC   {tmp_path}/st/sched.o" in lines


def test_v1_shows_the_commands(tmp_path):
    said = make(tmp_path, "V=1", f"{tmp_path}/st/clock.o")
    assert re.search(r"^\S*cc .* -c -o \S+/clock\.o st/clock\.c$", said, re.M), said
    assert not SHORT.search(said)


def test_silent_is_silent(tmp_path):
    assert make(tmp_path, "-s", f"{tmp_path}/st/clock.o") == ""


def test_install_is_as_quiet(tmp_path):
    """One line for each file, manual pages in one; V=1 shows the commands."""
    where = (f"DESTDIR={tmp_path}/top", "PREFIX=/usr/local")
    lines = make(tmp_path, "install-lib", "install-man", *where).splitlines()
    assert all(SHORT.fullmatch(line) for line in lines), lines
    assert f"  INST {tmp_path}/top/usr/local/lib/libst.a" in lines
    shown = make(tmp_path, "V=1", "install-lib", *where)
    assert re.search(r"^install .*/top/usr/local/lib/libst\.a'$", shown, re.M), shown
    assert make(tmp_path, "-s", "install-lib", "install-man", *where) == ""


def test_below_build_the_folder_is_left_out():
    """So that the line for mpm/conn/record.o says just that, and a variant's line names the
    variant."""
    said = run(["make", "-n", "-W", "mpm/conn/record.c", "build/mpm/conn/record.o"], cwd=TOP).stdout
    if "need-apache" not in said:
        assert re.search(r"printf '  %-4s %s\\n' 'CC' 'mpm/conn/record\.o'", said), said


def test_every_recipe_goes_that_way():
    """No makefile runs a compiler, an archiver or an installer so that the command is echoed."""
    bad = []
    for path in [TOP / "Makefile", *TOP.glob("*/*.mk"), *TOP.glob("*/*/*.mk")]:
        before = ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.match(r"\t(\$?\$\((CC|CXX|AR|\w+_CXX|\w+_CROSS)\)|clang|install|cp|sed) ", line) \
                    and not before.endswith("\\"):
                bad.append(f"{path.relative_to(TOP)}:{number}: {line.strip()}")
            before = line
    assert not bad, bad


def phony():
    """Targets that are called by name, from all makefiles: {name: file}."""
    found = {}
    for path in [TOP / "Makefile", *TOP.glob("*/*.mk"), *TOP.glob("*/*/*.mk")]:
        for names in re.findall(r"^\.PHONY: (.*)$", path.read_text().replace("\\\n", " "), re.M):
            found.update(dict.fromkeys(names.split(), path))
    return found


# Parts of other targets, not for people.
INNER = re.compile(r"force$|need-|deps-|start-server$|lint-now$|.*-(programs|run|briefly|replay)$|"
                   r"live-tools$|slowfs$|.*-shuffle$|fuzz-\$|lab-tour$|install-.*$|bench-httpd$|"
                   r"which-")


def test_help_lists_every_target():
    said = run(["make", "help"], cwd=TOP).stdout
    listed = set(re.findall(r"^  make (\S+)", said, re.M))
    missing = {name for name in phony() if not INNER.match(name)} - listed
    assert not missing, missing
    assert not listed - set(phony()), "no such targets"
    assert "$(" not in said, said
    for line in said.splitlines():
        assert len(line) <= 100, line
