# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.x as clients see it: methods, bodies, ranges, connections kept, pipelined and split."""

import pytest
from harness import wait_for
from harness.client import request

BIG = bytes(range(256)) * 4 * 1024 * 50  # 50 MB
SIZES = (0, 1, 8000, 8001, 32768, 32769)  # around the sizes at which files are handled differently


@pytest.fixture(scope="module")
def server(serve_module):
    made = serve_module.make(modules=("dav", "dav_fs", "dav_lock", "reflector"), directives="""
        DavLockDB @ROOT@/dav/lock
        Alias /dav @ROOT@/dav/files
        <Location /dav>
            Dav On
        </Location>
        <Location /echo>
            SetHandler reflector
        </Location>
        Alias /sendfile @ROOT@/htdocs
        <Location /sendfile>
            EnableSendfile On
        </Location>
        <Location /small>
            LimitRequestBody 1000
            SetHandler reflector
        </Location>
        """)
    made.private_folder("dav")
    made.private_folder("dav/files")
    made.page("small.txt", "x" * 44 + "\n")
    made.page("ten.txt", bytes(range(48, 58)))
    for number in range(10):
        made.page(f"page{number}.txt", f"page {number}\n" * 100)
    for size in SIZES:
        made.page(f"{size}.bin", BIG[:size])
    made.page("folder/index.html", "<p>folder</p>\n")
    made.page("big.bin", BIG)
    return made.start()


def test_index_page(server):
    got = server.get("/")
    assert (got.status, got.text) == (200, "<html><body><h1>It works!</h1></body></html>\n")
    assert got.headers["content-type"] == "text/html"


def test_static_file_with_its_headers(server):
    got = server.get("/small.txt")
    assert (got.status, got.headers["content-length"], got.body) == (200, "45", b"x" * 44 + b"\n")
    assert server.get("/small.txt", headers=[f"If-None-Match: {got.headers['etag']}"]).status == 304


@pytest.mark.parametrize("folder", ["", "/sendfile"])
@pytest.mark.parametrize("size", SIZES)
def test_file_of_any_size(server, size, folder):
    with server.connect() as conn:
        got = conn.get(f"{folder}/{size}.bin")
        assert (got.status, got.headers["content-length"]) == (200, str(size))
        assert got.body == BIG[:size]
        part = conn.get(f"{folder}/{size}.bin", headers=["Range: bytes=-100"])
        assert part.body == BIG[:size][-100:]


def test_missing_file(server):
    assert server.get("/missing").status == 404


def test_directory_redirects_to_its_index(server):
    got = server.get("/folder")
    assert (got.status, got.headers["location"]) == (301, "http://localhost/folder/")
    assert server.get("/folder/").text == "<p>folder</p>\n"


def test_malformed_request(server):
    with server.connect() as conn:
        conn.send(b"NONSENSE\r\n\r\n")
        got = conn.response()
        assert got.status == 400
        assert conn.ended()


def test_request_line_too_long(server):
    assert server.get("/" + "a" * 9000).status == 414


def test_header_too_large(server):
    assert server.get("/", headers=["X-Large: " + "a" * 9000]).status == 400


def test_http_1_0_closes(server):
    with server.connect() as conn:
        assert conn.get("/small.txt", version="HTTP/1.0").status == 200
        assert conn.ended()


def test_http_1_0_keep_alive(server):
    with server.connect() as conn:
        for _ in range(3):
            got = conn.get("/small.txt", version="HTTP/1.0", headers=["Connection: Keep-Alive"])
            assert (got.status, got.keeps) == (200, True)


def test_connection_close_is_obeyed(server):
    with server.connect() as conn:
        got = conn.get("/small.txt", headers=["Connection: close"])
        assert (got.status, got.keeps) == (200, False)
        assert conn.ended()


def test_keep_alive_many_requests(server):
    with server.connect() as conn:
        for number in range(300):
            got = conn.get(f"/page{number % 10}.txt")
            assert got.text == f"page {number % 10}\n" * 100


def test_keep_alive_after_errors(server):
    with server.connect() as conn:
        for _ in range(20):
            assert conn.get("/missing").status == 404
            assert conn.get("/small.txt").status == 200


