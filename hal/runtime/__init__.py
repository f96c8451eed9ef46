"""The one place that knows which Python runs the firmware: CPython 3.11 or later, or MicroPython 1.28 or later.

Everything else imports what differs between the two from here.
"""

import asyncio
import hashlib
import json
import os
import sys
import time

MICROPYTHON = sys.implementation.name == "micropython"

DATAGRAM_LIMIT = 512  # bytes of an answer that are read

_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

if MICROPYTHON:
    import binascii
    import errno
    import gc
    import select
    import socket

    # Collected early, what lives on is not scattered all over the heap, and long answers fit.
    gc.threshold(65536)  # type: ignore[attr-defined]

    _ticks_last = time.ticks_ms()  # type: ignore[attr-defined]
    _ticks_sum = 0

    def monotonic() -> float:
        """Seconds since an arbitrary start; never set back, not moved by setting the clock."""
        global _ticks_last, _ticks_sum
        now = time.ticks_ms()  # type: ignore[attr-defined]
        _ticks_sum += time.ticks_diff(now, _ticks_last)  # type: ignore[attr-defined]
        _ticks_last = now
        return _ticks_sum / 1000

    def log_exception(exc: BaseException) -> None:
        """Write the traceback of an exception to the standard error."""
        sys.print_exception(exc, sys.stderr)  # type: ignore[attr-defined]

    def peer_address(writer: object) -> str:
        """The address of the other end of a stream, without its port."""
        return _address_text(writer.get_extra_info("peername"))  # type: ignore[attr-defined]

    def _address_text(raw: object) -> str:
        """The address in a socket address: a tuple on boards, packed bytes on the unix port."""
        if not isinstance(raw, (bytes, bytearray)):
            return str(raw[0])  # type: ignore[index]
        family_address = socket.sockaddr(raw)  # type: ignore[attr-defined]
        return ".".join(str(byte) for byte in family_address[1])

    def fsync_file(file: object) -> None:
        """Bring a file's data to the medium."""
        file.flush()  # type: ignore[attr-defined]

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

    json_dumps = json.dumps

    async def offload(function, *args):
        """The result of a function that blocks; there are no threads here, so it is called in place."""
        return function(*args)

    async def close_stream(writer: object) -> None:
        """Close a stream after what was written has left."""
        await writer.wait_closed()  # type: ignore[attr-defined]

    def abort_stream(writer: object) -> None:
        """Close a stream at once, dropping what has not left."""
        writer.s.close()  # type: ignore[attr-defined]

    def peer_is_gone(writer: object) -> bool:
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

    def keep_alive(writer: object, seconds: int) -> None:
        """MicroPython's sockets have no option for TCP keep-alive probes."""

    async def open_tls(host: str, port: int) -> tuple:
        """(reader, writer) of a TLS connection whose certificate was checked against the system's authorities."""
        raise OSError("this board has no certificate store")

    def flush_output() -> None:
        """MicroPython writes its standard output at once."""

    def on_stop_signal(callback: object) -> None:
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

    def run(main: object) -> None:
        """Run a coroutine to its end on an event loop."""
        asyncio.run(main)  # type: ignore[arg-type]

    CONNECTION_ERRORS = (OSError, EOFError)
    ENOENT = errno.ENOENT

