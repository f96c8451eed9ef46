"""What only CPython does this way; hal/runtime/micropython/__init__.py has the same names."""

import asyncio
import base64
import binascii
import errno
import hmac
import json
import os
import re
import select
import signal
import socket
import sys
import time
import traceback

from hal.runtime.annotations import IO, Any, Awaitable, Callable, Coroutine, T, Ts, Unpack
from hal.runtime.cpython.threads import Threads
from hal.runtime.decimals import Decimal
from hal.runtime.logs import log
from hal.runtime.memory import MEMORY

_threads = Threads(8)
_FLOW_READ = 2048  # bytes
_ALL = 1 << 20  # bytes, more than a reader holds
_locked: dict = {}  # folder -> the open descriptor whose lock keeps others out


def now_ms() -> int:
    """Milliseconds since an arbitrary start; never set back, not moved by setting the clock."""
    return time.monotonic_ns() // 1000000


def now_us() -> int:
    """Microseconds since an arbitrary start, as `now_ms`."""
    return time.monotonic_ns() // 1000


def traceback_text(exc: BaseException) -> str:
    """The traceback of an exception, in lines."""
    return "".join(traceback.format_exception(exc)).rstrip()


def peer_address(writer: asyncio.StreamWriter) -> str:
    """The address of the other end of a stream, without its port."""
    peer = writer.get_extra_info("peername")
    return peer[0] if peer else ""


def fsync_file(file: IO) -> None:
    """Bring a file's data to the medium."""
    file.flush()
    os.fsync(file.fileno())


def b64encode(data: bytes) -> str:
    """Base64 text (RFC 4648 section 4) of bytes."""
    return base64.b64encode(data).decode()


def b64decode(text: str) -> bytes:
    """Bytes of a Base64 text; ValueError where a character, the padding or the length is wrong."""
    data = binascii.a2b_base64(text, strict_mode=True)
    if base64.b64encode(data) != text.encode():
        raise ValueError("not Base64")
    return data


def constant_time_equal(a: bytes, b: bytes) -> bool:
    """Compare two byte strings in a time that does not depend on where they differ."""
    return hmac.compare_digest(a, b)


def json_dumps(value: object) -> str:
    """The JSON text of a value, of the decimals in it too."""
    text = _encode(value)
    return _MARKED.sub(r"\1", text) if _MARK in text else text


def _marked(value: object) -> str:
    if isinstance(value, Decimal):
        return _MARK + value.text
    raise TypeError(f"{type(value).__name__} is not JSON")


_MARK = os.urandom(8).hex()  # stands before a decimal's text on its way into JSON, and nobody can guess it
_MARKED = re.compile(f'"{_MARK}([^"]*)"')
_encode = json.JSONEncoder(check_circular=False, default=_marked).encode


