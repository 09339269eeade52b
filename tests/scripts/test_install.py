# SPDX-License-Identifier: Apache-2.0
"""make install, and libst's manual pages."""

import os
import re
import shlex
import shutil

import pytest

from .checkout import BUILD, MODULE, TOP, run

PREFIX = "/opt/stm"
PROGRAM = r"""
#include <st.h>
#include <stdio.h>

static void *thread(void *arg)
{
    st_usleep(1000);
    return arg;
}

int main(void)
{
    void *result;

    if (st_init() || st_thread_join(st_thread_create(thread, "joined", 1, 0), &result))
        return 1;
    puts(result);
    return 0;
}
"""


def make(*arguments):
    """make with the build folder under test."""
    done = run(["make", "-s", f"BUILD={os.path.relpath(BUILD, TOP)}", *arguments], cwd=TOP,
               timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(name="installed", scope="module")
def _installed(tmp_path_factory):
    """libst and its pages as `make install` lays them out."""
    root = tmp_path_factory.mktemp("root")
    make("install-lib", "install-man", f"DESTDIR={root}", f"PREFIX={PREFIX}")
    return root


def pkg_config(root, *arguments):
    """pkg-config as if the folder were the machine's root."""
    found = run(["pkg-config", *arguments, "st"], env=dict(
        os.environ, PKG_CONFIG_SYSROOT_DIR=str(root),
        PKG_CONFIG_LIBDIR=str(root) + PREFIX + "/lib/pkgconfig"))
    assert found.returncode == 0, found.stderr
    return shlex.split(found.stdout)


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_program(installed, tmp_path, kind):
    """A program can be built with nothing but pkg-config's answer, and runs."""
    (tmp_path / "program.c").write_text(PROGRAM)
    program = tmp_path / "program"
    extra = ["-static", *pkg_config(installed, "--static", "--libs")] if kind == "static" else []
    built = run(["gcc", "-Wall", "-Werror", "-o", program, tmp_path / "program.c",
                 *pkg_config(installed, "--cflags", "--libs"), *extra])
    assert built.returncode == 0, built.stderr
    library = str(installed) + PREFIX + "/lib"
    linked = run(["readelf", "-d", program]).stdout
    assert ("libst.so.2" in linked) == (kind == "shared")
    ran = run([program], env={"LD_LIBRARY_PATH": library}, timeout=30)
    assert (ran.returncode, ran.stdout) == (0, "joined\n")


def test_version(installed):
    """st.pc, the header and the library's name agree."""
    header = (installed / PREFIX[1:] / "include/st.h").read_text()
    version = re.search(r'^#define ST_VERSION +"(.*)"', header, re.M).group(1)
    assert pkg_config(installed, "--modversion") == [version]
    assert pkg_config(installed, "--atleast-version=1.9") == []
    library = installed / PREFIX[1:] / "lib/libst.so"
    assert library.resolve().name == f"libst.so.{version.split('.', maxsplit=1)[0]}"


def test_manual(installed):
    """A page for each call, without a warning from man, and the list names them all."""
    header = (TOP / "include/st.h").read_text()
    calls = set(re.findall(r"^(?!typedef|static)[a-z][\w *]*?\b(st_\w+)\(", header, re.M))
    pages = installed / PREFIX[1:] / "share/man/man3"
    assert {path.stem for path in pages.iterdir()} == calls | {"libst"}
    assert len(calls) > 60
    for path in pages.iterdir():
        text = path.read_text()
        assert ".SH NAME" in text and ".SH SYNOPSIS" in text, path
    listed = (pages / "libst.3").read_text()
    assert {name for name in calls if f".BR {name} (3)" not in listed} == set()


@pytest.mark.parametrize("awk", ["gawk", "mawk"])
def test_no_awk_complains(tmp_path, awk):
    """gawk warns of escapes that other awks pass over."""
    if not shutil.which(awk):
        pytest.skip(f"{awk} is not installed")
    done = run([awk, "-v", f"out={tmp_path}", "-v", "version=2", "-f", TOP / "scripts/man.awk",
                TOP / "include/st.h"])
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert (tmp_path / "libst.3").exists()


@pytest.mark.skipif(not MODULE.exists(), reason="not built")
def test_module(tmp_path):
    """Installed where httpd looks; a configuration that the administrator changed is not lost."""
    make("install-module", f"DESTDIR={tmp_path}", "MODULEDIR=/m", "SYSCONFDIR=/etc/a")
    assert (tmp_path / "m/mod_mpm_stm.so").read_bytes() == MODULE.read_bytes()
    available = tmp_path / "etc/a/mods-available"
    load = (available / "mpm_stm.load").read_text()
    assert "LoadModule mpm_stm_module /m/mod_mpm_stm.so\n" in load
    assert re.search(r"^# Conflicts: mpm_event mpm_prefork mpm_worker$", load, re.M)
    conf = available / "mpm_stm.conf"
    assert conf.read_text() == (TOP / "conf/mpm_stm.conf").read_text()
    assert not (available / "mpm_stm.conf.new").exists()
    conf.write_text("mine\n")
    make("install-module", f"DESTDIR={tmp_path}", "MODULEDIR=/m", "SYSCONFDIR=/etc/a")
    assert conf.read_text() == "mine\n"
    assert "NumVPs" in (available / "mpm_stm.conf.new").read_text()


@pytest.mark.skipif(not MODULE.exists(), reason="not built")
def test_module_is_whole():
    """Only httpd, APR and libc are asked for symbols: libst and STIOL are in the one file."""
    wanted = run(["nm", "-D", "--undefined-only", MODULE]).stdout.split()
    assert "ap_run_process_connection" in wanted
    own = re.compile(r"(st|stm|stiol)_")
    assert [name for name in wanted if own.match(name)] == []


def test_missing_headers(tmp_path):
    """Without apache2-dev, make says what is missing, and libst can still be built."""
    environment = {"BUILD": str(tmp_path / "b"), "APXS": "false", "PKG_CONFIG": "false"}
    settings = [f"{name}={value}" for name, value in environment.items()]
    source = min((TOP / "mpm").glob("*.c"))
    done = run(["make", "-s", *settings, f"{tmp_path}/b/mpm/{source.stem}.o"], cwd=TOP)
    assert done.returncode != 0
    assert "apache2-dev" in done.stderr
    assert "ap_config.h" not in done.stderr
    plan = run(["make", "-n", *settings, f"{tmp_path}/b/libst.a"], cwd=TOP)
    assert plan.returncode == 0 and "apache2-dev" not in plan.stderr + plan.stdout
