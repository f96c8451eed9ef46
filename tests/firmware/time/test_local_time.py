"""Calendar, ISO 8601 and daylight saving time, against Python's own and the tz database."""

import datetime
import random
import zoneinfo

import pytest

from firmware.services.settings.table import SETTINGS
from firmware.services.time.local_time import DAY, HOUR, LocalTime, days_of, iso, parse_iso, parse_moment
from hal.fields import BadField

RULE = next(field.default for field in SETTINGS if field.name == "tsManual")
UTC = datetime.UTC
EPOCH = datetime.date(1970, 1, 1)

# Tasmania from 2008 on: first Sunday of October 02:00 standard time to first Sunday of April 03:00 daylight time.
SOUTH = dict(RULE, startMonth=10, startWeek=1, startHour=2, endMonth=4, endWeek=1, endHour=3)
# The United States from 2007 on: second Sunday of March 02:00 to first Sunday of November 02:00.
# Chatham Islands: last Sunday of September 02:45 standard time to first Sunday of April 03:45 daylight time.
CHATHAM = dict(SOUTH, startMonth=9, startWeek=5, startMin=45, endMin=45)
# Egypt from 2023 on: last Friday of April 00:00 to last Thursday of October 24:00.
EGYPT = dict(RULE, startMonth=4, startDay=5, startHour=0, endDay=4, endHour=24)
# Israel from 2013 on: the Friday before the last Sunday of March 02:00 to the last Sunday of October 02:00.
ISRAEL = dict(RULE, startFrom=23, startDay=5, startHour=2, endHour=2)
AMERICA = dict(RULE, startMonth=3, startWeek=2, startHour=2, endMonth=11, endWeek=1, endHour=2)


def utc(text):
    return round(datetime.datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_days_agree_with_the_calendar_of_two_centuries():
    day = datetime.date(1970, 1, 1)
    while day < datetime.date(2150, 1, 1):
        number = (day - EPOCH).days
        assert days_of(day.year, day.month, day.day) == number
        assert iso(number * DAY + DAY - 1000) == f"{day.isoformat()}T23:59:59"
        day += datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2026-11-23T12:34:56", None),
        ("2026-11-23 12:34:56", None),
        ("2026-11-23T12:34", None),
        ("2026-11-23T12:34:56.5Z", 0),
        ("2026-11-23T12:34:56+02:00", 2 * HOUR),
        ("2026-11-23T12:34:56-0330", -7 * HOUR // 2),
        ("2024-02-29T00:00:00+14", 14 * HOUR),
    ],
)
def test_iso_texts_are_read(text, zone):
    moment, found = parse_iso(text)
    assert found == zone
    naive = datetime.datetime.fromisoformat(text.replace(".5Z", ".500000")).replace(tzinfo=UTC)
    assert moment == naive.timestamp() * 1000


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "now",
            "2026-11-23",
            "2026-13-01T00:00:00",
            "2026-02-29T00:00:00",
            "2026-11-23T24:00:00",
            "20261123T120000",
        ],
        *["2026-11-23T12:60:00", "2026-11-23T12:00:60", "2026-11-23T12:00:00+25:00", "2026-11-23T12:00:00Zx", "-1T0"],
        *[
            "1999-12-31T23:59:59Z",
            "2100-01-01T00:00:00Z",
            "\uff12\uff1026-11-23T12:00:00",
            "2026-11-23T12:00:00." + "9" * 39 + "\u0665",
            "2026-11-23T12:00:00.",
            "2026-11-23T12:34.5",
            "2026-11-23T12:00:00+02:99",
            "2026-11-23T12:00:00+0:200",
            "2026-11-23T12:00:00+02:",
        ],
    ],
)
def test_what_is_no_moment_is_refused_by_name(text):
    with pytest.raises(BadField, match="datetime: must be"):
        parse_moment(text, LocalTime(0, 0, RULE))


@pytest.mark.parametrize(
    ("time_gmt", "mode", "rule", "moment", "before", "after"),
    [
        (120, 1, RULE, "2026-03-29T01:00:00", "02:59:59", "04:00:00"),
        (120, 1, RULE, "2026-10-25T01:00:00", "03:59:59", "03:00:00"),
        (0, 1, RULE, "2026-03-29T01:00:00", "00:59:59", "02:00:00"),
        (600, 2, SOUTH, "2026-10-03T16:00:00", "01:59:59", "03:00:00"),
        (600, 2, SOUTH, "2026-04-04T16:00:00", "02:59:59", "02:00:00"),
        (-300, 2, AMERICA, "2026-03-08T07:00:00", "01:59:59", "03:00:00"),
        (-300, 2, AMERICA, "2026-11-01T06:00:00", "01:59:59", "01:00:00"),
        (630, 2, dict(SOUTH, shiftMin=30), "2026-10-03T15:30:00", "01:59:59", "02:30:00"),
        (0, 2, dict(RULE, startMonth=3, startFrom=21, startDay=7), "2026-03-21T02:00:00", "01:59:59", "03:00:00"),
        (0, 2, dict(RULE, endMonth=9, endFrom=21, endDay=7, endHour=0), "2026-09-20T23:00:00", "23:59:59", "23:00:00"),
    ],
)
def test_the_switch_over_second(time_gmt, mode, rule, moment, before, after):
    local = LocalTime(time_gmt, mode, rule)
    second = utc(moment)
    assert local.local_iso(second - 1000)[11:] == before
    assert local.local_iso(second)[11:] == after


