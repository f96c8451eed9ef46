"""One TLS connection, to a server whose certificate a single authority has signed: more takes more memory than a board
has, and no port brings a store of certificates with it.
"""

import asyncio
import ssl

AUTHORITY = "/authority.der"  # the certificate of the authority that is believed, in DER (X.690)


_open: list = []  # the stream of the connection that is open; there is no room for another


async def open_checked(host: str, address: str, port: int) -> tuple:
    """(reader, writer) of a TLS connection to a host at an address, whose certificate was checked. OSError says what is
    missing."""
    if _open:
        raise OSError("this board has memory for one TLS connection, and that is open")
    context = _checking()
    reader, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=host)
    _open.append(writer.s)  # type: ignore[attr-defined]
    return reader, writer


def _checking() -> ssl.SSLContext:
    """What checks the server's certificate. OSError."""
    try:
        with open(AUTHORITY, "rb") as file:
            authority = file.read()
    except OSError:
        raise OSError(f"this board has no authority to check certificates by: it would be in {AUTHORITY}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=authority)
    except ValueError:
        raise OSError(f"{AUTHORITY}: is no certificate in DER") from None
    return context


def was_closed(writer: asyncio.StreamWriter) -> None:
    """A stream was closed: there is room for another where it was the one."""
    if writer.s in _open:  # type: ignore[attr-defined]
        _open.clear()
