"""The tests' module `network`: interfaces that remember what they were told, whose cable a test puts in."""

PHY_W5500 = 1000

_told: dict = {}


class _Interface:
    _made: list = []

    def __init__(self, *arguments, **settings):
        self.settings = settings
        self.arguments = arguments
        self.told = []  # what ipconfig was told
        self.calls = []
        self.connected = False
        self.address = ("0.0.0.0", "0.0.0.0")
        _Interface._made.append(self)

    def active(self, *on):
        self.calls.append(("active",) + on)

    def isconnected(self):
        return self.connected

    def connect(self, *arguments):
        self.calls.append(("connect",) + arguments)

    def plug(self, address):
        """Put the cable in; a DHCP server gives an address."""
        self.connected, self.address = True, (address, "255.255.255.0")

    def config(self, name):
        return {"mac": b"\x02\x00\x00\x00\x00\x07"}[name]

    def ipconfig(self, *name, **settings):
        if name:
            return {"addr4": self.address}[name[0]]
        self.told.append(settings)
        return None


class LAN(_Interface):
    pass


class WIZNET5K(_Interface):
    pass


class WLAN(_Interface):
    IF_STA = 0


def hostname(*name):
    _told["hostname"] = name


def ipconfig(*name, **settings):
    if name:
        return _told.get(name[0], "0.0.0.0")
    _told.update(settings)
    return None


def last():
    """The interface that was made last."""
    return _Interface._made[-1]
