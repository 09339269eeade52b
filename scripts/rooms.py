#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rooms.py [TOP]: checks that each part and room includes and uses only what is below it.

A part is a folder of the tree, a room one of mpm/. They are ordered: a file may include the
headers, and use the global functions and variables, of its own room and of those before it in
LAYERS. So rooms never form a cycle, and a change in one cannot affect those below it. Calls back up
go through a field or a callback that the upper room sets. Called by scripts/lint.sh."""

import re
import sys
from pathlib import Path

# From the lowest to the highest. The files directly in mpm/ form two rooms: what all rooms share,
# and the module record, which refers to everything.
ROOMS = ["shared", "config", "scoreboard", "conn", "accept", "diagnosis", "process", "pages"]
TOP_OF_MPM = "mpm/module.c"
LAYERS = ["st", "score", "stiol", "aprmem", "mpm", *(f"mpm/{room}" for room in ROOMS), TOP_OF_MPM]
# Layers that may use only some of what is below.
ONLY = {"score": {"score"}, "stmstat": {"score", "stmstat"}, "st": {"st"}}

FUNCTION = re.compile(r"^(?!static\b|typedef\b|extern\b)[A-Za-z_][^;{}()=\n]*?\b(\w+)\([^;{}]*\)\s*"
                      r"\n\{", re.M)
VARIABLE = re.compile(r"^(?!static\b|typedef\b|extern\b|return\b)[A-Za-z_][\w \*]*[ \*](\w+)"
                      r"(?:\[[^;=]*\])?(?: = [^;]*)?;", re.M)
OURS = re.compile(r"(st|stiol|aprmem|stm)_")
INCLUDE = re.compile(r'^#\s*include\s+"([^"]+)"', re.M)


def layer_of(path):
    """The layer of a file, by its path from the top: "mpm/conn" of "mpm/conn/conn.c"."""
    if path == TOP_OF_MPM:
        return TOP_OF_MPM
    folders = path.split("/")[:-1]
    return "/".join(folders[:2]) if folders[:1] == ["mpm"] else "/".join(folders[:1])


def may_use(user, used):
    """Whether files of one layer may use another's."""
    if user in ONLY:
        return used in ONLY[user]
    return LAYERS.index(used) <= LAYERS.index(user)


def code_of(text):
    """The text without comments and strings, except the names of included files."""
    text = re.sub(r"/\*.*?\*/", lambda found: "\n" * found.group().count("\n"), text, flags=re.S)
    return "\n".join(line if line.lstrip().startswith("#") else
                     re.sub(r'"(\\.|[^"\\])*"', '""', line) for line in text.split("\n"))


def sources(top):
    """{path from the top: code} of all C files and headers of the layers."""
    found = {}
    for folder in sorted({layer.split("/")[0] for layer in [*LAYERS, *ONLY]}):
        for path in sorted((top / folder).rglob("*.[ch]")):
            found[str(path.relative_to(top))] = code_of(path.read_text())
    return found


def defined(files):
    """{name: path of the file that defines it} of all global functions and variables."""
    return {name: path for path, code in files.items() if path.endswith(".c")
            for pattern in (FUNCTION, VARIABLE) for name in pattern.findall(code)
            if OURS.match(name)}


def unknown(files):
    """Folders of mpm/ that are missing from the order."""
    return [f"{path}: {layer_of(path)} has no place in the order of rooms ({Path(__file__).name})"
            for path in files if layer_of(path) not in {*LAYERS, *ONLY}]


def wrong_uses(files):
    """What files include or use from rooms that are not below their own, one line each."""
    homes = defined(files)
    for path, code in files.items():
        user = layer_of(path)
        for number, line in enumerate(code.split("\n"), 1):
            include = INCLUDE.match(line)
            if include:
                used = {include.group(1): include.group(1)} if include.group(1) in files else {}
            else:
                used = {word: homes[word] for word in re.findall(r"\b\w+\b", line) if word in homes}
            for name, home in used.items():
                if not may_use(user, layer_of(home)):
                    yield (f"{path}:{number}: {name} is {layer_of(home)}'s, "
                           f"which is not below {user}")


def main():
    top = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    files = sources(top)
    wrong = unknown(files) or list(wrong_uses(files))
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
