"""The settings: every key with its fields, their kinds, limits, defaults and secrecy.

A text that is not set is empty; a secret that is not set is null.
"""

from firmware.services.settings.forms import (
    ADDRESSEE,
    APN_OR_EMPTY,
    CIDR,
    ENDPOINT_OR_EMPTY,
    HOST,
    HOST_OR_EMPTY,
    INTERFACE,
    KEY,
    KEY_OR_EMPTY,
    LABEL,
    MASK_OR_EMPTY,
    NETWORK,
    OWN_CIDR_OR_EMPTY,
    OWN_OR_EMPTY,
    PHONE_OR_EMPTY,
    PHONE_START,
    PIN,
    PLACE_OR_EMPTY,
    QUOTABLE,
    UNICAST_OR_EMPTY,
    URL_OR_EMPTY,
    USERNAME,
    UidRanges,
    daylight,
    forwarded_uids,
    has_a_source,
    needs,
    needs_one_of,
    ordered_uids,
    static_address,
    tunnel,
)
from hal.fields import Boolean, Choice, Field, Integer, Kind, ListOf, Nullable, Number, Object, Text
from hal.runtime.annotations import Any, Callable

LISTENING = ("modbusTcp", "wgCloud", "wgManual")  # keys whose `enabled` lets others connect, beside HTTP

_HOST_LENGTH = 253
_PORT = Integer(1, 65535)
_UID = Integer(1, 255)
_EXCEPTION = Integer(0, 255)
_LOCAL_IPV4 = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8"]  # RFC 1918, and loopback
_LOCAL_IPV6 = ["fc00::/7", "fe80::/10", "::1/128"]  # RFC 4193, RFC 4291: unique local, link-local, loopback


def _key(
    name: str, help: str, *fields: Field, rule: Callable[[dict], list[str]] | None = None, power: bool = False
) -> Field:
    kind = Object(*fields, rule=rule)
    return Field(name, kind, kind.check({}, name), help, power=power)


def _secret(name: str, kind: Kind, help: str) -> Field:
    return Field(name, Nullable(kind), None, help, secret=True)


def _server(name: str, help: str) -> Field:
    return _key(
        name,
        help,
        Field("enabled", Boolean(), False, "dial out"),
        Field("host", Text(_HOST_LENGTH, 0, HOST_OR_EMPTY), "", "the server's name or address"),
        Field("port", _PORT, 20502, "the server's TCP port"),
        Field("tls", Boolean(), False, "TLS with a check of the server's certificate, instead of plain TCP"),
        Field("keepAliveSec", Integer(0, 3600), 30, "seconds of silence after which TCP probes the line; 0: never"),
        Field("reconnectSec", Integer(0, 30000), 20, "seconds before the first redial; the pause grows from there"),
        Field("idleSec", Integer(60, 3600), 90, "seconds without a request after which the connection is dialled anew"),
        Field("sendId", Boolean(), True, "say who calls: registers 1000..1010 are sent first"),
        rule=needs("host"),
    )


