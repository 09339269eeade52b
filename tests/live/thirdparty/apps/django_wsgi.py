# SPDX-License-Identifier: Apache-2.0
"""A Django project in one file for test_django.py: each request is a transaction in PostgreSQL,
which stays open while the request waits for the backend.
"""

import os
import socket

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpResponse
from django.urls import path

settings.configure(
    DEBUG=False, SECRET_KEY="a test's", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "stm",
        "HOST": "127.0.0.1", "PORT": os.environ["STM_POSTGRES"], "ATOMIC_REQUESTS": True}})


def query(sql, *values):
    """Returns one value from the database."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def hold(number, port):
    """Waits for the backend's response, which contains the number."""
    with socket.create_connection(("127.0.0.1", port)) as backend:
        backend.sendall(f"GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\n") or b"\r\n\r\n" not in answer:
            answer += backend.recv(1000)
    return answer.rsplit(b"/", 1)[1].decode().strip()


def book(_request, number, port):
    """Books a seat and waits; odd numbers take it back. Says what the transaction wrote."""
    before = query("SELECT txid_current()")
    query("INSERT INTO seats VALUES (%s) RETURNING number", number)
    told = hold(number, port)
    wrote = query("SELECT string_agg(number::text, ' ') FROM seats "
                  "WHERE xmin::text = (txid_current() & 4294967295)::text")
    slept = query("SELECT coalesce(nullif(pg_sleep(0.01)::text, ''), 'slept')")
    same = query("SELECT txid_current()") == before
    if number % 2:
        transaction.set_rollback(True)
    return HttpResponse(f"{number} {told} wrote {wrote} {slept} {same}\n",
                        content_type="text/plain")


urlpatterns = [path("book/<int:number>/<int:port>", book)]
application = get_wsgi_application()
