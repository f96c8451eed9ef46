"""Made by `make docs` from firmware/services/settings/table.py: the values of the settings by key."""

from typing import Literal, TypedDict

class TsManual(TypedDict):
    startMonth: int
    startWeek: int
    startFrom: int
    startDay: int
    startHour: int
    startMin: int
    endMonth: int
    endWeek: int
    endFrom: int
    endDay: int
    endHour: int
    endMin: int
    shiftMin: int

class Ethernet(TypedDict):
    dhcp: bool
    ip: str
    mask: str
    gateway: str
    dns1: str
    dns2: str
    hostname: str

class Gsm(TypedDict):
    enabled: bool
    apn: str
    user: str
    password: str | None
    pin: str | None
    smsPhone: str
    smsPerDay: int
    smsAllow: list[str]

class Serial(TypedDict):
    baudRate: int
    charFormat: int
    frameMode: int
    asciiDataBits: int
    responseTimeoutMs: int
    asciiGapMs: int
    retries: int
    turnaroundMs: int
    lateHorizonMs: int
    frameGapUs: int
    restMs: int
    listenOnly: bool
    healthCheck: bool

class UnitsItem(TypedDict):
    uidFrom: int
    uidTo: int
    restMs: int
    responseTimeoutMs: int | None
    retries: int | None

class ModbusTcp(TypedDict):
    enabled: bool
    port: int
    rtuPort: int
    udpPort: int
    maxClients: int
    idleSec: int
    allow: list[str]
    ownUid: int
    uidFrom: int
    uidTo: int
    excDenied: int
    excNoAnswer: int
    excNoPath: int
    clientTimeoutMs: int

class ForwardingItem(TypedDict):
    uidFrom: int
    uidTo: int
    host: str
    port: int
    uidOffset: int
    inFlight: int
    answerMs: int
    connectPauseMs: int

class CbCloud(TypedDict):
    enabled: bool
    host: str
    port: int
    tls: bool
    keepAliveSec: int
    reconnectSec: int
    idleSec: int
    sendId: bool

class OwnSrv(TypedDict):
    enabled: bool
    host: str
    port: int
    tls: bool
    keepAliveSec: int
    reconnectSec: int
    idleSec: int
    sendId: bool

class RmSrv(TypedDict):
    enabled: bool
    host: str
    port: int
    tls: bool
    keepAliveSec: int
    reconnectSec: int
    idleSec: int
    sendId: bool

class WgCloud(TypedDict):
    enabled: bool
    interface: str

class WgManual(TypedDict):
    enabled: bool
    privateKey: str | None
    address: str
    peerPublicKey: str
    presharedKey: str | None
    endpoint: str
    allowedIps: list[str]
    keepAliveSec: int

class Protect(TypedDict):
    username: str
    password: str | None
    buttonMinutes: int

class Httpd(TypedDict):
    port: int
    sessionTtlSec: int
    keepAliveSec: int
    maxConnections: int
    hosts: list[str]
    mdns: bool
    metricsAllow: list[str]
    headTimeoutSec: int
    bodyTimeoutSec: int
    maxHeadBytes: int
    maxBodyBytes: int

class Download(TypedDict):
    url: str
    enabled: bool
    gsmBytesPerDay: int
    hawkbitUrl: str
    hawkbitToken: str | None
    hawkbitTokenKind: Literal["target", "gateway"]

class Firmware(TypedDict):
    autoUpdate: bool
    channel: Literal["stable", "beta"]

class Areset(TypedDict):
    enabled: bool
    periodMin: int
    onlyIdle: bool

class Ntp(TypedDict):
    enabled: bool
    server1: str
    server2: str
    periodMin: int

class Astro(TypedDict):
    latitude: float
    longitude: float

class Area(TypedDict):
    timeGmt: int
    tsMode: int
    tsManual: TsManual
    ethernet: Ethernet
    gsm: Gsm
    serial: Serial
    units: list[UnitsItem]
    modbusTcp: ModbusTcp
    forwarding: list[ForwardingItem]
    cbCloud: CbCloud
    ownSrv: OwnSrv
    rmSrv: RmSrv
    wgCloud: WgCloud
    wgManual: WgManual
    protect: Protect
    httpd: Httpd
    download: Download
    firmware: Firmware
    areset: Areset
    ntp: Ntp
    astro: Astro
    language: Literal["en", "uk", "pl", "ru", "de"]
    logFlags: int
    bodVoltage: float
