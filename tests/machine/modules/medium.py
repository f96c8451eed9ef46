"""A block device in memory, whose power can be cut in the middle of a write."""

BLOCK = 512  # bytes


class Medium:
    """`writes_left` writes are made before the power goes, of the last one so much as `part` says; -1: it stays."""

    def __init__(self, data, part=1.0):
        self.data = data
        self.part = part
        self.writes_left = -1
        self.writes = 0

    def readblocks(self, block, buffer, offset=0):
        if self.writes_left == 0:
            raise OSError(5)
        begin = block * BLOCK + offset
        buffer[:] = self.data[begin : begin + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        if self.writes_left == 0:
            raise OSError(5)
        self.writes += 1
        self.writes_left -= self.writes_left > 0
        size = int(len(buffer) * self.part) if self.writes_left == 0 else len(buffer)
        begin = block * BLOCK + offset
        self.data[begin : begin + size] = memoryview(buffer)[:size]
        if self.writes_left == 0:
            raise OSError(5)

    def ioctl(self, request, argument):
        if request == 6 and not self.writes_left:
            raise OSError(5)
        return {4: len(self.data) // BLOCK, 5: BLOCK}.get(request, 0)