async def offload(function: Callable[[Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
    """The result of a function that blocks, called in a thread so that the event loop goes on."""
    return await _threads.call(function, *args)


async def close_stream(writer: asyncio.StreamWriter) -> None:
    """Close a stream after what was written has left."""
    writer.close()
    await writer.wait_closed()


def abort_stream(writer: asyncio.StreamWriter) -> None:
    """Close a stream at once, dropping what has not left."""
    writer.transport.abort()


def has_unsent(writer: asyncio.StreamWriter) -> bool:
    """Whether something that was written has not left yet: it is time to `drain`."""
    return writer.transport.get_write_buffer_size() > 0


class _Flow:
    """What comes on a stream, handed over in the turn of the loop in which it comes: `received(data)`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Callable[[bytes], None]):
        self._reader = reader
        self._writer = writer
        self._received = received
        limit_reads(writer, _FLOW_READ)

    async def run(self) -> None:
        """Hand over until the other end has closed; CONNECTION_ERRORS.

        A task that waits for bytes runs one turn later than they come. So the reader that asyncio fills passes on what
        it is fed, once what it has got before is out of it.
        """
        data = await self._reader.read(_ALL)
        if data:
            self._reader.feed_data = self._received  # type: ignore[method-assign, assignment]
            self._received(data)
            await self._reader.read(1)

    def pause(self) -> None:
        """Hand over no more, nearly at once."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        """Go on."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]


def flow_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Callable[[bytes], None]) -> Any:
    """The flow of a stream: its `run()` calls `received(data)`, between `pause()` and `resume()` it does not."""
    return _Flow(reader, writer, received)


def peer_is_gone(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end has closed its side, whatever has come from it being read or not."""
    sock = writer.get_extra_info("socket")
    if writer.transport.is_closing() or sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def limit_reads(writer: asyncio.StreamWriter, size: int) -> None:
    """Have a stream take at most so many bytes in one turn of the loop, so that a flood on it leaves time for others.

    asyncio's own 256 KB are allocated anew for each read, however little comes.
    """
    writer.transport.max_size = size  # type: ignore[attr-defined]


def keep_alive(writer: asyncio.StreamWriter, seconds: int) -> None:
    """Have TCP probe a silent connection every so many seconds, 0: never (RFC 9293 section 3.8.4)."""
    sock = writer.get_extra_info("socket")
    if seconds and sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


async def open_tls(host: str, port: int) -> tuple:
    """(reader, writer) of a TLS connection whose certificate was checked against the system's authorities."""
    import ssl

    return await asyncio.open_connection(host, port, ssl=ssl.create_default_context())


def forget_modules(*names: str) -> None:
    """Let modules go that are seldom needed. There is memory enough for them here."""


def flush_output() -> None:
    """Bring what was printed to the standard output now."""
    sys.stdout.flush()


def on_stop_signal(callback: Callable[[], None]) -> None:
    """Call a function on the event loop when the process is told to stop (SIGTERM, SIGINT)."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, callback)


def make_folder(path: str) -> None:
    """Make a folder, readable by its owner alone, where there is none."""
    os.makedirs(path, mode=0o700, exist_ok=True)


def lock_folder(path: str) -> bool:
    """Whether this process has a folder for itself from now on: no other one holds it by this function."""
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _locked[path] = descriptor
    return True


def unlock_folder(path: str) -> None:
    """Let a folder go that this process has for itself."""
    os.close(_locked.pop(path))


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on an event loop whose timers are finer than a millisecond."""
    from hal.runtime.cpython.event_loop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)


CONNECTION_ERRORS = (OSError, EOFError)
ENOENT = errno.ENOENT


async def resolve(host: str, port: int) -> list:
    """What socket.getaddrinfo finds, in a thread."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)


async def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of a host, best first. OSError where it has none."""
    return [str(found[4][0]) for found in await resolve(host, port)]


async def open_stream(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """(reader, writer) of a TCP connection. OSError."""
    return await asyncio.open_connection(host, port)


async def listen(
    callback: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    host: str,
    port: int,
    backlog: int = 16,
) -> asyncio.Server:
    """A server of streams whose `close()` ends it; hosts 0.0.0.0 and :: are all addresses of IPv4 and IPv6. OSError."""
    return await asyncio.start_server(callback, "" if host in ("0.0.0.0", "::") else host, port, backlog=backlog)


async def bind_datagrams(host: str, port: int) -> socket.socket:
    """A socket for `receive_from` and `sendto`; host 0.0.0.0 is all addresses, those of IPv6 too. OSError."""
    if host == "0.0.0.0" and socket.has_dualstack_ipv6():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        host = "::"
    else:
        sock = socket.socket((await resolve(host, port))[0][0], socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


async def receive_from(sock: socket.socket, limit: int) -> tuple[bytes, str, tuple]:
    """(data, address of the sender as text, the same for `sendto`) of the next datagram, cut to so many bytes."""
    data, address = await asyncio.get_running_loop().sock_recvfrom(sock, limit)
    return data, address[0], address


async def receive_datagram(sock: socket.socket, limit: int) -> bytes:
    """The next datagram that comes to a socket, cut to so many bytes."""
    return await asyncio.get_running_loop().sock_recv(sock, limit)


def run_task(coroutine: Coroutine[Any, Any, Any], lasting: str = "") -> asyncio.Task:
    """Run a coroutine beside the others. An exception that it lets out is logged at once. `lasting` names what must go
    on: where it ends for want of memory, the device starts anew."""
    task = asyncio.create_task(coroutine)
    task.add_done_callback(lambda task: _ended(task, lasting))
    return task


def _ended(task: asyncio.Task, lasting: str) -> None:
    failure = None if task.cancelled() else task.exception()
    if isinstance(failure, MemoryError) and lasting:
        MEMORY.ended(lasting)
    elif failure is not None:
        log(traceback_text(failure))


def call_after(seconds: float, function: Callable[[], None]) -> Any:
    """Call a function after so long, no earlier; `cancel()` of what is returned prevents it."""
    loop = asyncio.get_running_loop()
    return loop.call_at(loop.time() + seconds, function)


async def in_time(awaitable: Awaitable[T], seconds: float) -> T:
    """The result of a coroutine; asyncio.TimeoutError, and it is cancelled, where it takes longer than so long.

    Not asyncio.wait_for: that of 3.11 swallows a cancellation that comes in the turn in which the result is there, so
    that what was stopped goes on.
    """
    async with asyncio.timeout(seconds):
        return await awaitable


def http_answers(host: str, port: int, seconds: float) -> bool:
    """Whether something on this machine answers an HTTP request; blocks, so it is for a thread."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as sock:
            sock.sendall(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return sock.recv(9) == b"HTTP/1.1 "
    except OSError:
        return False
