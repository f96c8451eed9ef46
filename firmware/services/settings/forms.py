"""Forms of the texts in the settings table, and its rules over several fields at once.

A form is a triple for `hal.fields.Text`: predicate, words for the error message, JSON Schema additions. Predicate and
pattern take the same texts.
"""

from firmware.services.time import local_time
from hal.fields import BadField, ListOf
from hal.ip_addresses import ipv4_number, is_decimal, is_ipv4, is_ipv6
from hal.runtime import b64decode
from hal.runtime.annotations import Callable

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = "(?:" + _OCTET + "[.]){3}" + _OCTET
_UNICAST = "(?:22[0-3]|2[01][0-9]|1[0-9]{2}|[1-9][0-9]?)(?:[.]" + _OCTET + "){3}"
_OWN = "(?!127[.])" + _UNICAST
_MASK_OCTET = "(?:255|254|252|248|240|224|192|128|0)"
_MASK = (
    "(?:(?!0)" + _MASK_OCTET + "(?:[.]0){3}|255[.]" + _MASK_OCTET + "(?:[.]0){2}"
    "|(?:255[.]){2}" + _MASK_OCTET + "[.]0|(?:255[.]){3}" + _MASK_OCTET + ")"
)
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME_END = "(?![A-Za-z0-9.-])"
_HOST = "(?:" + _UNICAST + _NAME_END + "|(?:" + _LABEL + "[.])*(?![0-9]+" + _NAME_END + ")" + _LABEL + _NAME_END + ")"
_PORT = "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_CIDR = _IPV4 + "/(?:3[0-2]|[12]?[0-9])"

_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = "(?:(?:" + _GROUP + ":){7}(?:" + _GROUP + "|:)|"  # all eight groups, or :: behind seven and before none
for _before in range(6, -1, -1):  # groups before ::
    _IPV6 += "(?:" + _GROUP + ":){" + str(_before) + "}" + (":" if _before == 0 else "")
    _IPV6 += "(?:(?::" + _GROUP + "){1," + str(7 - _before) + "}|:)|"
_IPV6 = _IPV6[:-1] + ")"
_CIDR6 = _IPV6 + "/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])"

_NAME_RANGES = (  # first and last of each, in pairs
    "!~\u00c0\u00d6\u00d8\u00f6\u00f8\u0131\u0134\u013e\u0141\u0148\u014a\u017e"  # Latin
    "\u0386\u0386\u0388\u038a\u038c\u038c\u038e\u03a1\u03a3\u03ce\u0400\u0481\u048a\u052f"  # Greek, Cyrillic
)
_WORD = "[" + "".join(_NAME_RANGES[at] + "-" + _NAME_RANGES[at + 1] for at in range(0, len(_NAME_RANGES), 2)) + "]+"

_SOME_YEAR, _CALENDARS = 2000, 28  # after so many years days of the week come again on the same dates
_NO_HOST = "must be the address of a host, not the first or last of its network"
_HOST_LENGTH = 253  # RFC 1035 section 2.3.4, without the dot of the root
_LABEL_LENGTH = 63


def is_unicast(text: str) -> bool:
    """Whether a text is an IPv4 address that one host can have: not 0.x, multicast, reserved or broadcast."""
    return is_ipv4(text) and 1 <= int(text.split(".")[0]) <= 223


def is_own_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address that a host can have in a network: loopback is out too."""
    return is_unicast(text) and text[:4] != "127."


def is_mask(text: str) -> bool:
    """Whether a text is an IPv4 network mask: ones, then zeros; not that of the whole Internet."""
    if not is_ipv4(text) or text == "0.0.0.0":
        return False
    host_bits = ipv4_number(text) ^ 0xFFFFFFFF
    return host_bits & (host_bits + 1) == 0


def is_cidr(text: str) -> bool:
    """Whether a text is an IPv4 address and a prefix length, such as 192.168.0.0/16."""
    address, _, prefix = text.partition("/")
    return is_ipv4(address) and is_decimal(prefix, 32)


def is_own_cidr(text: str) -> bool:
    """Whether a text is a host's IPv4 address and the prefix length of its network, such as 10.8.0.2/24."""
    return is_cidr(text) and is_own_ipv4(text.partition("/")[0]) and text[-2:] != "/0"


