"""What clients of the HTTP server may use."""


class HttpLimits:
    """What a client may use: bytes of head and body, seconds for each phase, connections and streams at once."""

    def __init__(
        self,
        head_bytes: int = 8192,
        body_bytes: int = 65536,
        connections: int = 32,
        head_sec: float = 10,
        body_sec: float = 30,
        idle_sec: float = 30,
        streams: int = 8,
    ):
        self.head_bytes = head_bytes
        self.body_bytes = body_bytes
        self.connections = connections
        self.head_sec = head_sec
        self.body_sec = body_sec
        self.idle_sec = idle_sec
        self.streams = streams
