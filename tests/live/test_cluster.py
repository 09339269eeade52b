# SPDX-License-Identifier: Apache-2.0
"""More than one machine: a front server and its backends, in network namespaces, with the
configurations of docs/scale-out.md. What happens when a backend is busy, drained, added, restarted,
cut off or killed; and the same with HAProxy and nginx as the front."""

import contextlib
import os
import re
import subprocess

import pytest
from harness import places, wait_for
from harness.cluster import Cluster, Unavailable

pytestmark = pytest.mark.needs_root

B1, B2 = "198.18.77.21", "198.18.77.22"
ALL = {"b1", "b2", "b3"}
PROXIES = {"HAProxy, PROXY protocol 1": 8081, "HAProxy, PROXY protocol 2": 8082,
           "nginx, X-Forwarded-For": 8083, "nginx, PROXY protocol 1": 8084}


@contextlib.contextmanager
def running(mpm):
    """A cluster under that MPM."""
    try:
        cluster = Cluster(mpm)
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module", name="cluster")
def _cluster():
    with running("stm") as cluster:
        yield cluster


def sticky(name):
    """The header by which a client stays with a backend."""
    return (f"Cookie: ROUTE=.{name}",)


@contextlib.contextmanager
def held(cluster, **counts):
    """So many requests that each of these backends has in progress. Yields their connections."""
    with contextlib.ExitStack() as stack:
        before = cluster.app.begun
        conns = {name: [stack.enter_context(cluster.connect()) for _ in range(count)]
                 for name, count in counts.items()}
        for name, some in conns.items():
            for conn in some:
                conn.ask("/app/held", headers=sticky(name))
        wait_for(lambda: cluster.app.begun == before + sum(counts.values()), "held requests")
        yield conns
        cluster.app.release()


def all_answer(cluster, names=frozenset(ALL), port=80):
    """Waits until each of these backends answers some request."""
    wait_for(lambda: cluster.spread(12, port=port).keys() >= set(names), f"answers of {names}")


def test_spread_by_load(cluster):
    """Each backend gets its share; one with 150 of its 200 threads busy gets much less."""
    all_answer(cluster)
    with held(cluster, b1=2, b2=2, b3=2):
        wait_for(lambda: min(cluster.spread(90)[name] for name in ALL) > 15, "equal shares")
    with held(cluster, b1=150, b2=2, b3=2):
        # Ready: 50, 198, 198. A ninth of 180 requests is 20, a third is 60.
        wait_for(lambda: cluster.spread(180)["b1"] < 35, "a small share of the busy one")


def test_sticky(cluster):
    """A client that has been given a backend stays with it."""
    first = cluster.get("/")
    cookie = first.headers["set-cookie"].split(";")[0]
    mine = first.headers["x-backend"]
    assert cookie == f"ROUTE=.{mine}"
    assert {cluster.backend(headers=(f"Cookie: {cookie}",)) for _ in range(20)} == {mine}


def test_drained(cluster):
    """Drained in the balancer manager, a backend serves those who have been given it, and nobody
    else. lbmethod_heartbeat does not know draining, so another method is chosen meanwhile."""
    all_answer(cluster)
    with cluster.load() as load:
        cluster.manage(b_lbm="byrequests")
        cluster.manage(w=f"http://{B1}", w_status_N=1)
        wait_for(lambda: "Drn" in cluster.state(B1), "draining")
        assert set(cluster.spread(40)) == {"b2", "b3"}
        assert cluster.backend(headers=sticky("b1")) == "b1"
        cluster.manage(w=f"http://{B1}", w_status_N=0)
        cluster.manage(b_lbm="heartbeat")
        all_answer(cluster)
    assert load.lost == {}


def test_added(cluster):
    """A backend that did not exist is started, and added in the balancer manager."""
    said = cluster.script("add").stdout
    assert said.startswith("b4: http://198.18.77.24/")
    with cluster.load() as load:
        cluster.manage(b_wyes=1, b_nwrkr="http%3A%2F%2F198.18.77.24")
        cluster.manage(w="http://198.18.77.24", w_wr="b4", w_status_D=0)
        load.wait_more(5, "b4")
        assert cluster.backend(headers=sticky("b4")) == "b4"
        cluster.manage(w="http://198.18.77.24", w_status_D=1)
        wait_for(lambda: "b4" not in cluster.spread(40), "no more requests for it")
    assert load.lost == {}


