# SPDX-License-Identifier: Apache-2.0
"""Third-party servers, each as a private process on a free loopback port."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from harness import net, procs, wait_for
from harness.places import CHILD_USER


def answers(port):
    """Whether a server accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def unprivileged():
    """Popen's arguments for a program that refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(CHILD_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def find(name, *folders):
    """Finds a program that may be outside PATH; the newest if `folders` contain several."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    several = sorted(path for pattern in folders for path in Path("/").glob(pattern))
    return found or str(several[-1] / name)


@contextlib.contextmanager
def daemon(folder, command, port, ready=None):
    """Runs a server in the foreground until the block ends. Its output goes to folder/output."""
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output, cwd=folder, **unprivileged())
    try:
        def up():
            assert process.poll() is None, (folder / "output").read_text()
            return (ready or answers)(port)
        wait_for(up, f"{command[0]} on port {port}")
        yield port
    finally:
        family = [process.pid, *procs.children(process.pid)]
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
        wait_for(lambda: not any(map(procs.stat, family[1:])), f"the end of {command[0]}'s family")


def memcached(folder):
    """memcached."""
    port, = net.free_ports(1)
    return daemon(folder, [find("memcached"), "-l", "127.0.0.1", "-p", port, "-U", 0, "-t", 1],
                  port)


def redis(folder):
    """redis-server, which saves nothing."""
    port, = net.free_ports(1)
    return daemon(folder, [find("redis-server"), "--bind", "127.0.0.1", "--port", port, "--save",
                           "", "--appendonly", "no", "--dir", folder], port)


DIRECTORY = """\
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=test"
rootdn "cn=admin,dc=test"
rootpw secret
directory {folder}/data
"""

ENTRIES = """\
dn: dc=test
objectClass: dcObject
objectClass: organization
o: test
dc: test

""" + "".join(f"""\
dn: cn=user{n},dc=test
objectClass: person
cn: user{n}
sn: {n}
userPassword: word{n}

""" for n in range(40))


def slapd(folder):
    """slapd, with users user0 to user39, whose passwords are word0 to word39."""
    port, = net.free_ports(1)
    (folder / "data").mkdir()
    (folder / "slapd.conf").write_text(DIRECTORY.format(folder=folder))
    (folder / "entries").write_text(ENTRIES)
    run = subprocess.run([find("slapadd"), "-f", "slapd.conf", "-l", "entries"], cwd=folder,
                         capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    if os.geteuid() == 0:
        for path in (folder / "data", *(folder / "data").iterdir()):
            shutil.chown(path, CHILD_USER, CHILD_USER)
    return daemon(folder, [find("slapd"), "-f", "slapd.conf", "-h", f"ldap://127.0.0.1:{port}",
                           "-d", "0"], port)


def postgres(folder):
    """PostgreSQL; anyone on loopback may log in as its user "stm", and the data is in
    folder/data."""
    port, = net.free_ports(1)
    programs = "usr/lib/postgresql/*/bin"
    run = subprocess.run([find("initdb", programs), "-D", folder / "data", "-U", "stm", "-A",
                          "trust", "-E", "UTF8", "--no-locale", "-N"], cwd=folder,
                         capture_output=True, text=True, check=False, **unprivileged())
    assert run.returncode == 0, run.stderr
    def ready(port_):
        return subprocess.run([find("pg_isready", programs), "-q", "-h", "127.0.0.1", "-p",
                               str(port_)], check=False).returncode == 0
    return daemon(folder, [find("postgres", programs), "-D", folder / "data", "-p", port, "-h",
                           "127.0.0.1", "-k", folder, "-c", "fsync=off"], port, ready)


def sql(port, text):
    """Runs SQL in PostgreSQL."""
    run = subprocess.run([find("psql", "usr/lib/postgresql/*/bin"), "-q", "-h", "127.0.0.1", "-p",
                          str(port), "-U", "stm", "-d", "postgres", "-v", "ON_ERROR_STOP=1"],
                         input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
