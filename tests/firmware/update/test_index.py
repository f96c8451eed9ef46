"""The index of updates: whom it serves which bundle, and which indexes are none."""

import random

import pytest

from firmware.services.errors import Refused
from firmware.services.update.sources.index import check_index, choose, takes_part

NOW = 1_790_000_000
DEVICE = {"version": "1.0.0", "compatible": "mc252", "architecture": "linux-x86_64-cp311", "mac": "02:00:00:00:02:52"}


def entry(version="1.1.0", **changes):
    made = {
        "file": f"{version}.bundle",
        "version": version,
        "compatible": ["mc252", "other"],
        "architecture": "linux-x86_64-cp311",
        "channel": "stable",
        "size": 1000,
        "sha256": "0" * 64,
        "notBefore": 0,
        "rollout": 100,
    }
    return dict(made, **changes)


def index(*entries, **changes):
    return dict({"serial": 5, "issued": NOW, "expires": NOW + 1000, "bundles": list(entries)}, **changes)


def chosen(*entries, channel="stable", now=NOW, given_up=""):
    found = choose(check_index(index(*entries), 0, NOW), DEVICE, channel, now, given_up)
    return found and found["version"]


def test_the_newest_version_is_taken_by_number_and_not_by_letter():
    assert chosen(entry("1.9.0"), entry("1.10.0"), entry("1.2.0")) == "1.10.0"


def test_what_runs_and_what_is_older_is_not_taken():
    assert chosen(entry("1.0.0"), entry("0.9.9")) is None


@pytest.mark.parametrize(
    "change",
    [{"compatible": ["other"]}, {"architecture": "linux-aarch64-cp311"}, {"channel": "beta"}, {"notBefore": NOW + 1}],
)
def test_what_is_not_for_this_device_is_not_taken(change):
    assert chosen(entry(**change)) is None


def test_the_beta_channel_takes_both():
    assert chosen(entry("1.1.0", channel="beta"), channel="beta") == "1.1.0"
    assert chosen(entry("1.1.0"), channel="beta") == "1.1.0"


def test_a_version_that_was_rolled_back_is_not_taken_by_itself_again():
    assert chosen(entry("1.1.0"), given_up="1.1.0") is None
    assert chosen(entry("1.1.0"), entry("1.1.1"), given_up="1.1.0") == "1.1.1"


def test_a_rollout_takes_its_share_of_a_fleet_and_keeps_whom_it_has():
    macs = [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(2000)]
    shares = {percent: {mac for mac in macs if takes_part(mac, "1.1.0", percent)} for percent in (0, 5, 50, 100)}
    assert shares[0] == set() and shares[100] == set(macs)
    assert shares[5] < shares[50]
    assert 60 <= len(shares[5]) <= 140 and 920 <= len(shares[50]) <= 1080
    assert shares[50] != {mac for mac in macs if takes_part(mac, "1.2.0", 50)}  # another release, another order


def refusal(payload, least_serial=0, latest=NOW):
    with pytest.raises(Refused) as caught:
        check_index(payload, least_serial, latest)
    return caught.value.code


def test_an_index_older_than_one_that_was_seen_is_refused():
    assert refusal(index(), least_serial=6) == "UPDATE_REPLAYED"
    assert check_index(index(), 5, NOW)["serial"] == 5


def test_an_expired_index_is_refused():
    assert refusal(index(), latest=NOW + 1001) == "UPDATE_EXPIRED"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", "", "a\\b"])
def test_an_index_that_leads_out_of_its_folder_is_refused(name):
    assert refusal(index(entry(file=name))) in ("UPDATE_BAD_PATH", "UPDATE_BAD_INDEX")


def test_what_is_no_index_is_told_so():
    rng = random.Random(3)
    values = [None, -1, 1e300, "x" * 300, [], {}, True, 1 << 70]
    for _ in range(10_000):
        broken = index(entry(), entry("1.2.0"))
        target = rng.choice([broken, broken["bundles"][0]])
        key = rng.choice(list(target))
        if rng.random() < 0.3:
            del target[key]
        else:
            target[key] = rng.choice(values)
        try:
            check_index(broken, 0, NOW)
        except Refused as exc:
            assert exc.code.startswith("UPDATE_")
