"""The device under a service manager: its protocol on a real Unix socket, and a board with parts that fail."""

import asyncio
import contextlib
import fcntl
import json
import os
import pathlib
import socket
import subprocess
import sys
import sysconfig

import httpx
import pytest

from firmware.services.settings.values import with_factory_login
from firmware.services.system import state as state_module
from firmware.services.system.health import Health
from firmware.services.system.state import State
from firmware.services.system.watchdog import Watchdog
from hal import board
from hal.contracts import CardFailed, NoModem, NotPermitted, Part, System
from hal.linux.host import supervisor
from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON

ROOT = pathlib.Path(__file__).parents[2]
BOARD = ROOT / "board-configs" / "simulated.json"


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(20)

    def hear(self):
        return self.socket.recv(4096).decode()


@pytest.fixture
def manager(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


@contextlib.contextmanager
def device(tmp_path, manager, **variables):
    command = [sys.executable, "-m", "firmware", "--board", str(BOARD), "--state-dir", str(tmp_path / "state")]
    process = subprocess.Popen(
        [*command, "--http", "127.0.0.1:0", "--modbus-tcp", "127.0.0.1:0"],
        cwd=ROOT,
        env=dict(os.environ, NOTIFY_SOCKET=manager.socket.getsockname(), **variables),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_ready_is_said_when_the_api_answers_and_the_watchdog_is_fed(tmp_path, manager):
    with device(tmp_path, manager, WATCHDOG_USEC="300000") as process:
        assert manager.hear() == "READY=1"
        url = process.stdout.readline().split(",")[0]
        assert httpx.get(url + "api/version/", trust_env=False).status_code == 200
        assert [manager.hear(), manager.hear()] == ["WATCHDOG=1", "WATCHDOG=1"]


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed(tmp_path, manager):
    with device(tmp_path, manager, WATCHDOG_USEC="300000", WATCHDOG_PID="1") as process:
        assert manager.hear() == "READY=1"
        process.stdout.readline()
        manager.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            manager.hear()


def test_an_abstract_socket_is_a_notify_socket_too(monkeypatch):
    name = f"mc252-test-{os.getpid()}"
    manager = Manager("\0" + name)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    supervisor.notify("READY=1")
    assert manager.hear() == "READY=1"
    manager.socket.close()


def test_a_service_manager_that_is_gone_does_not_stop_the_device(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    supervisor.notify("READY=1")
    assert "cannot be told READY=1" in capsys.readouterr().err


class WatchedSystem(System):
    def __init__(self, seconds):
        self.seconds = seconds
        self.told = []

    def watchdog_sec(self):
        return self.seconds

    def ready(self):
        self.told.append("ready")

    def feed(self):
        self.told.append("fed")


async def test_the_watchdog_is_fed_only_while_every_service_lives(capsys):
    ended = []
    system = WatchedSystem(0.003)
    watchdog = Watchdog(system, Health(lambda: ended, None, None, False))
    await watchdog.start()
    await asyncio.sleep(0.05)
    assert system.told[:3] == ["ready", "fed", "fed"]
    ended.append("Bus")
    await asyncio.sleep(0.05)
    count = len(system.told)
    await asyncio.sleep(0.05)
    assert len(system.told) == count
    assert capsys.readouterr().err.count("these have ended: Bus") == 1
    await watchdog.stop()


async def test_nobody_is_fed_where_nobody_watches():
    system = WatchedSystem(None)
    watchdog = Watchdog(system, Health(list, None, None, False))
    await watchdog.start()
    await asyncio.sleep(0.01)
    assert system.told == ["ready"]
    await watchdog.stop()


async def test_a_service_that_has_ended_is_named(tmp_path):
    from firmware.device import Device

    whole = Device(board.load_board(str(BOARD), str(tmp_path)), str(tmp_path))
    await whole.start(("127.0.0.1", 0), ("127.0.0.1", 0))
    try:
        assert whole._ended_services() == []
        whole.bus._lasting[0].cancel()
        whole.gateway._lasting[0].cancel()
        await asyncio.sleep(0)
        assert whole._ended_services() == ["Bus", "ModbusGateway"]
    finally:
        await whole.stop()


async def test_a_part_that_fails_is_null_in_state_and_logged_once(capsys):
    async def gone():
        raise NoModem("the modem does not answer")

    def broken():
        raise OSError(5, "Input/output error")

    state = State({"gsm": gone, "ethernet": broken, "bus": lambda: {"portOpen": True}})
    for _ in range(3):
        assert await state.get(["gsm", "ethernet", "bus"]) == {"gsm": None, "ethernet": None, "bus": {"portOpen": True}}
    log = capsys.readouterr().err
    assert (log.count("the modem does not answer"), log.count("Input/output error")) == (1, 1)


class Flaky(Part):
    """Comes up at the third try."""

    def __init__(self, failure=CardFailed):
        self.tries = 0
        self.failure = failure

    async def start(self):
        self.tries += 1
        if self.tries < 3:
            raise self.failure("no luck")


def board_with(part):
    parts = dict.fromkeys(board.PARTS)
    parts.update(system=System(), card=part)
    return board.Board("test", parts, {})


async def test_a_part_that_does_not_come_up_is_tried_again(monkeypatch, capsys):
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0, 0.001))
    part = Flaky()
    whole = board_with(part)
    await whole.start()
    while part.tries < 3:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert part.tries == 3
    assert "card: has come up" in capsys.readouterr().err
    await whole.stop()


class Hanging(Part):
    """Neither starts nor stops."""

    async def start(self):
        await asyncio.Event().wait()

    stop = start


class Surprising(Part):
    """Has a fault of its own."""

    async def start(self):
        raise ZeroDivisionError

    stop = start


@pytest.mark.parametrize("part", [Hanging, Surprising])
async def test_a_part_that_hangs_or_is_at_fault_costs_no_other(monkeypatch, capsys, part):
    monkeypatch.setattr(board, "START_SEC", 0.01)
    monkeypatch.setattr(board, "STOP_SEC", 0.01)
    parts = dict.fromkeys(board.PARTS)
    clock = Flaky()
    clock.tries = 2
    parts.update(system=System(), card=part(), clock=clock, network=part())
    stopped = []

    async def stop():
        stopped.append(True)

    parts["system"].stop = stop
    whole = board.Board("test", parts, {})
    async with asyncio.timeout(10):
        await whole.start()
        assert clock.tries == 3
        await whole.stop()
    assert stopped == [True]
    log = capsys.readouterr().err
    assert "card: does not start within 0.01 s" in log or "ZeroDivisionError" in log


async def test_the_device_goes_on_without_a_part_that_is_late(monkeypatch):
    monkeypatch.setattr(board, "HURRY_SEC", 0.01)
    may_start = asyncio.Event()

    class Late(Part):
        async def start(self):
            await may_start.wait()
            self.has_started = True

    late = Late()
    whole = board_with(late)
    async with asyncio.timeout(10):
        await whole.start()
        may_start.set()
        while not getattr(late, "has_started", False):
            await asyncio.sleep(0.001)
        await whole.stop()


async def test_a_service_that_does_not_answer_costs_its_key_of_the_state_alone(monkeypatch, capsys):
    monkeypatch.setattr(state_module, "SOURCE_SEC", 0.01)

    async def hang():
        await asyncio.Event().wait()

    state = State({"card": hang, "bus": lambda: {"portOpen": True}})
    for _ in range(3):
        assert await state.get(["card", "bus"]) == {"card": None, "bus": {"portOpen": True}}
    assert capsys.readouterr().err.count("state card: no answer within 0.01 s") == 1


async def test_a_missing_privilege_is_told_at_the_start():
    with pytest.raises(NotPermitted, match="no luck"):
        await board_with(Flaky(NotPermitted)).start()


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "firmware", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_a_check_of_the_simulated_board_finds_every_part(tmp_path):
    outcome = command("check", "--board", str(BOARD))
    assert (outcome.returncode, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["board", *board.PARTS, "health"]
    assert "opens at 9600 bit/s" in outcome.stdout
    assert "every service lives, HTTP answers" in lines[-1]
    assert "FAILS" not in outcome.stdout


def test_a_check_says_of_each_part_what_is_wrong_with_it(tmp_path):
    path = tmp_path / "board.json"
    config = {
        "board": "mine",
        "system": {"driver": "linux"},
        "rs485": {"driver": "tty", "port": "/dev/ttyUSB99"},
        "clock": {"driver": "linux", "rtc": "/dev/rtc99"},
        "card": {"driver": "warp"},
    }
    path.write_text(json.dumps(config))
    outcome = command("check", "--board", str(path))
    assert outcome.returncode == 1
    rows = {line.split()[0]: line for line in outcome.stdout.splitlines()}
    assert " works " in rows["system"]
    assert "FAILS" in rows["rs485"] and "/dev/ttyUSB99" in rows["rs485"]
    assert "FAILS" in rows["clock"] and "/dev/rtc99 is not there" in rows["clock"]
    assert "FAILS" in rows["card"] and "must be one of" in rows["card"]
    assert "absent" in rows["modem"]
    assert "not tried" in rows["health"] and "FAILS" not in rows["health"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            b'{"board": "x", "system": {"driver": "linux"}, "settings": {"modbustcp": {}}}',
            "settings: modbustcp: is unknown",
        ),
        (b'{"board": "\xff"}', "is not UTF-8 text"),
    ],
)
def test_a_check_refuses_what_the_device_would_not_start_with(tmp_path, content, named):
    path = tmp_path / "board.json"
    path.write_bytes(content)
    for words in (["check"], ["--state-dir", str(tmp_path)]):
        outcome = command(*words, "--board", str(path))
        assert (outcome.returncode, outcome.stdout, outcome.stderr.count("\n")) == (2, "", 1)
        assert named in outcome.stderr


