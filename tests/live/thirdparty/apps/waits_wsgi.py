# SPDX-License-Identifier: Apache-2.0
"""An application of mod_wsgi for test_python.py: what threads have for themselves, and what they
share.

Each path has a function, which is given the client's number and the backend's port. hold() waits
for the backend.
"""

import contextvars
import queue
import socket
import subprocess
import sys
import threading
import time

sys.setswitchinterval(0.0005)

local = threading.local()
variable = contextvars.ContextVar("variable")
lock, rlock, condition = threading.Lock(), threading.RLock(), threading.Condition()
inside, waiting, released = [], [], [False]
few = threading.BoundedSemaphore(3)
tasks = queue.Queue()


def hold(number, port):
    """Waits for the backend's response, which contains the number."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\n") or b"\r\n\r\n" not in answer:
            answer += connection.recv(1000)
    return answer.rsplit(b"/", 1)[1].decode().strip()


def own(number, port):
    """Thread-local values, context variables, the exception being handled, the thread's name."""
    local.number = number
    variable.set(number)
    me = threading.get_ident()
    try:
        raise ValueError(number)
    except ValueError:
        told = hold(number, port)
        caught = sys.exc_info()[1].args[0]
    same = threading.get_ident() == me and threading.current_thread().ident == me
    return f"{local.number} {variable.get()} {told} {caught} {same}"


def ident(number, port):
    """The thread's identity; the test checks that all of them differ."""
    first = threading.get_ident()
    hold(number, port)
    return f"{first} {threading.get_ident()}"


def exclude(guard):
    """Whether a lock admits one thread at a time, even across a wait."""
    with guard:
        inside.append(None)
        time.sleep(0.001)
        count = len(inside)
        inside.pop()
    return count


def recursive(number, _port):
    """An RLock keeps others out, but admits its owner again."""
    with rlock:
        local.before = number
        count = exclude(rlock)
        return f"{count} {local.before}"


def plain(_number, _port):
    """A Lock."""
    return exclude(lock)


def semaphore(_number, _port):
    """A Semaphore that admits three at a time."""
    with few:
        inside.append(None)
        time.sleep(0.001)
        count = len(inside)
        inside.pop()
    return count <= 3


def meet(_number, _port):
    """A Condition: all wait until the last of 40 has arrived."""
    with condition:
        waiting.append(None)
        if len(waiting) == 40:
            waiting.clear()
            condition.notify_all()
            return True
        return condition.wait(60)


def imported(_number, _port):
    """All of them import the same module at once, which takes a while."""
    import slow_import
    return f"{slow_import.ANSWER} {slow_import.TIMES}"


def workers(number, _port):
    """A thread of the request's own, which is joined, and one that waits until told to continue."""
    got, event = [], threading.Event()

    def work():
        event.wait(60)
        got.append((number, threading.current_thread().name))
    thread = threading.Thread(target=work, name=f"worker-{number}")
    thread.start()
    threading.Timer(0.001, event.set).start()
    thread.join()
    return f"{got} {thread.is_alive()}"


def handed(number, _port):
    """A queue: each puts one item and takes one, and nothing is lost."""
    tasks.put(number)
    return tasks.get(timeout=60) in [str(n) for n in range(40)]


class Endless:
    """Asks itself for what it has not got, until Python's limit or the end of the stack."""

    def __getattr__(self, name):
        return getattr(self, name + "x")


def recursion(_number, _port):
    """Recursion through C code and Python code in turn ends in an exception."""
    try:
        return Endless().x
    except RecursionError as error:
        time.sleep(0.001)
        return type(error).__name__


def program(number, _port):
    """A program's input, output and status; for Python that is vfork() and execve()."""
    ran = subprocess.run(["/bin/sh", "-c", f"read line; ulimit -n; echo $line {number}; exit 3"],
                         input=f"to {number}\n", capture_output=True, check=False, text=True)
    try:
        subprocess.run(["/nowhere"], check=False)
    except FileNotFoundError as error:
        return [*ran.stdout.splitlines(), ran.returncode, error.filename]
    return "found"


PAGES = {"/" + page.__name__: page for page in (own, ident, recursive, plain, semaphore, meet,
                                                imported, workers, handed, recursion, program)}


def application(environ, start_response):
    """PATH?NUMBER,PORT"""
    number, port = environ["QUERY_STRING"].split(",")
    text = f"{PAGES[environ['PATH_INFO']](number, int(port))}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]
