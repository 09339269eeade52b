# SPDX-License-Identifier: Apache-2.0
"""Where things are: the checkout, the build folder, httpd and its modules, a ServerRoot.

STM_TEST_BUILD chooses another build folder (debug build), STM_TEST_MPM another MPM (event, worker,
prefork), which is how a test is checked against Debian's own MPMs. STM_TEST_APXS names the apxs of
another httpd than the distribution's.
"""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / os.environ.get("STM_TEST_BUILD", "build")
MPM = os.environ.get("STM_TEST_MPM", "stm")
CHILD_USER = "www-data"

STM_MODULE = BUILD / "mod_mpm_stm.so"


APXS = os.environ.get("STM_TEST_APXS")


def _asked(name):
    """What apxs says; "" without apxs. A wrong STM_TEST_APXS is an error that names it."""
    apxs = shutil.which(APXS or "apxs")
    if apxs is None:
        if APXS:
            raise RuntimeError(f"STM_TEST_APXS={APXS} is no program")
        return ""
    run = subprocess.run([apxs, "-q", name], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def _httpd():
    if APXS:
        return f"{_asked('SBINDIR')}/{_asked('PROGNAME')}"
    return shutil.which("apache2", path="/usr/sbin:/usr/bin")


HTTPD = os.environ.get("STM_TEST_HTTPD") or _httpd()
MODULES = Path(_asked("LIBEXECDIR") or "/usr/lib/apache2/modules")


@functools.cache
def compiled_in():
    """The names of the modules that httpd has without loading them."""
    run = subprocess.run([HTTPD, "-l"], capture_output=True, text=True, check=True)
    return {line.strip().removeprefix("mod_").removesuffix(".c")
            for line in run.stdout.splitlines() if line.strip().endswith(".c")}


def tool(name):
    """A helper program or module that tests/live/live.mk built."""
    path = BUILD / "tests" / name
    assert path.exists(), f"{path} is missing: make test-live builds it"
    return path


def others_can_enter(path):
    """Whether any user can reach `path`: every folder above it can be entered by others."""
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents])


def own_folder():
    """Where this process writes: each of those that share a run of pytest has its own folder."""
    folder = BUILD / "test" / os.environ.get("PYTEST_XDIST_WORKER", "")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def _public_folder():
    """A folder below /var/tmp that others can enter; it is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="stm-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_root(name):
    """A fresh, empty ServerRoot.

    Under the build folder; but a root server's children run as an unprivileged user, who cannot
    enter, say, a checkout below a home folder of mode 0700. In that case it is below /var/tmp.
    """
    base = own_folder()
    if os.geteuid() == 0 and not others_can_enter(base):
        base = _public_folder()
    root = base / name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    root.chmod(0o755)
    return root
