"""Updates from a hawkBit server: confirmed when healthy, failed when rolled back, whatever it does meanwhile."""

import asyncio

import pytest

from firmware.services.settings.document_store import DocumentStore
from firmware.services.update.budget import Budget
from firmware.services.update.kept import Kept
from firmware.services.update.sources.hawkbit import Hawkbit
from firmware.services.update.sources.hawkbit_updates import HawkbitUpdates
from firmware.services.update.times import Times
from firmware.services.update.updates import Updates
from hal.linux.update.folders import FoldersUpdater
from tests.firmware.update.ddi import Ddi
from tests.hal.update.keys import NOW, Maker

CONTROLLER = "020000000252"
SETTINGS = {
    "download": {"url": "", "enabled": True},
    "firmware": {"channel": "stable", "autoUpdate": False},
}
BIG = {"firmware/__init__.py": b"VERSION = '9.9.9'\n", "noise": bytes(range(256)) * 2000}


class Clock:
    def now(self):
        return NOW * 1000


class Health:
    def now(self):
        return {"busWasOpen": 0}


@pytest.fixture
def ddi():
    with Ddi(CONTROLLER) as running:
        yield running


class Device:
    """The services that take part, as after a start."""

    def __init__(self, folder, maker, ddi):
        self.restarts = []
        options = {"keys": str(maker.keyring_path), "compatible": "simulated"}
        self.updater = FoldersUpdater(FoldersUpdater.OPTIONS.check(options), str(folder))
        kept = Kept(DocumentStore(str(folder), "update.json"))
        times = Times(Clock(), kept, NOW)
        budget = Budget(0, lambda: False, times.now, kept)
        identity = {"mac": "02:00:00:00:02:52"}
        self.updates = Updates(
            *(self.updater, SETTINGS, identity, times, budget, kept, None, Health(), None), self.restarts.append
        )
        server = Hawkbit(ddi.url, CONTROLLER, "secret", "target")
        self.service = HawkbitUpdates(server, self.updates, self.updater, kept, {"version": "1"})

    async def start(self):
        await self.updater.start()
        await self.updates.start()
        await self.service.start()

    async def stop(self):
        await self.service.stop()
        await self.updates.stop()

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                self.service.look_now()
                await asyncio.sleep(0.01)


@pytest.fixture
async def devices(tmp_path, ddi):
    maker = Maker(tmp_path / "keys")
    made = []

    async def start():
        for device in made:
            await device.stop()
        made.append(Device(tmp_path, maker, ddi))
        await made[-1].start()
        return made[-1]

    start.maker = maker
    yield start
    for device in made:
        await device.stop()


def bundle(devices, tmp_path, files=None, **header):
    return devices.maker.bundle(tmp_path / "made.bundle", files, **header).read_bytes()


async def test_a_deployment_is_confirmed_only_when_the_new_firmware_is_healthy(devices, ddi, tmp_path):
    ddi.offer("12", bundle(devices, tmp_path))
    device = await devices()
    await device.until(lambda: device.restarts)
    assert [said[2:4] for said in ddi.feedback] == [("proceeding", "none")]
    device.updater._slots.confirm()  # as the new firmware does after its minute
    device = await devices()
    await device.until(lambda: ddi.action == "")
    assert ddi.feedback[-1][:4] == ("deploymentBase", "12", "closed", "success")
    assert ddi.attributes == {"version": "1"}


async def test_a_look_that_ends_after_the_installation_does_not_begin_it_again(devices, ddi, tmp_path):
    ddi.offer("12", bundle(devices, tmp_path))
    device = await devices()
    await device.until(lambda: device.restarts)
    await device.service._deploy({"id": "12", "install": True})  # the look began before
    assert device.service._bringing is None


async def test_a_version_that_runs_already_is_not_brought_again(devices, ddi, tmp_path, monkeypatch):
    monkeypatch.setattr(FoldersUpdater, "running", lambda self: {"version": "9.9.9", "slot": "a", "trial": False})
    ddi.offer("12", bundle(devices, tmp_path))
    device = await devices()
    await device.until(lambda: ddi.action == "")
    assert [said[:4] for said in ddi.feedback] == [("deploymentBase", "12", "closed", "success")]
    assert not device.restarts


async def test_a_rolled_back_deployment_is_reported_as_failed_with_its_reason(devices, ddi, tmp_path):
    ddi.offer("12", bundle(devices, tmp_path))
    device = await devices()
    await device.until(lambda: device.restarts)
    device.updater._slots.give_up("9.9.9", "it had no bus")
    device = await devices()
    await device.until(lambda: ddi.action == "")
    assert ddi.feedback[-1][:4] == ("deploymentBase", "12", "closed", "failure")
    assert "it had no bus" in ddi.feedback[-1][4]


