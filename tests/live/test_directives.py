# SPDX-License-Identifier: Apache-2.0
"""The directives beyond their single values: defaults, relations, aliases, other MPMs'
directives."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from harness import StartError, wait_for
from harness.stm import dump

pytestmark = pytest.mark.stm_only

EVENT = """
StartServers 2
ServerLimit 16
ThreadLimit 64
ThreadsPerChild 25
MinSpareThreads 25
MaxSpareThreads 75
MaxRequestWorkers 150
MaxConnectionsPerChild 0
AsyncRequestWorkerFactor 2
"""
WORKER = EVENT.replace("AsyncRequestWorkerFactor 2\n", "").replace(
    "MaxRequestWorkers", "MaxClients")
PREFORK = """
StartServers 5
MinSpareServers 5
MaxSpareServers 10
MaxRequestWorkers 150
MaxConnectionsPerChild 0
"""


@pytest.fixture
def bare(serve):
    """A server with none of the MPM's directives except `directives`."""
    def make(directives="", **options):
        return serve.make(sized=False, directives=directives, **options)
    return make


def test_defaults_are_the_guides(bare):
    got = dump(bare())
    values = {name: got[name][0] for name in (
        "NumVPs", "StartThreads", "MinSpareThreads", "MaxSpareThreads", "MaxThreads", "StackSize",
        "ThreadConnections", "VPConnections", "ConnectionStatus")}
    assert values == {"NumVPs": "4", "StartThreads": "5", "MinSpareThreads": "5",
                      "MaxSpareThreads": "10", "MaxThreads": "64", "StackSize": "65536",
                      "ThreadConnections": "0", "VPConnections": "0", "ConnectionStatus": "On"}


def test_a_server_with_the_defaults_serves(bare):
    server = bare().start()
    wait_for(lambda: len(server.children()) == 4, "four VPs")
    for _ in range(20):
        assert server.get("/").status == 200


def test_build_options_and_limits_are_dumped(bare):
    got = dump(bare())
    for name in ("STM_LISTENER_LIMIT", "STM_SCORE_KEY_SIZE", "STM_SCORE_LIMIT",
                 "STM_SCORE_VALUE_SIZE", "STM_ST_LIMIT", "STM_VP_LIMIT"):
        assert int(got[name][0]) >= 1
    for name in ("STIOL_DEBUG", "STM_DEBUG", "ST_SHUFFLE", "USE_ST_TIME"):
        assert got[name][0] in ("defined", "not defined")


def test_the_guides_example(serve):
    """Its configuration section, with this machine's addresses, CPUs and one directory."""
    cpus = sorted(os.sched_getaffinity(0))
    lines = ["NumVPs 4", "StartThreads 8", "MinSpareThreads 8", "MaxSpareThreads 32",
             "MaxThreads 64", "StackSize 65536", "ThreadConnections 0", "VPConnections 0",
             "ConnectionStatus on", "ScoreboardDir scoreboards"]
    for vp in range(4):
        port = "@PORT@" if vp == 0 else f"@PORT{vp + 1}@"
        lines += [f"VPBind {vp} {cpus[vp % len(cpus)]}", f"VPListen {vp} 127.0.0.1:{port}"]
    server = serve.make(sized=False, listen=False, ports=4, directives="\n".join(lines)).start()
    for port in server.ports:
        with server.connect(port=port) as conn:
            assert conn.get("/").status == 200
    assert not server.warnings()


def test_auto_is_one_vp_per_cpu(bare):
    assert dump(bare("NumVPs auto"))["NumVPs"] == [str(len(os.sched_getaffinity(0)))]


@pytest.mark.parametrize("name", ["ThreadConnections", "VPConnections"])
@pytest.mark.parametrize("value", ["-1", "2147483648", "few"])
def test_bad_counts(bare, name, value):
    server = bare(f"{name} {value}")
    server.configure()
    run = server.control("-t")
    assert run.returncode != 0
    assert name in run.stderr and value in run.stderr
    assert "0 and 2147483647" in run.stderr


@pytest.mark.parametrize("name", ["ThreadConnections", "VPConnections"])
def test_largest_count(bare, name):
    assert dump(bare(f"{name} 2147483647"))[name] == ["2147483647"]


@pytest.mark.parametrize("value", ["-1", "0", "7", "4097", "some"])
def test_bad_helper_threads(bare, value):
    server = bare(f"HelperThreads {value}")
    server.configure()
    run = server.control("-t")
    assert run.returncode != 0
    assert f"HelperThreads: {value}" in run.stderr and "between 8 and 4096" in run.stderr


@pytest.mark.parametrize("directive, value", [("", "256"), ("HelperThreads 8", "8"),
                                              ("HelperThreads 4096", "4096")])
def test_helper_threads(bare, directive, value):
    assert dump(bare(directive))["HelperThreads"] == [value]


@pytest.mark.parametrize("lines, name, value", [
    ("MinSpareThreads 20\nMaxSpareThreads 10", "MaxSpareThreads", "20"),
    ("MaxThreads 8\nMaxSpareThreads 9", "MaxSpareThreads", "8"),
    ("MaxThreads 8\nMinSpareThreads 9", "MinSpareThreads", "8"),
    ("MaxThreads 8\nStartThreads 9", "StartThreads", "8")])
def test_relations_are_corrected_with_a_warning(bare, lines, name, value):
    server = bare(lines)
    assert dump(server)[name] == [value]
    run = server.control("-t")
    assert run.returncode == 0
    assert re.search(rf"WARNING: .*{name}|WARNING: {name}", run.stderr), run.stderr


