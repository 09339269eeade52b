# SPDX-License-Identifier: Apache-2.0
"""State threads in gdb: `source dev/gdb/st.py`, in a live process or on a core file.

st vps            the virtual processors (VPs) of the process
st threads        all state threads: state, the function that waits, and what it waits for
st bt N           backtrace of one state thread, by number or address; `st bt all`
st thread N       makes gdb's own commands (bt, frame, up, info locals) see that state thread;
                  `st thread` alone switches back to the kernel thread
stm conns         the connections of an httpd VP, with their state threads and requests

A parked state thread is shown by an unwinder that leads gdb from the kernel thread's innermost
frame to the registers that st__switch() has saved. Nothing is written to the process, except for
what a stack at rest (st_thread_rest()) will hold again anyway. See
docs/internals/debugging.md. Works with gdb 12 and newer, on x86-64 and AArch64.
"""

import re
import socket
import struct

import gdb
import gdb.unwinder

# enum st__state, enum st__timer_kind's neighbour ST__UTIME_NO_TIMEOUT, enum st__link_kind.
STATES = ("running", "ready", "waiting", "ended")
NO_TIMEOUT = 2**64 - 1
LINK_POLL = 1
EVENTS = ((1, "IN"), (2, "PRI"), (4, "OUT"), (0x2000, "RDHUP"))

# Where st/switch_*.S puts each register, relative to the saved stack pointer, and what it removes
# from the stack when the thread resumes.
SAVED = {
    "i386:x86-64": {"pc": ("rip", 56), "sp": ("rsp", 64),
                    "regs": {"r15": 8, "r14": 16, "r13": 24, "r12": 32, "rbx": 40, "rbp": 48}},
    "aarch64": {"pc": ("pc", 88), "sp": ("sp", 176),
                "regs": {**{f"x{19 + i}": 8 * i for i in range(12)}}},
}

# Frames of libst and STIOL say how a thread waits, not for what. They are recognized by source file
# or name.
PLUMBING = re.compile(r"(^|/)(st|stiol)/[^/]+\.[chS]$")
PLUMBING_NAMES = re.compile(r"st__|st_|stiol_")


class Trouble(gdb.GdbError):
    """A message for the user, instead of a traceback."""


NO_SYMBOLS = """\
no debugging information for libst was found%s, which is needed to find the state threads.
Debian has it in separate packages: install libapache2-mpm-stm-dbgsym (or libst2-dbgsym). For a
module that you stripped yourself, load its debugging information before `source dev/gdb/st.py`:
    add-symbol-file FILE.debug -o %s"""


def module():
    """(name, address where it is loaded) of the object that holds the MPM, or (None, None)."""
    try:
        for line in gdb.execute("info proc mappings", to_string=True).splitlines():
            words = line.split()
            if words and "mod_mpm_stm" in words[-1]:
                return words[-1], words[0]
    except gdb.error:
        pass
    return None, None


def evaluate(expression):
    """Evaluates an expression in the program. Raises Trouble, saying what is missing."""
    try:
        return gdb.parse_and_eval(expression)
    except gdb.error as error:
        if "No symbol" not in str(error) and "unknown type" not in str(error):
            raise Trouble(f"st: {error}") from error
    if not gdb.selected_inferior().pid:
        raise Trouble("st: no process and no core file: attach to a VP (gdb -p PID) first")
    name, address = module()
    raise Trouble("st: " + NO_SYMBOLS % (f" ({name})" if name else "", address or "ADDRESS"))


def type_of(name):
    """A type of libst or the module."""
    try:
        return gdb.lookup_type(name)
    except gdb.error:
        evaluate("st__no_such_symbol")
        raise


def integer(value):
    """A pointer or a number as a non-negative Python integer."""
    return int(value) & NO_TIMEOUT


def read_word(address):
    """Reads a pointer from the program's memory."""
    return struct.unpack("<Q", gdb.selected_inferior().read_memory(address, 8).tobytes())[0]


def chain(first, link):
    """The members of a list."""
    while integer(first):
        yield first
        first = first[link]


def microseconds(us):
    """A time span for people."""
    return f"{us / 1e6:.3f} s" if us >= 1000 else f"{us} us"


