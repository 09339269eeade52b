# SPDX-License-Identifier: Apache-2.0
"""VPBind and VPListen, as taskset and ss show them."""

import os
import re
import signal
import subprocess

import pytest
from harness import wait_for
from harness.drive import Load
from harness.stm import dump, owner, probed

pytestmark = pytest.mark.stm_only

CPUS = sorted(os.sched_getaffinity(0))


def affinity(pid):
    """The CPUs of a process, from taskset."""
    text = subprocess.run(["taskset", "-cp", str(pid)], capture_output=True, text=True,
                          check=True).stdout
    return text.rsplit(":", 1)[1].strip()


def listening(port):
    """The processes that hold a listening socket of that port, from ss."""
    text = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True,
                          check=True).stdout
    return {int(pid) for pid in re.findall(r"pid=(\d+)", text)}


def refused(server):
    """httpd's error for a configuration that it must refuse."""
    server.configure()
    run = server.control("-t")
    assert run.returncode != 0, "this configuration should be refused"
    return run.stderr


# --- VPBind --------------------------------------------------------------------------------------

def test_each_vp_runs_on_its_cpu(serve):
    lines = "\n".join(f"VPBind {vp} {CPUS[vp % len(CPUS)]}" for vp in range(4))
    server = serve(processes=4, directives=lines)
    cpus = sorted(str(CPUS[vp % len(CPUS)]) for vp in range(4))
    wait_for(lambda: sorted(map(affinity, server.children())) == cpus, "the last VP to be bound")


def test_vps_without_vpbind_are_free(serve):
    server = serve(processes=2, directives=f"VPBind 1 {CPUS[-1]}")
    cpus = sorted([[CPUS[-1]], CPUS])
    wait_for(lambda: sorted(sorted(os.sched_getaffinity(pid)) for pid in server.children())
             == cpus, "the bound VP to be bound")
    assert os.sched_getaffinity(server.master) == set(CPUS)


def test_the_last_vpbind_wins(serve):
    server = serve(processes=1, directives=f"VPBind 0 {CPUS[-1]}\nVPBind 0 {CPUS[0]}")
    assert affinity(server.children()[0]) == str(CPUS[0])
    assert dump(server)["VPBind"] == [f"0 {CPUS[0]}"]


def test_a_replacement_is_bound_too(serve):
    server = serve(processes=1, directives=f"VPBind 0 {CPUS[-1]}")
    gone = server.children()[0]
    server.allowed.append("AH00052|signal")
    os.kill(gone, signal.SIGKILL)
    new = wait_for(lambda: [pid for pid in server.children() if pid != gone], "a replacement")
    server.wait_ready()
    assert affinity(new[0]) == str(CPUS[-1])


@pytest.mark.parametrize("line, named", [
    ("VPBind 0 4096", "4096"), ("VPBind 0 1000", "1000"), ("VPBind 0 -1", "-1"),
    ("VPBind 0 x", "x"), ("VPBind -1 0", "-1"), ("VPBind x 0", "x"), ("VPBind 2 0", "2")])
def test_bad_vpbind(serve, line, named):
    said = refused(serve.make(processes=2, directives=line))
    assert "VPBind" in said and named in said
    assert re.search(r"between \S+ and \S+", said), said


# --- VPListen ------------------------------------------------------------------------------------

def test_each_vp_has_its_listener(serve):
    """Connections to a port are served by one VP, and ss shows that VP (and the master) there."""
    server = probed(serve, "VPListen 0 127.0.0.1:@PORT@\nVPListen 1 127.0.0.1:@PORT2@\n",
                    processes=2, ports=2, listen=False).start()
    owners = []
    for port in server.ports:
        pids = set()
        for _ in range(20):
            with server.connect(port=port) as conn:
                pids.add(owner(conn))
        assert len(pids) == 1
        assert listening(port) - {server.master} == pids
        owners.append(pids.pop())
    assert sorted(owners) == server.children()


