# SPDX-License-Identifier: Apache-2.0
"""scripts/deps.sh: what it installs, what it never does, and what it says when it cannot.

apt, dpkg, sudo and id are stand-ins that the test writes; nothing is installed.
"""

import os

import pytest

from .checkout import TOP, run

TOOLS = "bash sh env dirname sed sort grep cat mktemp rm chmod tail xargs echo".split()
DEPS = TOP / "scripts/deps.sh"
LISTS = sorted((TOP / "scripts/deps").glob("*.list"))


class Machine:
    """A PATH with the ordinary tools, and stand-ins for those that matter here."""

    def __init__(self, folder):
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.policy = folder / "policy-rc.d"
        self.calls = folder / "calls"
        self.calls.touch()
        for name in TOOLS:
            for path in ("/usr/bin", "/bin"):
                if os.path.exists(f"{path}/{name}") and not (self.bin / name).is_symlink():
                    (self.bin / name).symlink_to(f"{path}/{name}")
        self.stand_in("id", "echo 0")

    def stand_in(self, name, body):
        """A program of that name, which first records its call."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls}\n{body}\n')
        path.chmod(0o755)

    def debian(self, installed=(), apt="exit 0"):
        """dpkg that knows these packages as installed, and an apt-get."""
        rows = "\n".join(f"echo 'installed {name}'" for name in installed)
        self.stand_in("dpkg-query", f"echo 'config-files libcmocka-dev'\n{rows}\nexit 1")
        self.stand_in("dpkg", "exit 0")
        self.stand_in("apt-get", apt)

    def deps(self, *sets, **environment):
        """Runs the script there."""
        return run([DEPS, *sets], env={"PATH": str(self.bin), "POLICY_RC_D": str(self.policy),
                                       **environment})

    def called(self, words):
        """Whether a stand-in was called with these words in its command line."""
        return any(all(word in line.split() for word in words.split())
                   for line in self.calls.read_text().splitlines())


@pytest.fixture(name="machine")
def _machine(folder):
    return Machine(folder)


def wants(*sets):
    """What the lists ask for: each a list of alternatives, the last of which is "-" if it is
    optional."""
    for name in sets:
        for line in (TOP / f"scripts/deps/{name}.list").read_text().splitlines():
            line = line.split("#")[0].strip()
            if line:
                yield [package.strip() for package in line.split("|")]


def packages(*sets):
    """The packages that the lists name; the first of alternatives."""
    return {want[0] for want in wants(*sets)}


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_lists(path):
    """Every list has plain package names, and the service on port 80 is in none."""
    names = {name for want in wants(path.stem) for name in want}
    assert names
    assert "apache2" not in names
    assert all("-" not in want[:-1] and want[0] != "-" for want in wants(path.stem))
    names.discard("-")
    for name in names:
        assert name.replace("-", "").replace(".", "").replace("+", "").isalnum(), name


def test_all_there(machine):
    """Silent, and apt is not asked."""
    machine.debian(installed=packages("run", "test"))
    done = machine.deps("run", "test")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not machine.called("apt-get")


def test_installs_what_is_missing(machine):
    """Only that, without recommended packages, after an update; services are held back."""
    machine.debian(installed=packages("run", "test") - {"wrk", "libcmocka-dev"},
                   apt=f'[ "$1" = -s ] || case "$*" in *" install "*) cat "$POLICY_RC_D";; esac >>'
                       f'{machine.calls}')
    done = machine.deps("run", "test")
    assert done.returncode == 0, done.stderr
    assert "Installing: libcmocka-dev wrk\n" in done.stdout
    assert machine.called("apt-get update")
    assert machine.called("apt-get install --no-install-recommends libcmocka-dev wrk")
    assert not machine.called("apt-get install curl")
    assert "exit 101" in machine.calls.read_text(), "policy-rc.d was there during the installation"
    assert not machine.policy.exists()


BROWSER, OTHER = "chromium-headless-shell", "chromium"
EVERYTHING = packages("run", "test")


def test_an_alternative_is_as_good(machine):
    """One of the alternatives is there: silent."""
    machine.debian(installed=EVERYTHING - {BROWSER} | {OTHER})
    done = machine.deps("run", "test")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("offered", [(BROWSER, OTHER), (OTHER,)])
def test_first_alternative_that_is_to_be_had(machine, offered):
    """apt is asked for each in turn."""
    cases = "".join(f'*" {name}") exit 0;; ' for name in offered)
    machine.debian(installed=EVERYTHING - {BROWSER},
                   apt=f'case "$*" in *update*) exit 0;; {cases} esac; exit 100')
    done = machine.deps("run", "test")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"install {offered[0]}\n" in machine.calls.read_text()
    assert machine.called(f"apt-get --no-install-recommends install {offered[0]}")
    assert not (offered[0] == BROWSER and machine.called(f"install {OTHER}"))


def test_goes_without(machine):
    """What is optional and not available is reported; no lists are fetched for it."""
    machine.debian(installed=EVERYTHING - {BROWSER}, apt="exit 100")
    done = machine.deps("run", "test")
    assert done.returncode == 0
    assert f"not available here: {BROWSER} or {OTHER}; whatever needs it is skipped" in done.stderr
    assert not machine.called("update")


def test_goes_without_beside_what_is_needed(machine):
    """The required packages are installed, the optional one is not available."""
    machine.debian(installed=EVERYTHING - {BROWSER, "wrk"},
                   apt='case "$*" in *chromium*) exit 100;; esac')
    done = machine.deps("run", "test")
    assert done.returncode == 0, done.stderr
    assert machine.called("apt-get --no-install-recommends install wrk")
    assert f"not available here: {BROWSER} or {OTHER}" in done.stderr


def test_optional_without_root(machine):
    """Nobody is troubled for it."""
    machine.debian(installed=EVERYTHING - {BROWSER})
    machine.stand_in("id", "echo 1000")
    done = machine.deps("run", "test")
    assert done.returncode == 0
    assert f"not available here: {BROWSER} or {OTHER}" in done.stderr
    assert not machine.called("update")


def test_services_stay_off(machine):
    """What was newly installed, including dependencies, does not start at boot; what was only
    upgraded is left alone."""
    machine.debian(apt='case "$*" in *-s*) echo "Inst curl (1)"; echo "Inst php8-fpm (8)"; '
                       'echo "Inst sshd [1] (2)";; esac')
    machine.stand_in("dpkg", 'case "$*" in *sshd*) echo /lib/systemd/system/sshd.service;; '
                             '*php8-fpm*) echo /usr/lib/systemd/system/php8-fpm.service; '
                             'echo /usr/lib/systemd/system/php8@.service; '
                             'echo /etc/init.d/php8-fpm;; esac')
    machine.stand_in("systemctl", "exit 0")
    done = machine.deps("run")
    assert done.returncode == 0, done.stderr
    assert "neither started nor enabled at boot: php8-fpm\n" in done.stdout
    assert machine.called("systemctl disable php8-fpm")
    assert not machine.called("sshd")


def test_it_has_come_meanwhile(machine):
    """Somebody else has installed it since the caller looked: nothing to do, and no failure."""
    machine.debian()
    machine.stand_in("dpkg", '[ $# -gt 1 ] || exit 2')  # as dpkg -L without a name
    done = machine.deps("--as-root", "bash")
    assert (done.returncode, done.stderr) == (0, "")
    assert not machine.called("dpkg")


def test_a_package_that_dpkg_does_not_know(machine):
    """Its services cannot be told; the others' can."""
    machine.debian(apt='case "$*" in *-s*) echo "Inst curl (1)"; echo "Inst php8-fpm (8)";; esac')
    machine.stand_in("dpkg", "echo /etc/init.d/php8-fpm; exit 1")
    machine.stand_in("systemctl", "exit 0")
    done = machine.deps("run")
    assert done.returncode == 0, done.stderr
    assert machine.called("systemctl disable php8-fpm")


