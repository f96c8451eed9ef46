"""What a device does in virtual time, told as JSON: `python -m tests.a_day UPTIME [single]`, which rounds its floats.

UPTIME is seconds that it has run before. The outcome must depend on neither.
"""

import asyncio
import hashlib
import json
import sys

UPTIME = int(sys.argv[1])
if "single" in sys.argv:
    from tests import single_precision

    single_precision.install()

from firmware.services.access.login import Login  # noqa: E402 - after the rounding
from firmware.services.access.sessions import Sessions  # noqa: E402
from firmware.services.bus.arbiter import Bus  # noqa: E402
from firmware.services.bus.transaction import GATEWAY, Transaction  # noqa: E402
from firmware.services.errors import Refused  # noqa: E402
from firmware.services.routing.forwarding import Forwarding  # noqa: E402
from firmware.services.routing.router import ModbusRouter  # noqa: E402
from firmware.services.search.devices import Discovery  # noqa: E402
from firmware.services.search.verdicts import Search  # noqa: E402
from firmware.services.settings.table import SETTINGS  # noqa: E402
from firmware.services.time.clock import ClockService  # noqa: E402
from firmware.services.time.sntp import offset_and_delay, server_times  # noqa: E402
from hal.contracts import Clock  # noqa: E402
from tests.hal.rs485.virtual_wire import WorldPort  # noqa: E402
from tests.virtual_time import run  # noqa: E402

DEFAULTS = {field.name: field.default for field in SETTINGS}
READ = bytes([3, 0, 0, 0, 2])


def milliseconds(clock):
    return lambda: UPTIME * 1000 + int(clock() * 1000)


class SetClock(Clock):
    """A clock that keeps what it was set to."""

    def now(self):
        return self.moment

    def set(self, moment):
        self.moment = moment


async def reads_in_10_s(clock) -> dict:
    """Reads one after another at 9600 bit/s: how many, and what has failed."""
    async with Line(clock) as line:
        begin, errors, count = clock(), [], 0
        while clock() < begin + 10:
            transaction = Transaction(1, READ, GATEWAY, "a")
            line.bus.submit(transaction)
            await transaction.done.wait()
            count += 1
            errors += [transaction.error] if transaction.error else []
        return {"reads": count, "errors": errors, "answer": transaction.answer.hex()}


class Line:
    """A bus on the simulated world in virtual time."""

    def __init__(self, clock):
        port = WorldPort(clock)
        port._clock = lambda: UPTIME * 1000000 + int(clock() * 1000000)
        self.bus = Bus(port, dict(DEFAULTS["serial"], healthCheck=False), milliseconds(clock))

    async def __aenter__(self):
        await self.bus.start()
        return self

    async def __aexit__(self, *exc):
        await self.bus.stop()


async def gateway(clock) -> list:
    """A busy line: clients that ask at once, a silent unit among the asked."""
    async with Line(clock) as line:
        router = ModbusRouter(line.bus, None, Forwarding([]), DEFAULTS["modbusTcp"], clock=milliseconds(clock))
        begin, answers = clock(), []
        for number in range(12):
            uid = 77 if number == 3 else 1 + number % 2
            router.ask(
                uid, READ, number, lambda pdu, uid=uid: answers.append([uid, pdu.hex(), round(clock() - begin, 2)])
            )
        while len(answers) < 12:
            await asyncio.sleep(0.05)
        return answers


async def search(clock) -> list:
    """A fast search: whom it finds, how far it is on the way, how long it takes."""
    async with Line(clock) as line:
        discovery = Discovery(line.bus, DEFAULTS["serial"], milliseconds(clock))
        begin, seen = clock(), []
        discovery.begin(Search([(9600, 5, 0)], range(1, 34), fast=True))
        while discovery.is_running():
            await asyncio.sleep(0.5)
            seen.append(list(discovery.progress()[1:]))
        found = [device.uid for device in discovery.found()]
        return [found, seen, round(clock() - begin, 1)]


async def sessions(clock) -> list:
    """A session to the second of its end, and wrong logins until they are refused, and for how long."""
    kept = Sessions(600, milliseconds(clock))
    token = kept.open()
    alive = []
    for pause in (599, 599.5, 0.25, 600.5):
        await asyncio.sleep(pause)
        alive.append(kept.use(token))
    login = Login("admin", "secret", kept, milliseconds(clock))
    waits = []
    for _ in range(9):
        login.salt("a")
        try:
            await login.login("a", "admin", "0" * 40)
        except Refused as exc:
            waits.append(exc.retry_after)
        await asyncio.sleep(1.5)
    digest = hashlib.sha1(f"adminsecret{login.salt('b')}".encode()).hexdigest()
    await asyncio.sleep(59.5)
    return [alive, waits, kept.use(await login.login("b", "admin", digest))]


async def clock_is_set(clock) -> list:
    """A time set by hand, the answer of a time server, today's Sun, an hour ago."""
    part = SetClock()
    settings = dict(DEFAULTS, timeGmt=60, tsMode=1, astro={"latitude": 52.2, "longitude": 21.0})
    times = ClockService(part, settings)
    times.set("2026-11-30T12:34:56.7")
    seconds = 1796042096 + 2208988800
    stamp = seconds.to_bytes(4, "big") + (7 * 2**32 // 10).to_bytes(4, "big")
    packet = bytes([0x24, 1, 6, 236]) + bytes(12) + stamp * 4
    left = milliseconds(clock)()
    received, sent = server_times(packet)
    zero = offset_and_delay(left, received, sent, left + 40)[0]
    return [part.now(), times.state(), times.utc_iso_ago(3600), times.minute_of_day(), received, zero + left]


async def main(clock) -> None:
    told = {}
    for part in (reads_in_10_s, gateway, search, sessions, clock_is_set):
        told[part.__name__] = await part(clock)
    print(json.dumps(told))


if __name__ == "__main__":
    run(main)
