"""An RS-485 line in virtual time: a port on it, and devices that answer as a plan says, once, late, over and over.

The line carries one byte after another. What devices send queues up as behind a converter, so that copies and late
answers come whole and never collide: the worst case for whoever tells answers apart.
"""

import asyncio

from pymodbus.framer.rtu import FramerRTU

from hal.rs485.port import Rs485Port
from hal.simulated.world.devices import Devices
from hal.simulated.world.faults import Fault
from hal.simulated.world.line import Line


def frame(uid, pdu):
    data = bytes([uid]) + pdu
    return data + FramerRTU.compute_CRC(data).to_bytes(2, "big")


WAYS = [(1, False), (1, True), (16, True), (256, True)]  # of handing bytes over: see VirtualPort


class VirtualPort(Rs485Port):
    """A port whose questions go to `far(data)`, a function that sends answers by `deliver`.

    `lump` is how many bytes arrive at once. `waits`: it hands them over when there are as many as were expected, as a
    tty does that wakes its reader late, after a pause in which it does not wake him, or when it is asked.
    """

    usual_way = WAYS[0]
    # How early timers are set. Virtual time stands still while the clock is looked at for the rest; a timer is late
    # here by what is lost in rounding alone.
    _late_us = property(lambda port: 0, lambda port, late_us: None)

    def __init__(self, clock, far=None, lump=None, waits=None):
        super().__init__(lambda: int(clock() * 1000000))
        self.seconds = clock
        self.far = far
        self.lump = self.usual_way[0] if lump is None else lump
        self.waits = self.usual_way[1] if waits is None else waits
        self._held = b""
        self._wanted = 1
        self._deaf_until = 0.0
        self.pauses = []  # in microseconds, in which nobody needs to look
        self.questions = []  # (time in seconds, bytes)
        self._busy_until = 0.0

    async def _open(self, line):
        pass

    async def _apply(self, line):
        pass

    def _close(self):
        pass

    def _write(self, data):
        now = self.seconds()
        self.questions.append((now, data))
        self._busy_until = max(self._busy_until, now) + len(data) * self.line.char_time
        if self.far is not None:
            self.far(data)

    def arrive(self, data):
        """Bytes come out of the line."""
        self._held += data
        self._hand_over()

    def _hand_over(self):
        if not self.waits or (len(self._held) >= self._wanted and self.seconds() >= self._deaf_until):
            self._poll()

    def _expect(self, count, pause_us=0):
        self.pauses.append(pause_us)
        self._wanted = count
        self._deaf_until = self.seconds() + pause_us / 1000000
        if pause_us or len(self._held) >= count:
            asyncio.get_running_loop().call_at(self._deaf_until, self._hand_over)

    def _poll(self):
        held, self._held = self._held, b""
        if held:
            self._received(held)

    def deliver(self, delay, data):
        """Have bytes begin to come `delay` seconds after the question has left, or when the line is free."""
        start = max(self.seconds(), self._busy_until)
        asyncio.get_running_loop().call_at(start + delay, self._begin, data)

    def deliver_now(self, data):
        """Have bytes begin to come now, whatever else is on the line."""
        self._begin(data)

    def _begin(self, data):
        loop = asyncio.get_running_loop()
        start = max(loop.time(), getattr(self, "_sending_until", 0.0))
        self._sending_until = start + (len(data) + 3.5) * self.line.char_time
        for first in range(0, len(data), self.lump):
            chunk = data[first : first + self.lump]
            loop.call_at(start + (first + len(chunk)) * self.line.char_time, self.arrive, chunk)


class WorldPort(VirtualPort):
    """A port on the simulated world's own line and devices, collisions and faults and all, in virtual time."""

    def __init__(self, clock, baud_rate=9600):
        super().__init__(clock)
        self.devices = Devices(baud_rate, "N", clock)
        self.world = Line(self.devices, self.arrive, lambda: (self.line.baud_rate, self.line.stop_bits))
        self.world.lump = self.lump if self.waits else 0
        self._due = None

    def fault(self, kind, uid=None, count=1, seconds=0.0, data=b""):
        self.world.add_fault(Fault(kind, uid, count, seconds, data), self.seconds())
        self._plan()

    def _write(self, data):
        self.questions.append((self.seconds(), data))
        self.world.receive(data, self.seconds())
        self._plan()

    def _plan(self):
        if self._due is not None:
            self._due.cancel()
        due = self.world.next_due()
        self._due = asyncio.get_running_loop().call_at(due.time, self._run_world) if due else None

    def _run_world(self):
        self.world.run(self.seconds() + 1e-9)
        self._plan()
