# SPDX-License-Identifier: Apache-2.0
"""stmstat on files: what it prints, and what it reports about files that are not as they should
be."""

import csv
import io
import json
import os
import re
import struct
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("STM_TEST_BUILD", "build")
STMSTAT = BUILD / "stmstat/stmstat"
SAMPLE = BUILD / "tests/score/sample"
GOOD, SOME, NONE, STOPPED, HELD, NO_MATCH = range(6)  # exit status


def sample(ordinal=0, beat=None):
    """A scoreboard of known contents; however slow the machine is, its heartbeat is not old."""
    made = subprocess.run([SAMPLE, str(ordinal)], capture_output=True, check=True).stdout
    old, new = (struct.pack("<Q", int(at * 1e6)) for at in
                (1, time.time() + 3600 if beat is None else beat))
    assert made.count(old) == 1
    return made.replace(old, new)


OFFSETS = {}


def offsets():
    """Where the fields of a header lie."""
    if not OFFSETS:
        lines = subprocess.run([SAMPLE, "offsets"], capture_output=True, text=True, check=True)
        OFFSETS.update((name, int(at)) for name, at in
                       (line.split("=") for line in lines.stdout.splitlines()))
    return OFFSETS


def patched(content, form, **fields):
    """The content with fields of its header changed."""
    content = bytearray(content)
    for name, value in fields.items():
        struct.pack_into(form, content, offsets()[name], value)
    return bytes(content)


def offset_in_block(name):
    """What the header says about the tables in a block."""
    return struct.unpack_from("<Q", sample(), offsets()[name])[0]


PAGE = 4096  # the size of the sample's header, and of each of its blocks


def put(directory, ordinal, content):
    """Writes the files of a scoreboard that is given as one piece."""
    (directory / str(ordinal)).write_bytes(content[:PAGE])
    for block in range(2):
        start = PAGE * (1 + block)
        (directory / f"{ordinal}.{block}.block").write_bytes(content[start:start + PAGE])


@pytest.fixture(name="directory")
def _directory(tmp_path):
    put(tmp_path, 0, sample())
    return tmp_path


def stmstat(directory, *arguments, **more):
    """Runs it on the directory."""
    return subprocess.run([STMSTAT, "-d", str(directory), *arguments], capture_output=True,
                          text=True, timeout=30, check=False, **more)


# --- forms ---------------------------------------------------------------------------------------

def test_once(directory):
    run = stmstat(directory, "-1")
    assert run.returncode == GOOD
    values = dict(re.findall(r"^(\S+) +(\S+)  ", run.stdout, re.M))
    assert values["vp.0.connections"] == "137"
    assert values["vp.0.connections_prior"] == "130"
    assert values["vp.0.connections_this"] == "7"
    assert values["vp.0.cpu"] == "-1"
    assert values["vp.0.listener.10.0.0.1:80.connections"] == "103"
    assert values["vp.0.thread.2.busy"] == "1"
    assert values["vp.0.longest_turn_seconds"] == "1.500000"
    assert values["vp.0.turn_seconds.under_64_us"] == "10"
    assert values["all.conns"] == "3"
    assert "all.pid" not in values


def test_csv_has_the_same(directory):
    table = list(csv.DictReader(io.StringIO(stmstat(directory, "--csv").stdout)))
    once = dict(re.findall(r"^(\S+) +(\S+)  ", stmstat(directory, "-1").stdout, re.M))
    assert {row["name"]: row["value"] for row in table} == once
    assert {row["type"] for row in table} == {"counter", "gauge", "peak", "info", "time"}


def test_json(directory):
    got = json.loads(stmstat(directory, "-j").stdout)
    vp = got["vps"][0]
    assert (vp["problem"], vp["present"], vp["leaving"], vp["state"]) == (None, True, 1, "running")
    assert vp["counters"]["connections"] == 137
    assert vp["connections"][0]["Request"] == 'GET /"quoted\\\x1b[31m\xff HTTP/1.1'
    assert vp["counters"]["turn_seconds"] == {"sum": 0.0025, "buckets": [10] + [0] * 15}


