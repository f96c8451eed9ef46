"""How one end of a serial line is set: rate and character format, and who can hear whom."""

from typing import NamedTuple

_RATE_TOLERANCE = 0.03  # a receiver samples the tenth bit in its middle: more drift and it takes the neighbour

_SILENCE_CHARACTERS = 3.5
_SILENCE_FIXED = 0.00175
_SILENCE_FIXED_ABOVE = 19200


class LineSetting(NamedTuple):
    """Baud rate, 7 or 8 data bits, parity N, E, O, M (mark) or S (space), 1 or 2 stop bits."""

    baud_rate: int
    data_bits: int = 8
    parity: str = "N"
    stop_bits: int = 1

    @property
    def character(self) -> float:
        """Seconds that one character takes: start bit, data bits, parity bit, stop bits."""
        return (1 + self.data_bits + (self.parity != "N") + self.stop_bits) / self.baud_rate

    @property
    def silence(self) -> float:
        """Seconds of silence that end a frame (MODBUS over Serial Line V1.02, section 2.5.1.1)."""
        return _SILENCE_FIXED if self.baud_rate > _SILENCE_FIXED_ABOVE else _SILENCE_CHARACTERS * self.character

    def same_rate(self, sender: "LineSetting") -> bool:
        """Whether the two rates are near enough for a UART."""
        return abs(self.baud_rate - sender.baud_rate) <= _RATE_TOLERANCE * self.baud_rate

    def hears(self, sender: "LineSetting") -> bool:
        """Whether a UART set like this reads what `sender` puts on the line.

        A receiver looks at the first stop bit alone. A mark parity bit and a second stop bit are the same on the wire.
        """
        if not self.same_rate(sender) or self.data_bits != sender.data_bits:
            return False
        if self.parity == "N":
            return sender.parity in "NM"
        if self.parity == "M":
            return sender.parity == "M" or (sender.parity == "N" and sender.stop_bits == 2)
        return self.parity == sender.parity
