# SPDX-License-Identifier: Apache-2.0
"""mod_mapcache, whose handler computes for nearly every map. The MPM knows that, and runs it on
kernel threads from the start."""

import struct
import threading
import urllib.parse
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness import wait_for
from harness.scoreboard import scores

from .pair import needs

pytestmark = [needs("mapcache"), pytest.mark.stm_only]

CONFIG = """\
<mapcache>
  <cache name="disk" type="disk"><base>{root}/tiles</base></cache>
  <source name="maps" type="wms">
    <getmap><params><FORMAT>image/png</FORMAT><LAYERS>all</LAYERS></params></getmap>
    <http><url>http://127.0.0.1:{port}/</url></http>
  </source>
  <tileset name="world">
    <source>maps</source><cache>disk</cache><grid>WGS84</grid><format>PNG</format>
    <metatile>1 1</metatile>
  </tileset>
  <service type="wms" enabled="true">
    <full_wms>assemble</full_wms><format>PNG</format><resample_mode>bilinear</resample_mode>
    <maxsize>4096</maxsize>
  </service>
  <locker type="disk"><directory>{root}/tiles</directory><timeout>60</timeout></locker>
</mapcache>
"""
MAP = ("/maps/?SERVICE=WMS&VERSION=1.1.1&REQUEST=GetMap&LAYERS=world&SRS=EPSG:4326&STYLES="
       "&FORMAT=image/png&BBOX=-170,-80,170,80&WIDTH=1500&HEIGHT=700")
DIRECTIVES = """
    ScoreboardDir scoreboards
    MapCacheAlias /maps @ROOT@/mapcache.xml
    """


def png(width, height):
    """An image with many colours."""
    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = b"".join(b"\0" + bytes((x * y + c * 80) & 255 for x in range(width) for c in range(3))
                    for y in range(height))
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Maps(BaseHTTPRequestHandler):
    """The server from which mapcache fetches its images."""

    picture = {}

    def do_GET(self):  # pylint: disable=invalid-name
        """Answers every request with the image."""
        query = {name.upper(): value for name, value in
                 urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)}
        size = int(query["WIDTH"]), int(query["HEIGHT"])
        body = self.picture.setdefault(size, png(*size))
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        """Keeps requests out of the test's output."""


@pytest.fixture(name="maps")
def _maps():
    with ThreadingHTTPServer(("127.0.0.1", 0), Maps) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


def served(serve, maps, more=""):
    """A server of maps, started."""
    server = serve.make(modules=["mapcache"], processes=1, directives=DIRECTIVES + more)
    (server.root / "mapcache.xml").write_text(CONFIG.format(root=server.root, port=maps))
    (server.root / "tiles").mkdir()
    (server.root / "tiles").chmod(0o777)
    return server.start()


@pytest.mark.parametrize(("more", "kernel"), [
    ("", True), ("RunOn state mapcache\n", False), ("RunOn auto mapcache\n", False),
    ("<Location /maps>\nRunOn state\n</Location>\n", False), ("KernelThreads 0\n", False)])
def test_maps_are_made_on_kernel_threads(serve, maps, more, kernel):
    server = served(serve, maps, more)
    got = server.get(MAP)
    assert got.status == 200 and got.body.startswith(b"\x89PNG")
    assert server.get("/index.html").status == 200
    wait_for(lambda: scores(server)["all"]["requests"] >= 2, "the requests to be counted")
    assert scores(server)["all"]["kernel_requests"] == (1 if kernel else 0)
