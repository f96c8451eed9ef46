"""What a search for devices is asked, what it says of a unit id, and which unit ids there are."""

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
