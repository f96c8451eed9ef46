"""Request targets: the path and the query of a request line (RFC 9112 section 3.2)."""

_HEX = "0123456789abcdefABCDEF"


def split_target(target: str) -> "tuple[str, str]":
    """(path, query) of a request target in origin form or absolute form; the path is percent-decoded.

    A broken escape leaves the text as it is: no route has a percent sign, so it ends in 404.
    """
    if target[:1] != "/" and target[:7].lower() == "http://":
        slash = target.find("/", 7)
        target = target[slash:] if slash > 0 else "/"
    mark = target.find("?")
    path, query = (target, "") if mark < 0 else (target[:mark], target[mark + 1 :])
    if "%" in path:
        path = percent_decode(path)
    return path, query


def parse_query(query: str) -> "list[tuple[str, str | None]]":
    """(key, value) pairs of a query in their order; the value of a bare key is None."""
    pairs: list = []
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
