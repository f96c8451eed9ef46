"""The real RAUC on a D-Bus of its own, with two files for slots and a boot loader of a few lines."""

import os
import shutil
import stat
import subprocess
import time

TOOLS = ("rauc", "dbus-daemon", "mksquashfs", "openssl", "faketime")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

BACKEND = """#!/bin/sh
# A boot loader whose memory is a folder: primary, and a state for each system.
cd "{folder}"
case "$1" in
get-primary) cat primary ;;
set-primary) echo "$2" >primary ;;
get-state) cat "state-$2" ;;
set-state) echo "$3" >"state-$2" ;;
esac
"""

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={folder}/bus</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>
"""

SYSTEM = """[system]
compatible={compatible}
bootloader=custom
statusfile={folder}/status
mountprefix={folder}/mnt
bundle-formats=plain

[handlers]
bootloader-custom-backend={folder}/backend

[keyring]
path={folder}/ca.pem

[slot.rootfs.0]
device={folder}/rootfs0
type=raw
bootname=system0

[slot.rootfs.1]
device={folder}/rootfs1
type=raw
bootname=system1
"""


class RaucRig:
    """A board with RAUC: `booted` is the system that runs (0 or 1)."""

    def __init__(self, folder, compatible, booted=0):
        self.folder = folder
        self.compatible = compatible
        self.address = f"unix:path={folder}/bus"
        for number in (0, 1):
            (folder / f"rootfs{number}").write_bytes(bytes(65536))
            (folder / f"state-system{number}").write_text("good\n")
        (folder / "primary").write_text("system0\n")
        self.write("backend", BACKEND.format(folder=folder)).chmod(stat.S_IRWXU)
        self.write("bus.conf", BUS.format(folder=folder))
        self.write("system.conf", SYSTEM.format(folder=folder, compatible=compatible))
        self.make_authority("ca", "good")
        self._bus = subprocess.Popen(["dbus-daemon", "--nofork", f"--config-file={folder}/bus.conf"])
        self._rauc = None
        self.boot(booted)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def boot(self, number):
        """Start RAUC as after a start of that system."""
        self._stop(self._rauc)
        environment = dict(os.environ, DBUS_STARTER_BUS_TYPE="session", DBUS_SESSION_BUS_ADDRESS=self.address)
        command = ["rauc", "service", f"--conf={self.folder}/system.conf", f"--override-boot-slot=system{number}"]
        end = time.monotonic() + 10
        while not (self.folder / "bus").exists():
            assert time.monotonic() < end, "no bus"
            time.sleep(0.01)
        self._rauc = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def make_authority(self, name, days_or_good):
        """A certificate authority NAME.pem with its key, and a signer NAME-signer.pem under it."""
        folder = self.folder
        openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", folder / f"{name}.key", "-out",
                folder / f"{name}.pem", "-days", "36500", "-subj", f"/CN={name}")  # fmt: skip
        self.make_signer(name, "signer")

    def make_signer(self, authority, name, *validity):
        """A signing key and its certificate by an authority; `validity` is openssl's -startdate and -enddate."""
        folder = self.folder
        request, key = folder / f"{authority}-{name}.csr", folder / f"{authority}-{name}.key"
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        database = folder / f"{authority}-db"
        database.mkdir(exist_ok=True)
        (database / "index").touch()
        (database / "serial").write_text(time.time_ns().to_bytes(8, "big").hex() + "\n")
        configuration = self.write(
            f"{authority}-ca.conf",
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={database}/index\nserial={database}/serial\nnew_certs_dir={database}\n"
            "default_md=sha256\npolicy=p\nunique_subject=no\ndefault_days=20000\n[p]\ncommonName=supplied\n",
        )
        openssl("ca", "-batch", "-config", configuration, "-cert", folder / f"{authority}.pem", "-keyfile",
                folder / f"{authority}.key", "-in", request, "-out", folder / f"{authority}-{name}.pem", "-notext",
                *validity)  # fmt: skip

    def unchecked_bundle(self, signer):
        """A bundle by a certificate that RAUC would not sign with today: signed as of a moment when it was good."""
        return self.bundle(signer=signer, moment={"expired": "2020-01-15", "early": "2085-01-01"}[signer.split("-")[1]])

    def bundle(self, version="9.9.9", compatible=None, signer="ca-signer", content=b"new system", moment=None):
        """A bundle signed by RAUC itself."""
        source = self.folder / f"source-{time.time_ns()}"
        source.mkdir()
        (source / "rootfs.img").write_bytes(content)
        manifest = (
            f"[update]\ncompatible={compatible or self.compatible}\nversion={version}\n\n[bundle]\nformat=plain\n\n"
        )
        (source / "manifest.raucm").write_text(manifest + "[image.rootfs]\nfilename=rootfs.img\n")
        out = self.folder / f"{source.name}.raucb"
        authority = signer.split("-")[0]
        command = ["rauc", f"--cert={self.folder}/{signer}.pem", f"--key={self.folder}/{signer}.key"]
        command += [f"--keyring={self.folder}/{authority}.pem", "bundle", source, out]
        if moment is not None:
            command = ["faketime", moment, *command]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return out

    def stop(self):
        self._stop(self._rauc)
        self._stop(self._bus)

    def _stop(self, process):
        if process is not None:
            process.terminate()
            process.wait()


def openssl(*words):
    """As of a day long ago, so that an authority is older than all that it vouches for."""
    done = subprocess.run(
        ["faketime", "2019-01-01", "openssl", *[str(word) for word in words]], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
