"""The state: every key with its fields, their kinds, units and meaning, and the service that gives it.

What a key holds is declared by a function: only documents ask for it, and a small board has no memory for that.
"""

from firmware.services.bus.exchange_times import BOUNDS_MS
from hal.fields import Boolean, Choice, Field, Integer, Kind, ListOf, MapOf, Nullable, Number, Object, Text
from hal.runtime.annotations import Any


class StateKey:
    """A key of the state. `service` names the class that gives it, `kind()` declares its value.

    `nullable` says when it is null, or is empty where it never is. A service that fails makes it null too. `metric` is
    what its metrics' names begin with where that is not the key.
    """

    def __init__(self, name: str, service: str, help: str, kind: Any, nullable: str = "", metric: str = "") -> None:
        self.metric = metric or name
        self.name = name
        self.service = service
        self.help = help
        self.kind = kind
        self.nullable = nullable


class Total(Integer):
    """A count since the start, which only grows."""

    def __init__(self) -> None:
        super().__init__(0, 2**53)


class Code(Integer):
    """A number that names something: no quantity."""


class Label(Text):
    """One of few texts."""


class Histogram(Kind):
    """How often values up to each bound were seen since the start, and how often greater ones; and their sum."""

    def __init__(self, bounds: tuple) -> None:
        self.bounds = bounds
        count = ListOf(Total(), len(bounds) + 1, len(bounds) + 1)
        self._kind = Object(Field("counts", count), Field("sum", Number(0, 1e15)))

    def check(self, value: Any, where: str) -> Any:
        """The value, or BadField."""
        return self._kind.check(value, where)

    def words(self) -> str:
        """What it takes, in words."""
        bounds = ", ".join([str(bound) for bound in self.bounds])
        return f"object {{counts, sum}}: values up to {bounds}, and greater"

    def schema(self) -> dict:
        """JSON Schema."""
        return self._kind.schema()


_ADDRESS = 45  # characters of an IP address as text

UPDATE_STATUSES = ("IDLE", "CHECKING", "DOWNLOADING", "READY", "PROGRAMMING", "ERROR")

_COUNT = Integer(0, 2**53)
_TOTAL = Total()
_SECONDS = Integer(0, 2**53)


def _ethernet() -> Object:
    return Object(
        Field("ip", Nullable(Text(_ADDRESS)), help="IPv4 address; null: none"),
        Field("mac", Text(17, 17), help="lower-case colon form"),
        Field("linkUp", Boolean(), help="a cable is in, and the far end is on"),
    )


def _gsm() -> Object:
    return Object(
        Field("signalLevel", Nullable(Integer(0, 100)), help="strength of the signal; null: unknown", unit="%"),
        Field("ip", Nullable(Text(_ADDRESS)), help="address of the data connection; null: there is none"),
        Field("registered", Boolean(), help="a network has taken the modem"),
        Field("operator", Nullable(Text(64)), help="name of that network; null: unknown"),
        Field("imei", Nullable(Text(20)), help="number of the modem; null: unknown"),
        Field("simReady", Boolean(), help="the SIM card is in and unlocked"),
    )


def _vpn() -> Object:
    return Object(
        Field("up", Boolean(), help="the interface is up"),
        Field("interface", Text(15), help="name of the interface"),
        Field("ip", Nullable(Text(_ADDRESS)), help="the device's address in the VPN; null: none"),
        Field("peerHandshakeSec", Nullable(_SECONDS), help="since the last handshake; null: never", unit="s"),
    )


def _connection() -> tuple[Field, ...]:
    return (
        Field("connected", Boolean(), help="the connection stands"),
        Field("server", Nullable(Text(300)), help="HOST:PORT of the server; null: switched off"),
        Field("sinceSec", _SECONDS, help="since the connection came or went", unit="s"),
        Field("attempts", _COUNT, help="how often it was dialled without success since it last stood"),
        Field("lastError", Nullable(Text(512)), help="why it last failed or ended"),
    )


def _callback() -> Object:
    return Object(
        *_connection(),
        Field("ownSrv", Nullable(Object(*_connection())), help="the same of setting ownSrv; null: switched off"),
        Field("rmSrv", Nullable(Object(*_connection())), help="the same of setting rmSrv; null: switched off"),
    )


