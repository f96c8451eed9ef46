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

JSON_DEPTH_LIMIT = 32  # nesting that the API accepts; its own bodies need 6

_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

if MICROPYTHON:
    import binascii
    import errno
    import socket

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
        raw = writer.get_extra_info("peername")  # type: ignore[attr-defined]
        if not isinstance(raw, (bytes, bytearray)):
            return str(raw[0])
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

    def run(main: object) -> None:
        """Run a coroutine to its end on an event loop whose timers are finer than a millisecond."""
        from hal.linux.event_loop import new_event_loop

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
    return "".join(f"{byte:02x}" for byte in hashlib.sha1(data).digest())


def sha256(data: bytes) -> bytes:
    """SHA-256 digest."""
    return hashlib.sha256(data).digest()


def json_loads(text: str) -> object:
    """Parse JSON; ValueError where it is broken, nested too deep, or holds anything but JSON."""
    if MICROPYTHON or text.count("[") + text.count("{") > JSON_DEPTH_LIMIT:
        _check_brackets(text)
    return json.loads(text)


def _check_brackets(text: str) -> None:
    """Refuse unpaired or too deeply nested brackets: MicroPython's parser would take the first, a stack the second."""
    expected = []
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            expected.append("]" if character == "[" else "}")
            if len(expected) > JSON_DEPTH_LIMIT:
                raise ValueError(f"nested deeper than {JSON_DEPTH_LIMIT}")
        elif character in "]}" and (not expected or expected.pop() != character):
            raise ValueError("unpaired bracket")
    if expected or in_string:
        raise ValueError("ends too early")


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