def test_openmetrics(directory):
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    text = stmstat(directory, "-o").stdout
    found = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert [sample.value for sample in found["stm_vp_connections"].samples] == [137]
    buckets = [sample.value for sample in found["stm_vp_turn_seconds"].samples
               if sample.name.endswith("_bucket")]
    assert buckets == [10] * 16


@pytest.mark.parametrize("form", ["-1", "-c", "-o", "-j"])
def test_no_form_passes_control_bytes_on(directory, form):
    """A VP can write what it likes into its block: names of listeners, keys, values."""
    path = directory / "0.1.block"
    content = path.read_bytes()
    for old, new in [(b"10.0.0.1:443", b"\x1b[2J\x9b1m,\"\n"),
                     (b"Keepalive", b"\xc2\x9b31mabc\r"),
                     (b"Request", b"\xe2\x80\xae=\x07<a"),
                     (b"GET / HT", b"\xff\x9b\x85\xe2\x81\xa6ab")]:
        assert old in content
        content = content.replace(old, new.ljust(len(old))[:len(old)])
    path.write_bytes(content)
    run = subprocess.run([STMSTAT, "-d", directory, form], capture_output=True, check=True)
    assert re.fullmatch(rb"[\x20-\x7e\n]+", run.stdout)
    if form == "-c":
        assert {len(row) for row in csv.reader(io.StringIO(run.stdout.decode()))} == {4}


def test_messages_pass_none_on_either(tmp_path):
    run = subprocess.run([STMSTAT, "-d", tmp_path / "\x1b[31m\u009b\u202e", "-1"],
                         capture_output=True, check=False)
    assert run.returncode == NONE
    assert re.fullmatch(rb"[\x20-\x7e\n]+", run.stderr)


def test_filters(directory):
    names = [line.split()[0] for line in
             stmstat(directory, "-1", "-f", "vp.0.conn*", "-f", "!*_prior").stdout.splitlines()]
    assert "vp.0.connections" in names and "vp.0.connections_this" in names
    assert all(name.startswith("vp.0.conn") for name in names)
    assert "vp.0.connections_prior" not in names
    assert list(json.loads(stmstat(directory, "-j", "-f", "*.requests").stdout)["all"]) == \
        ["requests"]


def test_several_vps_in_order(directory):
    for ordinal in (10, 2):
        put(directory, ordinal, sample(ordinal))
    for other in ("notes", "1x", "01", "99999"):
        (directory / other).write_text("not a scoreboard")
    got = json.loads(stmstat(directory, "-j").stdout)
    assert [vp["vp"] for vp in got["vps"]] == [0, 2, 10]
    assert got["all"]["connections"] == 3 * 137


def test_environment_names_the_directory(directory):
    run = subprocess.run([STMSTAT, "-c", "-f", "all.conns"], capture_output=True, text=True,
                         env={**os.environ, "STM_SCOREBOARDS": str(directory)}, check=True)
    assert run.stdout.splitlines()[1] == "all.conns,3,,gauge"


# --- what it says of itself ----------------------------------------------------------------------

def test_help_and_version():
    for option in ("--help", "-h"):
        run = stmstat(".", option)
        assert run.returncode == GOOD
        for letter in "1cjolfdnVh":
            assert f"-{letter}, --" in run.stdout
    version = stmstat(".", "-V").stdout
    for option in ("STM_VP_LIMIT ", "STM_SCORE_KEY_SIZE ", "STM_DEBUG ", "layout version"):
        assert option in version


def test_list_names_every_counter(directory):
    listed = set(re.findall(r"^vp\.N\.(\w+)$", stmstat(".", "-l").stdout, re.M))
    shown = set(json.loads(stmstat(directory, "-j").stdout)["vps"][0]["counters"])
    assert listed == shown