def _activation() -> Object:
    return Object(
        Field("activated", Boolean(), help="the cloud has activated the device"),
        Field("code", Nullable(Code(10000000, 99999999)), help="what to type into the cloud, while one is open"),
        Field("features", ListOf(Text(64), 64), help="what a licence has opened"),
        Field("expires", Nullable(Text(32)), help="end of the licence, ISO 8601; null: none, or no end"),
    )


def _fw_update() -> Object:
    return Object(
        Field("status", Choice(*UPDATE_STATUSES), help="what goes on"),
        Field("progress", Integer(0, 100), help="of the download or the installation", unit="%"),
        Field("availableVer", Nullable(Text(32)), help="version that was found; null: none newer than what runs"),
        Field("errorCode", Nullable(Text(64)), help="why the last command failed, by its code"),
        Field("message", Nullable(Text(512)), help="the same in words"),
        Field("trial", Boolean(), help="what runs must still show that it is healthy"),
        Field("lastResult", Nullable(Choice("DONE", "ROLLED_BACK")), help="what became of the last update"),
        Field("lastError", Nullable(Text(200)), help="why it was rolled back"),
        Field("rolledBackFrom", Nullable(Text(11)), help="the version that was given up"),
    )


def _card() -> Object:
    return Object(
        Field("present", Boolean(), help="a card is in the slot"),
        Field("mounted", Boolean(), help="its files can be read and written"),
        Field("totalBytes", Nullable(_COUNT), help="size of the file system; null: not mounted", unit="B"),
        Field("freeBytes", Nullable(_COUNT), help="room left; null: not mounted", unit="B"),
    )


_SUN = "today, as local; null: setting astro tells no place, or there is none that day"


def _time() -> Object:
    return Object(
        Field("utc", Text(32), help="ISO 8601 with Z"),
        Field("local", Text(32), help="device local time, ISO 8601 without zone"),
        Field("source", Choice("RTC", "MANUAL", "SNTP"), help="where the time came from"),
        Field(
            "lastSync", Nullable(Text(32)), help="when time servers last set the clock, ISO 8601 with Z; null: never"
        ),
        Field("sunrise", Nullable(Text(32)), help=_SUN),
        Field("sunset", Nullable(Text(32)), help=_SUN),
    )


def _bus() -> Object:
    return Object(
        Field("sent", _TOTAL, help="questions sent since the start"),
        Field("ok", _TOTAL, help="answers that fitted"),
        Field("timeouts", _TOTAL, help="questions without an answer"),
        Field("crcErrors", _TOTAL, help="answers that were broken"),
        Field("exceptions", _TOTAL, help="answers that were Modbus exceptions"),
        Field("baudRate", Integer(75, 230400), help="speed of the line now", unit="bit/s"),
        Field("charFormat", Code(0, 5), help="character format, as in setting serial"),
        Field("frameMode", Code(0, 1), help="0 RTU, 1 ASCII"),
        Field("portOpen", Boolean(), help="the serial port is there"),
        Field("queued", _COUNT, help="requests that wait"),
        Field("queuedByLane", MapOf(_COUNT, 3, "lane"), help="the same by lane: interactive, gateway, search"),
        Field("exchangeMs", Histogram(BOUNDS_MS), help="time on the line of every exchange", unit="ms"),
        Field("copies", _TOTAL, help="answers that came once more since the start"),
        Field("lateBytes", _TOTAL, help="bytes thrown away since the start: late, or nobody's", unit="B"),
        Field("loadPercent", Integer(0, 100), help="how much of the last minute the line was busy", unit="%"),
    )


def _devices() -> MapOf:
    unit = Object(
        Field("ok", _TOTAL, help="answers since the start"),
        Field("timeouts", _TOTAL, help="questions without an answer"),
        Field("badFrames", _TOTAL, help="answers that were broken"),
        Field("down", Boolean(), help="silent for so long that it is only probed"),
        Field("p50Ms", Nullable(Number(0, 1e9)), help="latency of half of the answers; null: none yet", unit="ms"),
        Field("p95Ms", Nullable(Number(0, 1e9)), help="latency of 95 of 100 answers; null: none yet", unit="ms"),
        Field("suggestedTimeoutMs", Nullable(_COUNT), help="what serial.responseTimeoutMs should be for it", unit="ms"),
        Field(
            "suggestedRestMs", Nullable(_COUNT), help="pause that it needs: silent after shorter ones only", unit="ms"
        ),
        Field("lastSeen", Nullable(Text(32)), help="its last answer, ISO 8601 with Z; null: never, or no clock"),
    )
    return MapOf(unit, 256, "unit id")


