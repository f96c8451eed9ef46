"""Activation as the maker, the cloud and the owner of a device see it, on a device in a process of its own."""

import base64
import json
import socket
import struct
import subprocess
import sys
import time

import pytest

from firmware.maker import licences
from tests.firmware.running import BOARD, ROOT, Running
from tests.hal.update.keys import DAY, Maker

NOW = int(time.time())


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "keys", 0, NOW + 1000 * DAY)


def board(maker, **settings):
    updater = {"driver": "folders", "keys": str(maker.keyring_path), "compatible": "simulated"}
    return dict(BOARD, updater=updater, settings=dict(BOARD["settings"], **settings))


@pytest.fixture
def device(tmp_path, maker):
    with Running(tmp_path, board(maker)) as running:
        running.login()
        yield running


def licence(maker, **changes):
    payload = {"serial": "17", "mac": None, "pubKey": None, "features": ["search"], "expires": NOW + DAY}
    return licences.make(str(maker.folder), dict(payload, **changes))


def refusal(device, text):
    answer = device.client.post("api/activation/", json={"code": text})
    assert (answer.status_code, answer.json()["error"]) == (400, "BAD_LICENCE"), answer.text
    return answer.json()["message"]


@pytest.mark.parametrize("bound_to", ["mac", "pubKey"])
def test_a_licence_for_this_device_activates_it_and_is_kept(device, maker, tmp_path, bound_to):
    text = licence(maker, **{bound_to: device.get("identify/")[bound_to]})
    answer = device.post("activation/", {"code": text})
    assert answer["activated"] and answer["features"] == ["search"] and answer["expires"].endswith("Z")
    device.post("cmd/reboot/")
    device.client.close()
    device.read_announcement()
    device.login()
    state = device.get("state/get/?activation")["activation"]
    assert state["activated"] and state["features"] == ["search"]


def test_a_licence_is_taken_with_the_line_breaks_of_a_mail(device, maker):
    text = licence(maker, mac=device.get("identify/")["mac"])
    assert device.post("activation/", {"code": " ".join(text[at : at + 60] for at in range(0, len(text), 60))})[
        "activated"
    ]


def test_a_licence_that_is_none_is_refused_with_its_reason(device, maker, tmp_path):
    mac = device.get("identify/")["mac"]
    assert "no licence" in refusal(device, "AAAA")
    assert "another device" in refusal(device, licence(maker, mac="02:00:00:00:00:01"))
    assert "names no device" in refusal(device, licence(maker))
    assert "expired" in refusal(device, licence(maker, mac=mac, expires=NOW - 1))
    assert "trust" in refusal(device, licence(Maker(tmp_path / "other", 0, NOW + DAY), mac=mac))
    assert "changed" in refusal(device, changed(licence(maker, mac=mac)))
    assert not device.get("state/get/?activation")["activation"]["activated"]


def changed(text):
    """The licence with another end."""
    document = json.loads(base64.b64decode(text))
    document["payload"] = document["payload"].replace(str(NOW + DAY), str(NOW + 999 * DAY))
    return base64.b64encode(json.dumps(document).encode()).decode()


def test_a_clock_that_is_set_back_revives_no_licence(device, maker):
    device.post("activation/", {"code": licence(maker, mac=device.get("identify/")["mac"])})
    device.post("cmd/time/set/", {"datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW + 2 * DAY))})
    assert not device.get("state/get/?activation")["activation"]["activated"]
    device.post("cmd/time/set/", {"datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))})
    assert not device.get("state/get/?activation")["activation"]["activated"]


def test_a_body_without_a_licence_says_what_is_missing(device):
    answer = device.client.post("api/activation/", json={})
    assert (answer.status_code, "code" in answer.json()["message"]) == (400, True)


def test_the_cloud_gives_a_code_when_it_is_asked_and_activates_in_the_end(tmp_path, maker):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        cloud = {"enabled": True, "host": "127.0.0.1", "port": server.getsockname()[1], "reconnectSec": 0}
        with Running(tmp_path, board(maker, cbCloud=cloud)) as device:
            device.login()
            first = Cloud(server)
            assert not first.called() & 4
            device.post("activation/", {"requestCode": True})
            second = Cloud(server)
            assert second.called() & 4  # a new code is asked for
            second.write_code(12345678)
            assert device.get("state/get/?activation")["activation"]["code"] == 12345678
            second.write_code(0)
            assert device.get("state/get/?activation")["activation"] == {
                "activated": True,
                "code": None,
                "features": [],
                "expires": None,
            }
            first.close()
            second.close()


class Cloud:
    """The far end of the device's call: reads who calls, writes the code over the same connection."""

    def __init__(self, server):
        self.sock = server.accept()[0]
        self.sock.settimeout(20)

    def receive(self):
        head = self.sock.recv(6, socket.MSG_WAITALL)
        return self.sock.recv(struct.unpack(">H", head[4:])[0], socket.MSG_WAITALL)

    def called(self):
        """Register 1008 of the call."""
        registers = struct.unpack(">11H", self.receive()[3:])
        return registers[8]

    def write_code(self, code):
        pdu = struct.pack(">BHHBI", 16, 1009, 2, 4, code)
        self.sock.sendall(struct.pack(">HHHB", 1, 0, len(pdu) + 1, 111) + pdu)
        assert self.receive()[1] == 16

    def close(self):
        self.sock.close()


def mc252(*words):
    return subprocess.run(
        [sys.executable, "-m", "firmware", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_maker_makes_a_licence_by_the_command_and_inspects_it(maker):
    bound = ["--mac", "02:00:00:00:02:52", "--feature", "search", "--days", "3"]
    made = mc252("licence", "make", "--keys", str(maker.folder), "--serial", "17", *bound)
    assert made.returncode == 0, made.stderr
    shown = mc252("licence", "show", made.stdout.strip())
    assert shown.stdout.startswith("serial 17\ndevice 02:00:00:00:02:52\n") and "search" in shown.stdout
    nobody = mc252("licence", "make", "--keys", str(maker.folder), "--serial", "17")
    assert (nobody.returncode, nobody.stdout) == (2, "")


def test_the_makers_tool_shows_what_a_licence_says(maker):
    assert licences.show(licence(maker, mac="02:00:00:00:02:52")).startswith("serial 17\ndevice 02:00:00:00:02:52\n")
    with pytest.raises(ValueError, match="no licence"):
        licences.show("AAAA")
