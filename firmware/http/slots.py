"""Who may hold one of a bounded number of places, and who gives way to whom."""

FRESH, IDLE, READING, HANDLING, STREAMING, WRITING, LINGERING = range(7)

STALLED_MS = 2000  # a request or an answer that makes no headway for so long gives way to anybody
_WELCOME = 16  # addresses that are remembered as those of users


class Client:
    """Who holds a place: `source` is what is counted as one client, `level` the access level of the listener.

    `phase` is what it is doing, FRESH being before its first request and IDLE between requests, `since` from when on.
    """

    def __init__(self, source: int | str, level: int, now: int):
        self.source = source
        self.level = level
        self.phase = FRESH
        self.since = now

    def is_gone(self) -> bool:
        """Whether the other end has closed while it is being served."""
        return False

    def give_way(self) -> None:
        """The place is another's from now on."""


class Slots:
    """A bounded table of clients.

    One source holds at most `share` of the places. `kept` of them are for users alone: who comes over a listener that
    gives a level, or from an address that somebody has logged in from. Where there is no place for a newcomer, one is
    made: by who is gone, by the one idle longest, by the one that has stalled longest, or by one of a source that has
    more than the newcomer's would have. Who is being served gives way to nobody; a stream only to a source with fewer.
    """

    def __init__(self, places: int, share: int, kept: int):
        self._places = places
        self._share = share
        self._kept = kept
        self._clients: set[Client] = set()
        self._welcome: dict[int | str, None] = {}  # source -> None, used least recently first

    def welcome(self, source: int | str) -> None:
        """Somebody has proved to be a user from there."""
        if source in self._welcome:
            del self._welcome[source]
        elif len(self._welcome) >= _WELCOME:
            del self._welcome[next(iter(self._welcome))]
        self._welcome[source] = None

    def enter(self, newcomer: Client, now: int) -> bool:
        """Give a client a place; False where there is none for it."""
        rivals = self._rivals(newcomer)
        if rivals:
            loser = self._loser(rivals, newcomer, now)
            if loser is None:
                return False
            self._clients.discard(loser)
            loser.give_way()
        self._clients.add(newcomer)
        return True

    def leave(self, client: Client) -> None:
        """The client's place is free again, if it has one."""
        self._clients.discard(client)

    def _rivals(self, newcomer: Client) -> list[Client]:
        """Those of whom one must go before the newcomer fits; none where it does."""
        count = len(self._clients)
        if count < min(self._share, self._places - self._kept):
            return []
        own = [client for client in self._clients if client.source == newcomer.source]
        if len(own) >= self._share:
            return own
        if count >= self._places:
            return list(self._clients)
        if not self._is_user(newcomer):
            strangers = [client for client in self._clients if not self._is_user(client)]
            if len(strangers) >= self._places - self._kept:
                return strangers
        return []

    def _is_user(self, client: Client) -> bool:
        return client.level > 0 or client.source in self._welcome

    def _loser(self, rivals: list[Client], newcomer: Client, now: int) -> Client | None:
        held: dict[int | str, int] = {}
        for client in self._clients:
            held[client.source] = held.get(client.source, 0) + 1
        best = None
        best_rank: tuple = (0, 0)
        for client in rivals:
            crowding = held[client.source] > held.get(newcomer.source, 0) + 1
            rank = (_readiness(client, crowding, now), now - client.since)
            if rank[0] and (best is None or rank > best_rank):
                best = client
                best_rank = rank
        return best


def _readiness(client: Client, crowding: bool, now: int) -> int:
    """How readily it gives way, 0: not at all."""
    if client.phase in (HANDLING, STREAMING) and client.is_gone():
        return 5
    if client.phase == IDLE:
        return 4
    if client.phase in (FRESH, READING, WRITING):
        return 3 if now - client.since >= STALLED_MS else 2 if crowding else 0
    return 1 if client.phase == STREAMING and crowding else 0
