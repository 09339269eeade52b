# SPDX-License-Identifier: Apache-2.0
"""The control program's queries (-V, -l, -t, -M, -S), and configurations that cannot work."""

import re
import socket

import pytest

from harness import MPM, StartError, tool, wait_for


@pytest.fixture
def asked(serve):
    """Runs httpd with an argument on a plain configuration."""
    def ask(*arguments, **options):
        server = serve.make(**options)
        server.configure()
        return server.control(*arguments)
    return ask


def test_version_names_the_mpm(asked):
    run = asked("-V")
    assert run.returncode == 0, run.stderr
    assert re.search(rf"Server MPM: +{MPM}\n", run.stdout), run.stdout


def test_threaded_and_forked(asked):
    """-V says what kind of MPM it is; modules query the same."""
    text = asked("-V").stdout
    assert re.search(r"threaded: +yes", text) and re.search(r"forked: +yes", text), text


def test_compiled_in_modules(asked):
    run = asked("-l")
    assert (run.returncode, "core.c" in run.stdout) == (0, True)


def test_list_of_modules(asked):
    run = asked("-M")
    assert run.returncode == 0, run.stderr
    assert f"mpm_{MPM}_module (shared)" in run.stdout


def test_syntax_is_fine(asked):
    run = asked("-t")
    assert (run.returncode, "Syntax OK" in run.stderr) == (0, True), run.stderr


@pytest.mark.stm_only
def test_a_c_library_that_does_not_fit(serve):
    """httpd -t names the type that has another layout; the module does not misread it."""
    server = serve.make()
    server.configure()
    server.preload(tool("other_libc.so"), {})
    run = server.control("-t")
    assert run.returncode != 0 and "STM0111: STM does not know pthread_cond_t" in run.stderr


def test_virtual_hosts(asked):
    run = asked("-S", directives="<VirtualHost *:@PORT@>\nServerName there\n</VirtualHost>")
    assert (run.returncode, "there" in run.stdout) == (0, True), run.stderr


def test_directives_are_listed(asked):
    """-L lists each directive with its one-line help."""
    names = ("NumVPs StartThreads MinSpareThreads MaxSpareThreads MaxThreads StackSize"
             if MPM == "stm" else "ThreadsPerChild").split()
    text = asked("-L").stdout
    assert [name for name in names if not re.search(rf"^{name} ", text, re.M)] == []


@pytest.mark.stm_only
@pytest.mark.parametrize("name", ["NumVPs", "StartThreads", "MinSpareThreads", "MaxSpareThreads",
                                  "MaxThreads", "StackSize"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "10x", "99999999999999", "2147483648"])
def test_bad_value(asked, name, value):
    """The error names directive, value and range, and -t fails."""
    run = asked("-t", directives=f"{name} {value}")
    message = run.stderr
    assert run.returncode != 0, message
    assert name in message
    assert value in message
    assert re.search(r"from \S+ to \S+|between \S+ and \S+", message), message


@pytest.mark.stm_only
@pytest.mark.parametrize("line", ["NumVPs", "NumVPs 1 2", "MaxThreads", "StackSize 65536 1"])
def test_wrong_number_of_arguments(asked, line):
    run = asked("-t", directives=line)
    assert run.returncode != 0
    assert line.split()[0] in run.stderr


@pytest.mark.stm_only
@pytest.mark.parametrize("line", ["NumVPs 1", "MaxThreads 1", "StackSize 65536", "NumVPs 3"])
def test_good_value_serves(serve, line):
    """The last one wins, and the server works with it."""
    spare = "StartThreads 1\nMinSpareThreads 1\nMaxSpareThreads 1\n"
    server = serve(directives=spare + line)
    for _ in range(10):
        assert server.get("/").status == 200
    if line.startswith("NumVPs"):
        count = int(line.split()[1])
        wait_for(lambda: len(server.children()) == count, f"{count} VPs")


@pytest.mark.stm_only
@pytest.mark.parametrize("name", ["NumVPs", "MaxThreads", "StackSize"])
def test_not_in_a_virtual_host(asked, name):
    run = asked("-t", directives=f"<VirtualHost *:@PORT@>\n{name} 65536\n</VirtualHost>")
    assert run.returncode != 0
    assert name in run.stderr


def test_port_in_use(serve):
    """A start on a taken port fails, says so, and leaves the owner alone."""
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = owner.getsockname()[1]
        server = serve.make(listen=False, directives=f"Listen 127.0.0.1:{port}")
        server.configure()
        run = server.control("-k", "start")
    assert run.returncode != 0
    assert str(port) in run.stderr + server.error_log()
    assert server.running() == []


def test_no_listener(serve):
    server = serve.make(listen=False)
    with pytest.raises(StartError, match="no listening sockets"):
        server.start()
    assert server.running() == []


def test_several_listeners(serve):
    server = serve(ports=5)
    for port in server.ports:
        with server.connect(port=port) as conn:
            assert conn.get("/").status == 200


def test_ipv6_listener(serve):
    server = serve(listen=False, directives="Listen 127.0.0.1:@PORT@\nListen [::1]:@PORT@")
    with server.connect(host="::1") as conn:
        assert conn.get("/").status == 200
