# SPDX-License-Identifier: Apache-2.0
"""TLS: handshakes that stop halfway, hostile clients, stapling from a slow responder, sessions."""

import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from harness import net, procs, wait_for
from harness.client import Conn, request

from .backends import Valve
from .inflight import MUTEXES, in_threads, mutex_name, quick

CACHE = "SSLSessionCache shmcb:@ROOT@/run/sessions(512000)\n"


class HalfWay:
    """A client's handshake, whose first flight is sent in two halves."""

    def __init__(self, port):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = net.tls_context().wrap_bio(self.incoming, self.outgoing,
                                              server_hostname="localhost")
        self.sock = socket.create_connection(("127.0.0.1", port), 60)
        self._turn()
        hello = self.outgoing.read()
        self.sock.sendall(hello[:len(hello) // 2])
        self._rest = hello[len(hello) // 2:]

    def _turn(self):
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def _feed(self):
        data = self.sock.recv(65536)
        assert data, "the server closed the connection"
        self.incoming.write(data)

    def finish(self):
        """Sends the other half, completes the handshake, and sends a request."""
        self.sock.sendall(self._rest)
        while not self._turn():
            self._feed()
        self.tls.write(request("/"))
        self.sock.sendall(self.outgoing.read())
        got = b""
        while b"</html>" not in got:
            try:
                got += self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._feed()
        self.sock.close()
        return got


def quick_tls(server, count=3):
    """Sends requests, each on a TLS connection of its own."""
    for _ in range(count):
        with server.connect_tls() as conn:
            assert "It works!" in conn.get("/").text


def test_100_handshakes_that_stop_half_way(serve):
    server = serve(processes=1, threads=200, tls=True, modules=("socache_shmcb",),
                   directives=CACHE)
    halves = [HalfWay(server.tls_port) for _ in range(100)]
    quick(server)
    quick_tls(server)
    for half in halves:
        assert b"HTTP/1.1 200" in half.finish()


# --- sessions ------------------------------------------------------------------------------------

@pytest.mark.parametrize("mutex", MUTEXES, ids=mutex_name)
def test_session_cache_under_concurrency(serve, mutex):
    """Clients that store and resume sessions in shmcb, all at once; two VPs share the cache."""
    server = serve.make(processes=2, tls=True, modules=("socache_shmcb",), directives=f"""
        {CACHE}
        Mutex {mutex} ssl-cache
        SSLSessionTickets off
        SSLProtocol TLSv1.2
        """)
    server.private_folder("locks")
    server.start()
    resumed = []

    def client(_):
        context = net.tls_context(ssl.TLSVersion.TLSv1_2)
        session = None
        for _ in range(10):
            raw = socket.create_connection(("127.0.0.1", server.tls_port), 60)
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as tls:
                if session:
                    resumed.append(tls.session_reused)
                session = tls.session
                tls.sendall(request("/"))
                assert tls.recv(65536).startswith(b"HTTP/1.1 200")
    in_threads(20, client)
    assert len(resumed) == 180 and all(resumed)


# --- hostile clients -----------------------------------------------------------------------------

GARBAGE = [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", os.urandom(64),
           b"\x15\x03\x01\x00\x02\x02\x28", b"\x17\x03\x03\x00\x10" + bytes(16)]


def offend(port, stop, done):
    """Causes TLS errors of all kinds until told to stop."""
    expired = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, so it ends with an alert
    while not stop.is_set():
        for number in range(8):
            try:
                with socket.create_connection(("127.0.0.1", port), 60) as raw:
                    if number < len(GARBAGE):
                        raw.sendall(GARBAGE[number])
                        raw.recv(100)
                    elif number == 5:
                        expired.wrap_socket(raw, server_hostname="localhost")
                    else:  # a complete handshake, then something that is not a TLS record
                        tls = net.tls_context().wrap_socket(raw, server_hostname="localhost")
                        fd = tls.detach()
                        with socket.socket(fileno=fd) as bare:
                            bare.sendall(GARBAGE[number - 6] * 3)
                            bare.recv(100)
            except OSError:
                pass
            done.append(number)


def test_others_errors_are_not_mine(serve):
    """Each state thread has its own OpenSSL error queue: no request fails because of another's
    error."""
    count = int(os.environ.get("STM_TEST_TLS_REQUESTS", 1200))
    server = serve(processes=1, threads=100, tls=True, modules=("socache_shmcb",),
                   directives=CACHE)
    stop, offences = threading.Event(), []
    offenders = [threading.Thread(target=offend, args=(server.tls_port, stop, offences))
                 for _ in range(3)]
    for thread in offenders:
        thread.start()
    try:
        def client(number):
            with server.connect_tls() as conn:
                for turn in range(count // 10):
                    assert "It works!" in conn.get(f"/?{number}.{turn}").text
            for _ in range(20):
                quick_tls(server, 1)
        in_threads(10, client)
    finally:
        stop.set()
        for thread in offenders:
            thread.join()
    assert len(offences) > 100
    good = [line for line in server.access_log() if ' 200 ' in line and "GET /" in line]
    assert len(good) >= count // 10 * 10 + 200


# --- leaks ---------------------------------------------------------------------------------------

def test_tls_connections_leave_nothing(serve):
    """After that many more connections, the VP's memory is what it was, give or take some noise."""
    count = int(os.environ.get("STM_TEST_TLS_CONNECTIONS", 1000))
    server = serve(processes=1, tls=True, modules=("socache_shmcb",), directives=CACHE)
    vp = server.children()[0]

    def load(connections):
        def client(_):
            context = net.tls_context()
            for _ in range(connections // 8):
                with Conn(server.tls_port, tls=context) as conn:
                    assert conn.get("/").status == 200
        in_threads(8, client)
        wait_for(lambda: len(procs.fds(vp)) < 40, "the end of the connections")
        return anonymous(vp)
    load(600)
    before = load(200)
    after = load(count)
    print(f"{count} TLS connections: {after - before} bytes more")
    # Noise: a few more state threads at once than before. OpenSSL's per-thread state, if it leaked
    # each time, would be a good 1 KB.
    assert after - before < count * 200 + 600_000, (before, after)


def anonymous(pid):
    """Anonymous memory of a process, bytes; shared pages count in full."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no RssAnon line for process {pid}")


# --- stapling ------------------------------------------------------------------------------------

def openssl(*arguments, cwd):
    """Runs the openssl program, which must succeed."""
    subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path, backend):
    """A CA, a certificate for localhost, its OCSP responder, and the valve in front of it."""
    port, = net.free_ports(1)
    valve = backend(Valve, port)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "30", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt", cwd=tmp_path)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=localhost", "-keyout", "own.key", "-out", "own.csr", cwd=tmp_path)
    (tmp_path / "extensions").write_text(
        f"authorityInfoAccess=OCSP;URI:http://127.0.0.1:{valve.port}/\n"
        "subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "own.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial",
            "0x1001", "-days", "30", "-extfile", "extensions", "-out", "own.crt", cwd=tmp_path)
    (tmp_path / "index").write_text("V\t491231235959Z\t\t1001\tunknown\t/CN=localhost\n")
    said = tmp_path / "responder.out"
    with said.open("wb") as output, subprocess.Popen(
            ["openssl", "ocsp", "-port", str(port), "-index", "index", "-CA", "ca.crt", "-rkey",
             "ca.key", "-rsigner", "ca.crt", "-ndays", "1"], cwd=tmp_path, stdout=output,
            stderr=output) as responder:
        try:  # no trial connection: the responder would wait for its request
            wait_for(lambda: b"waiting for" in said.read_bytes(), "the responder")
            yield tmp_path, valve
        finally:
            responder.terminate()


def test_stapling_from_a_slow_responder(serve, authority):
    """All wait for the one that asks the responder; it holds a mutex meanwhile."""
    folder, valve = authority
    (port,) = net.free_ports(1)
    server = serve(processes=1, modules=("ssl", "socache_shmcb"), directives=f"""
        {CACHE}
        Listen 127.0.0.1:{port}
        SSLStaplingCache shmcb:@ROOT@/run/stapling(65536)
        <VirtualHost *:{port}>
            SSLEngine on
            SSLCertificateFile {folder}/own.crt
            SSLCertificateKeyFile {folder}/own.key
            SSLCACertificateFile {folder}/ca.crt
            SSLUseStapling on
            SSLStaplingResponderTimeout 60
        </VirtualHost>
        """)
    clients = [subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-status", "-CAfile",
         folder / "ca.crt", "-servername", "localhost"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(20)]
    valve.gate.wait_held(1)
    quick(server)
    assert all(client.poll() is None for client in clients)
    valve.gate.open()
    for client in clients:
        said, _ = client.communicate(timeout=60)
        assert b"OCSP Response Status: successful" in said and b"Verify return code: 0" in said
