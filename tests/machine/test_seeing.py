"""What can be seen of a simulated microcontroller: its trace, a capture of it, live events for two clients."""

import json
import types
import urllib.request

from tests.firmware.events.streams import Events
from tests.firmware.trace.test_captures import dissected, needs_tshark
from tests.machine.test_board import board  # noqa: F401 a fixture
from tests.micropython import NEEDS_MICROPYTHON

READ = bytes([3, 0, 0, 0, 2])

pytestmark = NEEDS_MICROPYTHON


def following(board, keys):  # noqa: F811
    """A client of the board's events."""
    headers = {"Authorization": f"Bearer {board.token}"}
    device = types.SimpleNamespace(line=f"http://127.0.0.1:{board.http},", client=types.SimpleNamespace(headers={}))
    return Events(device, keys, headers)


def test_two_clients_follow_and_a_third_is_told_to_wait(board):  # noqa: F811
    board.request("GET", "/api/state/get/?bus")
    with following(board, "bus&trace") as one, following(board, "trace") as other:
        assert (one.status, one.until("state")["bus"]["baudRate"]) == (200, 9600)
        board.ask(1, READ)
        entry = one.until("trace")[0]
        assert (entry["source"], entry["question"], entry["cause"]) == ("tcp 127.0.0.1", "010300000002", None)
        assert other.until("trace")[0]["n"] == entry["n"]
        assert "sent" in one.until("state")["bus"]
        with following(board, "trace") as third:
            assert third.status == 503
    with following(board, "trace") as again:
        board.ask(99, READ)
        assert again.until("trace")[0]["cause"] == "TIMEOUT"


@needs_tshark
def test_the_trace_is_kept_in_little_memory_and_captured(board, tmp_path):  # noqa: F811
    for _ in range(150):
        board.ask(1, READ)
    page = board.request("GET", "/api/modbus/trace/?limit=200")[1]
    assert 20 < len(page["entries"]) < 100
    assert page["first"] > 1
    url = f"http://127.0.0.1:{board.http}/api/modbus/trace/capture/"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {board.token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        packets = dissected(answer.read(), tmp_path)
    assert packets[-1]["modbus.regval_uint16"] == "252,104"
    assert json.dumps(page["entries"][-1]["thrown"]) == "[]"