def test_administrators_policy_stays(machine):
    """A policy-rc.d that was there before is neither changed nor removed."""
    machine.policy.write_text("mine\n")
    machine.debian(installed=packages("run") - {"curl"})
    assert machine.deps("run").returncode == 0
    assert machine.policy.read_text() == "mine\n"


def test_policy_goes_after_a_failure(machine):
    """Also when apt fails."""
    machine.debian(apt='case "$*" in *-s*|*update*) exit 0;; esac; echo "E: broken"; exit 100')
    assert machine.deps("run").returncode == 1
    assert not machine.policy.exists()


def test_no_network(machine):
    """apt's own message, and what to do about it."""
    machine.debian(apt='case "$*" in *-s*) exit 0;; esac; echo "Err:1 Could not resolve host"; '
                       'exit 100')
    done = machine.deps("run")
    assert done.returncode == 1
    assert "Could not resolve host" in done.stderr
    assert "could not install" in done.stderr
    assert "apt-get install --no-install-recommends apache2-bin" in done.stderr


def test_lists_that_cannot_be_fetched_are_not_the_end(machine):
    """The packages may be in apt's cache."""
    machine.debian(apt='case "$*" in *update*) exit 100;; esac')
    done = machine.deps("run")
    assert done.returncode == 0
    assert "update failed" in done.stderr


