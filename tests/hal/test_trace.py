"""What is logged besides errors: topic by topic, at once, never more than somebody can read."""

import os
import subprocess
import sys

import pytest

from hal import trace
from hal.runtime import logs
from hal.runtime.logs import INFO, Log
from hal.trace import BUS_ERRORS, EXCHANGES, TOPICS, Trace
from tests.firmware.running import ROOT, Running


def test_only_selected_topics_are_written(capsys):
    log = Trace()
    log.write(EXCHANGES, "nobody asked")
    log.topics = EXCHANGES
    log.write(EXCHANGES, "asked")
    log.write(BUS_ERRORS, "another topic")
    assert capsys.readouterr().err == "asked\n"


def test_a_flood_is_cut_and_counted_and_others_are_not_lost_for_it(capsys):
    now = [7.0]
    log = Trace(lambda: round(now[0] * 1000))
    log.topics = EXCHANGES
    for number in range(trace.LINES_A_SEC + 5):
        log.write(EXCHANGES, str(number))
    now[0] = 8.5
    log.write(EXCHANGES, "later")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3:] == [str(trace.LINES_A_SEC - 1), "5 lines of logFlags were left out here", "later"]
    assert len(lines) == trace.LINES_A_SEC + 2


def test_the_topics_are_bits_and_each_is_named():
    assert [bit for bit, _ in TOPICS] == [1 << number for number in range(len(TOPICS))]
    assert all(name for _, name in TOPICS)


@pytest.mark.parametrize(("stream", "line"), [("8:1234", "<6>hello\n"), (None, "hello\n")])
def test_the_service_manager_is_told_that_they_are_informational(stream, line):
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    if stream:
        environment["JOURNAL_STREAM"] = stream
    script = "from hal.trace import TRACE, trace; TRACE.topics = 1; trace(1, 'hello')"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stderr == line


def test_each_line_of_an_error_has_its_priority():
    script = "from hal.runtime import log, log_exception\nlog('one')\n"
    script += "try: 1 / 0\nexcept Exception as exc: log_exception(exc)"
    environment = dict(os.environ, JOURNAL_STREAM="8:1234")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    first, *others = done.stderr.splitlines()
    assert first == "<4>one"
    assert others[-1] == "<3>ZeroDivisionError: division by zero"
    assert all(line.startswith("<3>") for line in others)


def test_the_last_lines_are_kept_and_bounded(capsys):
    book = Log()
    for number in range(logs.KEPT + 10):
        book.put("x" * 10000 + str(number) if number % 2 else str(number), INFO)
    kept = book.since(0)
    assert len(kept) == logs.KEPT
    assert (kept[-2][0], *kept[-2][2:]) == (logs.KEPT + 9, INFO, str(logs.KEPT + 8))
    assert max(len(text) for _, _, _, text in kept) == logs.KEPT_LENGTH
    assert [number for number, _, _, _ in book.since(logs.KEPT + 7)] == [logs.KEPT + 8, logs.KEPT + 9, logs.KEPT + 10]
    assert capsys.readouterr().err


def test_log_flags_are_in_effect_at_once_and_tell_what_they_name(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        device.post("settings/saved/set/", {"language": "pl"})
        device.post("settings/saved/set/", {"logFlags": 127})
        device.login()
        device.post("settings/saved/set/", {"gsm": {"password": "Not-For-Logs"}})
        for uid in (1, 200):
            tid = device.post("modbus/req/", {"uid": uid, "func": 3, "addr": 0, "count": 1})["tid"]
            device.get(f"modbus/resp/?tid={tid}&wait=3000")
        device.post("settings/saved/set/", {"logFlags": 0})
        device.post("settings/saved/set/", {"language": "de"})
        device.process.terminate()
        said = device.process.stderr.read()
    for line in (
        "settings: changed logFlags",
        "login: admin from 127.0.0.1",
        "settings: changed gsm",
        "bus: unit 1: 0300000001 -> 030200fc in ",
        "bus: unit 200, function 3: TIMEOUT",
        "HTTP: 127.0.0.1 POST /api/modbus/req/ 200",
    ):
        assert line in said, line
    assert "language" not in said
    assert "Not-For-Logs" not in said
