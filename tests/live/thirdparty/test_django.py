# SPDX-License-Identifier: Apache-2.0
"""Django in mod_wsgi's embedded mode: each request has a database transaction of its own."""

import shutil
import subprocess

import pytest

from harness import wait_for
from harness.places import new_root
from tests.live.waits.backends import Http
from tests.live.waits.daemons import find, postgres, sql, unprivileged

from .pair import CLIENTS, Pair, hold, needs, needs_that

pytestmark = [needs("wsgi"), needs_that(["/usr/bin/python3", "-c", "import django, psycopg2"],
                                        "Django or psycopg2")]

DIRECTIVES = """
    WSGIScriptAlias /django @ROOT@/app/django_wsgi.py
    WSGIApplicationGroup %{GLOBAL}
    """


def rows(port, text):
    """What a query returns, one value per line."""
    run = subprocess.run([find("psql", "usr/lib/postgresql/*/bin"), "-qAt", "-h", "127.0.0.1",
                          "-p", str(port), "-U", "stm", "-d", "postgres", "-c", text],
                         capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.fixture(name="database", scope="module")
def _database():
    folder = new_root("django_database")
    user = unprivileged().get("user")
    if user is not None:
        shutil.chown(folder, user)
    with postgres(folder) as port:
        sql(port, "CREATE TABLE seats (number integer)")
        yield port


@pytest.fixture(name="pair", scope="module")
def _pair(serve_module, database):
    return Pair(serve_module, ["django_wsgi.py"], modules=("wsgi",), directives=DIRECTIVES,
                env={"STM_POSTGRES": str(database)})


def test_transactions_are_kept_apart(pair, backend, database):
    http = backend(Http)

    def scene(server):
        sql(database, "TRUNCATE seats")
        texts = hold(server, http.gate, f"/django/book/{{}}/{http.port}")
        wait_for(lambda: rows(database, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE "
                              "'idle in transaction%'") == ["0"], "the end of all transactions")
        return texts, rows(database, "SELECT number FROM seats ORDER BY number")
    texts, left = pair.compare(scene)
    assert texts == [f"{n} {n} wrote {n} slept True\n" for n in range(CLIENTS)]
    assert left == [str(n) for n in range(0, CLIENTS, 2)]
