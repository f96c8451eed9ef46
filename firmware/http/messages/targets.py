"""Request targets: the path and the query of a request line (RFC 9112 section 3.2)."""

from hal.ip_addresses import is_decimal, is_ipv6

_SCHEME = "http://"
_HEX = "0123456789abcdefABCDEF"
_NAME = "-._~%!$&'()*+,;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # RFC 3986: reg-name


def split_target(target: str) -> tuple[str, str]:
    """(path, query) of a request target in origin form or absolute form; the path is percent-decoded.

    A broken escape leaves the text as it is: no route has a percent sign, so it ends in 404.
    """
    if target[:1] != "/":
        authority = authority_of(target)
        if authority is not None:
            target = target[len(_SCHEME) + len(authority) :]
            target = target if target[:1] == "/" else "/" + target
    mark = target.find("?")
    path, query = (target, "") if mark < 0 else (target[:mark], target[mark + 1 :])
    if "%" in path:
        path = percent_decode(path)
    return path, query


def authority_of(target: str) -> str | None:
    """The authority of a target in absolute form (RFC 9112 section 3.2.2), None where it is not in that form."""
    if target[: len(_SCHEME)].lower() != _SCHEME:
        return None
    end = len(_SCHEME)
    while end < len(target) and target[end] not in "/?#":
        end += 1
    return target[len(_SCHEME) : end]


def is_authority(text: str) -> bool:
    """Whether a text is a host with or without a port, as Host and targets name it (RFC 3986 section 3.2).

    Either may be empty. An IPv6 address stands in brackets and may have a scope (RFC 6874).
    """
    if text[:1] == "[":
        literal, bracket, port = text[1:].partition("]")
        address, percent, scope = literal.partition("%")
        fits = bool(bracket) and is_ipv6(address) and (not percent or (scope != "" and _is_name(scope)))
        return fits and (port == "" or (port[0] == ":" and _is_port(port[1:])))
    name, _, port = text.partition(":")
    return _is_name(name) and _is_port(port)


def _is_name(text: str) -> bool:
    return all(character in _NAME for character in text)


def _is_port(text: str) -> bool:
    return text == "" or is_decimal(text, 65535)


def parse_query(query: str) -> list[tuple[str, str | None]]:
    """(key, value) pairs of a query in their order; the value of a bare key is None."""
    pairs: list[tuple[str, str | None]] = []
    for part in query.split("&"):
        if part:
            equals = part.find("=")
            if equals < 0:
                pairs.append((_decode(part), None))
            else:
                pairs.append((_decode(part[:equals]), _decode(part[equals + 1 :])))
    return pairs


def _decode(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return percent_decode(text) if "%" in text else text


def percent_decode(text: str) -> str:
    """Replace %XX escapes (RFC 3986 section 2.1) by the UTF-8 characters they encode; broken text stays as it is."""
    data = bytearray()
    parts = text.split("%")
    data += parts[0].encode()
    for part in parts[1:]:
        if len(part) >= 2 and part[0] in _HEX and part[1] in _HEX:
            data.append(int(part[:2], 16))
            data += part[2:].encode()
        else:
            data += b"%" + part.encode()
    try:
        return bytes(data).decode()
    except UnicodeError:
        return text
