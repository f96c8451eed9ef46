"""One RS-485 line in line time: what the master's bytes take, when a frame is over, how answers come back paced.

No clock and no tty in here: the caller says when bytes came in, asks when something is due next and runs it. Times are
seconds on the caller's clock. A frame is over when the line was silent for 3.5 characters, 1.75 ms above 19200 baud
(MODBUS over Serial Line V1.02, section 2.5.1.1).
"""

import heapq
import os
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from hal.simulated.world.devices import Devices, Request, ascii_request, rtu_request
from hal.simulated.world.faults import Fault, Spoilt, spoil
from hal.simulated.world.line_setting import LineSetting

_GLUED_CHARACTERS = 1.5  # section 2.5.1.1: a shorter silence does not separate two frames
_TEXT_GAP = 1.0  # section 2.5.2.1: seconds between two characters of an ASCII frame
_TEXT_LIMIT = 513  # characters of an ASCII frame
_FAULTS_PENDING = 64
_SILENCES_KEPT = 1024


class Due(NamedTuple):
    """When something is to happen on the line, and whether that must be to the microsecond."""

    time: float
    exact: bool


class Line:
    """The line between one master and the devices.

    `write` takes bytes to the master at once; `tty` gives baud rate and stop bits of the master's port. Parity and
    data bits, which a pty does not have, are set by `character_format`.
    """

    def __init__(self, devices: Devices, write: Callable[[bytes], None], tty: Callable[[], tuple[int, int]]):
        self._devices = devices
        self._write = write
        self._tty = tty
        self._parity = "N"
        self._data_bits = 8
        self._agenda: list[tuple[float, int, bool, Callable[[], None]]] = []
        self._order = 0
        self._run: _Run | None = None
        self._sending: list[_Transmission] = []
        self._free_at: float | None = None  # when the last thing on the line ended
        self._text = bytearray()
        self._text_at = 0.0
        self._echo = False
        self._faults: list[Fault] = []
        self._stats = _Stats()
        self.silence_needed = True  # whether devices read only a request that had a silence before it
        self.lump = 0  # bytes of an answer that are handed over at once; 0: as many as the silence between frames has

    def character_format(self, parity: str, data_bits: int) -> None:
        """Set parity (N, E, O, M mark, S space) and data bits (7, 8) of the master's port."""
        self._parity = parity
        self._data_bits = data_bits

    def stats(self, reset: bool = False) -> dict:
        """What the line has seen since the last reset; docs/simulator.md lists the members."""
        seen = self._stats.as_dict()
        if reset:
            self._stats = _Stats()
        return seen

    def add_fault(self, fault: Fault, now: float) -> None:
        """Spoil the next answers; "echo" and "babble" begin at once. ValueError where too many faults wait."""
        if fault.kind == "echo":
            self._echo = True
        elif fault.kind == "babble":
            self._babble(fault.seconds, now)
        elif len(self._faults) >= _FAULTS_PENDING:
            raise ValueError(f"at most {_FAULTS_PENDING} faults can wait")
        else:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget all faults and drop what is under way."""
        self._faults.clear()
        self._echo = False
        self.drop()

    def drop(self) -> None:
        """Drop what is under way on the line, as when the plug is pulled."""
        self._agenda.clear()
        self._sending.clear()
        self._run = None
        self._text.clear()

    def next_due(self) -> Due | None:
        """When `run` has something to do next, None where nothing is under way."""
        return Due(self._agenda[0][0], self._agenda[0][2]) if self._agenda else None

    def run(self, now: float) -> None:
        """Do what is due."""
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[3]()

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes that the master begins to send now, or that queue behind those it is still sending."""
        setting = self._setting()
        if setting is None:
            return
        run = self._run
        if run is None:
            run = self._run = self._new_run(setting, now)
        elif now > run.end:
            self._stats.silence(now - run.end)
        start = max(now, run.end)
        run.data += data
        run.end = start + len(data) * setting.character
        if len(run.data) == len(data):
            self._expect_end(run)
        self._stats.request_time += len(data) * setting.character
        self._busy_until(run.end)
        if self._echo:
            self._send(_Transmission(start, setting, Spoilt(data), self.lump))

    def _setting(self) -> LineSetting | None:
        """The master's setting; None at 0 baud, which is a hung-up line."""
        baud_rate, stop_bits = self._tty()
        return LineSetting(baud_rate, self._data_bits, self._parity, stop_bits) if baud_rate else None

    def _at(self, time: float, action: Callable[[], None], exact: bool = False) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (time, self._order, exact, action))

    def _busy_until(self, time: float) -> None:
        self._free_at = time if self._free_at is None else max(self._free_at, time)

    def _new_run(self, setting: LineSetting, now: float) -> "_Run":
        run = _Run(now, setting)
        self._stats.frames += 1
        if self._free_at is not None:
            silence = max(0.0, now - self._free_at)
            self._stats.silence(silence)
            run.separate = silence >= _GLUED_CHARACTERS * setting.character
        for transmission in self._sending:
            if transmission.end > now:
                transmission.readable = False
                run.collided = True
        self._stats.collisions += run.collided
        return run

    def _expect_end(self, run: "_Run") -> None:
        end = run.end + run.setting.silence
        self._at(end, lambda: self._check_end(run, end))

    def _check_end(self, run: "_Run", expected: float) -> None:
        """End the run, unless more bytes came after this check was planned."""
        if run.end + run.setting.silence > expected:
            self._expect_end(run)
            return
        self._run = None
        self._answer(run)

    def _answer(self, run: "_Run") -> None:
        request = self._read(run)
        if request is None:
            self._stats.unreadable += 1
            return
        answer = self._devices.ask(request, run.setting)
        if answer is None:
            return
        spoilt = spoil(self._take_fault(answer.uid), answer)
        if not spoilt.data:
            return
        turnaround = max(run.setting.silence, answer.turnaround, spoilt.turnaround)
        transmission = _Transmission(run.end + turnaround, answer.setting, spoilt, self.lump)
        transmission.readable = run.setting.hears(answer.setting)
        self._stats.answers += 1
        self._stats.turnaround_time += turnaround
        self._stats.answer_time += len(spoilt.data) * answer.setting.character
        self._at(transmission.start, lambda: self._begin(transmission))
        if spoilt.again is not None:
            copy = _Transmission(transmission.end + spoilt.again, answer.setting, spoilt, self.lump)
            copy.readable = transmission.readable
            self._at(copy.start, lambda: self._begin(copy))

    def _read(self, run: "_Run") -> Request | None:
        """What the master asked, None where no device can make it out (yet)."""
        if run.collided:
            self._text.clear()
            return None
        request = rtu_request(bytes(run.data)) if run.separate or not self.silence_needed else None
        if request:
            return request
        if run.start - self._text_at > _TEXT_GAP:
            self._text.clear()
        self._text_at = run.end
        self._text += run.data
        del self._text[:-_TEXT_LIMIT]
        if not self._text.endswith(b"\r\n"):
            return None
        text = bytes(self._text)
        self._text.clear()
        return ascii_request(text)

    def _take_fault(self, uid: int) -> Fault | None:
        for fault in self._faults:
            if fault.uid is None or fault.uid == uid:
                fault.count -= 1
                if fault.count == 0:
                    self._faults.remove(fault)
                return fault
        return None

    def _babble(self, seconds: float, now: float) -> None:
        setting = self._setting()
        if setting:
            noise = os.urandom(int(seconds / setting.character))
            self._begin(_Transmission(now, setting, Spoilt(noise), self.lump))

    def _begin(self, transmission: "_Transmission") -> None:
        """Put a transmission on the line. What it meets there is garbled, and so is the transmission itself."""
        start = transmission.start
        self._sending = [other for other in self._sending if other.end > start]
        for other in self._sending:
            other.readable = transmission.readable = False
            transmission.skip_to(other.end)
        if self._run and self._run.end > start:
            self._run.collided = True
            transmission.readable = False
            self._stats.collisions += 1
        self._stats.collisions += bool(self._sending)
        self._sending.append(transmission)
        self._busy_until(transmission.end)
        self._send(transmission)

    def _send(self, transmission: "_Transmission") -> None:
        count = transmission.next_count()
        if count > transmission.sent:
            last = count == len(transmission.data)
            self._at(transmission.due(count), lambda: self._deliver(transmission, count), exact=last)

    def _deliver(self, transmission: "_Transmission", count: int) -> None:
        data = transmission.data[transmission.sent : count]
        transmission.sent = count
        self._write(data if transmission.readable else os.urandom(len(data)))
        self._send(transmission)


