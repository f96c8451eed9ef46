"""Calendar arithmetic on milliseconds since 1970-01-01T00:00:00Z, ISO 8601 texts, and the device's local time.

Local time is timeGmt minutes ahead of UTC, and further ahead while daylight saving time is in force: by the European
rule (Directive 2000/84/EC: from the last Sunday of March to that of October, 01:00 UTC), or by a rule of one's own.
"""

from firmware.services import shapes
from hal.fields import BadField

MINUTE = 60000  # milliseconds
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EARLIEST = 946684800000  # 2000-01-01T00:00:00Z
LATEST = 4102444800000 - 1  # the end of 2099

OFF, EUROPEAN, MANUAL = range(3)  # values of the setting tsMode
EUROPEAN_SHIFT = HOUR
ANY_DAY = 7  # as day of the week in setting tsManual

_MARCH = 719468  # days from 0000-03-01 to 1970-01-01
_DAYS_OF_400 = 146097  # days of 400 years
# The last one that was written and its text: when hundreds of units were last heard is mostly the same minute.
_last_minute: tuple[int | None, str] = (None, "")
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def days_of(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar."""
    before = year - 1
    days = 365 * (year - 1970) + (before // 4 - before // 100 + before // 400) - 477
    for index in range(month - 1):
        days += month_days(year, index + 1)
    return days + day - 1


def month_days(year: int, month: int) -> int:
    """Days of a month."""
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_DAYS[month - 1] + leap


def date_of(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a day counted from 1970-01-01, from the year 1 on.

    Years begin with March here, so that the leap day is the last one of a year and the months before it are alike in
    all: of five, 153 days. Without loops, for the state asks for the date of hundreds of moments.
    """
    days += _MARCH
    centuries4, day = divmod(days, _DAYS_OF_400)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += 400 * centuries4
    return (year, month + 3, day + 1) if month < 10 else (year + 1, month - 9, day + 1)


def weekday_date(year: int, month: int, week: int, weekday: int) -> int:
    """Days from 1970-01-01 to the week-th (5: the last) weekday (0 Sunday) of a month."""
    first = days_of(year, month, 1)
    day = first + (weekday - (first + 4)) % 7 + 7 * (week - 1)  # 1970-01-01 was a Thursday
    while day >= first + month_days(year, month):
        day -= 7
    return day


def switch_over(rule: dict, which: str, year: int) -> int:
    """The start or the end, as `which` says, of daylight saving time in a year by a value of setting tsManual.

    Milliseconds as clocks on the wall show them, from 1970-01-01 on.
    """
    month, weekday, first = rule[which + "Month"], rule[which + "Day"], rule[which + "From"]
    if first == 0:
        day = weekday_date(year, month, rule[which + "Week"], weekday)
    else:
        day = days_of(year, month, first)
        if weekday != ANY_DAY:
            day += (weekday - (day + 4)) % 7
    moment: int = day * DAY + rule[which + "Hour"] * HOUR + rule[which + "Min"] * MINUTE
    return moment


def iso(moment: int) -> str:
    """ISO 8601 text without a zone, whole seconds."""
    global _last_minute
    minute, text = _last_minute
    if moment // MINUTE != minute:
        minute = moment // MINUTE
        year, month, day = date_of(moment // DAY)
        text = f"{year:04d}-{month:02d}-{day:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:"
        _last_minute = minute, text
    return f"{text}{moment % MINUTE // 1000:02d}"


def parse_iso(text: str) -> tuple[int, int | None]:
    """(milliseconds as written, those that its zone is ahead of UTC or None) of YYYY-MM-DDThh:mm[:ss[.f]][Z|+hh[:]mm].

    A leap second, ss 60, is the second after it. ValueError where it is none.
    """
    date, mark, rest = text.strip().replace(" ", "T").replace("t", "T").partition("T")
    if not mark:
        raise ValueError("no time")
    year, month, day = (_number(part, size) for part, size in _split(date, "-", (4, 2, 2)))
    clock, zone = _cut_zone(rest)
    clock, point, fraction = clock.replace(",", ".").partition(".")
    sizes = (2, 2, 2) if clock.count(":") == 2 else (2, 2)
    parts = [_number(part, size) for part, size in _split(clock, ":", sizes)]
    if point and not (fraction and len(parts) == 3):
        raise ValueError("a fraction of no second")
    hour, minute, second = (parts + [0])[:3]
    last = 60 if minute % 15 == 14 else 59  # leap seconds come at 23:59:60 UTC, zones are apart by quarters of an hour
    if not (1 <= month <= 12 and 1 <= day <= month_days(year, month) and hour < 24 and minute < 60 and second <= last):
        raise ValueError("no such moment")
    moment = days_of(year, month, day) * DAY + hour * HOUR + minute * MINUTE + second * 1000
    return moment + int((_digits(fraction) + "000")[:3]), zone


def _split(text: str, separator: str, sizes: tuple) -> list:
    parts = text.split(separator)
    if len(parts) != len(sizes):
        raise ValueError("wrong number of parts")
    return list(zip(parts, sizes))  # noqa: B905 - MicroPython's zip has no strict


def _number(text: str, size: int) -> int:
    if len(text) != size:
        raise ValueError("not a number")
    return int(_digits(text))


def _digits(text: str) -> str:
    if not all("0" <= digit <= "9" for digit in text):
        raise ValueError("not a number")
    return text


def _cut_zone(text: str) -> tuple[str, int | None]:
    if text[-1:] in ("Z", "z"):
        return text[:-1], 0
    for sign in "+-":
        clock, mark, zone = text.partition(sign)
        if mark:
            minutes = zone[3:] if zone[2:3] == ":" else zone[2:] or "00"
            offset = _number(zone[:2], 2) * HOUR + _number(minutes, 2) * MINUTE
            if offset > 14 * HOUR or int(minutes) > 59:
                raise ValueError("no such zone")
            return clock, offset if sign == "+" else -offset
    return text, None


class LocalTime:
    """Device local time by the active settings timeGmt, tsMode and tsManual."""

    def __init__(self, time_gmt: int, mode: int, rule: shapes.TsManual):
        self._standard = time_gmt * MINUTE
        self._mode = mode
        self._rule = rule
        self._shift = rule["shiftMin"] * MINUTE if mode == MANUAL else EUROPEAN_SHIFT

    def offset(self, utc: int) -> int:
        """Milliseconds that local time is ahead of UTC at a moment."""
        return self._standard + (self._shift if self._is_daylight(utc) else 0)

    def local_iso(self, utc: int) -> str:
        """Local time of a moment, ISO 8601 without a zone."""
        return iso(utc + self.offset(utc))

    def utc_of(self, local: int) -> int:
        """The moment of a local time. Of the two of an hour that comes twice, the first.

        ValueError for a time that daylight saving time skips.
        """
        for offset in (self._standard + self._shift, self._standard):
            if self.offset(local - offset) == offset:
                return local - offset
        raise ValueError("skipped by daylight saving time")

    def _is_daylight(self, utc: int) -> bool:
        if self._mode == OFF:
            return False
        year = date_of(utc // DAY)[0]
        last_start = last_end = -(10**15)
        for near in (year - 1, year, year + 1):  # an hour of January can be of another year elsewhere
            start, end = self._european(near) if self._mode == EUROPEAN else self._manual(near)
            last_start = start if start <= utc else last_start
            last_end = end if end <= utc else last_end
        return last_start > last_end

    def _european(self, year: int) -> tuple[int, int]:
        return weekday_date(year, 3, 5, 0) * DAY + HOUR, weekday_date(year, 10, 5, 0) * DAY + HOUR

    def _manual(self, year: int) -> tuple[int, int]:
        """Start by standard time, end by daylight saving time, as clocks on the wall show them."""
        rule = self._rule
        return (
            switch_over(dict(rule), "start", year) - self._standard,
            switch_over(dict(rule), "end", year) - self._standard - self._shift,
        )


def parse_moment(text: str, local_time: LocalTime) -> int:
    """Milliseconds UTC of an API's datetime, local time where it has no zone. BadField names `datetime`."""
    try:
        moment, zone = parse_iso(text)
        utc = local_time.utc_of(moment) if zone is None else moment - zone
    except ValueError:
        raise BadField(
            "datetime: must be an ISO 8601 moment that exists, such as 2026-11-23T12:00:00 or 2026-11-23T12:00:00Z"
        ) from None
    if not EARLIEST <= utc <= LATEST:
        raise BadField("datetime: must be in 2000..2099")
    return utc
