"""The network of a board, on MicroPython with the tests' module `network`, whose cable the test puts in."""

import asyncio

import pytest

from hal import contracts
from hal.contracts import PartError
from hal.fields import BadField
from tests.machine.remote import Interpreter, RemotePart
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON

W5500 = {"kind": "w5500-lan", "sck": 15, "mosi": 13, "miso": 14, "cs": 16, "int": 12, "reset": 39}
FIXED = {
    "dhcp": False,
    "ip": "192.0.2.5",
    "mask": "255.255.255.0",
    "gateway": "192.0.2.1",
    "dns1": "192.0.2.53",
    "dns2": "192.0.2.54",
    "hostname": "mc252",
}
DHCP = dict(FIXED, dhcp=True)


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    running = Interpreter(tmp_path_factory.mktemp("board"))
    yield running
    running.end()


def make(interpreter, **options):
    return RemotePart(interpreter, contracts.Network, "network", "board", options or W5500)


def nic(interpreter, expression):
    return interpreter.ask(f"__import__('network').last().{expression}")


def servers(interpreter):
    return interpreter.ask("__import__('hal.runtime.micropython.dns', None, None, ('SERVERS',)).SERVERS")


async def test_a_w5500_is_made_of_its_pins_and_switched_on(interpreter):
    part = make(interpreter)
    await part.start()
    assert nic(interpreter, "calls") == [("active", True)]
    assert nic(interpreter, "settings['phy_addr']") == 0
    assert part.ethernet() == {"ip": None, "mac": "02:00:00:00:00:07", "linkUp": False}
    assert await part.probe() == "w5500-lan 02:00:00:00:00:07 without an address"
    assert part.is_managed()
    assert part.is_own_address("127.0.0.1") and not part.is_own_address("192.0.2.5")
    assert await part.vpn("wg0") == {"up": False, "interface": "wg0", "ip": None, "peerHandshakeSec": None}
    await part.stop()
    await part.stop()


async def test_settings_give_a_fixed_address_or_have_one_given_and_name_servers_are_found(interpreter):
    part = make(interpreter)
    await part.start()
    await part.apply(FIXED, "wgmanual", None)
    address = {"addr4": ("192.0.2.5", "255.255.255.0"), "gw4": "192.0.2.1"}
    assert nic(interpreter, "told") == [{"dhcp4": False}, address]
    assert servers(interpreter) == [("192.0.2.53", 53), ("192.0.2.54", 53)]
    await part.apply(FIXED, "wgmanual", None)  # tried again: an address that is in use is left alone
    assert len(nic(interpreter, "told")) == 2
    await part.apply(DHCP, "wgmanual", None)
    assert nic(interpreter, "told")[-1] == {"dhcp4": True}
    await part.stop()


async def test_a_tunnel_is_refused_by_name_and_the_rest_is_applied(interpreter):
    part = make(interpreter)
    await part.start()
    with pytest.raises(PartError, match="no WireGuard on MicroPython"):
        await part.apply(DHCP, "wgmanual", {"privateKey": "x"})
    assert nic(interpreter, "told") == [{"dhcp4": True}]
    await part.stop()


async def test_a_cable_and_an_address_that_come_are_told(interpreter):
    interpreter.ask("setattr(__import__('hal.micropython.network', None, None, ('x',)), 'LOOK_SEC', 0.01)")
    part = make(interpreter)
    await part.start()
    changes = []
    part.on_change = lambda: changes.append(1)
    nic(interpreter, "plug('192.0.2.9')")
    async with asyncio.timeout(10):
        while not changes:
            await asyncio.sleep(0.01)
    assert part.ethernet() == {"ip": "192.0.2.9", "mac": "02:00:00:00:00:07", "linkUp": True}
    assert part.is_own_address("192.0.2.9")
    await part.stop()


async def test_a_wlan_is_dialled_and_dialled_again_where_it_does_not_come(interpreter):
    interpreter.ask("setattr(__import__('hal.micropython.network', None, None, ('x',)), 'LOOK_SEC', 0.001)")
    part = make(interpreter, kind="wlan", ssid="plant", password="secret word")
    await part.start()
    async with asyncio.timeout(10):
        while nic(interpreter, "calls").count(("connect", "plant", "secret word")) < 2:
            await asyncio.sleep(0.01)
    await part.stop()


def test_what_is_missing_in_the_config_is_named(interpreter):
    with pytest.raises(BadField, match="ssid: is missing"):
        make(interpreter, kind="wlan")
    with pytest.raises(BadField, match="sck, mosi, miso, cs, int"):
        make(interpreter, kind="w5500-lan", cs=16)