def test_unknown_package(machine):
    """A distribution that is too old."""
    machine.debian(apt='case "$*" in *-s*) echo "E: Unable to locate package wrk"; exit 100;; esac')
    done = machine.deps("test")
    assert done.returncode == 1
    assert "Unable to locate package wrk" in done.stderr
    assert "Debian 12" in done.stderr


def test_never_the_service(machine):
    """A package that would bring in "apache2" is refused before anything is installed."""
    machine.debian(apt='case "$*" in *-s*) echo "Inst apache2 (2.4)";; '
                       f'*" install "*) echo INSTALLED >>{machine.calls};; esac')
    done = machine.deps("run")
    assert done.returncode == 1
    assert "apache2, a service on port 80" in done.stderr
    assert "INSTALLED" not in machine.calls.read_text()


def test_no_apt(machine):
    """Another distribution: what is needed, and the way out."""
    done = machine.deps("run")
    assert done.returncode == 1
    for word in ("no apt", "apache2-dev", "DEPS=no"):
        assert word in done.stderr
    assert machine.deps("run", DEPS="no").returncode == 0


def test_no_root_and_no_sudo(machine):
    """What the administrator has to run."""
    machine.debian(installed=packages("run") - {"curl"})
    machine.stand_in("id", "echo 1000")
    done = machine.deps("run")
    assert done.returncode == 1
    assert "there is no sudo" in done.stderr
    assert "apt-get install --no-install-recommends curl\n" in done.stderr
    assert not machine.called("apt-get")


def test_sudo_refuses(machine):
    """Without a terminal no password is asked for."""
    machine.debian()
    machine.stand_in("id", "echo 1000")
    machine.stand_in("sudo", "exit 1")
    done = machine.deps("run")
    assert done.returncode == 1
    assert "may not use sudo" in done.stderr
    assert not machine.called("apt-get")


def test_sudo(machine):
    """An ordinary user who may."""
    machine.debian(installed=packages("run") - {"curl"})
    machine.stand_in("id", "echo 1000")
    machine.stand_in("sudo", '[ "$1" = -n ] && exit; exec "$@"')
    done = machine.deps("run")
    assert done.returncode == 0, done.stderr
    assert machine.called("apt-get install curl")


def test_unknown_set(machine):
    """A slip in the Makefile."""
    machine.debian()
    done = machine.deps("nonsense")
    assert done.returncode == 1
    assert 'no set "nonsense"' in done.stderr
