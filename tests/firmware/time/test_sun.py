"""Sunrise and sunset, against almanacs."""

import datetime
import json
import math
import pathlib
import struct
import subprocess
import sys

import pytest

from firmware.services.settings.table import SETTINGS
from firmware.services.time import sun
from firmware.services.time.clock import ClockService
from hal.simulated.clock import SimulatedClock

DEFAULTS = {field.name: field.default for field in SETTINGS}
ROOT = pathlib.Path(__file__).parents[3]
EPOCH = datetime.date(1970, 1, 1)
GREENWICH, LONDON = (51.467, 0), (51.507, -0.128)
REYKJAVIK, QUITO, EL_HIERRO = (64.067, -21.967), (-0.25, -78.583), (27.733, -18.05)
CAPE_TOWN = (-33.925, 18.424)

ALMANAC = [  # place, day, sunrise and sunset in UTC; what is printed is whole minutes
    (GREENWICH, "2013-01-01", "08:05", "16:02"),
    (GREENWICH, "2013-03-21", "06:00", "18:15"),
    (GREENWICH, "2013-06-21", "03:43", "20:21"),
    (LONDON, "2015-01-01", "08:06", "16:02"),
    (LONDON, "2015-12-01", "07:43", "15:55"),
    (LONDON, "2015-12-12", "07:57", "15:52"),
    (REYKJAVIK, "2013-01-01", "11:18", "15:45"),
    (REYKJAVIK, "2013-03-21", "07:24", "19:46"),
    (REYKJAVIK, "2013-06-21", "02:57", "24:02"),
    (QUITO, "2013-01-01", "11:14", "23:22"),
    (QUITO, "2013-03-21", "11:18", "23:25"),
    (EL_HIERRO, "2013-01-01", "08:03", "18:29"),
    (EL_HIERRO, "2013-03-21", "07:15", "19:24"),
    (CAPE_TOWN, "2016-12-21", "03:32", "17:57"),
]


def day_of(text):
    return (datetime.date.fromisoformat(text) - EPOCH).days


def seconds_of(text):
    return int(text[:2]) * 3600 + int(text[3:]) * 60


@pytest.mark.parametrize(("place", "day", "rise", "set_"), ALMANAC)
def test_the_sun_rises_and_sets_when_almanacs_say(place, day, rise, set_):
    found = sun.sun_times(day_of(day), *place)
    assert found is not None
    for seconds, expected in zip(found, (rise, set_), strict=True):
        assert -60 <= seconds - seconds_of(expected) <= 120


@pytest.mark.parametrize("day", ["2024-12-21", "2024-06-21"])
def test_beyond_the_polar_circle_the_sun_stays_down_or_up(day):
    assert sun.sun_times(day_of(day), 69.65, 18.96) is None
    assert sun.sun_times(day_of(day), -69.65, 18.96) is None


class Single(float):
    """A number as a board with floats of 32 bits has it (IEEE 754 binary32)."""

    def __new__(cls, value):
        return super().__new__(cls, struct.unpack("f", struct.pack("f", value))[0])


def _rounding(name):
    def operation(self, other):
        return Single(getattr(float, name)(self, float(Single(other))))

    return operation


for name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "mod", "floordiv"):
    setattr(Single, f"__{name}__", _rounding(f"__{name}__"))


def test_floats_of_32_bits_tell_the_same_minute(monkeypatch):
    for function in (math.sin, math.cos, math.acos, math.asin, math.atan2):
        monkeypatch.setattr(sun, function.__name__, lambda *x, exact=function: Single(exact(*x)))
    single = [sun.sun_times(day, Single(52.23), Single(21.01)) for day in range(19000, 40000, 500)]
    monkeypatch.undo()
    for day, found in zip(range(19000, 40000, 500), single, strict=True):
        assert max(abs(one - other) for one, other in zip(found, sun.sun_times(day, 52.23, 21.01), strict=True)) < 20


def test_micropython_tells_the_same(tmp_path):
    given = [(day_of(day), *place) for place, day, _, _ in ALMANAC]
    script = "import json, sys\nfrom firmware.services.time.sun import sun_times\n"
    script += "print(json.dumps([sun_times(*one) for one in json.loads(sys.stdin.read())]))"
    (tmp_path / "script.py").write_text(script)
    micropython = pathlib.Path(sys.executable).parent / "micropython"
    if not micropython.exists():
        pytest.skip("no micropython here")
    done = subprocess.run(
        [micropython, str(tmp_path / "script.py")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        env={"MICROPYPATH": f"{ROOT}:.frozen"},
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [list(sun.sun_times(*one)) for one in given]


def state(tmp_path, monkeypatch, moment, time_gmt, latitude, longitude):
    monkeypatch.setattr("time.time", lambda: datetime.datetime.fromisoformat(moment).timestamp())
    settings = dict(DEFAULTS, timeGmt=time_gmt, astro={"latitude": latitude, "longitude": longitude})
    return ClockService(SimulatedClock({}, str(tmp_path)), settings).state()


@pytest.mark.parametrize(
    ("moment", "time_gmt", "place", "rise", "set_"),
    [
        ("2013-03-21T00:30:00Z", -300, QUITO, "2013-03-20T06:18", "2013-03-20T18:2"),
        ("2013-03-21T12:00:00Z", -300, QUITO, "2013-03-21T06:18", "2013-03-21T18:2"),
        ("2026-11-30T12:00:00Z", 780, (-13.8, -171.8), "2026-12-01T0", "2026-12-01T1"),  # Samoa, east of the date line
        ("2026-11-30T10:59:00Z", 780, (-13.8, -171.8), "2026-11-30T0", "2026-11-30T1"),
        ("2026-11-30T11:01:00Z", 765, (-43.9, -176.5), "2026-11-30T0", "2026-11-30T"),  # Chatham Islands
    ],
)
def test_the_state_tells_both_of_the_local_day(tmp_path, monkeypatch, moment, time_gmt, place, rise, set_):
    told = state(tmp_path, monkeypatch, moment, time_gmt, *place)
    assert told["sunrise"].startswith(rise)
    assert told["sunset"].startswith(set_)
    assert told["sunrise"][:10] == told["local"][:10] == told["sunset"][:10]


@pytest.mark.parametrize("place", [(0, 0), (89, 0)])
def test_without_a_place_or_without_a_sunrise_there_is_none(tmp_path, monkeypatch, place):
    told = state(tmp_path, monkeypatch, "2026-11-30T12:00:00Z", 0, *place)
    assert (told["sunrise"], told["sunset"]) == (None, None)