def is_network(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address and a prefix length."""
    address, _, prefix = text.partition("/")
    return is_cidr(text) or (is_plain_ipv6(address) and is_decimal(prefix, 128))


def is_plain_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address without an IPv4 address in it."""
    return is_ipv6(text) and "." not in text


def is_label(text: str) -> bool:
    """Whether a text is one label of a host name (RFC 1123 section 2.1)."""
    if not 1 <= len(text) <= _LABEL_LENGTH or text[0] == "-" or text[-1] == "-":
        return False
    return all(_is_letter_or_digit(character) or character == "-" for character in text)


def is_host(text: str) -> bool:
    """Whether a text is a host name or an IPv4 address; what ends in a number is no name (RFC 1123 section 2.1)."""
    labels = text.split(".")
    if len(text) > _HOST_LENGTH or not all(is_label(label) for label in labels):
        return False
    return is_unicast(text) or not _is_digits(labels[-1])


def is_endpoint(text: str) -> bool:
    """Whether a text is HOST:PORT."""
    host, _, port = text.partition(":")
    return is_host(host) and is_decimal(port, 65535) and port != "0"


def is_url(text: str) -> bool:
    """Whether a text is an http or https URL: host, perhaps a port, perhaps a path of visible ASCII; no login in it."""
    scheme, _, rest = text.partition("://")
    authority, _, path = rest.partition("/")
    if scheme not in ("http", "https") or not all("!" <= character <= "~" for character in path):
        return False
    return is_endpoint(authority) if ":" in authority else is_host(authority)


def is_place(text: str) -> bool:
    """Whether a text is a place that updates may come from: a URL, or a folder on the SD card."""
    return is_url(text) or (text[:6] == "card:/" and all(" " <= character <= "~" for character in text))


def is_phone(text: str) -> bool:
    """Whether a text is an international number: + and 5..15 digits (ITU-T E.164 section 6)."""
    return text[:1] == "+" and 6 <= len(text) <= 16 and _is_digits(text[1:])


def is_phone_start(text: str) -> bool:
    """Whether a text can be the beginning of an international number."""
    return text[:1] == "+" and len(text) <= 16 and _is_digits(text[1:])


def is_apn(text: str) -> bool:
    """Whether a text is an access point name: labels as in host names (3GPP TS 23.003 section 9.1)."""
    return all(is_label(label) for label in text.split("."))


def is_pin(text: str) -> bool:
    """Whether a text is a SIM PIN: 4..8 digits (3GPP TS 31.101 section 9.5.1)."""
    return 4 <= len(text) <= 8 and _is_digits(text)


def is_key(text: str) -> bool:
    """Whether a text is a WireGuard key: Base64 of 32 bytes."""
    try:
        return len(b64decode(text)) == 32
    except ValueError:
        return False


def is_quotable(text: str) -> bool:
    """Whether a text can stand between quotation marks, as modems want it."""
    return '"' not in text


def is_interface(text: str) -> bool:
    """Whether a text can name a network interface: a letter, then up to 14 letters, digits, dots, _ or -."""
    if not 1 <= len(text) <= 15 or not _is_letter_or_digit(text[0]) or _is_digits(text[0]):
        return False
    return all(_is_letter_or_digit(character) or character in "._-" for character in text)


def is_username(text: str) -> bool:
    """Whether a text is a user name after RFC 8265 section 3.4, in alphabets that firmware on a small board knows.

    Letters of Latin, Greek and Cyrillic, each one code point that no normalisation changes, digits and the signs of
    ASCII; words of them with one space between. What cannot be seen, and what can be written in two ways, is out.
    """
    return all(word != "" and all(_is_in_name(character) for character in word) for word in text.split(" "))


def _is_in_name(character: str) -> bool:
    return any(_NAME_RANGES[at] <= character <= _NAME_RANGES[at + 1] for at in range(0, len(_NAME_RANGES), 2))


def _is_digits(text: str) -> bool:
    return text != "" and all("0" <= character <= "9" for character in text)


def _is_letter_or_digit(character: str) -> bool:
    return "0" <= character <= "9" or "a" <= character <= "z" or "A" <= character <= "Z"


def _form(predicate: Callable[[str], bool], words: str, pattern: str) -> tuple:
    return predicate, words, {"pattern": "^" + pattern + "$"}


def _or_empty(predicate: Callable[[str], bool], words: str, pattern: str) -> tuple:
    return lambda text: text == "" or predicate(text), words + ", or empty", {"pattern": "^(?:" + pattern + ")?$"}


UNICAST_OR_EMPTY = _or_empty(is_unicast, "an IPv4 address of a host, such as 192.168.1.1", _UNICAST)
OWN_OR_EMPTY = _or_empty(is_own_ipv4, "an IPv4 address of a host in a network, such as 192.168.1.20", _OWN)
MASK_OR_EMPTY = _or_empty(is_mask, "a network mask such as 255.255.255.0", _MASK)
NETWORK = _form(
    is_network, "an IPv4 or IPv6 network such as 192.168.0.0/16 or fd00::/8", "(?:" + _CIDR + "|" + _CIDR6 + ")"
)
CIDR = _form(is_cidr, "an IPv4 network such as 192.168.0.0/16", _CIDR)
OWN_CIDR_OR_EMPTY = _or_empty(
    is_own_cidr, "an IPv4 address with its prefix such as 10.8.0.2/24", _OWN + "/(?:3[0-2]|[12][0-9]|[1-9])"
)
LABEL = _form(is_label, "a host name without dots: letters, digits and -", _LABEL)
HOST = _form(is_host, "a host name or an IPv4 address", _HOST)
ADDRESSEE = _form(
    lambda text: is_host(text) or is_plain_ipv6(text),
    "a host name or an IP address",
    "(?:" + _HOST + "|" + _IPV6 + ")",
)
HOST_OR_EMPTY = _or_empty(is_host, "a host name or an IPv4 address", _HOST)
ENDPOINT_OR_EMPTY = _or_empty(is_endpoint, "HOST:PORT", _HOST + ":" + _PORT)
_URL = "https?://" + _HOST + "(?::" + _PORT + ")?(?:/[!-~]*)?"
URL_OR_EMPTY = _or_empty(is_url, "an http or https URL without a login", _URL)
PLACE_OR_EMPTY = _or_empty(
    is_place, "an http or https URL without a login, or card:/PATH", "(?:" + _URL + "|card:/[ -~]*)"
)
PHONE = _form(is_phone, "+ and 5..15 digits", "[+][0-9]{5,15}")
PHONE_OR_EMPTY = _or_empty(is_phone, "+ and 5..15 digits", "[+][0-9]{5,15}")
PHONE_START = _form(is_phone_start, "+ and 1..15 digits", "[+][0-9]{1,15}")
APN_OR_EMPTY = _or_empty(is_apn, "labels of letters, digits and - with dots between", _LABEL + "(?:[.]" + _LABEL + ")*")
QUOTABLE = _form(is_quotable, 'text without "', '[^"\\u0000-\\u001f\\u007f]*')
PIN = _form(is_pin, "4..8 digits", "[0-9]{4,8}")
KEY = _form(is_key, "Base64 of 32 bytes", "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
KEY_OR_EMPTY = _or_empty(is_key, "Base64 of 32 bytes", "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
USERNAME = _form(is_username, "letters, digits and signs, one space between words", _WORD + "(?: " + _WORD + ")*")
INTERFACE = _form(is_interface, "an interface name such as wg0", "[A-Za-z][A-Za-z0-9._-]{0,14}")


def has_a_source(download: dict) -> list[str]:
    """A rule: while updates are enabled, there is a place that they come from."""
    if not download["enabled"] or download["url"] or (download["hawkbitUrl"] and download["hawkbitToken"]):
        return []
    if download["hawkbitUrl"]:
        return ["hawkbitToken: is needed with hawkbitUrl while enabled is true"]
    return ["url: is needed while enabled is true, or hawkbitUrl"]


def needs(*names: str) -> Callable[[dict], list[str]]:
    """A rule: while `enabled` is true, the members of these names are not empty."""

    def rule(value: dict) -> list[str]:
        if not value["enabled"]:
            return []
        return [f"{name}: is needed while enabled is true" for name in names if not value[name]]

    return rule


def needs_one_of(*names: str) -> Callable[[dict], list[str]]:
    """A rule: while `enabled` is true, one of the members of these names is not empty."""

    def rule(value: dict) -> list[str]:
        if not value["enabled"] or any(value[name] for name in names):
            return []
        return [f"{names[0]}: is needed while enabled is true, or {' or '.join(names[1:])}"]

    return rule


def static_address(ethernet: dict) -> list[str]:
    """A rule: without DHCP, address and mask are given; a router, where there is one, is in their network."""
    if ethernet["dhcp"]:
        return []
    missing = [f"{name}: is needed while dhcp is false" for name in ("ip", "mask") if not ethernet[name]]
    if missing:
        return missing
    if ethernet["mask"] == "255.255.255.255":
        return ["mask: must leave room for other hosts"]
    problems = []
    mask = ipv4_number(ethernet["mask"])
    if ethernet["gateway"]:
        if (ipv4_number(ethernet["gateway"]) ^ ipv4_number(ethernet["ip"])) & mask:
            problems.append("gateway: must be in one network with ip, by mask")
        if ethernet["gateway"] == ethernet["ip"]:
            problems.append("gateway: must differ from ip")
    given = [name for name in ("ip", "gateway") if ethernet[name]]
    return problems + [f"{name}: {_NO_HOST}" for name in given if not _is_host_in(ethernet[name], mask)]


def tunnel(value: dict) -> list[str]:
    """A rule: an enabled tunnel has all that it needs, and an address that a host can have in its network."""
    problems = needs("privateKey", "address", "peerPublicKey", "endpoint", "allowedIps")(value)
    address, _, prefix = value["address"].partition("/")
    if address and not _is_host_in(address, 0xFFFFFFFF << (32 - int(prefix)) & 0xFFFFFFFF):
        problems.append(f"address: {_NO_HOST}")
    return problems


def _is_host_in(address: str, mask: int) -> bool:
    """Whether an address is none of the two that name a network and all of its hosts; RFC 3021 knows no such in /31."""
    hosts = mask ^ 0xFFFFFFFF
    return hosts <= 1 or ipv4_number(address) & hosts not in (0, hosts)


def daylight(rule: dict) -> list[str]:
    """A rule over setting tsManual: both days exist, no hour is after 24:00, the end comes after the start.

    An end in an earlier month is in the next year (southern hemisphere). Otherwise it must come later in every year.
    """
    problems = []
    for which in ("start", "end"):
        if rule[which + "From"] > local_time.month_days(2000, rule[which + "Month"]):
            problems.append(f"{which}From: must be a day of {which}Month")
        if rule[which + "Day"] == local_time.ANY_DAY and rule[which + "From"] == 0:
            problems.append(f"{which}Day: {local_time.ANY_DAY}, any day, goes with {which}From alone")
        if rule[which + "Hour"] == 24 and rule[which + "Min"] > 0:
            problems.append(f"{which}Min: must be 0 at hour 24")
    if not problems and 0 <= rule["endMonth"] - rule["startMonth"] <= 1:
        for year in range(_SOME_YEAR, _SOME_YEAR + _CALENDARS):
            if local_time.switch_over(rule, "end", year) <= local_time.switch_over(rule, "start", year):
                return ["endMonth: the end must come after the start"]
    return problems


def ordered_uids(value: dict) -> list[str]:
    """A rule: uidFrom..uidTo is a range."""
    return [] if value["uidFrom"] <= value["uidTo"] else ["uidTo: must not be less than uidFrom"]


def forwarded_uids(value: dict) -> list[str]:
    """A rule: uidFrom..uidTo is a range, and stays in 0..255 when uidOffset is added."""
    problems = ordered_uids(value)
    if value["uidFrom"] + value["uidOffset"] < 0 or value["uidTo"] + value["uidOffset"] > 255:
        problems.append("uidOffset: must leave the unit ids in 0..255")
    return problems


class UidRanges(ListOf):
    """A list of objects with uidFrom and uidTo whose ranges do not overlap."""

    def check(self, value: object, where: str) -> list:
        """The list of checked items, or BadField naming every bad one."""
        checked = super().check(value, where)
        problems = []
        for index, item in enumerate(checked):
            for other in range(index):
                if item["uidFrom"] <= checked[other]["uidTo"] and checked[other]["uidFrom"] <= item["uidTo"]:
                    problems.append(f"{where}[{index}].uidFrom: the range overlaps that of {where}[{other}]")
                    break
        if problems:
            raise BadField(problems)
        return checked