def test_several_addresses_in_one_directive_and_several_directives(serve):
    server = probed(serve, """
        VPListen 0 127.0.0.1:@PORT@ 127.0.0.1:@PORT2@
        VPListen 1 127.0.0.1:@PORT3@
        VPListen 0 127.0.0.1:@PORT4@
        """, processes=2, ports=4, listen=False).start()
    owners = []
    for port in server.ports:
        with server.connect(port=port) as conn:
            owners.append(owner(conn))
    assert owners[0] == owners[1] == owners[3] != owners[2]


def test_ipv6_in_brackets(serve):
    server = serve(processes=1, listen=False,
                   directives="VPListen 0 127.0.0.1:@PORT@ [::1]:@PORT@")
    with server.connect(host="::1") as conn:
        assert conn.get("/").status == 200
    assert server.get("/").status == 200


def test_one_address_for_two_vps(serve):
    """Both serve it; a third VP does not."""
    server = probed(serve, """
        VPListen 0 127.0.0.1:@PORT@
        VPListen 1 127.0.0.1:@PORT@
        VPListen 2 127.0.0.1:@PORT2@
        """, processes=3, ports=2, listen=False).start()
    with Load(server.port, connections=32, path="/probe?pid", keep=False) as load:
        wait_for(lambda: load.tally().ok > 2000, "2,000 requests")
        assert load.finish()[1:6] == (0, 0, 0, 0, 0)
    with server.connect(port=server.ports[1]) as conn:
        third = owner(conn)
    wait_for(lambda: {int(line.split()[0]) for line in server.access_log() if "?pid" in line}
             == set(server.children()), "lines of all three VPs in the access log")
    assert listening(server.port) - {server.master} == set(server.children()) - {third}


def test_a_dead_vps_listener_waits_for_its_replacement(serve):
    """While nobody accepts, clients wait in the listen queue of the socket, which the master keeps
    open."""
    server = probed(serve, "VPListen 0 127.0.0.1:@PORT@\nVPListen 1 127.0.0.1:@PORT2@\n",
                    processes=2, ports=2, listen=False).start()
    server.allowed.append("AH00052|signal")
    for _ in range(3):
        with server.connect() as conn:
            pid = owner(conn)
        os.kill(pid, signal.SIGKILL)
        with server.connect() as conn:
            assert owner(conn) != pid


def test_a_port_alone(serve):
    """The guide's form has an address; a port alone must either be refused or work fully."""
    server = serve.make(processes=1, listen=False, directives="VPListen 0 @PORT@")
    server.configure()
    run = server.control("-t")
    if run.returncode == 0:
        server.start()
        assert server.get("/").status == 200
    else:
        assert "VPListen" in run.stderr


@pytest.mark.parametrize("lines", ["Listen 127.0.0.1:@PORT@\nVPListen 0 127.0.0.1:@PORT2@",
                                   "VPListen 0 127.0.0.1:@PORT@\nListen 127.0.0.1:@PORT2@"])
def test_never_beside_listen(serve, lines):
    said = refused(serve.make(processes=1, ports=2, listen=False, directives=lines))
    assert "VPListen" in said and "Listen" in said.replace("VPListen", "")
    assert "mixed" in said


def test_every_vp_needs_a_listener(serve):
    said = refused(serve.make(processes=3, ports=2, listen=False, directives="""
        VPListen 0 127.0.0.1:@PORT@
        VPListen 2 127.0.0.1:@PORT2@
        """))
    assert "VPListen" in said and "VP 1" in said


@pytest.mark.parametrize("line, named", [
    ("VPListen 1 127.0.0.1:@PORT@", "1"), ("VPListen -1 127.0.0.1:@PORT@", "-1"),
    ("VPListen x 127.0.0.1:@PORT@", "x"), ("VPListen 0 127.0.0.1:99999", "99999"),
    ("VPListen 0 127.0.0.1:", "127.0.0.1"), ("VPListen 0 [::1:80", "::1")])
def test_bad_vplisten(serve, line, named):
    said = refused(serve.make(processes=1, listen=False, directives=line))
    assert "VPListen" in said and named in said
