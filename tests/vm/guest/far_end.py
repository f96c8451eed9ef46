"""The other end of a WireGuard tunnel, in a network namespace of its own."""

import pathlib
import subprocess

FAR = "far"
LAN, FAR_LAN = "192.0.2.1", "192.0.2.2"
VPN, FAR_VPN = "10.8.0.2", "10.8.0.1"


def make_keys():
    """(private, public)."""
    private = subprocess.run(["wg", "genkey"], check=True, capture_output=True).stdout
    public = subprocess.run(["wg", "pubkey"], input=private, check=True, capture_output=True).stdout
    return private.decode().strip(), public.decode().strip()


class FarEnd:
    """A WireGuard peer in a namespace of its own, which is reached over a cable."""

    def __init__(self, run, keys=None):
        self._run = run
        self.private, self.public = keys or make_keys()
        self.ip("netns", "add", FAR)
        self.ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", FAR)
        for words, address in ((("-n", FAR), FAR_LAN), ((), LAN)):
            self.ip(*words, "address", "add", address + "/24", "dev", "cable")
            self.ip(*words, "link", "set", "cable", "up")
        self.ip("-n", FAR, "link", "set", "lo", "up")

    def ip(self, *words):
        return self._run("ip", *words)

    def expect(self, public, preshared=None):
        """Be ready for a peer."""
        pathlib.Path("/run/far-key").write_text(self.private)
        pathlib.Path("/run/far-psk").write_text(preshared or "")
        self.ip("-n", FAR, "link", "add", "wg0", "type", "wireguard")
        words = ["listen-port", "51820", "private-key", "/run/far-key", "peer", public]
        words += ["preshared-key", "/run/far-psk"] if preshared else []
        self._run("ip", "netns", "exec", FAR, "wg", "set", "wg0", *words, "allowed-ips", VPN + "/32")
        self.ip("-n", FAR, "address", "add", FAR_VPN + "/24", "dev", "wg0")
        self.ip("-n", FAR, "link", "set", "wg0", "up")

    def python(self, code, *arguments):
        """Run Python code there; its output."""
        return self._run("ip", "netns", "exec", FAR, "python3", "-c", code, *arguments)

    def clean(self):
        self.ip("netns", "delete", FAR)
        subprocess.run(["ip", "link", "delete", "cable"], capture_output=True)


def tunnel_to(public, private, **changes):
    """Setting `wgManual` for a tunnel to the far end of this public key."""
    wanted = {
        "enabled": True,
        "privateKey": private,
        "address": VPN + "/24",
        "peerPublicKey": public,
        "presharedKey": None,
        "endpoint": FAR_LAN + ":51820",
        "allowedIps": ["10.8.0.0/24"],
        "keepAliveSec": 1,
    }
    return dict(wanted, **changes)
