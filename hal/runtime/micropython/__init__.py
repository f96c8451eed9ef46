"""What only MicroPython does this way; hal/runtime/cpython/__init__.py has the same names."""

import asyncio
import binascii
import errno
import gc
import io
import json
import os
import select
import socket
import sys
import time

from hal.runtime.annotations import IO, Any, Awaitable, Callable, Coroutine, T, Ts, Unpack
from hal.runtime.memory import MEMORY

# Collected early, what lives on is not scattered all over the heap, and long answers fit.
gc.threshold(65536)  # type: ignore[attr-defined]

_LONG_MS = 400000  # the ticks of microseconds wrap after 18 minutes on boards, those of milliseconds after 12 days

_ticks: int = time.ticks_ms()  # type: ignore[attr-defined]
_sum_ms = 0
_us_ticks: tuple[int, int] = time.ticks_ms(), time.ticks_us()  # type: ignore[attr-defined]
_sum_us = 0
_FLOW_READ = 512  # bytes
_EXACT_US = 100000  # timers below that come to the microsecond
_AGAIN_MS = 10  # after which a timer tries again that had no memory


def now_ms() -> int:
    """Milliseconds since an arbitrary start; never set back, not moved by setting the clock.

    Goes on where the port's ticks wrap, if it is asked once in six days.
    """
    global _ticks, _sum_ms
    ticks: int = time.ticks_ms()  # type: ignore[attr-defined]
    _sum_ms += time.ticks_diff(ticks, _ticks)  # type: ignore[attr-defined]
    _ticks = ticks
    return _sum_ms


def now_us() -> int:
    """Microseconds since an arbitrary start, as `now_ms`."""
    global _us_ticks, _sum_us
    ticks: tuple[int, int] = time.ticks_ms(), time.ticks_us()  # type: ignore[attr-defined]
    passed_ms = time.ticks_diff(ticks[0], _us_ticks[0])  # type: ignore[attr-defined]
    passed_us = time.ticks_diff(ticks[1], _us_ticks[1])  # type: ignore[attr-defined]
    _sum_us += passed_us if passed_ms < _LONG_MS else passed_ms * 1000
    _us_ticks = ticks
    return _sum_us


def traceback_text(exc: BaseException) -> str:
    """The traceback of an exception, in lines."""
    text = io.StringIO()
    sys.print_exception(exc, text)  # type: ignore[attr-defined]
    return text.getvalue().rstrip()


def peer_address(writer: asyncio.StreamWriter) -> str:
    """The address of the other end of a stream, without its port."""
    return _address_text(writer.get_extra_info("peername"))


def _address_text(raw: object) -> str:
    """The address in a socket address: a tuple on boards, packed bytes on the unix port."""
    if not isinstance(raw, (bytes, bytearray)):
        return str(raw[0])  # type: ignore[index]
    family_address = socket.sockaddr(raw)  # type: ignore[attr-defined]
    return ".".join(str(byte) for byte in family_address[1])


def fsync_file(file: IO) -> None:
    """Bring a file's data to the medium."""
    file.flush()


def b64encode(data: bytes) -> str:
    """Base64 text (RFC 4648 section 4) of bytes."""
    return binascii.b2a_base64(data).decode().strip()


def b64decode(text: str) -> bytes:
    """Bytes of a Base64 text; ValueError where a character, the padding or the length is wrong."""
    data = binascii.a2b_base64(text)
    if b64encode(data) != text:
        raise ValueError("not Base64")
    return data


def constant_time_equal(a: bytes, b: bytes) -> bool:
    """Compare two byte strings in a time that does not depend on where they differ."""
    difference = len(a) ^ len(b)
    for x, y in zip(a, b):  # noqa: B905 - no strict= here; the lengths are compared above
        difference |= x ^ y
    return difference == 0


def json_dumps(value: object) -> str:
    """The JSON text of a value."""
    return json.dumps(value)