def test_max_keep_alive_requests(serve):
    server = serve(directives="MaxKeepAliveRequests 5")
    with server.connect() as conn:
        kept = [conn.get("/").keeps for _ in range(6)]  # httpd does not count the first one
        assert kept == [True] * 5 + [False]
        assert conn.ended()


def test_pipelined_requests_are_answered_in_order(server):
    with server.connect() as conn:
        conn.send(b"".join(request(f"/page{n % 10}.txt") for n in range(200)))
        for number in range(200):
            assert conn.response().text == f"page {number % 10}\n" * 100


def test_pipelined_post_then_get(server):
    with server.connect() as conn:
        conn.send(request("/echo", "POST", body=b"first") + request("/small.txt")
                  + request("/echo", "POST", body=b"third"))
        assert conn.response().body == b"first"
        assert conn.response().body == b"x" * 44 + b"\n"
        assert conn.response().body == b"third"


def test_pipelined_tail_of_a_request_comes_later(server):
    """The second request's first half comes with the first request; the rest after its answer."""
    second = request("/page2.txt")
    with server.connect() as conn:
        conn.send(request("/page1.txt") + second[:20])
        assert conn.response().text.startswith("page 1")
        conn.send(second[20:])
        assert conn.response().text.startswith("page 2")


def test_request_in_single_bytes(server):
    with server.connect() as conn:
        conn.sock.setsockopt(6, 1, 1)  # TCP_NODELAY
        for _ in range(2):
            for byte in request("/echo", "POST", body=b"in single bytes"):
                conn.send(bytes([byte]))
            assert conn.response().body == b"in single bytes"


def test_head(server):
    with server.connect() as conn:
        got = conn.get("/small.txt", method="HEAD")
        assert (got.status, got.headers["content-length"], got.body) == (200, "45", b"")
        assert conn.get("/small.txt").status == 200  # no part of a body came in between


@pytest.mark.parametrize("asked, body", [
    ("0-0", b"0"), ("2-4", b"234"), ("-3", b"789"), ("7-", b"789"), ("0-99", b"0123456789")])
def test_range(server, asked, body):
    got = server.get("/ten.txt", headers=[f"Range: bytes={asked}"])
    assert (got.status, got.body) == (206, body)


def test_range_multiple(server):
    got = server.get("/ten.txt", headers=["Range: bytes=0-1,8-9"])
    assert got.status == 206
    assert got.headers["content-type"].startswith("multipart/byteranges")
    assert b"\r\n\r\n01\r\n" in got.body and b"\r\n\r\n89\r\n" in got.body


def test_range_not_satisfiable(server):
    assert server.get("/ten.txt", headers=["Range: bytes=10-"]).status == 416


def test_range_of_a_large_file(server):
    got = server.get("/big.bin", headers=["Range: bytes=30000000-40000000"])
    assert (got.status, got.body) == (206, BIG[30000000:40000001])


def test_large_download(server):
    assert server.get("/big.bin").body == BIG


@pytest.mark.parametrize("size", [1, 8191, 8192, 65536, 3_000_000])
def test_post_with_content_length(server, size):
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    with server.connect() as conn:
        conn.ask("/echo", method="POST", body=body[:0], headers=[f"Content-Length: {size}"])
        sent = received = 0
        echoed = b""
        while sent < size:  # the echo comes while we send: take turns
            conn.send(body[sent:sent + 32768])
            sent += 32768
        got = conn.response()
        echoed, received = got.body, len(got.body)
        assert (received, echoed == body) == (size, True)


def test_post_chunked(server):
    parts = [b"a" * 10, b"b" * 5000, b"c", b"d" * 100_000]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    with server.connect() as conn:
        for _ in range(2):
            conn.send(request("/echo", "POST", ["Transfer-Encoding: chunked"]) + coded)
            got = conn.response()
            assert (got.status, got.body) == (200, b"".join(parts))


def test_post_chunked_in_single_bytes(server):
    coded = b"3\r\nabc\r\n1\r\nd\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    with server.connect() as conn:
        conn.sock.setsockopt(6, 1, 1)  # TCP_NODELAY
        conn.send(request("/echo", "POST", ["Transfer-Encoding: chunked"]))
        for byte in coded:
            conn.send(bytes([byte]))
        assert conn.response().body == b"abcd0123456789"


