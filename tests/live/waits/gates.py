# SPDX-License-Identifier: Apache-2.0
"""Gates hold up requests for as long as a test wants: in our backends, in processes, on the wire.

The proof is the order of events, not how long they take: N requests are held; a quick
one is answered, and none of the N is; the gate opens; all N are answered.
"""

import asyncio
import fcntl
import threading

from harness import wait_for


class Loop:
    """An event loop on a thread of its own, on which the backends run."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine, bound=120):
        """Runs a coroutine on the loop, and returns its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(bound)

    def end(self):
        """Cancels everything on it and ends the thread."""
        async def cancel():
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self.run(cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Gate:
    """Holds coroutines of a Loop. Counts how many it holds, and the most it has ever held."""

    def __init__(self, loop):
        self._loop = loop
        self._event = asyncio.Event()
        self.held = self.most = self.passed = 0

    async def wait(self):
        """Returns once the gate is open."""
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            await self._event.wait()
            self.passed += 1
        finally:
            self.held -= 1

    def open(self):
        """Lets everyone through from now on."""
        self._loop.loop.call_soon_threadsafe(self._event.set)

    def close(self):
        """Holds everyone who arrives from now on."""
        async def clear():
            self._event.clear()
            self.most = self.held
            self.passed = 0
        self._loop.run(clear())

    def wait_held(self, count):
        """Waits until it holds `count`."""
        wait_for(lambda: self.held >= count, f"{count} held at a gate", 60)


class FileGate:
    """Holds processes: they report their arrival in one file, and wait for a lock on another."""

    def __init__(self, folder):
        """folder: one that the server's children may write to (Server.private_folder)."""
        self.arrivals, self.lock = folder / "arrivals", folder / "lock"
        for path in (self.arrivals, self.lock):
            path.touch()
            path.chmod(0o666)
        self._file = self.lock.open("r+b")
        self.close()

    @property
    def shell(self):
        """The commands with which a shell script is held."""
        return f"printf x >> {self.arrivals}; exec 9< {self.lock}; flock -s 9; exec 9<&-"

    def close(self):
        """Holds everyone who arrives from now on."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.arrivals.write_bytes(b"")

    def open(self):
        """Lets everyone through."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def arrived(self):
        """How many have arrived since it was closed."""
        return self.arrivals.stat().st_size

    def wait_held(self, count):
        """Waits until it holds `count`."""
        wait_for(lambda: self.arrived >= count, f"{count} processes held", 60)

    def end(self):
        """Closes the file."""
        self._file.close()
