"""What is logged besides errors, by topic, as setting logFlags asks for it."""

from hal.runtime import now_ms
from hal.runtime.annotations import Callable
from hal.runtime.logs import INFO, LOG

TOPICS = (  # bit of setting logFlags, what it logs
    (1, "exchanges on the line that fail"),
    (2, "every exchange on the line, with its bytes"),
    (4, "logins"),
    (8, "changed settings"),
    (16, "connections to servers and VPN"),
    (32, "commands to the modem, without what they carry"),
    (64, "HTTP requests"),
)
BUS_ERRORS, EXCHANGES, LOGINS, CHANGES, NETWORK, MODEM, HTTP = (bit for bit, _ in TOPICS)

LINES_A_SEC = 100  # what is more is counted; somebody has asked for these lines, but not for a full disk


class Trace:
    """Writes the lines of the topics that are selected. `topics` is a bit mask."""

    def __init__(self, clock: Callable[[], int] = now_ms):
        self.topics = 0
        self._clock = clock
        self._second = 0
        self._lines = 0  # of this second
        self._left_out = 0

    def write(self, topic: int, text: str) -> None:
        """Write one line if its topic is selected."""
        if not self.topics & topic:
            return
        second = self._clock() // 1000
        if second != self._second:
            if self._left_out:
                LOG.put(f"{self._left_out} lines of logFlags were left out here", INFO)
            self._second, self._lines, self._left_out = second, 0, 0
        self._lines += 1
        if self._lines > LINES_A_SEC:
            self._left_out += 1
        else:
            LOG.put(text, INFO)


TRACE = Trace()


def trace(topic: int, text: str) -> None:
    """Write one line about a topic, if setting logFlags asks for it."""
    TRACE.write(topic, text)


def is_traced(topic: int) -> bool:
    """Whether a topic's lines are written, for whoever would have to make the text first."""
    return TRACE.topics & topic != 0