SETTINGS = (
    Field("timeGmt", Integer(-720, 840), 0, "minutes that the device's standard time is east of GMT"),
    Field("tsMode", Integer(0, 2), 0, "daylight saving time: 0 off, 1 European rule, 2 by tsManual"),
    _key(
        "tsManual",
        "daylight saving time of tsMode 2; an end in an earlier month than the start is in the next year",
        Field("startMonth", Integer(1, 12), 3, "month of the start"),
        Field("startWeek", Integer(1, 5), 5, "which startDay of the month; 5: the last"),
        Field("startFrom", Integer(0, 31), 0, "the first startDay on or after this day instead; 0: by startWeek"),
        Field("startDay", Integer(0, 7), 0, "day of the week of the start, 0 Sunday to 6 Saturday; 7: any"),
        Field("startHour", Integer(0, 24), 2, "hour of the start, by the standard time in force until then"),
        Field("startMin", Integer(0, 59), 0, "minute of the start"),
        Field("endMonth", Integer(1, 12), 10, "month of the end"),
        Field("endWeek", Integer(1, 5), 5, "which endDay of the month; 5: the last"),
        Field("endFrom", Integer(0, 31), 0, "the first endDay on or after this day instead; 0: by endWeek"),
        Field("endDay", Integer(0, 7), 0, "day of the week of the end, 0 Sunday to 6 Saturday; 7: any"),
        Field("endHour", Integer(0, 24), 3, "hour of the end, by the daylight saving time in force until then"),
        Field("endMin", Integer(0, 59), 0, "minute of the end"),
        Field("shiftMin", Integer(1, 180), 60, "minutes that daylight saving time is ahead of standard time"),
        rule=daylight,
    ),
    _key(
        "ethernet",
        "the wired network",
        Field("dhcp", Boolean(), True, "address from the network's DHCP server; otherwise ip, mask and gateway"),
        Field("ip", Text(15, 0, OWN_OR_EMPTY), "", "own IPv4 address without DHCP"),
        Field("mask", Text(15, 0, MASK_OR_EMPTY), "", "network mask without DHCP"),
        Field("gateway", Text(15, 0, OWN_OR_EMPTY), "", "router without DHCP, in the same network as ip; empty: none"),
        Field("dns1", Text(15, 0, UNICAST_OR_EMPTY), "", "name server; empty: as DHCP says"),
        Field("dns2", Text(15, 0, UNICAST_OR_EMPTY), "", "second name server"),
        Field("hostname", Text(63, 1, LABEL), "mc252", "the device's name in the network"),
        rule=static_address,
    ),
    _key(
        "gsm",
        "the GSM modem",
        Field("enabled", Boolean(), False, "use the modem"),
        Field("apn", Text(100, 0, APN_OR_EMPTY), "", "access point name; empty: as the SIM card says"),
        Field("user", Text(64, 0, QUOTABLE), "", "user name for the access point"),
        _secret("password", Text(64, 1, QUOTABLE), "password for the access point"),
        _secret("pin", Text(8, 4, PIN), "PIN of the SIM card"),
        Field("smsPhone", Text(16, 0, PHONE_OR_EMPTY), "", "number that messages go to: + and 5..15 digits"),
        Field("smsPerDay", Integer(0, 1000), 50, "messages a day at most, UTC; each part of a long one counts"),
        Field(
            "smsAllow",
            ListOf(Text(16, 2, PHONE_START), 16),
            [],
            "beginnings of premium and satellite numbers that messages may go to all the same",
        ),
    ),
    _key(
        "serial",
        "the RS-485 line",
        Field("baudRate", Integer(75, 230400), 9600, "bit/s"),
        Field("charFormat", Integer(0, 5), 5, "0 8E1, 1 8O1, 2 8S1, 3 8M1, 4 8N1, 5 8N2 (one stop bit received)"),
        Field("frameMode", Integer(0, 1), 0, "0 RTU, 1 ASCII"),
        Field("asciiDataBits", Integer(7, 8), 7, "in ASCII mode: charFormat 0 is then 7E1 or 8E1, 4 is 7N1 or 8N1"),
        Field("responseTimeoutMs", Integer(10, 60000), 200, "milliseconds to wait for an answer to begin"),
        Field("asciiGapMs", Integer(10, 60000), 1000, "longest pause inside an ASCII frame in milliseconds"),
        Field("retries", Integer(0, 5), 0, "how often a read without an answer is repeated"),
        Field("turnaroundMs", Integer(0, 1000), 100, "milliseconds of silence after a broadcast"),
        Field("lateHorizonMs", Integer(0, 10000), 1000, "milliseconds that a silent unit is left alone: a late answer"),
        Field("frameGapUs", Integer(0, 20000), 0, "microseconds between frames; 0: as the specification has it"),
        Field("restMs", Integer(0, 5000), 0, "milliseconds between an answer and the next question, at least"),
        Field("listenOnly", Boolean(), False, "send nothing, hear another master; requests are refused: LISTEN_ONLY"),
        Field("healthCheck", Boolean(), True, "take units that stay silent as down and only probe them"),
    ),
    Field(
        "units",
        UidRanges(
            Object(
                Field("uidFrom", _UID, help="lowest unit id that these are for"),
                Field("uidTo", _UID, help="highest unit id that these are for"),
                Field("restMs", Integer(0, 5000), 0, "milliseconds that a unit is left alone after each exchange"),
                Field("responseTimeoutMs", Nullable(Integer(10, 60000)), None, "null: as serial has it"),
                Field("retries", Nullable(Integer(0, 5)), None, "null: as serial has it"),
                rule=ordered_uids,
            ),
            32,
        ),
        [],
        "devices that need another pause, wait or number of retries than the line; the ranges do not overlap",
    ),
    _key(
        "modbusTcp",
        "the Modbus TCP gateway",
        Field("enabled", Boolean(), True, "serve Modbus TCP"),
        Field("port", _PORT, 502, "TCP port"),
        Field("rtuPort", Integer(0, 65535), 0, "TCP port of Modbus RTU over TCP; 0: none"),
        Field("udpPort", Integer(0, 65535), 0, "UDP port of Modbus; 0: none"),
        Field("maxClients", Integer(1, 32), 8, "connections at once"),
        Field("idleSec", Integer(10, 86400), 300, "seconds without a request after which a connection is closed"),
        Field(
            "allow",
            ListOf(Text(43, 1, NETWORK), 32),
            _LOCAL_IPV4 + _LOCAL_IPV6,
            "networks that clients may come from",
            power=True,
        ),
        Field("ownUid", Integer(0, 255), 111, "unit id of the device itself; 0: none"),
        Field("uidFrom", _UID, 1, "lowest unit id that is passed on"),
        Field("uidTo", _UID, 247, "highest unit id that is passed on"),
        Field("excDenied", _EXCEPTION, 1, "exception code where a unit id is not passed on; 0: no answer"),
        Field("excNoAnswer", _EXCEPTION, 11, "exception code where a unit does not answer; 0: no answer"),
        Field("excNoPath", _EXCEPTION, 10, "exception code where the line or server is not to be had; 0: no answer"),
        Field(
            "clientTimeoutMs", Integer(500, 60000), 3000, "time-out of clients: before it, what waits gets exception 6"
        ),
        rule=ordered_uids,
    ),
    Field(
        "forwarding",
        UidRanges(
            Object(
                Field("uidFrom", _UID, help="lowest unit id that goes to the server"),
                Field("uidTo", _UID, help="highest unit id that goes to the server"),
                Field(
                    "host",
                    Text(_HOST_LENGTH, 1, ADDRESSEE),
                    help="the server's name or address; not loopback or link-local",
                ),
                Field("port", _PORT, 502, "the server's TCP port"),
                Field("uidOffset", Integer(-255, 254), 0, "what is added to the unit id; the sum must be 0..255"),
                Field(
                    "inFlight",
                    Integer(1, 32),
                    1,
                    "requests that the server is sent at once; the first row of a server says it",
                ),
                Field("answerMs", Integer(10, 60000), 3000, "milliseconds to wait for an answer from when it is asked"),
                Field(
                    "connectPauseMs",
                    Integer(0, 5000),
                    0,
                    "milliseconds between connecting and asking; the first row of a server says it",
                ),
                rule=forwarded_uids,
            ),
            32,
        ),
        [],
        "unit ids that a remote Modbus TCP server answers instead of RS-485; the ranges do not overlap",
    ),
    _server("cbCloud", "the cloud connection, over which the device serves Modbus TCP"),
    _server("ownSrv", "a server of one's own, served as the cloud connection is"),
    _server("rmSrv", "a server for remote maintenance, served as the cloud connection is"),
    _key(
        "wgCloud",
        "the VPN that the system sets up: what arrives over it is the administrator",
        Field("enabled", Boolean(), False, "serve the API on the VPN interface"),
        Field("interface", Text(15, 1, INTERFACE), "wg0", "name of the WireGuard interface"),
        power=True,
    ),
    _key(
        "wgManual",
        "a WireGuard tunnel set up by hand",
        Field("enabled", Boolean(), False, "bring the tunnel up"),
        _secret("privateKey", Text(44, 44, KEY), "the device's private key, Base64 of 32 bytes"),
        Field("address", Text(18, 0, OWN_CIDR_OR_EMPTY), "", "the device's address in the tunnel, with its prefix"),
        Field("peerPublicKey", Text(44, 0, KEY_OR_EMPTY), "", "the peer's public key, Base64 of 32 bytes"),
        _secret("presharedKey", Text(44, 44, KEY), "key shared with the peer, Base64 of 32 bytes; null: none"),
        Field("endpoint", Text(259, 0, ENDPOINT_OR_EMPTY), "", "where the peer is: HOST:PORT"),
        Field("allowedIps", ListOf(Text(18, 1, CIDR), 32), [], "networks behind the peer"),
        Field("keepAliveSec", Integer(0, 65535), 25, "seconds between packets that keep the way open; 0: none"),
        rule=tunnel,
        power=True,
    ),
    _key(
        "protect",
        "who gets in",
        Field("username", Text(64, 1, USERNAME), "admin", "user name of the login"),
        _secret("password", Text(64, 8), "password of the login; null: nobody can log in, the button remains"),
        Field("buttonMinutes", Integer(1, 60), 10, "minutes that a press of the button lets everybody in"),
        power=True,
    ),
    _key(
        "httpd",
        "the HTTP server and its limits",
        Field("port", _PORT, 80, "TCP port"),
        Field("sessionTtlSec", Integer(60, 86400), 600, "seconds that a login lives after its last use"),
        Field("keepAliveSec", Integer(1, 600), 30, "seconds that an idle connection is kept"),
        Field("maxConnections", Integer(4, 256), 32, "connections at once; the one idle longest makes room"),
        Field(
            "hosts",
            ListOf(Text(_HOST_LENGTH, 1, HOST), 16),
            [],
            "names under which browsers reach the device",
            power=True,
        ),
        Field("mdns", Boolean(), True, "answer to HOSTNAME.local and be found by multicast DNS"),
        Field(
            "metricsAllow",
            ListOf(Text(43, 1, NETWORK), 8),
            [],
            "networks that may read /metrics without a login",
            power=True,
        ),
        Field("headTimeoutSec", Integer(1, 120), 10, "seconds that a client has to send a request's head"),
        Field("bodyTimeoutSec", Integer(1, 600), 30, "seconds that a client has to send a request's body"),
        Field("maxHeadBytes", Integer(1024, 65536), 8192, "bytes of a request line and its headers"),
        Field("maxBodyBytes", Integer(4096, 1048576), 65536, "bytes of a request's body"),
    ),
    _key(
        "download",
        "where firmware updates come from",
        Field("url", Text(255, 0, PLACE_OR_EMPTY), "", "folder of bundles and their index: a URL or card:/PATH"),
        Field("enabled", Boolean(), False, "allow updates to be downloaded"),
        Field(
            "gsmBytesPerDay", Integer(0, 1 << 31), 5_000_000, "bytes of updates that may come over GSM in a day, UTC"
        ),
        Field("hawkbitUrl", Text(255, 0, URL_OR_EMPTY), "", "hawkBit server with tenant, instead of url"),
        _secret("hawkbitToken", Text(255, 1), "token for the hawkBit server"),
        Field("hawkbitTokenKind", Choice("target", "gateway"), "target", "whose token that is"),
        rule=has_a_source,
    ),
    _key(
        "firmware",
        "firmware updates",
        Field("autoUpdate", Boolean(), False, "download and install updates without being asked"),
        Field("channel", Choice("stable", "beta"), "stable", "which updates are taken"),
    ),
    _key(
        "areset",
        "automatic restart",
        Field("enabled", Boolean(), True, "restart by itself"),
        Field("periodMin", Integer(5, 7200), 120, "minutes until the restart"),
        Field("onlyIdle", Boolean(), True, "count from the last transfer instead of from the start"),
    ),
    _key(
        "ntp",
        "network time (SNTP)",
        Field("enabled", Boolean(), False, "set the clock from the servers"),
        Field("server1", Text(_HOST_LENGTH, 0, HOST_OR_EMPTY), "pool.ntp.org", "first time server"),
        Field("server2", Text(_HOST_LENGTH, 0, HOST_OR_EMPTY), "", "time server to ask when the first fails"),
        Field("periodMin", Integer(1, 10080), 360, "minutes between two questions"),
        rule=needs_one_of("server1", "server2"),
    ),
    _key(
        "astro",
        "where the device stands, for sunrise and sunset in the state; 0 and 0: not told",
        Field("latitude", Number(-90, 90), 0, "degrees, north positive"),
        Field("longitude", Number(-180, 180), 0, "degrees, east positive"),
    ),
    Field("language", Choice("en", "uk", "pl", "ru", "de"), "en", "language of texts made for people"),
    Field(
        "logFlags",
        Integer(0, 0xFFFFFFFF),
        0,
        "logged at once: 1 bus errors 2 exchanges 4 logins 8 settings 16 network 32 modem 64 HTTP",
    ),
    Field("bodVoltage", Number(0, 60), 0, "supply voltage in volts below which the board resets; 0: not watched"),
)


def default(name: str) -> Any:
    """The value of a key that nobody has set."""
    return next(field.default for field in SETTINGS if field.name == name)