async def test_a_server_that_fails_in_the_middle_costs_only_time(devices, ddi, tmp_path, monkeypatch):
    monkeypatch.setattr("firmware.services.update.sources.hawkbit_updates.FAILURE_PAUSES", (0,))
    ddi.offer("12", bundle(devices, tmp_path, BIG))
    ddi.faults = [503, 404, 500, "break 1000", "break 500", 404]
    device = await devices()
    await device.until(lambda: device.restarts)
    assert any(asked for asked in ddi.downloads)


async def test_a_bundle_that_is_refused_fails_its_action(devices, ddi, tmp_path):
    ddi.offer("12", bundle(devices, tmp_path, compatible=["another"]))
    device = await devices()
    await device.until(lambda: ddi.action == "")
    assert ddi.feedback[-1][2:] == ("closed", "failure", "UPDATE_WRONG_BOARD")
    assert device.restarts == []


async def test_the_same_action_again_is_answered_and_not_done_again(devices, ddi, tmp_path):
    ddi.offer("12", bundle(devices, tmp_path, compatible=["another"]))
    device = await devices()
    await device.until(lambda: ddi.action == "")
    downloads = len(ddi.downloads)
    ddi.offer("12", ddi.bundle)
    await device.until(lambda: ddi.action == "")
    assert ddi.feedback[-1][:4] == ("deploymentBase", "12", "closed", "failure")
    assert len(ddi.downloads) == downloads


async def test_a_cancelled_download_ends(devices, ddi, tmp_path, monkeypatch):
    ddi.offer("12", bundle(devices, tmp_path, BIG))
    ddi.faults = ["break 10"] * 1000
    monkeypatch.setattr("firmware.services.update.sources.download.TRIES", 10**6)
    device = await devices()
    await device.until(lambda: ddi.downloads)
    ddi.cancel = "12"
    await device.until(lambda: ddi.cancel == "")
    assert ddi.feedback[-1][:4] == ("cancelAction", "12", "closed", "success")
    assert device.restarts == [] and device.updates.state()["status"] in ("IDLE", "ERROR")


async def test_what_is_installed_is_not_cancelled_any_more(devices, ddi, tmp_path):
    ddi.offer("12", bundle(devices, tmp_path))
    device = await devices()
    await device.until(lambda: device.restarts)
    device.updater._slots.confirm()
    ddi.cancel = "12"
    device = await devices()
    await device.until(lambda: any(said[2:4] == ("closed", "success") for said in ddi.feedback))
    assert [said for said in ddi.feedback if said[0] == "deploymentBase"][-1][3] == "success"


async def test_an_installation_of_which_nothing_is_known_any_more_is_asked_for_again(devices, ddi, tmp_path):
    ddi.offer("12", bundle(devices, tmp_path))
    device = await devices()
    await device.until(lambda: device.restarts)
    (tmp_path / "slots" / "state.json").write_bytes(b"")  # as a bad medium leaves it
    device = await devices()
    await device.until(lambda: device.restarts and len(device.restarts) == 1)
    assert [said[2:4] for said in ddi.feedback] == [("proceeding", "none")] * 2
    device.updater._slots.confirm()
    device = await devices()
    await device.until(lambda: ddi.action == "")
    assert ddi.feedback[-1][3] == "success"


async def test_a_power_cut_in_an_installation_reports_nothing_that_did_not_happen(devices, ddi, tmp_path):
    ddi.offer("11", bundle(devices, tmp_path))
    device = await devices()
    await device.until(lambda: device.restarts)
    device.updater._slots.confirm()
    device = await devices()
    await device.until(lambda: ddi.action == "")
    ddi.offer("12", bundle(devices, tmp_path))
    device = await devices()
    cut = asyncio.Event()

    async def never(*arguments):
        cut.set()
        await asyncio.sleep(3600)

    device.updater.install = never
    await device.until(cut.is_set)
    device.updates._status = "IDLE"  # the power does not wait for the end of an installation
    device = await devices()
    await device.until(lambda: device.restarts)
    assert [said[1:4] for said in ddi.feedback if said[1] == "12"] == [("12", "proceeding", "none")] * 2


async def test_a_wrong_token_is_told_and_tried_again(devices, ddi, tmp_path, capfd):
    device = await devices()
    device.service._server._headers["Authorization"] = "TargetToken wrong"
    await device.until(lambda: "401" in (device.service._trouble.reason or ""))


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b"{",
        b'{"_links": 5}',
        b'{"_links": {"deploymentBase": {"href": "ftp://x/"}}}',
        b'{"config": {"polling": {"sleep": "soon"}}, "_links": {"cancelAction": []}}',
    ],
)
async def test_an_answer_that_is_none_is_an_error_and_nothing_more(devices, ddi, answer):
    ddi.send_json = lambda request, content: send(request, answer)
    device = await devices()
    await device.until(lambda: ddi.polls > 2)
    assert device.service.is_alive() and device.restarts == []


def send(request, data):
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
