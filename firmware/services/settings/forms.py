"""Forms of the texts in the settings table, and its rules over several fields at once.

A form is a triple for `hal.fields.Text`: predicate, words for the error message, JSON Schema additions. Predicate and
pattern take the same texts.
"""

from hal.fields import BadField, ListOf
from hal.ip_addresses import ipv4_number, is_decimal, is_ipv4
from hal.runtime import b64decode

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = "(?:" + _OCTET + "[.]){3}" + _OCTET
_MASK_OCTET = "(?:255|254|252|248|240|224|192|128|0)"
_MASK = (
    "(?:" + _MASK_OCTET + "(?:[.]0){3}|255[.]" + _MASK_OCTET + "(?:[.]0){2}"
    "|(?:255[.]){2}" + _MASK_OCTET + "[.]0|(?:255[.]){3}" + _MASK_OCTET + ")"
)
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME_END = "(?![A-Za-z0-9.-])"
_HOST = "(?:" + _IPV4 + _NAME_END + "|(?:" + _LABEL + "[.])*(?![0-9]+" + _NAME_END + ")" + _LABEL + _NAME_END + ")"
_PORT = "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_CIDR = _IPV4 + "/(?:3[0-2]|[12]?[0-9])"

_HOST_LENGTH = 253  # RFC 1035 section 2.3.4, without the dot of the root
_LABEL_LENGTH = 63


def is_mask(text: str) -> bool:
    """Whether a text is an IPv4 network mask: ones, then zeros."""
    if not is_ipv4(text):
        return False
    host_bits = ipv4_number(text) ^ 0xFFFFFFFF
    return host_bits & (host_bits + 1) == 0


def is_cidr(text: str) -> bool:
    """Whether a text is an IPv4 address and a prefix length, such as 192.168.0.0/16."""
    address, _, prefix = text.partition("/")
    return is_ipv4(address) and is_decimal(prefix, 32)


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
    return is_ipv4(text) or not _is_digits(labels[-1])


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


def is_phone(text: str) -> bool:
    """Whether a text is an international number: + and 5..15 digits (ITU-T E.164 section 6)."""
    return text[:1] == "+" and 6 <= len(text) <= 16 and _is_digits(text[1:])


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


def _is_digits(text: str) -> bool:
    return text != "" and all("0" <= character <= "9" for character in text)


def _is_letter_or_digit(character: str) -> bool:
    return "0" <= character <= "9" or "a" <= character <= "z" or "A" <= character <= "Z"


def _form(predicate, words: str, pattern: str) -> tuple:
    return predicate, words, {"pattern": "^" + pattern + "$"}


def _or_empty(predicate, words: str, pattern: str) -> tuple:
    return lambda text: text == "" or predicate(text), words + ", or empty", {"pattern": "^(?:" + pattern + ")?$"}


IPV4_OR_EMPTY = _or_empty(is_ipv4, "an IPv4 address such as 192.168.1.20", _IPV4)
MASK_OR_EMPTY = _or_empty(is_mask, "a network mask such as 255.255.255.0", _MASK)
CIDR = _form(is_cidr, "an IPv4 network such as 192.168.0.0/16", _CIDR)
CIDR_OR_EMPTY = _or_empty(is_cidr, "an IPv4 address with its prefix such as 10.8.0.2/24", _CIDR)
LABEL = _form(is_label, "a host name without dots: letters, digits and -", _LABEL)
HOST = _form(is_host, "a host name or an IPv4 address", _HOST)
HOST_OR_EMPTY = _or_empty(is_host, "a host name or an IPv4 address", _HOST)
ENDPOINT_OR_EMPTY = _or_empty(is_endpoint, "HOST:PORT", _HOST + ":" + _PORT)
URL_OR_EMPTY = _or_empty(
    is_url, "an http or https URL without a login", "https?://" + _HOST + "(?::" + _PORT + ")?(?:/[!-~]*)?"
)
PHONE = _form(is_phone, "+ and 5..15 digits", "[+][0-9]{5,15}")
PHONE_OR_EMPTY = _or_empty(is_phone, "+ and 5..15 digits", "[+][0-9]{5,15}")
APN_OR_EMPTY = _or_empty(is_apn, "labels of letters, digits and - with dots between", _LABEL + "(?:[.]" + _LABEL + ")*")
QUOTABLE = _form(is_quotable, 'text without "', '[^"]*')
PIN = _form(is_pin, "4..8 digits", "[0-9]{4,8}")
KEY = _form(is_key, "Base64 of 32 bytes", "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
KEY_OR_EMPTY = _or_empty(is_key, "Base64 of 32 bytes", "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
INTERFACE = _form(is_interface, "an interface name such as wg0", "[A-Za-z][A-Za-z0-9._-]{0,14}")


def needs(*names: str):
    """A rule: while `enabled` is true, the members of these names are not empty."""

    def rule(value: dict) -> "list[str]":
        if not value["enabled"]:
            return []
        return [f"{name}: is needed while enabled is true" for name in names if not value[name]]

    return rule


def static_address(ethernet: dict) -> "list[str]":
    """A rule: without DHCP, address, mask and gateway are given and fit together."""
    if ethernet["dhcp"]:
        return []
    missing = [f"{name}: is needed while dhcp is false" for name in ("ip", "mask", "gateway") if not ethernet[name]]
    if missing:
        return missing
    problems = []
    mask = ipv4_number(ethernet["mask"])
    network = ipv4_number(ethernet["ip"]) & mask
    if ipv4_number(ethernet["gateway"]) & mask != network:
        problems.append("gateway: must be in one network with ip, by mask")
    if ethernet["gateway"] == ethernet["ip"]:
        problems.append("gateway: must differ from ip")
    for name in ("ip", "gateway"):
        if ipv4_number(ethernet[name]) in (network, network | mask ^ 0xFFFFFFFF):
            problems.append(f"{name}: must be the address of a host, not the first or last of its network")
    return problems


def end_after_start(rule: dict) -> "list[str]":
    """A rule: daylight saving time does not end at or before its start.

    An end in an earlier month is in the next year (southern hemisphere). Inside one month only what comes later in
    every year counts: the last week can be the fourth.
    """
    if rule["startMonth"] != rule["endMonth"] or min(rule["endWeek"], 4) > rule["startWeek"]:
        return []
    same_day = rule["startWeek"] == rule["endWeek"] and rule["startDay"] == rule["endDay"]
    if same_day and rule["endHour"] > rule["startHour"]:
        return []
    return ["endMonth: the end must come after the start"]


def ordered_uids(value: dict) -> "list[str]":
    """A rule: uidFrom..uidTo is a range."""
    return [] if value["uidFrom"] <= value["uidTo"] else ["uidTo: must not be less than uidFrom"]


def forwarded_uids(value: dict) -> "list[str]":
    """A rule: uidFrom..uidTo is a range, and stays in 0..255 when uidOffset is added."""
    problems = ordered_uids(value)
    if value["uidFrom"] + value["uidOffset"] < 0 or value["uidTo"] + value["uidOffset"] > 255:
        problems.append("uidOffset: must leave the unit ids in 0..255")
    return problems


class UidRanges(ListOf):
    """A list of objects with uidFrom and uidTo whose ranges do not overlap."""

    def check(self, value, where: str):
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
