# SPDX-License-Identifier: Apache-2.0
"""What make prints: a line for each file it makes, and all of its targets in `make help`."""

import os
import pty
import re
import subprocess

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


def test_without_ncurses_only_the_live_view_is_left_out(tmp_path):
    """The build says so, and so does stmstat when it is asked for that view."""
    stmstat = tmp_path / "stmstat/stmstat"
    said = make(tmp_path, "NCURSES=", "LIBDW=", str(stmstat))
    assert "stmstat's live view is left out: it needs ncurses (libncurses-dev)" in said
    assert not list(tmp_path.glob("stmstat/live*.o"))
    assert run([stmstat, "-l"]).stdout.startswith("vp.N.")
    outer, terminal = pty.openpty()
    done = subprocess.run([stmstat], stdin=terminal, stdout=terminal, stderr=subprocess.PIPE,
                          text=True, timeout=60, check=False)
    assert done.returncode == 2 and "for lack of ncurses" in done.stderr, done.stderr
    for end in (outer, terminal):
        os.close(end)


def test_headers_of_an_apr_that_debugs_its_pools(tmp_path):
    """The small pools compile with them, and the build says that they will have no effect."""
    flag = "CPPFLAGS=-DAPR_POOL_DEBUG"
    objects = [f"{tmp_path}/aprmem/{path.stem}.o" for path in TOP.glob("aprmem/*.c")]
    make(tmp_path, flag, *objects)
    module = f"{tmp_path}/mod_mpm_stm.so"
    warning = "SmallPools will have no effect: this APR debugs its pools"
    assert warning in make(tmp_path, "-n", flag, module)
    assert warning not in make(tmp_path, "-n", module)


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
