# SPDX-License-Identifier: Apache-2.0
"""scripts/form.py: what it objects to, what it leaves alone, and what --fix does; and git's
pre-commit hook."""

import shutil
import sys

import pytest
from .checkout import TOP, run

FORM = TOP / "scripts/form.py"
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"

# One way to write it, and what --fix makes of it (the same: it has to be done by hand).
BAD = [
    ("null", "if (a == NULL)", "if (!a)"),
    ("null", "if (a->b[1] != NULL && *c == NULL)", "if (a->b[1] && !*c)"),
    ("null", "while ((p = next(p)) != NULL)", "while ((p = next(p)))"),
    ("null", "return f(x, y) != NULL ? 1 : 0;", "return f(x, y) ? 1 : 0;"),
    ("null", "int known = a.b != NULL;", "int known = !!a.b;"),
    ("null", "if ((a == NULL) != (b != NULL))", "if ((!a) != (!!b))"),
    ("null", "if (NULL == a)", None),
    ("sizeof", "memset(p, 0, sizeof *p);", "memset(p, 0, sizeof(*p));"),
    ("sizeof", "n = sizeof list / sizeof list[0];", "n = sizeof(list) / sizeof(list[0]);"),
    ("sizeof", "n = sizeof (int);", "n = sizeof(int);"),
    ("extern", "extern int f(void);", "int f(void);"),
    ("extern", "extern void *g(int a,\n                int b);",
     "void *g(int a,\n                int b);"),
    ("enum", "#define SIZE 512", "enum { SIZE = 512 };"),
    ("enum", "#define SIZE (64 * 1024) /* bytes */", "enum { SIZE = 64 * 1024 }; /* bytes */"),
    ("enum", "#define A 1\n/* why */\n#define B 2",
     "enum {\n    A = 1,\n    /* why */\n    B = 2,\n};"),
    ("banner", "/* --- locks " + "-" * 60 + " */", "/* --- locks --- */"),
    ("banner", "/* " + "-" * 96 + "\n * Stacks: large ones\n * " + "-" * 94 + " */",
     "/* --- Stacks: large ones --- */"),
    ("banner", "/* --- mutexes: of all kinds. Nobody\n * yields --- */",
     "/* --- mutexes --- */\n\n/* Of all kinds. Nobody yields */"),
    ("comment", "/* It was reflowed.\n */", "/* It was reflowed. */"),
]
GOOD = [
    "if (!a && b)", '/* a == NULL */ say("b == NULL");', "x = NULL;", "f(NULL);",
    "sizeof(x)", "extern int count;", 'extern "C" {\nint f(void);\n}',
    "extern const char page[] __attribute__((visibility(\"hidden\")));",
    "extern void (*hook)(void);", 'extern "C" {',
    "extern __typeof__(f) g;", "#define SIZE 512\n#if SIZE > 100", "#define MOST 4294967295",
    "#define NAME \"x\"", "#define TWICE(x) ((x) * 2)", "#define LENGTH sizeof(int)",
    "/* --- name --- */", "/*\n * A file's first comment.\n */", "/**\n * Documentation.\n */",
    "/* one line,\n * and another */"]


def form(tmp_path, text, *options):
    """form.py's output for a file with that text, and the file's contents afterwards."""
    path = tmp_path / "x.c"
    path.write_text(SPDX + text + "\n")
    done = run([sys.executable, FORM, *options, path])
    assert done.returncode == (done.stdout != ""), done.stderr
    return done.stdout, path.read_text().removeprefix(SPDX).removesuffix("\n")


@pytest.mark.parametrize("name, text, _", BAD)
def test_it_objects(tmp_path, name, text, _):
    said, _ = form(tmp_path, text)
    assert f": {name}: " in said, said


@pytest.mark.parametrize("text", GOOD)
def test_it_leaves_alone(tmp_path, text):
    assert form(tmp_path, text) == ("", text)
    assert form(tmp_path, text, "--fix") == ("", text)


@pytest.mark.parametrize("name, text, better", BAD)
def test_fix(tmp_path, name, text, better):
    said, after = form(tmp_path, text, "--fix")
    if better is None:
        assert f": {name}: " in said and after == text
    else:
        assert (said, after) == ("", better)


@pytest.fixture(name="clone")
def _clone(tmp_path):
    """A repository of its own with the scripts, and the hook in place."""
    for name in ("scripts", "dev"):
        shutil.copytree(TOP / name, tmp_path / name)
    for name in (".clang-format", "Makefile", "LICENSE"):
        shutil.copy(TOP / name, tmp_path / name)

    def git(*arguments):
        return run(["git", "-c", "user.name=x", "-c", "user.email=x@y.invalid", *arguments],
                   cwd=tmp_path)
    git("init", "-q")
    git("add", "-A")
    assert git("commit", "-qm", "All").returncode == 0
    shown = run(["make", "-n", "--no-print-directory", "hooks"], cwd=TOP).stdout
    install = shown.strip().splitlines()[-1]
    assert run(install.split(), cwd=tmp_path).returncode == 0
    git.top = tmp_path
    return git


@pytest.mark.skipif(not all(map(shutil.which, ("clang-format", "shellcheck"))),
                    reason="no clang-format, no shellcheck")
def test_pre_commit(clone):
    """What is staged counts, not what is in the work tree; bad form is not committed."""
    path = clone.top / "a.c"
    good = SPDX + "int f(void)\n{\n    return 0;\n}\n"
    path.write_text(good)
    clone("add", "a.c")
    path.write_text("not staged, not looked at")
    done = clone("commit", "-m", "Add a")
    assert done.returncode == 0, done.stdout + done.stderr
    for bad, word in ((good.replace(SPDX, ""), "SPDX"),
                      (good.replace("    ", "  "), "clang-format"),
                      (good.replace("0;", "sizeof (int);"), "form"),
                      (good + "/* " + "x" * 100 + " */\n", "columns"),
                      (good.replace("0;\n", "0; \n"), "blanks")):
        path.write_text(bad)
        clone("add", "a.c")
        done = clone("commit", "-m", "Spoil a")
        said = done.stdout + done.stderr
        assert done.returncode != 0 and f"{word:<14} FAILED" in said, said
        assert "a.c" in said, said
    path.write_text(good)
    clone("add", "a.c")
    (clone.top / "b.sh").write_text("#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\ncd $1\n")
    clone("add", "b.sh")
    done = clone("commit", "-m", "Add b")
    assert done.returncode != 0 and "SC2086" in done.stdout + done.stderr