def test_slow_posts_beside_quick_requests(server):
    """Many uploads in progress at once, each a little further after each quick request."""
    body = b"0123456789" * 8
    conns = [server.connect() for _ in range(30)]
    for conn in conns:
        conn.ask("/echo", method="POST", headers=[f"Content-Length: {len(body)}"])
    for start in range(0, len(body), 10):
        for conn in conns:
            conn.send(body[start:start + 10])
        assert server.get("/small.txt").status == 200
    for conn in conns:
        assert conn.response().body == body
        conn.close()


def test_put_and_get_back(server):
    body = b"to be kept\n" * 50_000
    with server.connect() as conn:
        assert conn.get("/dav/kept.txt", method="PUT", body=body).status == 201
        assert conn.get("/dav/kept.txt").body == body
        assert conn.get("/dav/kept.txt", method="DELETE").status == 204
        assert conn.get("/dav/kept.txt").status == 404


def test_expect_100_continue(server):
    with server.connect() as conn:
        conn.ask("/echo", method="POST", headers=["Expect: 100-continue", "Content-Length: 5"])
        assert conn.head().status == 100
        conn.send(b"hello")
        got = conn.response()
        assert (got.status, got.body) == (200, b"hello")
        assert conn.get("/small.txt").status == 200


def test_expect_unknown(server):
    assert server.get("/", headers=["Expect: the-unexpected"]).status == 417


def test_refused_body_still_gets_its_answer(server):
    """The server answers 413 while the client is still sending; no reset may destroy the answer."""
    with server.connect() as conn:
        conn.ask("/small", method="POST", headers=["Content-Length: 400000"])
        assert conn.head().status == 413
        for _ in range(40):
            conn.send(b"x" * 10_000)
        conn.half_close()
        conn.rest()


def test_slow_reader_of_50_mb_beside_quick_requests(server):
    """Small requests are answered during the download: none waits for its end."""
    with server.connect(rcvbuf=16384) as slow, server.connect() as quick:
        slow.ask("/big.bin?slowly")
        head = slow.head()
        got = [slow.exactly(100_000)]
        for number in range(100):
            assert quick.get(f"/page{number % 10}.txt").status == 200
            got.append(slow.exactly(10_000))
        assert not any("?slowly" in line for line in server.access_log())
        got.append(slow.exactly(int(head.headers["content-length"]) - 1_100_000))
        assert b"".join(got) == BIG
    wait_for(lambda: any("?slowly" in line for line in server.access_log()),
             "the slow download's line in the access log")


def test_many_slow_readers_beside_quick_requests(server):
    slow = [server.connect(rcvbuf=16384) for _ in range(50)]
    for conn in slow:
        conn.ask("/big.bin")
    for conn in slow:
        conn.head()
        assert server.get("/small.txt").status == 200
    for conn in slow:
        assert conn.exactly(200_000) == BIG[:200_000]
        conn.close()


def test_half_close_after_the_request(server):
    """A client that sends FIN after its request still gets the whole response, then FIN."""
    for path, body in (("/small.txt", b"x" * 44 + b"\n"), ("/big.bin", BIG)):
        with server.connect() as conn:
            conn.ask(path)
            conn.half_close()
            assert conn.response().body == body
            assert conn.ended()


def test_half_close_in_the_middle_of_a_body(server):
    with server.connect() as conn:
        conn.ask("/echo", method="POST", headers=["Content-Length: 100"])
        conn.send(b"only this")
        conn.half_close()
        conn.rest()  # an answer or none, but an immediate end
    assert server.get("/small.txt").status == 200


def test_half_close_of_an_idle_connection_is_seen_at_once(server):
    """At once: not after KeepAliveTimeout, which is 60 s here and would end this read in vain."""
    with server.connect() as conn:
        assert conn.get("/small.txt").status == 200
        conn.half_close()
        assert conn.ended()


def test_half_close_before_any_request(serve):
    server = serve(directives="AcceptFilter http none")
    with server.connect() as conn:
        conn.half_close()
        assert conn.ended()


def test_client_that_resets(server):
    """RST while idle, in a request, in a body, and in a download: no other client notices."""
    starts = [b"", b"GET / HT", request("/echo", "POST", ["Content-Length: 9"]) + b"abc",
              request("/big.bin")]
    for _ in range(10):
        for start in starts:
            conn = server.connect()
            conn.send(start)
            if b"big" in start:
                conn.head()
            conn.reset()
    assert server.get("/small.txt").status == 200