def _http() -> Object:
    return Object(
        Field("requests", _TOTAL, help="requests answered since the start"),
        Field("failed", _TOTAL, help="answers of status 500 and above"),
        Field("refused", _TOTAL, help="connections for which there was no place"),
        Field("connections", _COUNT, help="connections that are open"),
    )


def _access() -> Object:
    failed = Object(
        Field("address", Text(_ADDRESS), help="where it came from"),
        Field("secAgo", _SECONDS, help="since then", unit="s"),
    )
    return Object(
        Field("level", Integer(0, 2), help="of who asks: 0 guest, 1 power user, 2 administrator"),
        Field("buttonSecLeft", _SECONDS, help="how long a press of the button still lets everybody in", unit="s"),
        Field("sessions", _COUNT, help="logins that are alive"),
        Field("failedLogins", _TOTAL, help="failed logins since the start"),
        Field("lastFailedLogin", Nullable(failed), help="the last of them; null: there was none"),
    )


def _recording() -> Object:
    return Object(
        Field("status", Choice("IDLE", "RUNNING", "DONE", "STOPPED", "ERROR"), help="DONE: as long as it may be"),
        Field("filePath", Nullable(Text(1024)), help="where it is; null: there was none"),
        Field("bytes", _COUNT, help="length of the file", unit="B"),
        Field("entries", _COUNT, help="exchanges in it"),
        Field("lost", _COUNT, help="exchanges that were pushed out of the trace before they were written"),
        Field("secLeft", _SECONDS, help="until it ends", unit="s"),
        Field("errorCode", Nullable(Text(64)), help="why it ended early, by its code"),
    )


def _system() -> Object:
    return Object(
        Field("uptimeSec", _SECONDS, help="since the start of the firmware", unit="s"),
        Field("startReason", Label(64), help="POWER_ON, CRASH (by its watchdog too), or why it restarted"),
        Field("memFree", Nullable(_COUNT), help="memory that can still be had; null: unknown", unit="B"),
        Field("memShortages", _TOTAL, help="how often there was not enough memory for something since the start"),
        Field("cpuTempC", Nullable(Number(-273, 1000)), help="temperature of the processor; null: unknown", unit="°C"),
        Field("errors", ListOf(Text(1024), 1024), help="what went wrong since the start, in words"),
    )


STATE = (
    StateKey("ethernet", "Networking", "the wired network", _ethernet, "the board has none"),
    StateKey("gsm", "Gsm", "the GSM modem", _gsm, "the board has none, or it is switched off"),
    StateKey("vpn", "Networking", "the VPN: the interface that is up, or the first", _vpn, "no setting asks for one"),
    StateKey(
        "mbTcpCallback", "CloudConnections", "the cloud connection and the two like it", _callback, metric="cloud"
    ),
    StateKey("activation", "Activation", "the activation, by the cloud or by a licence", _activation),
    StateKey("fwUpdate", "Updates", "firmware updates", _fw_update, "the board has no updater"),
    StateKey("card", "CardFiles", "the SD card", _card, "the board has no slot"),
    StateKey("time", "ClockService", "the clock", _time, "the board has none"),
    StateKey("bus", "Bus", "the RS-485 line", _bus, "the board has none"),
    StateKey("devices", "DeviceHealth", "the devices on the line, unit id to health", _devices, "there is no line"),
    StateKey("recording", "Recording", "the recording of the trace to the SD card", _recording),
    StateKey("http", "HttpServer", "the HTTP server", _http),
    StateKey("access", "Device", "who gets in", _access),
    StateKey("system", "SystemState", "the device as a whole", _system),
)

STATE_KEYS = tuple(key.name for key in STATE)