def test_a_second_device_in_the_same_folder_is_refused(tmp_path, manager):
    with device(tmp_path, manager) as process:
        process.stdout.readline()
        second = command("--board", str(BOARD), "--state-dir", str(tmp_path / "state"), "--http", "127.0.0.1:0")
        assert second.returncode == 1  # which a service manager tries again: it may be about to end
        assert "state: is in use by another mc252" in second.stderr
        assert (tmp_path / "state" / "rs485").exists()


def test_a_device_waits_for_the_one_before_to_let_go_of_the_folder(tmp_path):
    (tmp_path / "state").mkdir()
    descriptor = os.open(tmp_path / "state", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with subprocess.Popen(
        [sys.executable, "-m", "firmware", "--board", str(BOARD), "--state-dir", str(tmp_path / "state")]
        + ["--http", "127.0.0.1:0", "--modbus-tcp", "127.0.0.1:0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        os.close(descriptor)
        assert process.stdout.readline().startswith("http://")
        process.terminate()
        assert process.wait(20) == 0


@NEEDS_MICROPYTHON
@pytest.mark.parametrize("word", ["check", "provision", "licence"])
def test_what_needs_linux_says_so_on_micropython(tmp_path, word):
    path = f"{ROOT}:{sysconfig.get_path('purelib')}:.frozen"
    outcome = subprocess.run(
        [MICROPYTHON, *["-X", "heapsize=1M", "-m", "firmware", word, "--state-dir", str(tmp_path)]],
        cwd=ROOT,
        env=dict(os.environ, MICROPYPATH=path),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.splitlines() == [
        f"mc252: {word}: is for Linux; on MicroPython the board config has the factory login"
    ]


def test_a_check_does_not_disturb_a_device_that_runs_in_the_same_folder(tmp_path, manager):
    with device(tmp_path, manager) as process:
        process.stdout.readline()
        links = os.readlink(tmp_path / "state" / "rs485")
        assert command("check", "--board", str(BOARD)).returncode == 0
        assert os.readlink(tmp_path / "state" / "rs485") == links


def test_a_command_that_does_not_exist_is_named():
    outcome = command("reboot")
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "reboot" in outcome.stderr and "check" in outcome.stderr and "provision" in outcome.stderr


def test_the_factory_login_is_made_once_and_shown_once(tmp_path):
    first = command("provision", "--state-dir", str(tmp_path))
    again = command("provision", "--state-dir", str(tmp_path))
    assert (first.returncode, again.returncode, again.stdout) == (0, 0, "")
    password = first.stdout.strip().removeprefix("login admin / ")
    assert len(password) == 14 and password != command("provision", "--state-dir", str(tmp_path / "2")).stdout.strip()
    assert (tmp_path / "factory-login").stat().st_mode & 0o777 == 0o600


def factory_settings_of(path):
    made = board.load_board(str(path), str(path.parent))
    return with_factory_login(made.settings, made.system.factory_login())


def test_the_made_login_is_the_devices(tmp_path):
    from hal.linux.host.factory_login import make_login

    path = tmp_path / "board.json"
    path.write_text(json.dumps({"board": "mine", "system": {"driver": "linux"}}))
    assert "protect" not in factory_settings_of(path)
    name, password = make_login(str(tmp_path))
    settings = factory_settings_of(path)
    assert settings["protect"] == {"username": name, "password": password}


def test_a_damaged_factory_login_leaves_the_button(tmp_path, capsys):
    from hal.linux.host.factory_login import read_login

    (tmp_path / "factory-login").write_text('{"username": "admin"')
    assert read_login(str(tmp_path)) is None
    assert "only the button lets in" in capsys.readouterr().err


def surprise(self):
    raise ZeroDivisionError("as the test wants it")


async def test_what_one_service_or_part_does_not_expect_costs_no_other_one(tmp_path, monkeypatch, capsys):
    from firmware.device import Device
    from firmware.services.card.files import CardFiles
    from firmware.services.time.clock import ClockService
    from hal.simulated.button import SimulatedButton
    from hal.simulated.card import SimulatedCard

    for owner, name in (
        (ClockService, "start"),
        (CardFiles, "stop"),
        (SimulatedCard, "start"),
        (SimulatedButton, "stop"),
    ):
        monkeypatch.setattr(owner, name, surprise)
    whole = Device(board.load_board(str(BOARD), str(tmp_path)), str(tmp_path))
    ports = await whole.start(("127.0.0.1", 0), ("127.0.0.1", 0))
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{ports[0]}/api/version/")).status_code == 200
    assert whole.problems.texts() == ["ClockService could not be started: as the test wants it"]
    assert whole._ended_services() == []
    await whole.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    said = capsys.readouterr().err
    for text in ("card: could not be started", "button: could not be stopped", "CardFiles could not be stopped"):
        assert said.count(text) == 1


async def test_the_watchdog_is_fed_while_the_device_stops_and_a_service_that_never_stops_is_left(tmp_path, monkeypatch):
    from firmware import device as composition
    from firmware.services.time.clock import ClockService

    async def never(self):
        await asyncio.sleep(3600)

    whole = composition.Device(board.load_board(str(BOARD), str(tmp_path)), str(tmp_path))
    system = WatchedSystem(0.003)
    whole.watchdog = Watchdog(system, whole.health)
    await whole.start(("127.0.0.1", 0), None)
    monkeypatch.setattr(composition, "STOP_SEC", 0.3)
    monkeypatch.setattr(ClockService, "stop", never)
    fed = len(system.told)
    await whole.stop()
    assert len(system.told) > fed + 20
    assert not whole.board.rs485.is_open
