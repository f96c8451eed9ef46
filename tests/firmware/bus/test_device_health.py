"""Device health, on an injected clock."""

import pytest

from firmware.services.bus.device_health import LONGEST_PAUSE, DeviceHealth


class Rig:
    def __init__(self, enabled=True):
        self.now = 0.0
        self.health = DeviceHealth(enabled, lambda: round(self.now * 1000))

    def silent(self, times, every=1.0, uid=7):
        for _ in range(times):
            self.health.failed(uid, "TIMEOUT")
            self.now += every

    def unit(self, uid=7):
        return self.health.state(lambda age: f"{age:.0f} s ago")[str(uid)]


def test_it_takes_both_time_and_count_to_be_down():
    quick = Rig()
    quick.silent(10, every=0.1)
    assert not quick.unit()["down"]
    few = Rig()
    few.silent(2, every=100)
    assert not few.unit()["down"]
    both = Rig()
    both.silent(4)
    assert both.unit()["down"]


def test_probes_come_at_growing_pauses_up_to_ten_seconds():
    rig = Rig()
    rig.silent(3)
    rig.now = 2.0
    rig.health.failed(7, "TIMEOUT")
    pauses = []
    for _ in range(8):
        start = rig.now
        while rig.health.bars(7):
            rig.now += 0.125
        pauses.append(rig.now - start)
        rig.health.failed(7, "TIMEOUT")
    assert pauses[0] <= 1.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE / 1000


@pytest.mark.parametrize("sign", ["answered", "heard"])
def test_any_sign_of_life_brings_it_back(sign):
    rig = Rig()
    rig.silent(5)
    assert rig.unit()["down"]
    if sign == "answered":
        rig.health.answered(7, 0.01)
    else:
        rig.health.heard(7)
    assert not rig.unit()["down"]
    assert not rig.health.bars(7)


def test_bad_frames_are_no_silence():
    rig = Rig()
    for _ in range(10):
        rig.health.failed(7, "BAD_FRAME")
        rig.now += 1
    assert rig.unit()["badFrames"] == 10
    assert not rig.unit()["down"]


def test_switched_off_no_unit_is_ever_down():
    rig = Rig(enabled=False)
    rig.silent(10)
    assert not rig.health.bars(7)
    assert rig.unit()["timeouts"] == 10


def test_latencies_give_percentiles_and_a_timeout():
    rig = Rig()
    for milliseconds in range(1, 101):
        rig.health.answered(7, milliseconds / 1000)
    unit = rig.unit()
    assert unit["ok"] == 100
    assert 60 <= unit["p50Ms"] <= 75  # of the last 64: 37 to 100
    assert 95 <= unit["p95Ms"] <= 100
    assert unit["suggestedTimeoutMs"] >= 200
    assert unit["lastSeen"] == "0 s ago"
    rig.silent(1, every=5, uid=8)
    assert rig.unit(8)["p50Ms"] is None
    assert rig.unit(8)["lastSeen"] is None
    assert rig.unit()["lastSeen"] == "5 s ago"
