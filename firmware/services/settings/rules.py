"""Rules over several settings keys: together they must leave a device that can be reached, and have an effect."""

from hal.ip_addresses import ipv4_number, is_ipv4, is_ipv6, is_local, overlap, parse_address, parse_network

_SERVERS = ("cbCloud", "ownSrv", "rmSrv")


def conflicts(values: dict) -> list[str]:
    """What of the values of all keys does not go together, each as "where: what it must be"."""
    return _ports(values) + _own_address(values) + _tunnel(values) + _forwarding(values)


def _ports(values: dict) -> list[str]:
    """Every service that listens has a port for itself."""
    gateway = values["modbusTcp"]
    if not gateway["enabled"]:
        return []
    problems = []
    for name in ("port", "rtuPort"):
        if gateway[name] == values["httpd"]["port"]:
            problems.append(f"httpd.port: must differ from modbusTcp.{name} while modbusTcp.enabled is true")
    if gateway["rtuPort"] == gateway["port"]:
        problems.append("modbusTcp.rtuPort: must differ from modbusTcp.port")
    return problems


def _own_address(values: dict) -> list[str]:
    """The device is not its own server."""
    own = _own_addresses(values)
    called = [(f"{key}.host", values[key]["host"]) for key in _SERVERS if values[key]["enabled"]]
    called += [(f"forwarding[{index}].host", row["host"]) for index, row in enumerate(values["forwarding"])]
    if values["wgManual"]["enabled"]:
        called.append(("wgManual.endpoint", values["wgManual"]["endpoint"].partition(":")[0]))
    return [f"{where}: must not be the device's own address" for where, host in called if host in own]


def _own_addresses(values: dict) -> list[str]:
    own = [] if values["ethernet"]["dhcp"] else [values["ethernet"]["ip"]]
    return own + ([values["wgManual"]["address"].partition("/")[0]] if values["wgManual"]["enabled"] else [])


def _tunnel(values: dict) -> list[str]:
    """A tunnel takes nothing of the LAN, and leads to nothing that is in the LAN."""
    ethernet, tunnel = values["ethernet"], values["wgManual"]
    if ethernet["dhcp"] or not tunnel["enabled"]:
        return []
    lan = (ipv4_number(ethernet["ip"]), _prefix(ethernet["mask"]), 32)
    problems = []
    if overlap(lan, parse_network(tunnel["address"])):
        problems.append("wgManual.address: must not overlap the LAN of ethernet.ip and ethernet.mask")
    for index, text in enumerate(tunnel["allowedIps"]):
        network = parse_network(text)
        if network[1] >= lan[1] and overlap(lan, network):
            problems.append(f"wgManual.allowedIps[{index}]: must not be in the LAN of ethernet.ip and ethernet.mask")
    return problems


def _prefix(mask: str) -> int:
    return bin(ipv4_number(mask)).count("1")


def _forwarding(values: dict) -> list[str]:
    """Every row of forwarding can get a request."""
    gateway = values["modbusTcp"]
    problems = []
    for index, row in enumerate(values["forwarding"]):
        if (is_ipv4(row["host"]) or is_ipv6(row["host"])) and is_local(parse_address(row["host"])):
            problems.append(f"forwarding[{index}].host: must not be a loopback or link-local address")
        low, high = max(row["uidFrom"], gateway["uidFrom"]), min(row["uidTo"], gateway["uidTo"])
        if low > high:
            problems.append(
                f"forwarding[{index}].uidFrom: the range must reach into modbusTcp.uidFrom..uidTo, "
                f"{gateway['uidFrom']}..{gateway['uidTo']}"
            )
        elif low == high == gateway["ownUid"]:
            problems.append(f"forwarding[{index}].uidFrom: {low} is the device's own unit id, modbusTcp.ownUid")
    return problems
