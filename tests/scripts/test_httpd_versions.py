# SPDX-License-Identifier: Apache-2.0
"""The module compiles with the headers of older httpds.

The headers of 2.4.52, 2.4.58 and 2.4.63 are made from the installed ones: what came later is taken
out, and the module magic number set back. HTTPD_SOURCES=FOLDER names a folder with httpd's own
sources of any versions (httpd-2.4.58/include ...), whose headers are then tried as well.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .checkout import TOP, run

HEADERS = Path(run(["apxs", "-q", "INCLUDEDIR"]).stdout.strip())
EVERYTHING = sorted(str(path.relative_to(TOP)) for path in (TOP / "mpm").rglob("*.c"))
# What differs most (mpm/httpd_versions.h).
SOURCES = ["mpm/conn/conn.c", "mpm/conn/current_thread.c", "mpm/conn/hooks.c",
           "mpm/conn/known_modules.c", "mpm/conn/record.c", "mpm/config/directives.c",
           "mpm/process/children.c", "mpm/process/fit.c", "mpm/process/query.c"]

# What came with a minor module magic number: file, pattern, what it was before.
LATER = [
    (140, "mpm_common.h", r"#ifndef DEFAULT_TCP_DEFER_ACCEPT\n.*?#endif\n", ""),
    (140, "ap_listen.h", r"^AP_DECLARE_NONSTD\(const char \*\) ap_set_listentcpdefer.*?;\n", ""),
    (137, "ap_mpm.h", r"^#define AP_MPMQ_CAN_WAITIO.*?\n", ""),
    (136, "scoreboard.h", r"^ +apr_uint32_t wait_io;", ""),
    (135, "httpd.h", r"CONN_STATE_KEEPALIVE,", "CONN_STATE_CHECK_REQUEST_LINE_READABLE,"),
    (135, "httpd.h", r"CONN_STATE_PROCESSING,", "CONN_STATE_READ_REQUEST_LINE,"),
    (135, "httpd.h", r"CONN_STATE_ASYNC_WAITIO,", ""),
    (135, "httpd.h", r"CONN_STATE_CHECK_REQUEST_LINE_READABLE +=.*?\n", ""),
    (135, "httpd.h", r"CONN_STATE_READ_REQUEST_LINE +=.*?\n", ""),
    (122, "httpd.h", r"^#if APR_HAS_THREADS\n(?:(?!^#if APR_HAS_THREADS).)*?AP_HAS_THREAD_LOCAL"
                     r".*?#endif /\* APR_HAS_THREADS \*/\n", ""),
]


def older(folder, minor):
    """The installed headers, set back to a module magic number."""
    shutil.copytree(HEADERS, folder)
    for since, name, pattern, before in LATER:
        if since > minor:
            path = folder / name
            text, count = re.subn(pattern, before, path.read_text(), count=1, flags=re.M | re.S)
            assert count == 1, (name, pattern)
            path.write_text(text)
    path = folder / "ap_mmn.h"
    text, count = re.subn(r"(#define MODULE_MAGIC_NUMBER_MINOR) \d+", rf"\1 {minor}",
                          path.read_text())
    assert count == 1
    path.write_text(text)
    return folder


def compiled(source, *folders):
    """What gcc says about a file with these headers of httpd."""
    flags = run(["pkg-config", "--cflags", "apr-1", "apr-util-1"]).stdout.split()
    return subprocess.run(
        ["gcc", "-fsyntax-only", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE=",
         "-Iinclude", "-I.", *(f"-isystem{folder}" for folder in folders),
         *(flag for flag in flags if flag != "-D_GNU_SOURCE"), source],
        cwd=TOP, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("minor", [121, 129, 137])
def test_older_headers(folder, minor):
    """2.4.52, 2.4.58 and 2.4.63."""
    headers = older(folder / "headers", minor)
    for source in EVERYTHING if minor == 121 else SOURCES:
        said = compiled(source, headers)
        assert said.returncode == 0, said.stderr


def test_too_old_headers(folder):
    said = compiled("mpm/process/fit.c", older(folder / "headers", 120))
    assert said.returncode != 0 and "2.4.52 or a newer 2.4" in said.stderr


def test_headers_of_other_sources(folder):
    """HTTPD_SOURCES: each version's own headers; what configure makes is the installed one's."""
    if "HTTPD_SOURCES" not in os.environ:
        pytest.skip("HTTPD_SOURCES names no folder with httpd's sources")
    trees = sorted(path.parents[1] for path in
                   Path(os.environ["HTTPD_SOURCES"]).glob("*/include/ap_mmn.h"))
    assert trees, os.environ["HTTPD_SOURCES"]
    made = folder / "made"
    made.mkdir()
    for name in ("ap_config_auto.h", "ap_config_layout.h"):
        shutil.copy(HEADERS / name, made)
    for tree in trees:
        folders = [tree / "include", tree / "os/unix", tree / "server", made,
                   *(path for path in (tree / "modules").iterdir() if path.is_dir())]
        for source in EVERYTHING:
            said = compiled(source, *folders)
            assert said.returncode == 0, f"{tree}: {said.stderr}"
