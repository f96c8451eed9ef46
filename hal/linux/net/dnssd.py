"""The device's name and services on the local network: multicast DNS (RFC 6762) and DNS-SD (RFC 6763).

A host has one responder. Where Avahi runs it is asked to answer, over D-Bus (org.freedesktop.Avahi); elsewhere the
library zeroconf answers, where it is installed.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from hal.contracts import NameTaken, PartError
from hal.runtime import in_time

LOOK_SEC = 5.0  # until a new address of the device is seen
ANSWER_SEC = 10.0  # for Avahi to answer, or to know whether a name is taken

_AVAHI = "org.freedesktop.Avahi"
_ANY = -1  # interface and protocol
_NO_REVERSE = 16  # avahi-common/defs.h: the address has a reverse entry already, that of the host
_ESTABLISHED, _COLLISION, _FAILURE = 2, 3, 4  # states of an entry group, as avahi-common/defs.h numbers them


async def announce(host: str, name: str, services: list, about: dict, address: Callable[[], str | None]) -> None:
    """Answer for HOST.local and for services until the address changes, or until cancelled.

    `services` are (type such as "_http._tcp", port), all under one instance name; `about` is their TXT record.
    NameTaken; PartError where nothing here can answer, or it has ended.
    """
    ip = address()
    if ip is None:
        await asyncio.sleep(LOOK_SEC)
        return
    try:
        import dbus_fast.aio
    except ImportError:
        await _by_zeroconf(host, name, services, about, ip, address)
        return
    try:
        bus = await dbus_fast.aio.MessageBus(bus_type=dbus_fast.BusType.SYSTEM).connect()
    except (OSError, dbus_fast.DBusError, ValueError, EOFError, asyncio.IncompleteReadError):
        await _by_zeroconf(host, name, services, about, ip, address)
        return
    try:
        if await _has_avahi(bus):
            await _by_avahi(bus, host, name, services, about, ip, address)
        else:
            await _by_zeroconf(host, name, services, about, ip, address)
    except (dbus_fast.DBusError, EOFError, TimeoutError) as exc:
        raise PartError(f"Avahi does not announce the device: {exc}") from exc
    finally:
        bus.disconnect()


async def _has_avahi(bus: Any) -> bool:
    node = await bus.introspect("org.freedesktop.DBus", "/org/freedesktop/DBus")
    proxy = bus.get_proxy_object("org.freedesktop.DBus", "/org/freedesktop/DBus", node)
    return await proxy.get_interface("org.freedesktop.DBus").call_name_has_owner(_AVAHI)


async def _interface(bus: Any, path: str, name: str) -> Any:
    node = await in_time(bus.introspect(_AVAHI, path), ANSWER_SEC)
    return bus.get_proxy_object(_AVAHI, path, node).get_interface(f"{_AVAHI}.{name}")


async def _by_avahi(bus: Any, host: str, name: str, services: list, about: dict, ip: str, address: Callable) -> None:
    """Have Avahi answer as long as this connection to the bus stands: it then forgets the entries by itself."""
    server = await _interface(bus, "/", "Server")
    group = await _interface(bus, await server.call_entry_group_new(), "EntryGroup")
    full = host + ".local"
    text = [f"{key}={value}".encode() for key, value in about.items()]
    if await server.call_get_host_name() != host:
        await group.call_add_address(_ANY, _ANY, _NO_REVERSE, full, ip)
    for type_, port in services:
        await group.call_add_service(_ANY, _ANY, 0, name, type_, "", full, port, text)
    await group.call_commit()
    established = False
    waited = 0.0
    while address() == ip:
        state = await in_time(group.call_get_state(), ANSWER_SEC)
        if state == _COLLISION:
            raise NameTaken(f"another host answers to {full} or has the service {name}")
        if state == _FAILURE:
            raise PartError("Avahi cannot announce the device")
        established = established or state == _ESTABLISHED
        if not established and waited >= ANSWER_SEC:
            raise PartError("Avahi does not get the device announced")
        pause = LOOK_SEC if established else 0.2
        waited += pause
        await asyncio.sleep(pause)


async def _by_zeroconf(host: str, name: str, services: list, about: dict, ip: str, address: Callable) -> None:
    try:
        from zeroconf import Error, IPVersion
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
    except ImportError:
        raise PartError("neither Avahi nor the library zeroconf is here to announce the device") from None
    try:
        responder = AsyncZeroconf(interfaces=[ip], ip_version=IPVersion.V4Only)
    except OSError as exc:
        raise PartError(f"the device cannot be announced: {exc}") from exc
    try:
        for type_, port in services:
            info = AsyncServiceInfo(
                f"{type_}.local.",
                f"{name}.{type_}.local.",
                port=port,
                properties=about,
                server=f"{host}.local.",
                addresses=[socket.inet_aton(ip)],
            )
            await responder.async_register_service(info, allow_name_change=True)
        while address() == ip:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(LOOK_SEC)
    except (Error, OSError) as exc:
        raise PartError(f"the device cannot be announced: {exc}") from exc
    finally:
        await responder.async_unregister_all_services()
        await responder.async_close()
