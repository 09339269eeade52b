# SPDX-License-Identifier: Apache-2.0
"""What plain `make` builds is hardened like what the distribution builds."""

import platform
import re

import pytest

from .checkout import BUILD, MODULE, run

PRODUCTS = [MODULE, BUILD / "libst.so.2", BUILD / "stmstat" / "stmstat", BUILD / "make_conn"]
# Those that hand buffers of known sizes to functions of the C library that may be fortified.
FORTIFIED = [MODULE, BUILD / "stmstat" / "stmstat", BUILD / "make_conn"]
LARGEST_STEP = 4096  # bytes: the stack pointer moves by no more without touching where it goes

pytestmark = pytest.mark.skipif(not MODULE.exists(), reason="not built")


def readelf(path, *options):
    """What readelf says."""
    done = run(["readelf", "-W", *options, path])
    assert done.returncode == 0, done.stderr
    return done.stdout


def imports(path):
    """Names of functions that the loader finds elsewhere."""
    rows = [line.split() for line in readelf(path, "--dyn-syms").splitlines()]
    return {row[7].split("@")[0] for row in rows if len(row) > 7 and row[6] == "UND"}


@pytest.mark.parametrize("path", PRODUCTS, ids=lambda path: path.name)
def test_relro(path):
    """Everything is bound at the start, and read only from then on; no stack is executable."""
    assert re.search(r"\((FLAGS|FLAGS_1)\).*(BIND_NOW|NOW)", readelf(path, "-d"))
    segments = readelf(path, "-l")
    assert "GNU_RELRO" in segments
    (stack,) = [line for line in segments.splitlines() if "GNU_STACK" in line]
    assert stack.split()[-2] == "RW"


@pytest.mark.parametrize("path", PRODUCTS, ids=lambda path: path.name)
def test_stack_protector(path):
    """Functions with arrays check for overruns."""
    assert "__stack_chk_fail" in imports(path)


@pytest.mark.parametrize("path", FORTIFIED, ids=lambda path: path.name)
def test_fortify(path):
    """The C library's functions are told the sizes of buffers."""
    assert any(re.fullmatch(r"__\w+_chk", name) for name in imports(path))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86-64 code")
@pytest.mark.parametrize("path", PRODUCTS, ids=lambda path: path.name)
def test_stack_clash(path):
    """A large frame is touched page by page, so it hits the guard, however large it is."""
    done = run(["objdump", "-d", "--no-show-raw-insn", path])
    assert done.returncode == 0, done.stderr
    steps = [int(step, 16) for step in re.findall(r"\bsub +\$0x([0-9a-f]{1,8}),%rsp", done.stdout)]
    assert len(steps) > 10
    assert max(steps) <= LARGEST_STEP
