"""Records in one piece of memory: the newest push out the oldest."""


class Ring:
    """Keeps as many of the newest records as fit into `size` bytes, each of which must fit.

    Records are numbered from 1 on; `first` is the oldest one kept, `last` the newest, less than `first` where there is
    none. A record stands in one piece behind its length of two bytes; `_end` is where the memory's last one ends.
    """

    def __init__(self, size: int):
        self.first = 1
        self.last = 0
        self._data = bytearray(size)
        self._head = 0  # where the next record goes
        self._tail = 0  # where the oldest one begins
        self._end = size

    def add(self, record: bytes) -> None:
        """Keep a record."""
        size = len(record) + 2
        if self._head + size > len(self._data):
            self._make_room(len(self._data))
            self._end = self._head
            self._head = 0
        end = self._head + size
        self._make_room(end)
        if self.first > self.last:
            self._tail = self._head
        self._data[self._head] = len(record) & 0xFF
        self._data[self._head + 1] = len(record) >> 8
        self._data[self._head + 2 : end] = record
        self._head = end
        self.last += 1

    def _make_room(self, end: int) -> None:
        """Forget the records between the head and a place."""
        while self.first <= self.last and self._head <= self._tail < end:
            self._tail += self._size_at(self._tail)
            self.first += 1
            if self._tail >= self._end:
                self._tail = 0
                self._end = len(self._data)

    def _size_at(self, place: int) -> int:
        return 2 + self._data[place] + (self._data[place + 1] << 8)


class Cursor:
    """Reads a ring's records one after another, from the one after a number on.

    `lost` counts those that were pushed out before they were read. `after` is the number of the last one read.
    """

    def __init__(self, ring: Ring, after: int = 0):
        self.lost = 0
        self.after = after
        self._ring = ring
        self._place = -1  # of the next record; -1: not looked for yet
        if after >= ring.last:  # also where the number is of an earlier start, whose records were more
            self.after = ring.last
            self._place = ring._head

    def next(self) -> bytes | None:
        """The next record, None where there is none yet."""
        ring = self._ring
        if self.after >= ring.last:
            return None
        number = self.after + 1
        if number < ring.first:
            self.lost += ring.first - number
            number = ring.first
        if number == ring.first:
            self._place = ring._tail
        elif self._place < 0:
            self._seek(number)
        elif self._place == ring._end:
            self._place = 0
        start = self._place
        self._place += ring._size_at(start)
        self.after = number
        return bytes(ring._data[start + 2 : self._place])

    def go_to(self, other: "Cursor") -> None:
        """Go on where another one of the same ring has come to."""
        self.after = other.after
        self._place = other._place

    def _seek(self, number: int) -> None:
        ring = self._ring
        place = ring._tail
        for _ in range(number - ring.first):
            place += ring._size_at(place)
            if place == ring._end:
                place = 0
        self._place = place
