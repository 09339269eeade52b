# SPDX-License-Identifier: Apache-2.0
"""Configurations and commands that the pages show: httpd takes them, and the commands are there."""

import re
import shutil

import pytest

from .blocks import blocks
from .checkout import BUILD, MODULE, TOP, run

HTTPD = shutil.which("apache2", path="/usr/sbin") or shutil.which("httpd", path="/usr/sbin")
pytestmark = pytest.mark.skipif(not MODULE.exists() or not HTTPD, reason="not built")
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("docs/bench/*.md")])
BLOCKS = [block for page in PAGES
          for block in blocks(str(page.relative_to(TOP)), page.read_text())]
FOLDER = "/usr/lib/apache2/modules"
# In an order in which they can be loaded.
MODULES = """authz_core authz_host authn_core authn_file authz_user auth_basic dir mime alias env
    setenvif headers rewrite status reqtimeout proxy proxy_http proxy_fcgi socache_shmcb ssl http2
    lua cgid deflate include remoteip heartbeat slotmem_shm proxy_balancer proxy_hcheck
    lbmethod_heartbeat""".split()


@pytest.fixture(name="known", scope="module")
def _known(tmp_path_factory):
    """The names of all directives."""
    folder = tmp_path_factory.mktemp("known")
    done = run([HTTPD, "-f", write(folder, ""), "-L"])
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^<?(\w+)>? \(\w+\.c\)", done.stdout, re.M))


def write(folder, text):
    """A configuration with this in it; its path."""
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run/scoreboards").mkdir(exist_ok=True)
    loads = "\n".join(f"LoadModule {name}_module {FOLDER}/mod_{name}.so" for name in MODULES)
    text = text.replace("/run/apache2", str(folder / "run"))
    listen = "" if re.search(r"^\s*(Listen|VPListen)\b", text, re.M) else "Listen 127.0.0.1:9"
    path = folder / "httpd.conf"
    path.write_text(f"ServerRoot {folder}\nDefaultRuntimeDir {folder}/run\nServerName localhost\n"
                    "User www-data\nGroup www-data\n"
                    f"LoadModule mpm_stm_module {MODULE.resolve()}\n{loads}\n"
                    f"ErrorLog {folder}/run/error.log\n{listen}\n{text}\n")
    return path


def is_configuration(block, known):
    """One line of it would do: what is only half a configuration is an error to be found."""
    if block.kind not in ("", "apache", "apacheconf") or block.text.startswith("$ "):
        return False
    words = [re.match(r"<?(\w*)(?=[\s>]|$)", line) for line in block.lines()]
    return any(word and word[1] in known for word in words)


def test_httpd_takes_them(known, tmp_path):
    """Each block that is a configuration, alone in a server that has the modules."""
    refused = []
    for block in filter(lambda block: is_configuration(block, known), BLOCKS):
        done = run([HTTPD, "-t", "-f", write(tmp_path, block.text)])
        if done.returncode or "Syntax OK" not in done.stderr:
            refused.append(f"{block}: {done.stderr}\n{block.text}")
    assert not refused, "\n".join(refused)


def test_there_are_examples(known):
    """The pages for administrators have some, and what is not one is not taken for one."""
    pages = {block.page for block in BLOCKS if is_configuration(block, known)}
    assert {"docs/stmstat.md", "docs/directives.md", "docs/monitoring.md",
            "docs/tuning.md"} <= pages


def test_a_broken_one_is_found(tmp_path):
    """A comment after a value is none."""
    done = run([HTTPD, "-t", "-f", write(tmp_path, "ScoreboardDir run/scoreboards  # comment")])
    assert done.returncode != 0


# --- commands ------------------------------------------------------------------------------------

def commands():
    """(block, words) of each command of the blocks: what stands before a comment, each part of a
    list or pipe for itself."""
    for block in BLOCKS:
        if block.kind not in ("", "sh", "shell", "console"):
            continue
        for line in block.lines():
            line = re.sub(r"(^|\s)#.*", "", line).removeprefix("$ ")
            for part in re.split(r"&&|\|\||\||;", line):
                words = [word for word in part.split() if not re.match(r"[A-Z_]+=", word)]
                if words:
                    yield block, words


def targets():
    """All of make's."""
    text = "\n".join(path.read_text() for path in (
        TOP / "Makefile", *TOP.glob("*/*.mk"), *TOP.glob("*/*/*.mk")))
    return set(re.findall(r"^([a-z][a-z0-9-]*):", text, re.M)) | set(
        word for line in re.findall(r"^\.PHONY: (.*)", text, re.M) for word in line.split())


def test_targets_are_there():
    """`make X`: X is there."""
    known, seen = targets(), 0
    for block, words in commands():
        if words[0] == "make":
            for word in words[1:]:
                if re.fullmatch(r"[a-z][a-z0-9-]+", word):
                    seen += 1
                    assert word in known, f"{block}: make {word}"
    assert seen > 5


def test_stmstats_options_are_there():
    """`stmstat -x`."""
    usage = run([BUILD / "stmstat/stmstat", "--help"]).stdout
    known = set(re.findall(r"(?<![\w-])--?[\w-]+", usage))
    for block, words in commands():
        if words[0].rsplit("/", 1)[-1] == "stmstat":
            for word in words[1:]:
                if word.startswith("-"):
                    assert word in known, f"{block}: stmstat {word}"


def test_own_programs_are_there():
    """Paths into the checkout, and Python modules."""
    for block, words in commands():
        if re.match(r"(scripts|lab|bench|dev|tests)/", words[0]):
            assert (TOP / words[0]).exists(), f"{block}: {words[0]}"
        if words[:2] == ["python3", "-m"]:
            module = TOP / words[2].replace(".", "/")
            assert module.with_suffix(".py").exists() or module.is_dir(), f"{block}: {words[2]}"


def test_administrators_commands_are_tested():
    """What switches the MPM is what tests/package/package.sh does, word by word; nothing restarts a
    server to change its MPM."""
    switch = re.compile(r"a2dismod mpm_(\w+) && a2enmod mpm_(\w+)")
    pages = [*PAGES, TOP / "debian/libapache2-mpm-stm.README.Debian",
             TOP / "docs/man/mod_mpm_stm.8"]
    seen = 0
    for page in pages:
        text = page.read_text().replace("\\-", "-").replace("\n.br", "")
        lines = text.splitlines()
        for here, below in zip(lines, [*lines[1:], ""]):
            if switch.search(here):
                seen += 1
                assert "restart" not in here, f"{page}: {here}"
                assert re.search(r"stop apache2 && systemctl start apache2", here + below), page
    assert seen >= 5