class Vp:
    """A VP, and the kernel thread that runs it."""

    def __init__(self, value):
        self.value = value
        self.tid = int(value["tid"])
        self.kernel = self._kernel_thread()
        self._stacks = None

    def _kernel_thread(self):
        threads = gdb.selected_inferior().threads()
        for thread in threads:
            if self.tid in (thread.ptid[1], thread.ptid[2]):
                return thread
        # A target that numbers threads in its own way (a simulator) usually has only one.
        return threads[0] if len(threads) == 1 else None

    def stack_pointer(self):
        """The stack pointer of the kernel thread."""
        if not self.kernel:
            raise Trouble(f"st: this VP's kernel thread {self.tid} was not found")
        self.kernel.switch()
        UNWINDER.release()
        return integer(gdb.newest_frame().read_register("sp"))

    def stacks(self):
        """(lowest address, end, state thread) of each stack that has a thread."""
        if self._stacks is None:
            self._stacks = list(self._find_stacks())
        return self._stacks

    def _find_stacks(self):
        for kind in chain(self.value["stacks"]["classes"], "next"):
            stride, guard = int(kind["size"]) + int(kind["guard"]), int(kind["guard"])
            for slab in chain(kind["slabs"], "next"):
                memory, stacks = integer(slab["memory"]), slab["stacks"]
                for i in range(int(slab["fresh"])):
                    if integer(stacks[i]["thread"]):
                        low = memory + i * stride + guard
                        yield low, low + int(kind["size"]), stacks[i]["thread"]

    def threads(self):
        """All state threads: the primordial one, then the others by the addresses of their
        stacks."""
        others = sorted(self.stacks(), key=lambda stack: stack[0])
        values = [self.value["primordial"].address, *(thread for _, _, thread in others)]
        on_cpu = self._on_cpu()
        return [Thread(self, i, value.dereference(), integer(value) == on_cpu)
                for i, value in enumerate(values)]

    def _on_cpu(self):
        """The state thread on whose stack the kernel thread is. A waiting thread runs the scheduler
        on its own stack until another is ready; a signal handler may have a separate stack."""
        pointer = self.stack_pointer()
        for low, end, thread in self.stacks():
            if low <= pointer < end:
                return integer(thread)
        return integer(self.value["current"])

    def polls(self):
        """{address of a thread: [(descriptor, events)]} of those in st_poll()."""
        found = {}
        link_type = type_of("struct st__poll_link").pointer()
        table, size = self.value["fds"], type_of("struct st__fd").sizeof
        entries = int(gdb.parse_and_eval("(int)ST__FD_CHUNK"))
        for i in range(int(table["chunk_count"])):
            chunk = integer(table["chunks"][i])
            if not chunk:
                continue
            raw = gdb.selected_inferior().read_memory(chunk, entries * size).tobytes()
            for at in range(0, len(raw), size):
                if not any(raw[at:at + 8]):  # links, the first member
                    continue
                entry = table["chunks"][i][at // size]
                for link in chain(entry["links"], "next"):
                    if int(link["kind"]) == LINK_POLL:
                        poll = link.cast(link_type)
                        found.setdefault(integer(poll["thread"]), []).append(
                            (int(link["osfd"]), int(link["events"])))
        return found


def vps():
    """The process's VPs."""
    return [Vp(value.dereference()) for value in chain(evaluate("st__process")["vps"], "next_vp")]


def all_threads():
    """All state threads of all VPs, numbered through. At least one VP, or Trouble."""
    threads = []
    for vp in vps():
        threads += vp.threads()
    if not threads:
        raise Trouble("st: no VP in this process (httpd's master has none; its children have)")
    for number, thread in enumerate(threads):
        thread.number = number
    return threads


class Thread:
    """A state thread."""

    def __init__(self, vp, number, value, on_cpu):
        self.vp, self.number, self.value, self.on_cpu = vp, number, value, on_cpu
        self.address = integer(value.address)

    def state(self):
        """Its state in a word."""
        state = int(self.value["state"])
        if self.on_cpu and state == 2:
            return "idle"  # waits, and looks on its stack for another that is ready
        return STATES[state] if state < len(STATES) else f"damaged ({state})"

    def unpack(self):
        """Puts what is kept of a stack that rests where it belongs, as libst will when the thread
        goes on. That cannot be done in a core file."""
        rest, memory = self.value["rest"], gdb.selected_inferior()
        if not integer(rest):
            return
        start, end = integer(self.value["sp"]), integer(rest["low"]) + int(rest["bytes"])
        stack, at = bytearray(end - start), integer(rest["words"].address)
        for group in range(0, len(stack), 64 * 8):
            mask, at = read_word(at), at + 8
            for i in range(64):
                if mask >> i & 1:
                    stack[group + i * 8:group + i * 8 + 8] = memory.read_memory(at, 8).tobytes()
                    at += 8
        try:
            memory.write_memory(start, bytes(stack))
        except (gdb.error, gdb.MemoryError):
            print(f"st: the stack of {self.address:#x} rests, and this is no live process")

    def enter(self):
        """Makes gdb see this thread."""
        self.vp.stack_pointer()
        self.unpack()
        if not self.on_cpu:
            UNWINDER.take(integer(self.value["sp"]))

    def frames(self):
        """Its frames, innermost first. enter() comes before."""
        frame = gdb.newest_frame()
        if not self.on_cpu:
            while frame is not None and frame.type() == gdb.INLINE_FRAME:
                frame = frame.older()
            frame = frame.older() if frame is not None else None
        while frame is not None:
            yield frame
            frame = frame.older()

    def backtrace(self, jobs):
        """Prints its frames as gdb does, and those of the kernel thread that it waits for."""
        job = None
        self.enter()
        try:
            for number, frame in enumerate(self.frames()):
                print(line_of(number, frame))
                if job is None and is_plumbing(frame):
                    job = job_among(frame, jobs)
        finally:
            UNWINDER.release()
        if job is not None:
            kernel, frames = jobs[job]
            print(f"which waits for kernel thread {kernel.ptid[1]}:")
            print("\n".join(frames))

    def asks(self, jobs):
        """The innermost function that is neither libst's nor STIOL's, and the job that it waits for
        or None."""
        name, job = "?", None
        inside = self.state() != "idle"  # below epoll_wait() are frames of the C library's
        self.enter()
        try:
            for frame in self.frames():
                if frame.type() == gdb.SIGTRAMP_FRAME:  # a signal's handler came between
                    name, inside = "?", self.state() != "idle"
                    continue
                function, plumbing = name_of(frame), is_plumbing(frame)
                inside = inside or plumbing
                if plumbing and job is None:
                    job = job_among(frame, jobs)
                if inside and not plumbing and function != "??" and name == "?":
                    name = function
                    if not self.on_cpu:
                        break
        finally:
            UNWINDER.release()
        return name, job

    def waits_for(self, polls, helper):
        """What has to happen before it resumes."""
        if self.state() not in ("waiting", "idle"):
            return ""
        if helper is not None:
            return f"kernel thread {helper[0].ptid[1]}"
        things = []
        if integer(self.value["link"]["pprev"]):
            link = self.value["link"]
            things.append(descriptor(int(link["osfd"]), int(link["events"])))
        things += [descriptor(fd, events) for fd, events in polls.get(self.address, ())[:3]]
        if integer(self.value["queue"]):
            things.append(f"lock or condition {integer(self.value['queue']):#x}")
        if self.value["parked"]:
            things.append("unpark")
        deadline = integer(self.value["timer"]["deadline"])
        if deadline != NO_TIMEOUT:
            left = deadline - integer(self.vp.value["clock"])
            things.append(f"until {microseconds(left)} from the last turn" if left >= 0
                          else "a deadline that has passed")
        return ", ".join(things)


def descriptor(number, events):
    """A descriptor and the events that are waited for."""
    return f"fd {number} {'|'.join(name for bit, name in EVENTS if events & bit) or events}"


def name_of(frame):
    """The function of a frame."""
    return frame.name() or "??"


def is_plumbing(frame):
    """Whether a frame is libst's or STIOL's."""
    symtab = frame.find_sal().symtab
    if symtab is not None:
        return bool(PLUMBING.search(symtab.filename))
    return bool(PLUMBING_NAMES.match(name_of(frame)))


def line_of(number, frame):
    """One line of a backtrace."""
    sal, where = frame.find_sal(), ""
    if sal.symtab is not None:
        where = f" at {sal.symtab.filename}:{sal.line}"
    elif gdb.solib_name(frame.pc()):
        where = f" from {gdb.solib_name(frame.pc())}"
    return f"#{number:<3} {frame.pc():#018x} in {name_of(frame)} ({arguments(frame)}){where}"


def symbols(frame):
    """A frame's arguments and variables."""
    try:
        block = frame.block()
    except RuntimeError:
        return
    while block is not None:
        yield from (symbol for symbol in block if symbol.is_argument or symbol.is_variable)
        if block.function is not None:
            return
        block = block.superblock


def arguments(frame):
    """name=value of a frame's arguments, as far as known."""
    found = []
    for symbol in symbols(frame):
        if symbol.is_argument:
            try:
                value = symbol.value(frame)
                text = "..." if value.type.strip_typedefs().code in (
                    gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION) else value.format_string()
            except (gdb.error, gdb.MemoryError):
                text = "?"
            found.append(f"{symbol.name}={text}")
    return ", ".join(found)


def job_of(frame):
    """The address of the job that a helper's frame is working on, or None."""
    try:
        value = frame.read_var("job")
        return None if value.is_optimized_out else integer(value) or None
    except (ValueError, gdb.error):
        return None


def helpers():
    """{address of a job: (kernel thread, lines of its backtrace)} of the jobs that kernel threads
    are doing for state threads."""
    found = {}
    before = gdb.selected_thread()
    own = {vp.tid for vp in vps()}
    UNWINDER.release()
    for kernel in gdb.selected_inferior().threads():
        if kernel.ptid[1] in own:
            continue
        kernel.switch()
        job, stack, frame = None, [], gdb.newest_frame()
        while frame is not None:
            stack.append(line_of(len(stack), frame))
            job = job or job_of(frame)
            frame = frame.older()
        if job is not None:
            found[job] = kernel, stack
    before.switch()
    return found


def job_among(frame, jobs):
    """The one of these jobs that a variable of the frame is, points to or contains; or None."""
    for symbol in symbols(frame):
        try:
            value = symbol.value(frame)
            if value.is_optimized_out:
                continue
            if value.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
                low, size = integer(value), value.type.strip_typedefs().target().sizeof
            else:
                low, size = integer(value.address), value.type.sizeof
        except (gdb.error, TypeError, ValueError):
            continue
        for job in jobs:
            if low <= job < low + size:
                return job
    return None


class FrameId:
    """Identifies a frame to gdb."""

    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Unwinder(gdb.unwinder.Unwinder):
    """Leads from the innermost frame of the VP's kernel thread into a parked state thread."""

    def __init__(self):
        super().__init__("state-thread")
        self.saved = self.at = None

    def take(self, saved):
        """From here on the selected kernel thread's frames lead to the thread with this saved sp.
        """
        frame = gdb.newest_frame()
        self.at = integer(frame.read_register("sp")), frame.pc()
        self.saved = saved
        gdb.invalidate_cached_frames()

    def release(self):
        """Makes gdb see the kernel thread's own frames again."""
        if self.saved is not None:
            self.saved = self.at = None
            gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.saved is None:
            return None
        layout = SAVED.get(pending.architecture().name())
        if layout is None:
            return None
        pc_name, pc_at = layout["pc"]
        sp_name, sp_at = layout["sp"]
        word = gdb.lookup_type("unsigned long")
        if (integer(pending.read_register(sp_name)), integer(pending.read_register(pc_name))) \
                != self.at:
            return None

        def register(value):
            return gdb.Value(value).cast(word)
        # Below all frames of the state thread: gdb accepts only stacks that grow in one direction.
        info = pending.create_unwind_info(FrameId(register(self.saved - 16), register(self.at[1])))
        for name, offset in layout["regs"].items():
            info.add_saved_register(name, register(read_word(self.saved + offset)))
        pc = register(read_word(self.saved + pc_at))
        info.add_saved_register(pc_name, pc.cast(gdb.lookup_type("void").pointer()))
        info.add_saved_register(sp_name, register(self.saved + sp_at).cast(
            gdb.lookup_type("void").pointer()))
        return info


class Command(gdb.Command):
    """A command that leaves the selected kernel thread and frame as they were."""

    KEEP = True

    def __init__(self, name, kind=gdb.COMMAND_STACK):
        super().__init__(name, kind)

    def invoke(self, text, _from_tty):
        """What gdb calls."""
        before = gdb.selected_thread()
        try:
            self.run(gdb.string_to_argv(text))
        finally:
            if self.KEEP and before is not None and before.is_valid():
                before.switch()

    def run(self, arguments_):
        """What the command does."""
        raise NotImplementedError


def chosen(words, usage):
    """The state thread that the user has given by number or address."""
    if len(words) != 1:
        raise Trouble(f"usage: {usage}")
    try:
        wanted = integer(gdb.parse_and_eval(words[0]))
    except gdb.error as error:
        raise Trouble(f"st: {error}") from error
    threads = all_threads()
    for thread in threads:
        if wanted in (thread.number, thread.address):
            return thread
    raise Trouble(f"st: no state thread {words[0]}: there are 0 to {len(threads) - 1} (st threads)")


class Vps(Command):
    """The virtual processors (VPs) of the process: st vps"""

    def run(self, _):
        """A line each."""
        found = vps()
        for vp in found:
            threads = vp.threads()
            ready = sum(thread.state() == "ready" for thread in threads)
            print(f"VP {integer(vp.value.address):#x}: kernel thread {vp.tid}, "
                  f"{len(threads)} state threads, {ready} ready, "
                  f"{int(vp.value['stats']['switches'])} switches, "
                  f"{int(vp.value['stats']['watches_armed'])} watches armed, "
                  f"current {integer(vp.value['current']):#x}")
        if not found:
            print("no VP in this process")


class Threads(Command):
    """All state threads: st threads"""

    def run(self, _):
        """A line each."""
        threads = all_threads()
        polls = {vp: vp.polls() for vp in {thread.vp for thread in threads}}
        jobs = helpers()
        joined = {integer(thread.value["joiner"]): thread.number for thread in threads}
        print(f"{'N':>5} {'thread':<18} {'state':<8} {'in':<28} waits for")
        for thread in threads:
            name, job = thread.asks(jobs)
            what = thread.waits_for(polls[thread.vp], jobs.get(job))
            if thread.address in joined:
                what = f"the end of thread {joined[thread.address]}"
            print(f"{thread.number:>5} {thread.address:#018x} {thread.state():<8} {name:<28} "
                  f"{what}".rstrip())


class Backtrace(Command):
    """Backtrace of a state thread: st bt N, st bt ADDRESS, st bt all"""

    def run(self, words):
        """By number or address, or all."""
        everyone, jobs = words == ["all"], helpers()
        for thread in all_threads() if everyone else [chosen(words, "st bt N|ADDRESS|all")]:
            print(f"{'' if thread.number == 0 or not everyone else chr(10)}"
                  f"state thread {thread.number} ({thread.address:#x}), {thread.state()}")
            thread.backtrace(jobs)


class Select(Command):
    """Makes gdb's commands see that state thread: st thread N. Back to the kernel thread: st thread

    In a parked thread's backtrace, #0 is the kernel thread's; the state thread begins at #1."""

    KEEP = False

    def run(self, words):
        """By number or address."""
        if not words:
            UNWINDER.release()
            return
        thread = chosen(words, "st thread [N|ADDRESS]")
        thread.enter()
        for frame in thread.frames():
            frame.select()
            break
        print(f"state thread {thread.number} ({thread.address:#x}), {thread.state()}")


class Connections(Command):
    """The connections of an httpd VP: stm conns"""

    def run(self, _):
        """A line each."""
        conns = evaluate("stm_conns")
        by_handle = {thread.address: thread.number for thread in all_threads()}
        clock = max(integer(vp.value["clock"]) for vp in vps())
        states = {int(field.enumval): field.name.replace("STM_CONN_", "").lower().replace("_", " ")
                  for field in type_of("stm_conn_state_e").fields()}
        print(f"{'serial':>7} {'fd':>5} {'state':<11} {'age':>10} {'N':>5}  "
              f"{'client':<24} request")
        for conn in chain(conns["first"], "next"):
            conn = conn.dereference()
            worker = conn["worker"]
            state = states.get(int(conn["state"]), "damaged")
            number = ""
            if state == "serving" and integer(worker):
                number = by_handle.get(integer(worker["st"]), "?")
            print(f"{int(conn['serial']):>7} {int(conn['fd']):>5} {state:<11} "
                  f"{microseconds(max(clock - integer(conn['accepted']), 0)):>10} {number:>5}  "
                  f"{client(conn):<24} {request(conn)}".rstrip())


def client(conn):
    """The client's address and port."""
    raw = gdb.selected_inferior().read_memory(integer(conn["client"].address), 28).tobytes()
    family, = struct.unpack_from("=H", raw)
    port, = struct.unpack_from(">H", raw, 2)
    if family == socket.AF_INET:
        return f"{socket.inet_ntop(family, raw[4:8])}:{port}"
    if family == socket.AF_INET6:
        return f"[{socket.inet_ntop(family, raw[8:24])}]:{port}"
    return "?"


def request(conn):
    """The request line, as far as it has come."""
    line = conn["request"]
    if not integer(line) or not integer(line["the_request"]):
        return ""
    return printable(line["the_request"].string(errors="backslashreplace"))


def printable(text):
    """A text that a client has sent, without what a terminal would interpret (C1 and bidi, too)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def forget(_event):
    """The process continues: what was seen of a state thread is outdated."""
    UNWINDER.saved = UNWINDER.at = None


UNWINDER = Unwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)
gdb.events.cont.connect(forget)
type("Prefix", (gdb.Command,), {"__doc__": __doc__})(
    "st", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)
type("Prefix", (gdb.Command,), {"__doc__": "The MPM's state in an httpd VP: stm conns"})(
    "stm", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)
Vps("st vps")
Threads("st threads")
Backtrace("st bt")
Select("st thread")
Connections("stm conns")