def test_manual_is_up_to_date():
    assert stmstat(".", "--manual").stdout == (ROOT / "docs/man/stmstat.1").read_text(), \
        "make stmstat-man writes it"


@pytest.mark.parametrize("arguments, message", [
    (["-n", "0"], "--interval must be between 0.1 and 3600 seconds, not 0"),
    (["-n", "soon"], "not soon"),
    (["--nonsense"], "see above"),
    (["stray"], "unexpected argument stray"),
    ([], "the live view needs a terminal"),
])
def test_usage_errors(directory, arguments, message):
    run = stmstat(directory, *arguments)
    assert run.returncode == NONE
    assert message in run.stderr


# --- files that are not as they should be --------------------------------------------------------

def test_missing_and_empty_directories(tmp_path):
    run = stmstat(tmp_path / "none", "-1")
    assert (run.returncode, run.stdout) == (NONE, "")
    assert "No such file or directory" in run.stderr
    run = stmstat(tmp_path, "-1")
    assert run.returncode == NONE
    assert "there are no scoreboards" in run.stderr


BAD = {
    "empty": (lambda: b"", "is not an STM scoreboard file, or is truncated"),
    "foreign": (lambda: b"#!/bin/sh\n" * 1000, "is not an STM scoreboard file"),
    "cut in the header": (lambda: sample(1)[:100], "is truncated: shorter than its header"),
    "cut in its sums": (lambda: sample(1)[:PAGE - 8], "is truncated: shorter than its header says"),
    "header": (lambda: patched(sample(1), "<I", header_size=1 << 30), "its tables overlap"),
    "version": (lambda: patched(sample(1), "<I", version=99),
                "has layout version 99, but this program reads version "),
    "other counters": (lambda: patched(sample(1), "<Q", fingerprint=1), "from different builds"),
    "byte order": (lambda: patched(sample(1), ">I", byte_order=0x01020304),
                   "a different byte order"),
    "renamed": (lambda: sample(7), "belongs to VP 7: was it renamed?"),
    "blocks": (lambda: patched(sample(1), "<Q", blocks=1 << 40), "is corrupt"),
    "sizes": (lambda: patched(sample(1), "<I", key_size=0), "its sizes are inconsistent"),
    "odd rows": (lambda: patched(sample(1), "<Q", row_size=1020), "its sizes are inconsistent"),
    "tables": (lambda: patched(sample(1), "<Q", threads_at=1 << 40), "its tables overlap"),
    "rows": (lambda: patched(sample(1), "<I", connections_max=100000), "its tables overlap"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_file_beside_a_good_one(directory, kind):
    content, message = BAD[kind]
    put(directory, 1, content())
    run = stmstat(directory, "-1")
    assert run.returncode == SOME
    assert re.search(rf"stmstat: {re.escape(str(directory))}/1 .*{re.escape(message)}", run.stderr)
    assert re.search(r"^vp\.0\.connections +137 ", run.stdout, re.M)
    got = json.loads(stmstat(directory, "-j").stdout)
    problems = {vp["vp"]: vp["problem"] for vp in got["vps"]}
    assert problems[0] is None and message in problems[1]
    assert 'stm_vp_up{vp="1"} 0' in stmstat(directory, "-o").stdout


@pytest.mark.parametrize("kind", ["empty", "cut off", "cut in its tables", "missing"])
def test_a_spoiled_block_takes_nothing_from_the_others(directory, kind):
    """A VP may have truncated its own file: what the header and other processes say is still
    shown."""
    path = directory / "0.1.block"
    left = {"empty": 0, "cut off": 800, "cut in its tables": offset_in_block("threads_at") - 8}
    path.write_bytes(path.read_bytes()[:left.get(kind)])
    if kind == "missing":
        path.unlink()
    run = stmstat(directory, "-1")
    assert run.returncode == SOME
    assert "VP 0: the counters of 1 of its processes cannot be read" in run.stderr
    assert re.search(r"^vp\.0\.connections +130 ", run.stdout, re.M)
    vp = json.loads(stmstat(directory, "-j").stdout)["vps"][0]
    assert (vp["unread"], vp["present"], vp["silent"]) == (1, True, False)


def test_links_and_pipes_are_not_followed(directory):
    (directory / "1").symlink_to(directory / "0")
    os.mkfifo(directory / "2")
    (directory / "3").mkdir()
    run = stmstat(directory, "-1")
    assert run.returncode == SOME
    assert "/1 is a symbolic link, which is refused" in run.stderr
    assert "/2 is not a regular file" in run.stderr and "/3 is not a regular file" in run.stderr


def says(directory, status, text):
    """Checks what -1 says, and its exit status."""
    run = stmstat(directory, "-1", "-f", "all.connections")
    assert (run.returncode, run.stdout != "") == (status, status != NO_MATCH)
    assert re.search(text, run.stderr), run.stderr
    return run


def own_master(content):
    """The server's master is alive: this process."""
    return patched(content, "<Q", master_pid=os.getpid())


def nobody():
    """The pid of a process that has ended."""
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    return gone.pid


def test_all_is_well(directory):
    run = stmstat(directory, "-1")
    assert (run.returncode, run.stderr) == (GOOD, "")


def test_a_writer_that_died_in_a_change(directory):
    put(directory, 0, patched(own_master(sample()), "<Q", sequence=9))
    says(directory, HELD, "VP 0: its writer stopped in the middle of a change")
    assert json.loads(stmstat(directory, "-j").stdout)["vps"][0]["torn"] is True


def test_a_vp_that_is_silent(directory):
    put(directory, 0, own_master(sample(beat=time.time() - 75)))
    put(directory, 1, own_master(sample(1)))
    says(directory, HELD,
         r"VP 0 \(pid 4242\): no heartbeat for 1m [1-5][0-9]s: it is stopped, dead")


def test_a_vp_without_a_process(directory):
    put(directory, 0, patched(own_master(sample()), "<Q", current=0))
    says(directory, HELD, "VP 0: no process holds its seat now")


def test_a_vp_that_has_just_been_forked(directory):
    """A VP that has written nothing yet, not even a heartbeat, has not been silent since 1970."""
    put(directory, 0, own_master(sample(beat=0)))
    run = stmstat(directory, "-j")
    assert (run.returncode, run.stderr) == (GOOD, "")
    assert json.loads(run.stdout)["vps"][0]["silent"] is False


def test_a_seat_that_a_restart_has_given_up(directory):
    put(directory, 0, patched(own_master(sample()), "<Q", generation=3))
    content = patched(own_master(sample(1)), "<Q", generation=2, current=0)
    put(directory, 1, content)
    (directory / "0.1.block").write_bytes(
        (directory / "0.1.block").read_bytes().replace(struct.pack("<2Q", 5, 0),
                                                       struct.pack("<2Q", 5, 3)))
    run = stmstat(directory, "-1")
    assert (run.returncode, run.stderr) == (GOOD, "")
    put(directory, 1, patched(content, "<Q", generation=3))
    says(directory, HELD, "VP 1: no process holds its seat now")


def test_a_server_that_has_stopped(directory):
    """Reported once, not for each VP; whatever else cannot be read is reported, too."""
    put(directory, 0, patched(sample(beat=time.time() - 7300), "<Q", running=0))
    put(directory, 1, patched(sample(1, beat=time.time() - 7300), "<Q", running=0))
    run = says(directory, STOPPED, "^stmstat: the server has stopped; the last heartbeat was 2h "
                                   "01m ago\n$")
    assert "274" in run.stdout
    put(directory, 2, b"nonsense" * 1000)
    says(directory, STOPPED, "/2 is not an STM scoreboard file")


def test_a_server_that_has_stopped_as_it_should(directory):
    """Its VPs have left no heartbeat, so there is none to be old."""
    put(directory, 0, patched(sample(), "<Q", running=0, current=0))
    says(directory, STOPPED, "^stmstat: the server has stopped\n$")


def test_a_server_that_was_killed(directory):
    put(directory, 0, patched(sample(beat=time.time() - 100), "<Q", master_pid=nobody()))
    says(directory, STOPPED, "the server has died: its processes are gone without having stopped; "
                             "the last heartbeat was 1m [45][0-9]s ago")


@pytest.mark.parametrize("form", ["-1", "-c", "-j", "-o", "-l"])
def test_a_filter_without_a_match(directory, form):
    run = stmstat(directory, form, "-f", "nonsense*", "-f", "!x")
    assert run.returncode == NO_MATCH
    assert run.stderr == ("stmstat: no value matches -f 'nonsense*' -f '!x' "
                          "(stmstat -l lists the names)\n")
    assert stmstat(directory, form, "-f", "vp.?.requests").returncode == GOOD


def test_openmetrics_has_no_sums(directory):
    assert stmstat(directory, "-o", "-f", "all.*").returncode == NO_MATCH
    assert stmstat(directory, "-1", "-f", "all.*").returncode == GOOD


def test_nobody_reads_the_output(directory):
    with open("/dev/full", "w", encoding="ascii") as full:
        run = subprocess.run([STMSTAT, "-d", directory, "-j"], stdout=full, stderr=subprocess.PIPE,
                             check=False)
    assert run.returncode == NONE and b"cannot write" in run.stderr


def test_statuses_are_documented():
    listed = re.findall(r"^  (\d)  ", stmstat(".", "--help").stdout, re.M)
    manual = (ROOT / "docs/man/stmstat.1").read_text()
    section = manual[manual.index(".SH EXIT STATUS"):]
    assert listed == re.findall(r"^\.B (\d)$", section, re.M) == [
        str(status) for status in (GOOD, SOME, NONE, STOPPED, HELD, NO_MATCH)]


# --- all -----------------------------------------------------------------------------------------

def test_all_has_what_adds_up(directory):
    """In every form: sums, the highest peaks, and nothing that identifies a process."""
    put(directory, 1, sample(1))
    found = json.loads(stmstat(directory, "-j").stdout)["all"]
    types = {name: kind for name, kind in re.findall(r"^vp\.N\.(\w+)\n +.* \((\w+)",
                                                     stmstat(".", "-l").stdout, re.M)}
    assert set(found) == {name for name, kind in types.items() if kind not in ("info", "time")}
    assert (found["connections"], found["conns"], found["threads_peak"]) == (2 * 137, 6, 9)
    assert found["turn_seconds"]["buckets"][0] == 20
    once = {line.split()[0] for line in stmstat(directory, "-1").stdout.splitlines()}
    assert {name for name in types if f"all.{name}" in once or
            f"all.{name}.sum" in once} == set(found)
    manual = (ROOT / "docs/man/stmstat.1").read_text()
    assert "for peaks the highest of any VP (all.threads_peak" in manual


# --- threads -------------------------------------------------------------------------------------

def test_threads(directory):
    """The oldest request comes first; nothing that a client has sent can control the terminal."""
    table = stmstat(directory, "threads").stdout
    assert "\x1b" not in table
    assert re.search(r"^ +1  lock ", table, re.M)
    assert re.search(r"^ +1  10.0.0.9:8080 ", table, re.M)
    assert table.index("reading from 10.0.0.9:8080") < table.index("lock 0x1234, held by")
    got = json.loads(stmstat(directory, "threads", "-j").stdout)
    assert [each["waits_for"] for each in got["threads"]] == ["backend_read", "lock"]
    assert got["threads"][0]["name"] == "10.0.0.9:8080"
    assert got["threads"][1]["holder"] == "connection 1: GET /"
    assert got["backends"][0]["backend"] == "10.0.0.9:8080"


def test_threads_of_an_idle_server(directory):
    for path in directory.glob("*.block"):
        path.write_bytes(path.read_bytes()[:offset_in_block("waits_at")] + bytes(PAGE))
    assert stmstat(directory, "threads").stdout == "No state thread is serving anything.\n"
