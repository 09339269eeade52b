# SPDX-License-Identifier: Apache-2.0
"""What tests/distros say, and count, when other systems cannot be had. Nothing is fetched: what
would fetch is a stand-in."""

import os

import pytest

from .checkout import TOP, run

ALONE = "0 passed, 0 failed, 1 skipped"


class Machine:
    """Root, as far as the scripts can see, with stand-ins for what matters."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.stand_in("id", "echo 0")
        self.stand_in("unshare", "exit 0")
        self.stand_in("apt-get", "echo http://mirror.example/debian/; echo http://other.example/x")
        self.stand_in("debootstrap", "echo $* >&2; exit 1")
        self.stand_in("qemu-aarch64-static", "exit 0")

    def stand_in(self, name, body):
        """A program of that name."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run(self, script, *arguments, **variables):
        """Runs one of the scripts; how it ended is in the last line."""
        path = f"{self.bin}:{os.environ['PATH']}"
        for name in ("DISTRO_ROOTS", "DISTRO_PARTS", "DISTRO_TEST_PARTS"):
            variables.setdefault(name, "")
        done = run([TOP / "tests/distros" / script, *arguments],
                   env={**os.environ, "PATH": path, "BUILD": str(self.folder), **variables})
        return done.returncode, done.stdout


@pytest.fixture(name="machine")
def _machine(folder):
    return Machine(folder)


@pytest.mark.parametrize("script, missing, instead, words", [
    ("distros.sh", "id", "echo 1000", "it needs root"),
    ("arm64.sh", "id", "echo 1000", "it needs root"),
    ("distros.sh", "unshare", "exit 1", "there are no namespaces here"),
    ("distros.sh", "apt-get", "exit 0", "trixie: apt's sources name no Debian archive")])
def test_what_is_missing_is_said(machine, script, missing, instead, words):
    machine.stand_in(missing, instead)
    status, said = machine.run(script, "tests/live/test_http.py", "trixie")
    assert status == 0
    assert f"skipped: {words}" in said and said.endswith(ALONE + "\n")


def test_no_network(machine):
    """Each release that cannot be made is skipped, and the log has the reason."""
    status, said = machine.run("distros.sh", "tests/live/test_http.py", "trixie", "sid")
    assert status == 0
    assert "trixie: debootstrap could not make it" in said and "sid: debootstrap" in said
    assert said.endswith("0 passed, 0 failed, 2 skipped\n")
    root = machine.folder / "distros/sid"
    log = (machine.folder / "distros/sid.log").read_text()
    assert log == f"--variant=minbase sid {root} http://mirror.example/debian/\n"


@pytest.mark.parametrize("parts, lists, ran", [
    ("", "run distro", 8), ("build live", "run distro", 2), ("test", "run distro test", 1)])
def test_parts(machine, parts, lists, ran):
    """All but `make test` run unless some are named; it runs if it is, with its packages."""
    (machine.folder / "mod_mpm_stm.so").touch()
    machine.stand_in("debootstrap", "mkdir -p $3/etc/dpkg/dpkg.cfg.d $3/etc/apt/apt.conf.d "
                                    "$3/usr/sbin")
    machine.stand_in("apt-config", "true")
    machine.stand_in("unshare", 'for last; do :; done; echo "ran $last"')
    status, said = machine.run("distros.sh", "tests/live/test_http.py", "trixie",
                               DISTRO_PARTS=parts, DISTRO_TEST_PARTS="score mpm")
    assert status == 0 and said.endswith(f"{ran} passed, 0 failed, 0 skipped\n"), said
    installed = (machine.folder / "distros/trixie.log").read_text()
    assert installed == f"ran /stm/scripts/deps.sh {lists}\n"
    whole = machine.folder / "distros/trixie-test.log"
    if parts == "test":
        assert whole.read_text().endswith("cd /stm && make test TEST_PARTS='score mpm'\n")
    else:
        assert not whole.exists()


def test_arm64_without_network(machine):
    machine.stand_in("apt-get", "echo no network >&2; exit 100")
    status, said = machine.run("arm64.sh", "tests/live/test_essentials.py")
    assert status == 0
    assert "skipped: arm64's packages cannot be had" in said and said.endswith(ALONE + "\n")
    assert (machine.folder / "distros/arm64.log").read_text() == "no network\n"


def test_arm64_where_programs_cannot_be_registered(machine):
    (machine.folder / "distros").mkdir()
    (machine.folder / "distros/arm64.made").touch()
    machine.stand_in("unshare", "exit 1")
    status, said = machine.run("arm64.sh", "tests/live/test_essentials.py")
    assert status == 0
    assert "Linux 6.7" in said and said.endswith(ALONE + "\n")


def test_another_httpd_must_be_named(monkeypatch):
    """The names are this make's, not those of a make around it."""
    for name in ("APXS", "HTTPD", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        monkeypatch.delenv(name, raising=False)
    said = run(["make", "-s", "test-httpd"], cwd=TOP)
    assert said.returncode != 0 and "APXS=/usr/local/apache2/bin/apxs" in said.stderr