else:
    import base64
    import binascii
    import errno
    import hmac
    import select
    import signal
    import traceback

    monotonic = time.monotonic

    def log_exception(exc: BaseException) -> None:
        """Write the traceback of an exception to the standard error."""
        traceback.print_exception(exc, file=sys.stderr)

    def peer_address(writer: object) -> str:
        """The address of the other end of a stream, without its port."""
        peer = writer.get_extra_info("peername")  # type: ignore[attr-defined]
        return peer[0] if peer else ""

    def fsync_file(file: object) -> None:
        """Bring a file's data to the medium."""
        file.flush()  # type: ignore[attr-defined]
        os.fsync(file.fileno())  # type: ignore[attr-defined]

    def b64encode(data: bytes) -> str:
        """Base64 text (RFC 4648 section 4) of bytes."""
        return base64.b64encode(data).decode()

    def b64decode(text: str) -> bytes:
        """Bytes of a Base64 text; ValueError where a character, the padding or the length is wrong."""
        data = binascii.a2b_base64(text, strict_mode=True)
        if base64.b64encode(data) != text.encode():
            raise ValueError("not Base64")
        return data

    constant_time_equal = hmac.compare_digest  # type: ignore[assignment]

    json_dumps = json.JSONEncoder(check_circular=False).encode  # type: ignore[assignment]

    async def offload(function, *args):
        """The result of a function that blocks, called in a thread so that the event loop goes on."""
        return await asyncio.to_thread(function, *args)

    async def close_stream(writer: object) -> None:
        """Close a stream after what was written has left."""
        writer.close()  # type: ignore[attr-defined]
        await writer.wait_closed()  # type: ignore[attr-defined]

    def abort_stream(writer: object) -> None:
        """Close a stream at once, dropping what has not left."""
        writer.transport.abort()  # type: ignore[attr-defined]

    def peer_is_gone(writer: object) -> bool:
        """Whether the other end has closed its side, whatever has come from it being read or not."""
        sock = writer.get_extra_info("socket")  # type: ignore[attr-defined]
        if writer.transport.is_closing() or sock is None or sock.fileno() < 0:  # type: ignore[attr-defined]
            return True
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    def keep_alive(writer: object, seconds: int) -> None:
        """Have TCP probe a silent connection every so many seconds, 0: never (RFC 9293 section 3.8.4)."""
        import socket

        sock = writer.get_extra_info("socket")  # type: ignore[attr-defined]
        if seconds and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)

    async def open_tls(host: str, port: int) -> tuple:
        """(reader, writer) of a TLS connection whose certificate was checked against the system's authorities."""
        import ssl

        return await asyncio.open_connection(host, port, ssl=ssl.create_default_context())

    def flush_output() -> None:
        """Bring what was printed to the standard output now."""
        sys.stdout.flush()

    def on_stop_signal(callback: object) -> None:
        """Call a function on the event loop when the process is told to stop (SIGTERM, SIGINT)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, callback)  # type: ignore[arg-type]

    def make_folder(path: str) -> None:
        """Make a folder, readable by its owner alone, where there is none."""
        os.makedirs(path, mode=0o700, exist_ok=True)

    def lock_folder(path: str) -> bool:
        """Whether this process has a folder for itself from now on: no other one holds it by this function."""
        import fcntl

        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # let go when the process ends
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        return True

    def run(main: object) -> None:
        """Run a coroutine to its end on an event loop whose timers are finer than a millisecond."""
        from hal.runtime.event_loop import new_event_loop

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main)  # type: ignore[arg-type]

    CONNECTION_ERRORS = (OSError, EOFError)
    ENOENT = errno.ENOENT


def log(text: str) -> None:
    """Write one line to the standard error, where the service manager collects it."""
    print(text, file=sys.stderr)


def random_bytes(count: int) -> bytes:
    """Bytes from the system's secure random source."""
    return os.urandom(count)


def random_text(length: int) -> str:
    """A secret of so many characters out of [A-Za-z0-9], each equally likely."""
    text = ""
    while len(text) < length:
        for byte in os.urandom(length):
            if byte < 248 and len(text) < length:  # 248 = 4 * 62: the rest would favour some characters
                text += _ALPHANUMERIC[byte % 62]
    return text


def sha1_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-1."""
    return hashlib.sha1(data).digest().hex()


def sha256(data: bytes) -> bytes:
    """SHA-256 digest."""
    return hashlib.sha256(data).digest()


async def wait_until(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event at most so long; True where it was set in time."""
    if event.is_set():
        return True
    if seconds <= 0:
        return False
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return event.is_set()
    return True


# Files on a card, which somebody else may have written: links, pipes and names that are no text among them.

if MICROPYTHON:

    def serial_offload():
        """An `offload` that calls functions one after another."""
        return offload

    def link_status(path: str) -> tuple:
        """os.stat of a path without following it where it is a link; there are no links here."""
        return os.stat(path)

    def translate(text: str, table: dict) -> str:
        """The text with its characters replaced by a table from code to code."""
        return "".join(chr(table.get(ord(character), ord(character))) for character in text)

    def real_path(path: str) -> str:
        """The path without links in it."""
        return path

    def list_folder(path: str) -> list:
        """[(name, "file"|"folder"|"link"|"other")] of all that is in a folder."""
        kinds = {0x4000: "folder", 0x8000: "file"}
        return [(entry[0], kinds.get(entry[1], "other")) for entry in os.ilistdir(path)]  # type: ignore[attr-defined]

    def folder_stamp(path: str) -> "int | None":
        """A number that changes when something is added to a folder, removed or renamed; nobody else does that here."""
        return int(os.stat(path)[8])

    def open_regular(path: str):
        """Open a file for unbuffered reading."""
        return open(path, "rb")

    def open_new(path: str):
        """Make a file and open it for unbuffered writing."""
        return open(path, "wb")

    def sync_folder(path: str) -> None:
        """Bring a folder's entries to the medium; here each change does that."""

