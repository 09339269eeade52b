# SPDX-License-Identifier: Apache-2.0
"""Errors that appear only at a start: a restart that would run into one does not take place.

Event ends at each of them. `httpd -t` sees none.
"""

import re
import signal
import socket
import subprocess

import pytest
from harness import net, procs, wait_for

SSL = """
    Listen 127.0.0.1:@PORT2@
    <VirtualHost *:@PORT2@>
    SSLEngine on
    SSLCertificateFile {certificate}
    SSLCertificateKeyFile {key}
    </VirtualHost>
    """


def make_key(path, *options):
    """Another private key, in a file."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", path, *options], check=True,
                   capture_output=True)
    return path


def foreign_key(server):
    """A key that does not match its certificate."""
    return SSL.format(certificate=net.certificate(), key=make_key(server.root / "key.pem"))


def spoiled_certificate(server):
    """A certificate that cannot be read."""
    path = server.root / "spoiled.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return SSL.format(certificate=path, key=net.certificate())


def port_in_use(server):
    """A port that another process uses."""
    return f"Listen 127.0.0.1:{server.others.getsockname()[1]}\n"


def bad_mutex(server):
    """A lock file that cannot be created."""
    return ("Mutex file:/proc ssl-cache\nSSLSessionCache shmcb:sessions(512000)\n" +
            SSL.format(certificate=net.certificate(), key=net.certificate()))


CASES = {
    "key": (foreign_key, r"AH02565|AH02238|mismatch|AH02572"),
    "certificate": (spoiled_certificate, r"spoiled.pem"),
    "port": (port_in_use, r"Address already in use: AH00072"),
    # A missing directory would be noticed by -t.
    "log": (lambda server: "CustomLog htdocs common\n", r"htdocs"),
    "error log": (lambda server: "<VirtualHost *:1>\nErrorLog htdocs\n</VirtualHost>\n",
                  r"htdocs"),
    "log program": (lambda server: 'CustomLog "|/missing/program" common\n', r"/missing/program"),
    "mutex": (bad_mutex, r"AH02023|AH02024|ssl-cache"),
}
NAMES = pytest.mark.parametrize("name", CASES)


@pytest.fixture(name="server")
def _server(serve, request):
    """A server to break."""
    with socket.socket() as others:
        others.bind(("127.0.0.1", 0))
        others.listen()
        server = serve(mpm=getattr(request, "param", "stm"), processes=2, ports=2, listen=False,
                       modules=("ssl", "socache_shmcb"), directives="Listen 127.0.0.1:@PORT@\n")
        server.others = others
        yield server


def break_it(server, name):
    """Writes the configuration with the error. Returns the previous text, and the error's words."""
    make, words = CASES[name]
    good = server.conf.read_text()
    server.configure("Listen 127.0.0.1:@PORT@\n" + make(server))
    assert server.control("-t").returncode == 0
    return good, words


@pytest.mark.stm_only
@NAMES
def test_the_server_goes_on(server, name):
    children = server.children()
    server.allowed.append("would not start|AH00091")
    good, words = break_it(server, name)
    with server.connect() as conn:
        assert conn.get("/").status == 200
        for number in (signal.SIGUSR1, signal.SIGHUP):
            before = len(server.error_log())
            server.signal(number)
            wait_for(lambda b=before: "the server keeps running" in server.error_log()[b:],
                     "the refusal")
            line = next(each for each in server.error_log()[before:].splitlines()
                        if "the server keeps running" in each)
            assert "would not start with the new configuration" in line
            # If a virtual host's error log cannot be opened, httpd says so in the server's.
            assert re.search(words, server.error_log()[before:])
            assert re.search(words, line) or name == "error log"
            assert "Syntax OK" not in line
        assert conn.get("/").status == 200
    assert server.children() == children
    server.conf.write_text(good)
    server.restart()
    wait_for(lambda: not set(children) & set(server.children()), "the new generation")


@NAMES
@pytest.mark.parametrize("server", ["event"], indirect=True)
def test_event_ends(server, name):
    break_it(server, name)
    server.allowed.append(":(emerg|alert|crit)]")
    server.signal(signal.SIGUSR1)
    wait_for(lambda: not server.running() or procs.stat(server.master).state == "Z",
             "the end of event")
    server.wait_gone(check=False)


@pytest.mark.stm_only
def test_the_rehearsal_leaves_nothing_behind(serve):
    """A test leaves no process, no lines in the log and no new file; live sockets stay as they
    are."""
    server = serve(processes=2, ports=2, listen=False, modules=("ssl", "rewrite", "cgid"),
                   directives=f"""
        Listen 127.0.0.1:@PORT@
        LogLevel info
        CustomLog "|/bin/cat" common
        {SSL.format(certificate=net.certificate(), key=net.certificate())}
        """)
    server.allowed.append("would not start")
    before = server.running()
    broken = server.conf.read_text() + "CustomLog htdocs common\n"
    good = server.conf.read_text()
    log = server.error_log()
    server.conf.write_text(broken)
    for _ in range(3):
        count = server.error_log().count("the server keeps running")
        server.signal(signal.SIGUSR1)
        wait_for(lambda c=count: server.error_log().count("the server keeps running") > c,
                 "the refusal")
    new = server.error_log()[len(log):].splitlines()
    assert [line for line in new if "the server keeps running" not in line] == []
    wait_for(lambda: server.running() == before, "the end of all that the tests have started")
    server.conf.write_text(good)
    assert server.get("/").status == 200


@pytest.mark.stm_only
def test_addresses_that_change(serve):
    """The server's own ports do not count as in use; a new port, or one fewer, is fine."""
    server = serve(processes=2, ports=3)
    ports = server.ports
    for now in (ports[:1], ports, ports[1:], ports[::-1]):
        server.ports = now
        server.configure()
        server.restart()
        for port in now:
            with server.connect(port=port) as conn:
                assert conn.get("/").status == 200


@pytest.mark.stm_only
def test_syntax_only(server):
    """ConfigTest Syntax: such an error ends the server, as under event."""
    assert "ConfigTest Full" in server.control("-t", "-D", "DUMP_STM").stdout
    server.configure("Listen 127.0.0.1:@PORT@\nConfigTest Syntax\n"
                     "CustomLog htdocs common\n")
    assert "ConfigTest Syntax" in server.control("-t", "-D", "DUMP_STM").stdout
    server.signal(signal.SIGUSR1)
    server.wait_gone(check=False)
    assert "would not start" not in server.error_log()


@pytest.mark.stm_only
def test_a_pass_phrase_cannot_be_tried(serve):
    """A key whose pass phrase was typed at the start: the restart takes place, with a warning."""
    server = serve.make(processes=1, ports=2, listen=False, modules=("ssl",))
    key = make_key(server.root / "key.pem", "-aes128", "-pass", "pass:secret")
    subprocess.run(["openssl", "req", "-x509", "-key", key, "-passin", "pass:secret", "-subj",
                    "/CN=localhost", "-out", server.root / "cert.pem"], check=True,
                   capture_output=True)
    program = server.root / "phrase"
    program.write_text("#!/bin/sh\ntest -z \"$STM_CONFIG_TEST\" && echo secret\n")
    program.chmod(0o755)
    site = "Listen 127.0.0.1:@PORT@\n" + SSL.format(certificate=server.root / "cert.pem", key=key)
    server.configure(f"SSLPassPhraseDialog exec:{program}\n" + site)
    server.start()
    server.configure(site)  # would ask at the terminal, but there is none
    server.restart()
    server.wait_log("could not be tried: it takes a pass phrase")
    assert server.get("/").status == 200
