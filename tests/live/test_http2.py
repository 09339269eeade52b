# SPDX-License-Identifier: Apache-2.0
"""mod_http2 with nghttp and h2load, in the clear and over TLS."""

import re
import subprocess

import pytest

BIG = b"0123456789abcdef" * 256 * 1024  # 4 MB


@pytest.fixture(scope="module")
def server(serve_module):
    modules = ("http2", "dav", "dav_fs", "dav_lock")
    made = serve_module.make(tls=True, modules=modules, directives="""
        Protocols h2 h2c http/1.1
        DavLockDB @ROOT@/dav/lock
        Alias /dav @ROOT@/dav/files
        <Location /dav>
            Dav On
        </Location>
        """)
    made.private_folder("dav")
    made.private_folder("dav/files")
    made.page("small.txt", "x" * 44 + "\n")
    made.page("big.bin", BIG)
    return made.start()


@pytest.fixture(params=["http", "https"])
def base(request, server):
    """The server's URL in the clear and with TLS."""
    port = server.port if request.param == "http" else server.tls_port
    return f"{request.param}://127.0.0.1:{port}"


def run(*command, **more):
    """Output of a client that must succeed."""
    got = subprocess.run(list(map(str, command)), capture_output=True, timeout=60, check=False,
                         **more)
    assert got.returncode == 0, got.stderr.decode(errors="replace")
    return got.stdout


def h2load(*arguments):
    """h2load's counts: (succeeded, failed, errored, status 2xx)."""
    text = run("h2load", *arguments).decode()
    done = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    codes = re.search(r"status codes: (\d+) 2xx", text)
    return (*(int(number) for number in done.groups()), int(codes.group(1)))


def test_page(base):
    assert run("nghttp", f"{base}/small.txt") == b"x" * 44 + b"\n"


def test_large_download(base):
    assert run("nghttp", f"{base}/big.bin") == BIG


def test_upload(base, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(BIG[:500_000])
    run("nghttp", "-H", ":method: PUT", "-d", body, f"{base}/dav/kept")
    assert run("nghttp", f"{base}/dav/kept") == BIG[:500_000]


def test_several_streams_of_one_connection(base):
    text = run("nghttp", "-v", *[f"{base}/small.txt?{n}" for n in range(8)]).decode()
    assert text.count(":status: 200") == 8


def test_upgrade_from_http_1_1(server):
    url = f"http://127.0.0.1:{server.port}/small.txt"
    assert run("nghttp", "-u", url) == b"x" * 44 + b"\n"


def test_many_streams(base):
    assert h2load("-n", 3000, "-c", 16, "-m", 10, f"{base}/small.txt") == (3000, 0, 0, 3000)


def test_many_large_streams(base):
    assert h2load("-n", 60, "-c", 6, "-m", 5, f"{base}/big.bin") == (60, 0, 0, 60)


def test_beside_http_1_1(server):
    """A connection that carries large streams, while HTTP/1.1 requests are answered."""
    load = subprocess.Popen(["h2load", "-n", "60", "-c", "4", "-m", "5",
                             f"http://127.0.0.1:{server.port}/big.bin"], stdout=subprocess.PIPE)
    with server.connect() as conn:
        while load.poll() is None:
            assert conn.get("/small.txt").status == 200
    assert b"60 succeeded" in load.stdout.read()
    load.stdout.close()
