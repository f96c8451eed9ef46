"""What goes wrong where two halves meet is seen by the type checker: it finds all mistakes planted in a copy."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SERVICES, ENDPOINTS = "firmware/services/", "firmware/api/endpoints/"

MISTAKES = {  # what it is: (file, what stands there, what is put in its place)
    "a handler calls a method that is not there": (
        ENDPOINTS + "card.py",
        "card_files.eject(",
        "card_files.ejekt(",
    ),
    "a handler names a service that there is not": (ENDPOINTS + "time.py", "services.clock.sync", "services.clok.sync"),
    "a handler names another service": (ENDPOINTS + "gsm.py", "services.gsm.sms_test", "services.clock.sms_test"),
    "a handler hands over a wrong type": (ENDPOINTS + "system.py", "request_restart(", "request_restart(b'' or "),
    "a misspelt method of the card": (SERVICES + "card/files.py", "self._card.eject(", "self._card.ejekt("),
    "a misspelt method of the clock": (SERVICES + "time/clock.py", "self._clock.now(", "self._clock.know("),
    "a wrong type for a part": (
        SERVICES + "time/clock.py",
        "self._clock.set(moment)",
        "self._clock.set(str(moment))",
    ),
    "a misspelt method of the modem": (SERVICES + "network/gsm.py", "self._modem.send_sms(", "self._modem.send_text("),
    "a misspelt method of the network": (
        SERVICES + "network/interfaces.py",
        "self._network.apply(",
        "self._network.aply(",
    ),
    "a misspelt method of the serial port": (SERVICES + "bus/arbiter.py", "self._port.configure(", "self._port.setup("),
    "a misspelt method of the system": (SERVICES + "system/watchdog.py", "self._system.feed(", "self._system.fead("),
    "a misspelt setting": (SERVICES + "network/gsm.py", 'settings["smsPhone"]', 'settings["smsFone"]'),
    "a misspelt key of the settings": ("firmware/device.py", 'settings["gsm"]', 'settings["gms"]'),
    "a misspelt setting in a service": (
        SERVICES + "gateway/callback.py",
        '["reconnectSec"]',
        '["reconectSec"]',
    ),
    "a setting of a wrong type": ("firmware/device.py", '["httpd"]["sessionTtlSec"]', '["httpd"]["hosts"]'),
    "a service calls a method that another lacks": (SERVICES + "settings/files.py", ".write_whole(", ".write_hole("),
    "a service is built with another one": ("firmware/device.py", "ModbusRouter(self.bus,", "ModbusRouter(self.clock,"),
    "a service is built with another part": (
        "firmware/device.py",
        "Gsm(self.board.modem,",
        "Gsm(self.board.card,",
    ),
    "a misspelt method of what a table holds": (
        SERVICES + "routing/forwarding.py",
        "server.cancel(transaction)",
        "server.cancle(transaction)",
    ),
    "a misspelt method of a connection": ("firmware/http/server.py", "connection.expire()", "connection.expier()"),
    "what a thread is to do gets a wrong argument": (
        SERVICES + "card/files.py",
        "Volume.read, split_path(path), block_idx",
        "Volume.read, path, block_idx",
    ),
    "a handler takes one thing of a service's answer for another": (
        ENDPOINTS + "card.py",
        "b64encode(data)",
        "b64encode(block_count)",
    ),
    "a request is made of a wrong type": (
        ENDPOINTS + "bus/modbus.py",
        'submit(body["uid"], fields,',
        "submit(fields, fields,",
    ),
    "updates are built with another part": (
        "firmware/device.py",
        "                self.board.clock,",
        "                self.board.card,",
    ),
    "a field is declared without a kind": (
        ENDPOINTS + "time.py",
        'Field("datetime", Text(64, 1),',
        'Field("datetime", 64,',
    ),
    "a rule that is none": (SERVICES + "settings/table.py", "rule=daylight", "rule=True"),
    "a clock that tells nothing": (SERVICES + "access/login.py", "Throttle(clock)", "Throttle(print)"),
    "a row of a setting is misspelt": (SERVICES + "routing/forwarding.py", 'row["inFlight"]', 'row["inflight"]'),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """(file, line) of every error that the type checker finds in a copy with all mistakes in it."""
    folder = tmp_path_factory.mktemp("planted")
    for name in ("firmware", "hal"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")  # only what was changed is looked at anew
    for file, there, planted in MISTAKES.values():
        path = folder / file
        text = path.read_text()
        assert there in text, f"{file} has no {there} any more: plant the mistake elsewhere"
        path.write_text(text.replace(there, planted, 1))
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "firmware", "hal"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    lines = re.findall(r"^(\S+?):(\d+): error: ", done.stdout, flags=re.MULTILINE)
    return {(file, int(number)) for file, number in lines}, folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_type_checker_finds(mistake, found):
    errors, folder = found
    file, _, planted = MISTAKES[mistake]
    lines = (folder / file).read_text().splitlines()
    at = {number for number, line in enumerate(lines, 1) if planted in line}
    assert {number for of_file, number in errors if of_file == file} & at, f"line {at} of {file} passes"