async def offload(function: Callable[[Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
    """The result of a function that blocks; there are no threads here, so it is called in place."""
    return function(*args)


async def close_stream(writer: asyncio.StreamWriter) -> None:
    """Close a stream after what was written has left."""
    _note_close(writer)
    await writer.wait_closed()


def abort_stream(writer: asyncio.StreamWriter) -> None:
    """Close a stream at once, dropping what has not left."""
    _note_close(writer)
    writer.s.close()  # type: ignore[attr-defined]


def has_unsent(writer: asyncio.StreamWriter) -> bool:
    """Whether something that was written has not left yet: it is time to `drain`."""
    return bool(writer.out_buf)  # type: ignore[attr-defined]


class _Flow:
    """What comes on a stream, handed over as it comes: `received(data)`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Callable[[bytes], None]):
        self._reader = reader
        self._received = received
        self._goes_on = asyncio.Event()
        self._goes_on.set()

    async def run(self) -> None:
        """Hand over until the other end has closed; CONNECTION_ERRORS."""
        while True:
            data = await self._reader.read(_FLOW_READ)
            if not data:
                return
            self._received(data)
            await self._goes_on.wait()

    def pause(self) -> None:
        """Hand over no more."""
        self._goes_on.clear()

    def resume(self) -> None:
        """Go on."""
        self._goes_on.set()


def flow_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Callable[[bytes], None]) -> Any:
    """The flow of a stream: its `run()` calls `received(data)`, between `pause()` and `resume()` it does not."""
    return _Flow(reader, writer, received)


def _note_close(writer: asyncio.StreamWriter) -> None:
    """Make room for another TLS connection, where this was the one."""
    tls = sys.modules.get("hal.runtime.micropython.tls")
    if tls is not None:
        tls.was_closed(writer)


def peer_is_gone(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end has closed its side, as far as this port can tell without reading what has come."""
    sock = writer.s  # type: ignore[attr-defined]
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    events = poll.poll(0)
    if not events:
        return False
    if events[0][1] & (select.POLLHUP | select.POLLERR):
        return True
    try:
        return hasattr(socket, "MSG_PEEK") and sock.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def limit_reads(writer: asyncio.StreamWriter, size: int) -> None:
    """A stream takes no more than it is asked for here."""


def keep_alive(writer: asyncio.StreamWriter, seconds: int) -> None:
    """MicroPython's sockets have no option for TCP keep-alive probes."""


async def open_tls(host: str, port: int) -> tuple:
    """(reader, writer) of a TLS connection whose certificate was checked. OSError."""
    from hal.runtime.micropython.tls import open_checked

    return await open_checked(host, (await addresses_of(host, port))[0], port)


def forget_modules(*names: str) -> None:
    """Let modules go that are seldom needed; who imports them again gets them anew."""
    for name in names:
        package, _, last = name.rpartition(".")
        if sys.modules.pop(name, None) is not None and hasattr(sys.modules[package], last):
            delattr(sys.modules[package], last)


def flush_output() -> None:
    """MicroPython writes its standard output at once."""


def on_stop_signal(callback: Callable[[], None]) -> None:
    """MicroPython knows no signals: Ctrl-C raises KeyboardInterrupt, SIGTERM ends the process."""


def make_folder(path: str) -> None:
    """Make a folder, readable by its owner alone, where there is none."""
    try:
        os.mkdir(path)
    except OSError as exc:
        if exc.args[0] != errno.EEXIST:
            raise


def lock_folder(path: str) -> bool:
    """Whether this process has a folder for itself; there is no other process here."""
    return True


def unlock_folder(path: str) -> None:
    """Let a folder go that this process has for itself."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on an event loop."""
    asyncio.run(main)


CONNECTION_ERRORS = (OSError, EOFError)
ENOENT = errno.ENOENT


async def resolve(host: str, port: int) -> list:
    """What socket.getaddrinfo finds of a host. It is told an address, for with a name it would hold the loop up."""
    from hal.runtime.micropython.dns import SERVERS, lookup

    if SERVERS and not _is_address(host):
        host = await lookup(host)
    return socket.getaddrinfo(host, port)


def _is_address(host: str) -> bool:
    return ":" in host or all(part.isdigit() for part in host.split("."))


async def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of a host, best first. OSError where it has none."""
    return [_address_text(found[-1]) for found in await resolve(host, port)]


async def open_stream(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """(reader, writer) of a TCP connection. OSError."""
    return await asyncio.open_connection((await addresses_of(host, port))[0], port)


async def listen(
    callback: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    host: str,
    port: int,
    backlog: int = 16,
) -> asyncio.Server:
    """A server of streams whose `close()` ends it; host 0.0.0.0 is all addresses. OSError."""
    return await asyncio.start_server(callback, host, port, backlog=backlog)


async def bind_datagrams(host: str, port: int) -> socket.socket:
    """A socket for `receive_from` and `sendto`; host 0.0.0.0 is all addresses. OSError."""
    found = (await resolve(host, port))[0]
    sock = socket.socket(found[0], socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(found[-1])
    return sock


async def receive_from(sock: socket.socket, limit: int) -> tuple[bytes, str, tuple]:
    """(data, address of the sender as text, the same for `sendto`) of the next datagram, cut to so many bytes."""
    data, address = await _when_ready(sock.recvfrom, limit)
    return data, _address_text(address), address


async def receive_datagram(sock: socket.socket, limit: int) -> bytes:
    """The next datagram that comes to a socket, cut to so many bytes."""
    return await _when_ready(sock.recv, limit)


async def _when_ready(receive: Callable[[int], T], limit: int) -> T:
    while True:
        try:
            return receive(limit)
        except OSError as exc:
            if exc.args[0] != errno.EAGAIN:
                raise
        await asyncio.sleep(0.002)


def run_task(coroutine: Coroutine[Any, Any, Any], lasting: str = "") -> asyncio.Task:
    """Run a coroutine beside the others. An exception that it lets out is logged by the event loop. `lasting` names
    what must go on: where it ends for want of memory, the device starts anew."""
    return asyncio.create_task(_go_on(coroutine, lasting) if lasting else coroutine)


async def _go_on(coroutine: Coroutine[Any, Any, Any], name: str) -> None:
    try:
        await coroutine
    except MemoryError:
        MEMORY.ended(name)


class Later:
    """A function that is called later, once, by a task of its own."""

    def __init__(self, seconds: float, function: Callable[[], None]):
        self._function = function
        began: int = time.ticks_us()  # type: ignore[attr-defined]
        self._task: asyncio.Task | None = asyncio.create_task(self._run(max(0, int(seconds * 1000000)), began))

    def cancel(self) -> None:
        """Do not call it any more; safe to call from inside."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _run(self, microseconds: int, began: int) -> None:
        exact = microseconds < _EXACT_US
        await asyncio.sleep_ms(microseconds // 1000 + (not exact))  # type: ignore[attr-defined]
        while exact and time.ticks_diff(time.ticks_us(), began) < microseconds:  # type: ignore[attr-defined]
            pass  # the loop counts milliseconds, which is coarse for a silence on the line
        while self._task is not None:
            task, self._task = self._task, None
            try:
                self._function()
            except MemoryError:  # a deadline that is lost would be waited for for ever
                MEMORY.ran_out("a timer")
                self._task = task
                await asyncio.sleep_ms(_AGAIN_MS)  # type: ignore[attr-defined]


def call_after(seconds: float, function: Callable[[], None]) -> Any:
    """Call a function after so long, no earlier; `cancel()` of what is returned prevents it."""
    return Later(seconds, function)


async def in_time(awaitable: Awaitable[T], seconds: float) -> T:
    """The result of a coroutine; asyncio.TimeoutError, and it is cancelled, where it takes longer than so long."""
    return await asyncio.wait_for(awaitable, seconds)


def http_answers(host: str, port: int, seconds: float) -> bool:
    """True: there are no threads here, and the loop cannot ask itself from outside."""
    return True
