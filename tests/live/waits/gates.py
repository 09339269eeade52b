# SPDX-License-Identifier: Apache-2.0
"""What holds requests up until the test says so: in our backends, in processes, on the wire.

A proof is an order of events, not a time: N requests are held; a quick one is answered; none of the
N was; the gate opens; all N are answered.
"""

import asyncio
import fcntl
import threading

from harness import wait_for


class Loop:
    """An event loop on a thread of its own: where the backends live."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine, bound=120):
        """Runs a coroutine on the loop; its result."""
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
    """Holds coroutines of a Loop. It counts how many it holds, and the most it ever held."""

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
        """Lets all pass, from now on."""
        self._loop.loop.call_soon_threadsafe(self._event.set)

    def close(self):
        """Holds whoever comes from now on."""
        async def clear():
            self._event.clear()
            self.most = self.held
            self.passed = 0
        self._loop.run(clear())

    def wait_held(self, count):
        """Until it holds `count`."""
        wait_for(lambda: self.held >= count, f"{count} held at a gate", 60)


class FileGate:
    """Holds processes: they say that they have come in one file, and wait for a lock on another."""

    def __init__(self, folder):
        """folder: one that the server's children may write (Server.private_folder)."""
        self.arrivals, self.lock = folder / "arrivals", folder / "lock"
        for path in (self.arrivals, self.lock):
            path.touch()
            path.chmod(0o666)
        self._file = self.lock.open("r+b")
        self.close()

    @property
    def shell(self):
        """What a shell script does to be held."""
        return f"printf x >> {self.arrivals}; exec 9< {self.lock}; flock -s 9; exec 9<&-"

    def close(self):
        """Holds whoever comes from now on."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.arrivals.write_bytes(b"")

    def open(self):
        """Lets all pass."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def come(self):
        """How many have come since it was closed."""
        return self.arrivals.stat().st_size

    def wait_held(self, count):
        """Until it holds `count`."""
        wait_for(lambda: self.come >= count, f"{count} processes held", 60)

    def end(self):
        """Gives the file back."""
        self._file.close()