def test_relations_count_the_listeners(bare):
    """MaxThreads 8 over four sockets leaves two each."""
    got = dump(bare("MaxThreads 8\nMaxSpareThreads 8\nStartThreads 8", ports=4))
    assert (got["MaxSpareThreads"], got["StartThreads"]) == (["2"], ["2"])


def test_defaults_never_warn(bare):
    """MaxThreads by itself, smaller than the other directives' defaults."""
    server = bare("MaxThreads 2")
    server.configure()
    run = server.control("-t")
    assert (run.returncode, "WARNING" in run.stderr) == (0, False), run.stderr


@pytest.mark.parametrize("text, value", [("on", "On"), ("Off", "Off")])
def test_connection_status(bare, text, value):
    assert dump(bare(f"ConnectionStatus {text}"))["ConnectionStatus"] == [value]


@pytest.mark.parametrize("line", ["ConnectionStatus maybe", "CoreDir /nonexistent/cores",
                                  "ScoreboardDir", "VPBind 0", "VPListen 0"])
def test_bad_words(bare, line):
    server = bare(line)
    server.configure()
    run = server.control("-t")
    assert run.returncode != 0
    assert line.split()[0] in run.stderr


@pytest.mark.parametrize("place", ["missing", "httpd.conf"])
def test_scoreboard_dir_must_be_a_folder(bare, place):
    server = bare(f"ScoreboardDir {place}")
    with pytest.raises(StartError) as refused:
        server.start()
    assert "ScoreboardDir" in refused.value.output
    assert str(server.root / place) in refused.value.output
    assert server.running() == []


def test_scoreboard_dir_that_is_there(bare):
    server = bare("ScoreboardDir scoreboards").start()
    assert server.get("/").status == 200


def test_pid_file(bare):
    """Written to the given place, with the master's pid, and removed after the stop."""
    server = bare("PidFile run/another.pid")
    (server.root / "run/httpd.pid").symlink_to("another.pid")
    server.start()
    assert int((server.root / "run/another.pid").read_text()) == server.master
    server.stop()
    assert not (server.root / "run/another.pid").exists()


@pytest.mark.parametrize("line, name, value", [
    ("ThreadStackSize 131072", "StackSize", "131072"),
    ("ThreadStackSize 131072\nStackSize 98304", "StackSize", "98304"),
    ("MaxConnectionsPerChild 7", "VPConnections", "7"),
    ("MaxRequestsPerChild 8", "VPConnections", "8"),
    ("MaxConnectionsPerChild 7\nVPConnections 9", "VPConnections", "9")])
def test_aliases(bare, line, name, value):
    assert dump(bare(line))[name] == [value]


@pytest.mark.parametrize("config", [EVENT, WORKER, PREFORK], ids=["event", "worker", "prefork"])
def test_other_mpms_configurations_start_unchanged(bare, config):
    """Debian's shipped sections; what was mapped is logged at level info, and nothing at warn."""
    server = bare(config).start()
    for _ in range(20):
        assert server.get("/").status == 200
    log = server.error_log()
    assert "MaxRequestWorkers 150" in log
    for name in re.findall(r"\w+Servers", config):
        assert f"{name} " in log and "has no effect: the number of processes is constant" in log
    assert not server.warnings()


def test_max_request_workers_are_shared_out(bare):
    got = dump(bare("NumVPs 3\nMaxRequestWorkers 100"))
    assert got["MaxThreads"] == ["34"]


def test_our_words_win_over_mapped_ones(bare):
    got = dump(bare("MaxRequestWorkers 400\nMaxThreads 20\nNumVPs 2\nStartServers 7"))
    assert (got["NumVPs"], got["MaxThreads"]) == (["2"], ["20"])


def test_listen_with_protocol_and_backlog(serve):
    server = serve(listen=False, directives="ListenBacklog 77\nListen 127.0.0.1:@PORT@ http")
    assert server.get("/").status == 200
    sockets = subprocess.run(["ss", "-Hltn", f"sport = :{server.port}"], capture_output=True,
                             text=True, check=True).stdout.split()
    assert sockets[2] == "77"


def test_shared_words_of_httpd(serve):
    server = serve(directives="""
        SendBufferSize 32768
        ReceiveBufferSize 32768
        AcceptFilter http none
        MaxMemFree 256
        GracefulShutdownTimeout 10
        CoreDumpDirectory @ROOT@/run
        Mutex file:@ROOT@/run default
        """)
    server.page("large.bin", b"0" * 3_000_000)
    for _ in range(5):
        assert len(server.get("/large.bin").body) == 3_000_000


@pytest.mark.parametrize("kind", ["file:@ROOT@/run", "flock:@ROOT@/run", "fcntl:@ROOT@/run",
                                  "pthread", "sysvsem", "posixsem", "sem"])
def test_mutex_mechanisms(serve, kind):
    """Each kind of cross-process lock, used by the TLS session cache."""
    server = serve(tls=True, modules=("socache_shmcb",), directives=f"""
        Mutex {kind} default
        SSLSessionCache shmcb:@ROOT@/run/ssl(512000)
        """)
    for _ in range(10):
        with server.connect_tls() as conn:
            assert conn.get("/").status == 200


def test_shipped_configuration_starts(serve):
    """conf/mpm_stm.conf, as installed beside Debian's."""
    from harness import ROOT
    path = Path(ROOT) / "conf/mpm_stm.conf"
    if not path.exists():
        pytest.skip("no conf/mpm_stm.conf yet")
    server = serve.make(sized=False, directives=path.read_text()).start()
    for _ in range(10):
        assert server.get("/").status == 200
    assert not server.warnings()