def test_restarted(cluster):
    """All backends are restarted gracefully, one after the other, under load: each request is
    answered."""
    with cluster.load() as load:
        load.wait_more()
        for name in sorted(ALL):
            cluster.restart(name)
            load.wait_more()
    assert load.lost == {}


def test_cut_off(cluster):
    """A backend's cable is pulled: requests go to the others, and come back with the cable. What
    was sent to it before that was noticed may be lost: at most one request of each client."""
    all_answer(cluster)
    with cluster.load() as load:
        load.wait_more()
        cluster.cable("b2", "down")
        try:
            wait_for(lambda: re.search("HcFl|Err", cluster.state(B2)), "that it is noticed")
            assert "b2" not in cluster.spread(40)
        finally:
            cluster.cable("b2", "up")
        all_answer(cluster)
    assert sum(load.lost.values()) <= 8


def errors_of_a_kill(cluster):
    """Kills b1 while each backend has 10 requests in progress; what all clients then get."""
    all_answer(cluster)
    with held(cluster, b1=10, b2=10, b3=10) as conns:
        cluster.kill("b1")
        lost = [conn.response().status for conn in conns["b1"]]
        others = [cluster.get("/app/x").status for _ in range(40)]
        others += [cluster.get("/app/x", headers=sticky("b1")).status for _ in range(10)]
        cluster.app.release()
        others += [conn.response().status for name in ("b2", "b3") for conn in conns[name]]
    cluster.script("httpd", "b1", "-k", "start")
    all_answer(cluster)
    return lost, others


def test_killed(cluster):
    """It costs what was in progress there, and nothing else: as under event."""
    lost, others = errors_of_a_kill(cluster)
    assert others == [200] * 70
    with running("event") as beside:
        lost_beside, others_beside = errors_of_a_kill(beside)
    assert sum(s != 200 for s in lost + others) <= sum(s != 200 for s in lost_beside
                                                        + others_beside) <= 10


def test_make_cluster(cluster):
    """`make cluster` and `make stop`, in a network of their own instead of this machine's."""
    del cluster  # where it cannot be made, this cannot either
    look = """
        mount -t tmpfs none /run/netns
        ip link set lo up
        make -s cluster BUILD="$BUILD" DEPS=no
        trap 'make -s stop BUILD="$BUILD"' EXIT
        for at in 10/balancer-manager 10/app/delay/1 10/stm-dashboard 21/stm-dashboard; do
            curl -gfsS --noproxy '*' --max-time 20 -o /dev/null "http://198.18.77.$at"
        done
        trap - EXIT
        make -s stop BUILD="$BUILD"
        ip netns list
        """
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    run = subprocess.run(["unshare", "-m", "-n", "--propagation", "private", "sh", "-ec", look],
                         cwd=places.ROOT, env={**env, "DEPS": "no", "BUILD": str(places.BUILD)},
                         capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    said, end = run.stdout.split("Stop:      make stop")
    assert {"http://198.18.77.10/", "http://198.18.77.21/stm-dashboard"} <= set(said.split())
    assert end.split("\n")[-2] == "The cluster has ended."


@pytest.mark.parametrize("proxy", PROXIES)
def test_other_fronts(cluster, proxy):
    """HAProxy and nginx: who the client is; all backends; one restarted under load, one killed."""
    port = PROXIES[proxy]
    client = cluster.get("/", port).headers["x-client"]
    assert client == "198.18.77.1"
    all_answer(cluster, port=port)
    with cluster.load(port=port) as load:
        load.wait_more()
        cluster.restart("b1")
        load.wait_more()
    assert load.lost == {}
    cluster.kill("b3")
    wait_for(lambda: set(cluster.spread(12, port=port)) == {"b1", "b2"}, "the other two")
    cluster.script("httpd", "b3", "-k", "start")
    all_answer(cluster, port=port)