@pytest.mark.parametrize(
    ("zone", "time_gmt", "mode", "rule", "first"),
    [
        ("Europe/Warsaw", 60, 1, RULE, 2000),
        ("Europe/Kyiv", 120, 1, RULE, 2000),
        ("Europe/London", 0, 1, RULE, 2000),
        ("Europe/Lisbon", 0, 1, RULE, 2000),
        ("Europe/Helsinki", 120, 1, RULE, 2000),
        ("Australia/Hobart", 600, 2, SOUTH, 2009),
        ("Australia/Lord_Howe", 630, 2, dict(SOUTH, endHour=2, shiftMin=30), 2009),
        ("America/New_York", -300, 2, AMERICA, 2008),
        ("Asia/Tokyo", 540, 0, RULE, 2000),
        ("Pacific/Chatham", 765, 2, CHATHAM, 2009),
        ("Africa/Cairo", 120, 2, EGYPT, 2024),
        ("Asia/Jerusalem", 120, 2, ISRAEL, 2014),
    ],
)
def test_local_time_agrees_with_the_tz_database(zone, time_gmt, mode, rule, first):
    try:
        info = zoneinfo.ZoneInfo(zone)
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("this machine has no tz database")
    local = LocalTime(time_gmt, mode, rule)
    source = random.Random(zone)
    for _ in range(1000):
        moment = source.randrange(utc(f"{first}-01-10"), utc("2100-01-01"))
        expected = datetime.datetime.fromtimestamp(moment // 1000, info)
        assert local.local_iso(moment) == expected.strftime("%Y-%m-%dT%H:%M:%S")
        if expected.fold == 0 and local.offset(moment) == local.offset(moment - 2 * HOUR):
            assert local.utc_of(moment + local.offset(moment)) == moment


def test_a_rule_that_ends_at_new_year_ends_in_the_old_one():
    rule = dict(SOUTH, endMonth=1, endWeek=1, endDay=4, endHour=0)  # 2026-01-01 is the first Thursday
    local = LocalTime(0, 2, rule)
    assert local.local_iso(utc("2025-12-31T22:59:59")) == "2025-12-31T23:59:59"
    assert local.local_iso(utc("2025-12-31T23:00:00")) == "2025-12-31T23:00:00"
    assert local.local_iso(utc("2026-01-01T00:00:00")) == "2026-01-01T00:00:00"


def test_the_last_second_that_can_be_set():
    assert parse_moment("2099-12-31T23:59:59.5Z", LocalTime(0, 0, RULE)) == 4102444799500


@pytest.mark.parametrize(
    ("text", "later"),
    [
        ("2026-11-23t12:00:00z", 0),
        ("2026-11-23T12:00:00.250000000000000000000000001Z", 250),
        ("2026-11-23T11:59:60Z", 0),  # a leap second has no number of its own
        ("2026-11-23T21:44:60+09:45", 0),
    ],
)
def test_what_other_devices_and_databases_write_is_read(text, later):
    assert parse_moment(text, LocalTime(0, 0, RULE)) == utc("2026-11-23T12:00:00") + later


@pytest.mark.parametrize(("day", "text"), [(-1, "1969-12-31"), (-5114, "1956-01-01"), (-5113, "1956-01-02")])
def test_days_before_1970_have_their_dates(day, text):
    assert iso(day * DAY) == text + "T00:00:00"


def test_days_agree_with_the_calendar_before_1970():
    for number in range(-150000, 0, 37):
        assert iso(number * DAY) == (EPOCH + datetime.timedelta(days=number)).isoformat() + "T00:00:00"


def test_a_skipped_hour_is_refused_and_a_doubled_one_is_its_first():
    warsaw = LocalTime(60, 1, RULE)
    with pytest.raises(BadField, match="that exists"):
        parse_moment("2026-03-29T02:30:00", warsaw)
    assert parse_moment("2026-10-25T02:30:00", warsaw) == utc("2026-10-25T00:30:00")
    assert parse_moment("2026-10-25T02:30:00+01:00", warsaw) == utc("2026-10-25T01:30:00")
