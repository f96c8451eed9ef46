"""What searches are asked and find: what a search for devices says of a unit id, and which unit ids there are."""

from hal.rs485.framing import Line

FIRST_UID, LAST_UID = 1, 247  # unit ids of devices: serial line specification, section 2.2

ANSWER, EXCEPTION, ODD, BAD_LINK, COLLISION = "answer", "exception", "odd", "badLink", "collision"


class Search:
    """What to look for, and how: `settings` are (bit/s, character format, frame mode) to try in turn.

    `fast` waits only as long as the line calls for, `all_probes` asks in more ways, `identify` asks the found ones who
    they are, `stop_at_first` ends at the first setting that answers.
    """

    def __init__(
        self,
        settings: list[tuple[int, int, int]],
        uids: range,
        fast: bool = False,
        all_probes: bool = False,
        identify: bool = False,
        stop_at_first: bool = False,
    ):
        self.settings = settings
        self.uids = uids
        self.fast = fast
        self.all_probes = all_probes
        self.identify = identify
        self.stop_at_first = stop_at_first


class Found:
    """A device that a search has found at a line setting, and how it showed. `identity` is what it says of itself, None
    where it says nothing; `is_identified`, whether it has been asked."""

    def __init__(self, uid: int, line: Line, verdict: str):
        self.uid = uid
        self.line = line
        self.verdict = verdict
        self.identity: str | None = None
        self.is_identified = False


class Member:
    """A device of a template's class: its parameters' `values` by name, None for those in `missing`, name -> why."""

    def __init__(self, uid: int, line: Line, meta: dict, values: dict, missing: dict):
        self.uid = uid
        self.line = line
        self.meta = meta
        self.values = values
        self.missing = missing
