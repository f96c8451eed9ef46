"""Sunrise and sunset, by the Astronomical Almanac's low-precision formulas for the Sun (0.01 degrees, 1950 to 2050).

Right to about a minute where the Sun rises and sets steeply; days are counted in integers, so that floats of 24 bits
do as well.
"""

from math import acos, asin, atan2, cos, pi, sin

J2000_DAY = 10957  # 1 January 2000, counted from 1970-01-01; the formulas count from its noon UTC
NOON = 43200  # seconds

_HORIZON = -0.833  # degrees of the Sun's centre at rise and set: refraction and its radius
_ROUNDS = 3  # each corrects where the Sun is by when the event is; the second is right to a second
_RADIANS = pi / 180
_FULL = 360000000  # a circle in millionths of a degree


def sun_times(day: int, latitude: float, longitude: float) -> tuple[int, int] | None:
    """(sunrise, sunset) of a day counted from 1970-01-01, in seconds from its midnight UTC, and before or after it.

    Of the day's noon by the Sun, and degrees north and east. None where the Sun stays up or down.
    """
    rise = _event(day, latitude, longitude, -1)
    set_ = _event(day, latitude, longitude, 1)
    return None if rise is None or set_ is None else (rise, set_)


def _event(day: int, latitude: float, longitude: float, side: int) -> int | None:
    seconds: float = NOON - longitude * 240
    for _ in range(_ROUNDS):
        declination, ahead = _sun(day - J2000_DAY, (seconds - NOON) / 86400)
        phi = latitude * _RADIANS
        steepness = cos(phi) * cos(declination)
        height = sin(_HORIZON * _RADIANS) - sin(phi) * sin(declination)
        if abs(height) >= steepness:
            return None
        seconds = NOON - (longitude + ahead - side * acos(height / steepness) / _RADIANS) * 240
    return int(seconds // 1)


def _sun(days: int, fraction: float) -> tuple[float, float]:
    """(declination in radians, degrees by which the Sun is ahead of the mean Sun) at a moment from noon of J2000 on."""
    mean = (280460000 + days * 9856474 // 10) % _FULL / 1000000 + 0.9856474 * fraction
    anomaly = ((357528000 + days * 9856003 // 10) % _FULL / 1000000 + 0.9856003 * fraction) * _RADIANS
    longitude = (mean + 1.915 * sin(anomaly) + 0.020 * sin(2 * anomaly)) * _RADIANS
    obliquity = (23.439 - days * 4 / 10000000) * _RADIANS
    ascension = atan2(cos(obliquity) * sin(longitude), cos(longitude)) / _RADIANS
    ahead = (mean - ascension + 180) % 360 - 180
    return asin(sin(obliquity) * sin(longitude)), ahead
