# SPDX-License-Identifier: Apache-2.0
"""Stacks: what recurses deeply under event does so here, and what overflows harms nobody else."""

import re

import pytest
from harness import Server, tool
from harness.client import Closed
from harness.config import MPM

# Each level is 8 KB of C: luaL_Buffer. Lua itself ends at 200.
LUA = """\
local function deep(s, n)
    if n == 0 then return s end
    return (s:gsub(".", function(c) return deep(c, n - 1) end))
end
function handle(r)
    r.content_type = "text/plain"
    r:puts("depth " .. r.args .. ": " .. deep("x", tonumber(r.args)))
    return apache2.OK
end
"""
LEVELS = 40  # of includes; each is a subrequest
NESTED = 180  # parentheses, beyond which PCRE2 refuses to compile (its limit is 250)


def recursing(serve, mpm):
    """A server whose modules recurse."""
    server = serve.make(mpm=mpm, processes=1, modules=("lua", "include", "rewrite"), directives=f"""
        LuaMapHandler /deep @ROOT@/deep.lua
        LimitInternalRecursion {LEVELS + 5}
        <Directory @ROOT@/htdocs>
            Options +Includes
            AddOutputFilter INCLUDES .shtml
        </Directory>
        RewriteEngine On
        RewriteRule "^/{'(' * NESTED}x+{')*' * NESTED}y$" "/index.html" [L]
        """)
    (server.root / "deep.lua").write_text(LUA)
    (server.root / "deep.lua").chmod(0o644)
    for level in range(LEVELS):
        server.page(f"{level}.shtml", f'{level} <!--#include virtual="/{level + 1}.shtml" -->')
    server.page(f"{LEVELS}.shtml", "the end")
    return server.start()


@pytest.mark.parametrize("mpm", sorted({"event", MPM}))
def test_deep_recursion(serve, mpm):
    """The same answers under event and here, one after the other and all at once."""
    server = recursing(serve, mpm)
    for depth in (1, 30, 100, 190):
        assert server.get(f"/deep?{depth}").text == f"depth {depth}: x"
    assert server.get("/0.shtml").text == " ".join(map(str, range(LEVELS))) + " the end"
    assert server.get(f"/{'x' * 2000}y").status == 200
    conns = [server.connect() for _ in range(8)]
    for conn in conns:
        conn.ask("/deep?190")
    assert {conn.response().text for conn in conns} == {"depth 190: x"}
    for conn in conns:
        conn.close()


def framed(serve, size):
    """One VP with stacks of this size and the module with the large frames."""
    server: Server = serve.make(
        processes=1, threads=32, modules=(tool("mod_frames.so"),),
        directives=f"StackSize {size}\n<Location /frames>\nSetHandler frames\n</Location>\n")
    return server.start()


@pytest.mark.stm_only
@pytest.mark.parametrize("kilobytes", [40, 112, 300, 900])
def test_no_frame_reaches_another_stack(serve, kilobytes):
    """It ends in the guard, by name, and nobody else's stack was changed by then."""
    server = framed(serve, 65536)
    server.allowed.append("AH00052|signal|StackSize")
    keepers = [server.connect() for _ in range(9)]
    for conn in keepers:
        conn.ask("/frames?keep=300")
    with server.connect() as conn:
        conn.ask(f"/frames?deep=30,{kilobytes}")
        with pytest.raises(Closed):
            conn.response()
    line = server.wait_log(r"a state thread of VP 0 .*stack.*")[0]
    assert "65536 bytes" in line and f"GET /frames?deep=30,{kilobytes}" in line
    for conn in keepers:
        try:
            assert conn.response().text == "changed: 0"
        except Closed:
            pass  # it was the same VP's
        conn.close()
    assert re.match("wrote", server.get("/frames?frame=10").text)


@pytest.mark.stm_only
def test_large_frames_fit(serve):
    """With the shipped size they are no matter, nor is what they leave behind."""
    server = framed(serve, 8388608)
    keepers = [server.connect() for _ in range(9)]
    for conn in keepers:
        conn.ask("/frames?keep=300")
    for path in ("/frames?frame=1000", "/frames?deep=7000,900"):
        assert re.match("wrote", server.get(path).text)
    assert [conn.response().text for conn in keepers] == ["changed: 0"] * 9
    for conn in keepers:
        conn.close()