class _Run:
    """Bytes of the master without a silence between them: one frame, if the master keeps to the rules."""

    def __init__(self, start: float, setting: LineSetting):
        self.start = start
        self.end = start
        self.setting = setting
        self.data = bytearray()
        self.separate = True  # a silence was before it
        self.collided = False


class _Transmission:
    """Bytes that come to the master, one after the other from `start`, handed over in chunks."""

    def __init__(self, start: float, setting: LineSetting, spoilt: Spoilt, lump: int):
        self.start = start
        self.data = spoilt.data
        self.readable = True
        self.sent = 0
        self._character = setting.character
        self._chunk = lump or int(setting.silence / setting.character)
        self._pause_at = spoilt.pause_at
        self._pause = spoilt.pause

    @property
    def end(self) -> float:
        """When the last byte has arrived."""
        return self.due(len(self.data))

    def due(self, count: int) -> float:
        """When so many bytes have arrived."""
        return self.start + count * self._character + (self._pause if count > self._pause_at else 0.0)

    def next_count(self) -> int:
        """How many bytes have arrived after the next chunk."""
        count = min(self.sent + self._chunk, len(self.data))
        return self._pause_at if self.sent < self._pause_at < count else count

    def skip_to(self, time: float) -> None:
        """Lose the bytes until then: the line was carrying others."""
        while self.sent < len(self.data) and self.due(self.sent + 1) <= time:
            self.sent += 1


class _Stats:
    """What a line has seen."""

    def __init__(self) -> None:
        self.frames = 0
        self.answers = 0
        self.unreadable = 0
        self.collisions = 0
        self.request_time = 0.0
        self.answer_time = 0.0
        self.turnaround_time = 0.0
        self._shortest_silence: float | None = None
        self._silences: deque[float] = deque(maxlen=_SILENCES_KEPT)

    def silence(self, seconds: float) -> None:
        """Note a silence before bytes of the master."""
        if self._shortest_silence is None or seconds < self._shortest_silence:
            self._shortest_silence = seconds
        self._silences.append(seconds)

    def as_dict(self) -> dict:
        """The members as the command "stats" gives them."""
        silence = self._shortest_silence
        return {
            "frames": self.frames,
            "answers": self.answers,
            "unreadable": self.unreadable,
            "collisions": self.collisions,
            "shortestSilenceUs": None if silence is None else round(silence * 1e6),
            "medianSilenceUs": _median_us(self._silences),
            "requestWireUs": round(self.request_time * 1e6),
            "answerWireUs": round(self.answer_time * 1e6),
            "turnaroundUs": round(self.turnaround_time * 1e6),
        }


def _median_us(seconds: "deque[float]") -> int | None:
    ordered = sorted(seconds)
    return round(ordered[len(ordered) // 2] * 1e6) if ordered else None