else:
    import stat
    from concurrent.futures import ThreadPoolExecutor

    def serial_offload():
        """An `offload` with a thread of its own, which calls functions one after another in the order of the calls."""
        worker = ThreadPoolExecutor(1)

        async def offload(function, *args):
            """The result of a function that blocks."""
            return await asyncio.get_running_loop().run_in_executor(worker, function, *args)

        return offload

    def link_status(path: str) -> tuple:
        """os.stat of a path without following it where it is a link."""
        return os.lstat(path)

    def translate(text: str, table: dict) -> str:
        """The text with its characters replaced by a table from code to code."""
        return text.translate(table)

    def real_path(path: str) -> str:
        """The path without links in it."""
        return os.path.realpath(path)

    def list_folder(path: str) -> list:
        """[(name, "file"|"folder"|"link"|"other")] of all that is in a folder."""
        with os.scandir(path) as entries:
            return [(entry.name, _entry_kind(entry)) for entry in entries]

    def _entry_kind(entry: "os.DirEntry") -> str:
        if entry.is_file(follow_symlinks=False):
            return "file"
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "link" if entry.is_symlink() else "other"

    def folder_stamp(path: str) -> "int | None":
        """A number that changes when something is added to a folder, removed or renamed, where the medium tells.

        None while the last change is so recent that another one would not show: FAT counts in steps of 2 seconds.
        """
        stamp: int = os.stat(path).st_mtime_ns
        return None if time.time_ns() - stamp < 2_000_000_000 else stamp

    def open_regular(path: str):
        """Open a file for unbuffered reading; OSError for a link, and never waits for the other end of a pipe."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a file")
        return open(descriptor, "rb", buffering=0)

    def open_new(path: str):
        """Make a file that was not there, not through a link either, and open it for unbuffered writing."""
        return open(path, "xb", buffering=0)

    def sync_folder(path: str) -> None:
        """Bring a folder's entries to the medium."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# Datagrams.

if MICROPYTHON:

    async def _resolve(host: str, port: int) -> list:
        """What socket.getaddrinfo finds; it blocks, for there are no threads here."""
        return socket.getaddrinfo(host, port)

    async def addresses_of(host: str, port: int) -> "list[str]":
        """The addresses of a host, best first. OSError where it has none."""
        return [_address_text(found[-1]) for found in await _resolve(host, port)]

    async def _receive(sock) -> bytes:
        """The next datagram that comes to a socket."""
        while True:
            try:
                return sock.recv(DATAGRAM_LIMIT)
            except OSError as exc:
                if exc.args[0] != errno.EAGAIN:
                    raise
            await asyncio.sleep(0.002)

else:
    import socket

    async def _resolve(host: str, port: int) -> list:
        """What socket.getaddrinfo finds, in a thread."""
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)

    async def addresses_of(host: str, port: int) -> "list[str]":
        """The addresses of a host, best first. OSError where it has none."""
        return [str(found[4][0]) for found in await _resolve(host, port)]

    async def _receive(sock) -> bytes:
        """The next datagram that comes to a socket."""
        return await asyncio.get_running_loop().sock_recv(sock, DATAGRAM_LIMIT)


class NoSuchHost(OSError):
    """No address was found for a host name, or not in time."""


async def datagram_exchange(host: str, port: int, payload: bytes, timeout: float, fits) -> "tuple | None":
    """Send a datagram and wait for one from there that `fits(data)`: (data, monotonic times of sending and of coming).

    None where none comes in time. NoSuchHost; OSError where nothing can be sent there.
    """
    end = monotonic() + timeout
    try:
        found = (await asyncio.wait_for(_resolve(host, port), timeout))[0]
    except (OSError, asyncio.TimeoutError):
        raise NoSuchHost(host) from None
    sock = socket.socket(found[0], socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(found[-1])  # the kernel then drops what comes from elsewhere
        sent = monotonic()
        sock.send(payload)
        return await _answer(sock, sent, end, fits)
    finally:
        sock.close()


async def _answer(sock, sent: float, end: float, fits) -> "tuple | None":
    while monotonic() < end:
        try:
            data = await asyncio.wait_for(_receive(sock), end - monotonic())
        except asyncio.TimeoutError:
            break
        except OSError as exc:
            if exc.args[0] != errno.ECONNREFUSED:  # an ICMP message, which anybody can forge: the answer may still come
                raise
        else:
            came = monotonic()
            if fits(data):
                return data, sent, came
        await asyncio.sleep(0.01)  # whoever floods us must not have the event loop
    return None
