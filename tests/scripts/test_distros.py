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

    def run(self, script, *arguments):
        """Runs one of the scripts; how it ended is in the last line."""
        path = f"{self.bin}:{os.environ['PATH']}"
        done = run([TOP / "tests/distros" / script, *arguments],
                   env={**os.environ, "PATH": path, "BUILD": str(self.folder)})
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
