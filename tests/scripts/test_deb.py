# SPDX-License-Identifier: Apache-2.0
"""make deb: a set of packages that contain what make install would install."""

import re
from pathlib import Path

import pytest

from .checkout import MODULE, TOP, run
from .test_install import make

pytestmark = pytest.mark.skipif(not MODULE.exists(), reason="not built")

WANTED = {
    "libapache2-mpm-stm": {"./usr/lib/apache2/modules/mod_mpm_stm.so",
                           "./etc/apache2/mods-available/mpm_stm.load",
                           "./etc/apache2/mods-available/mpm_stm.conf",
                           "./usr/lib/tmpfiles.d/libapache2-mpm-stm.conf",
                           "./usr/share/doc/libapache2-mpm-stm/README.md",
                           "./usr/share/doc/libapache2-mpm-stm/docs/migrating.md",
                           "./usr/share/doc/libapache2-mpm-stm/docs/internals/stiol.md",
                           "./usr/share/man/man8/mod_mpm_stm.8.gz"},
    "libst2": {"libst.so.2"},
    "libst2-dev": {"./usr/include/st.h", "libst.a", "libst.so", "st.pc",
                   "./usr/share/man/man3/libst.3.gz"},
}


def test_packages(folder):
    """Three packages, their files, and their dependencies."""
    make(f"BUILD={folder.relative_to(TOP)}", "deb", "DEPS=no")
    for name, wanted in WANTED.items():
        (package,) = (folder / "deb").glob(f"{name}_*.deb")
        rows = run(["dpkg-deb", "-c", package]).stdout.splitlines()
        paths = {row.split()[5] for row in rows}
        names = paths | {path.rsplit("/", 1)[1] for path in paths}
        assert wanted <= names, name
        assert any(path.endswith("/copyright") for path in paths)

    def field(package, name):
        (path,) = (folder / "deb").glob(f"{package}_*.deb")
        return run(["dpkg-deb", "-f", path, name]).stdout.strip()

    assert "apache2-api-2012" in field("libapache2-mpm-stm", "Depends")
    headers = Path(run(["apxs", "-q", "INCLUDEDIR"]).stdout.strip())
    (patch,) = re.findall(r"^#define AP_SERVER_PATCHLEVEL_NUMBER +(\d+)",
                          (headers / "ap_release.h").read_text(), re.M)
    assert f"apache2-bin (>= 2.4.{patch})" in field("libapache2-mpm-stm", "Depends")
    assert "apache2," not in field("libapache2-mpm-stm", "Depends").replace(" ", "")
    script = run(["dpkg-deb", "-I", *(folder / "deb").glob("libapache2-mpm-stm_*.deb"),
                  "postinst"]).stdout
    assert "apache2_invoke enmod mpm_stm" in script  # an upgrade restarts the server
    run(["sh", "-n", "-c", script])
    assert field("libst2-dev", "Conflicts") == "libst-dev"
    conffiles = run(["dpkg-deb", "-I", *(folder / "deb").glob("libapache2-mpm-stm_*.deb"),
                     "conffiles"]).stdout.split()
    assert sorted(conffiles) == ["/etc/apache2/mods-available/mpm_stm.conf",
                                 "/etc/apache2/mods-available/mpm_stm.load"]
