"""What the image is made of, as far as that can be tried without making one: `make test-image` starts it."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from deploy.updates.certificates import make_certificates
from deploy.updates.publish import entry_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE = ROOT / "deploy/image"
ADDED = IMAGE / "root"
MIB = 1 << 20


def needs(*programs):
    lacking = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(lacking), reason=f"needs {', '.join(lacking)}")


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Which system starts. GRUB's script is near enough to a shell's that a shell can run it, with GRUB's commands.

GRUB = """
set() { declare -g "$1"; }
insmod() { :; }
regexp() { disk=hd0; }
load_env() { eval "$KNOWN"; }
save_env() { saved="$ORDER|$A_OK$A_TRY|$B_OK$B_TRY"; }
source() { case "$BROKEN" in *$slot*) return 1 ;; esac; }
boot() { builtin echo "$slot $partition $root $saved"; exit; }
sleep() { :; }
reboot() { builtin echo "nothing starts"; exit; }
echo() { :; }
"""


def chosen(known="", broken=""):
    """What GRUB starts: system, partition, its device and what has been written of the starts, by then."""
    script = GRUB + (IMAGE / "grub.cfg").read_text()
    return run("bash", "-c", script, env=dict(os.environ, KNOWN=known, BROKEN=broken)).strip()


def env(order, a, b):
    return f'ORDER="{order}" A_OK={a[0]} A_TRY={a[1]} B_OK={b[0]} B_TRY={b[1]}'


@pytest.mark.parametrize(
    ("known", "starts"),
    [
        (env("A B", "10", "00"), "A root-a hd0,gpt3 A B|11|00"),
        (env("B A", "10", "10"), "B root-b hd0,gpt4 B A|10|11"),
        (env("B A", "10", "12"), "B root-b hd0,gpt4 B A|10|13"),
        (env("B A", "10", "13"), "A root-a hd0,gpt3 B A|11|13"),
        (env("B A", "10", "00"), "A root-a hd0,gpt3 B A|11|00"),
        ("", "A root-a hd0,gpt3 A B|11|10"),
    ],
    ids=["new", "update", "third start", "given up after three", "being installed", "nothing known"],
)
def test_the_system_that_is_first_starts_until_it_was_started_three_times(known, starts):
    assert chosen(known) == starts


def test_a_system_whose_kernel_cannot_be_read_makes_room_for_the_other():
    assert chosen(env("B A", "10", "10"), broken="B").startswith("A ")


@pytest.mark.parametrize(
    ("known", "starts"),
    [(env("B A", "13", "13"), "B"), (env("A B", "13", "00"), "A"), (env("A B", "00", "00"), "A")],
)
def test_something_starts_even_where_nothing_may(known, starts):
    assert chosen(known).startswith(starts)


def test_where_no_kernel_can_be_read_it_is_tried_again():
    assert chosen(env("A B", "10", "10"), broken="A B") == "nothing starts"


@needs("grub-script-check")
@pytest.mark.parametrize("path", [IMAGE / "grub.cfg", ADDED / "boot/start.cfg"], ids=lambda path: path.name)
def test_grub_itself_can_read_its_scripts(path):
    run("grub-script-check", path)


# The disk


@needs("sfdisk")
def test_the_disk_has_two_equal_systems_and_the_data_at_its_end(tmp_path):
    disk = tmp_path / "disk"
    with open(disk, "wb") as file:
        file.truncate(2048 * MIB)
    run("sfdisk", "--quiet", disk, input=(IMAGE / "layout.sfdisk").read_text())
    found = re.findall(r'start= *(\d+), size= *(\d+).*name="([\w-]+)"', run("sfdisk", "--dump", disk))
    sizes = {name: int(size) // 2048 for _, size, name in found}
    assert list(sizes) == ["loader", "state", "root-a", "root-b", "data"]
    assert sizes["root-a"] == sizes["root-b"]
    assert all(int(start) % 2048 == 0 for start, _, _ in found)  # erase blocks of cards


def test_what_the_systems_share_is_made_before_it_is_mounted():
    script = (ADDED / "etc/initramfs-tools/scripts/local-bottom/mc252").read_text()
    made = re.search(r"for name in ([\w -]+); do\n\s+\[ -d \"\$data", script)[1].split()
    binds = re.findall(r"^/data/(\S+) (\S+) none bind", (ADDED / "etc/fstab").read_text(), re.M)
    assert {source for source, _ in binds} <= set(made)
    assert {"/var/lib/mc252", "/var/lib/mc252-network", "/var/lib/rauc"} <= {target for _, target in binds}


# Programs that write down how they were called, and whether the disk was udev's to look at meanwhile
RECORDER = """#!/bin/sh
flock --nonblock "$DISK" true && state=free || state=locked
echo "$(basename "$0") $state $*" >>"$CALLS"
"""


def run_moved(script, folder, *programs):
    """Run a script of the image with the system's folders in `folder`, which has a partition vda5 "data"; what it
    called of those programs, and how.
    """
    for name in ("dev/disk/by-partlabel", "sys/class/block", "sys/devices/vda/vda5", "data", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "dev/vda").touch()
    (folder / "dev/vda5").touch()
    (folder / "dev/disk/by-partlabel/data").symlink_to("../../vda5")
    (folder / "sys/class/block/vda5").symlink_to("../../devices/vda/vda5")
    (folder / "sys/devices/vda/vda5/partition").write_text("5")
    for name in programs:
        (folder / "bin" / name).write_text(RECORDER)
        (folder / "bin" / name).chmod(0o755)
    calls = folder / "calls"
    moved = re.sub(r"(?<![\w$./}])/(dev/|sys/|data/|run/|scripts/|etc/)", rf"{folder}/\1", script.read_text())
    env = dict(os.environ, PATH=f"{folder}/bin:{os.environ['PATH']}", DISK=f"{folder}/dev/vda", CALLS=str(calls))
    run("sh", "-c", moved, env=dict(env, rootmnt=f"{folder}/root"))
    return calls.read_text().replace(f"{folder}/", "/").splitlines()


@needs("flock")
def test_udev_looks_at_the_disk_only_when_the_data_partition_has_grown(tmp_path):
    called = run_moved(ADDED / "usr/libexec/mc252/grow-data", tmp_path, "sfdisk", "partx", "resize2fs")
    assert [line.split()[:2] for line in called] == [["sfdisk", "locked"], ["partx", "locked"], ["resize2fs", "locked"]]
    assert (tmp_path / "data/grown").exists()


@needs("flock")
def test_the_data_stay_mounted_where_udev_takes_their_link_away(tmp_path):
    for name in ("root/data", "root/etc", "root/var", "scripts", "run"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "scripts/functions").touch()
    script = ADDED / "etc/initramfs-tools/scripts/local-bottom/mc252"
    called = run_moved(script, tmp_path, "mount", "e2fsck", "sync")
    mounts = [line.split()[-2:] for line in called if line.startswith("mount ")]
    assert mounts[0] == ["/dev/vda5", "/root/data"]  # the same for as long as the partition is there


# What is known of the starts


@needs("grub-editenv")
def test_what_is_known_of_the_starts_is_changed_in_place(tmp_path):
    path, editor = tmp_path / "grubenv", ADDED / "usr/libexec/mc252/rauc/grub-editenv"
    run("grub-editenv", path, "create")
    before = path.stat()
    run(editor, path, "set", "ORDER=B A", "B_OK=1")
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    run(editor, path, "set", "B_TRY=0", "A_OK=1", "A_TRY=3")
    assert run(editor, path, "list") == "ORDER=B A\nB_OK=1\nB_TRY=0\nA_OK=1\nA_TRY=3\n"
    # A sector is written whole or not at all, and all that is known fits into the first.
    assert path.read_bytes()[512:] == b"#" * 512


@needs("grub-editenv")
def test_what_is_known_of_the_starts_is_begun_anew_where_it_was_damaged(tmp_path):
    path = tmp_path / "grubenv"
    path.write_bytes(bytes(1024))
    run(ADDED / "usr/libexec/mc252/rauc/grub-editenv", path, "set", "A_OK=1")
    assert run("grub-editenv", path, "list") == "A_OK=1\n"


# RAUC


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_certificates(folder, 400, "test")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, keys):
    """Of a system that is small, but says of itself what make-bundle asks."""
    folder = tmp_path_factory.mktemp("system")
    config = folder / "tree/etc/rauc/system.conf"
    config.parent.mkdir(parents=True)
    text = (ADDED / "etc/rauc/system.conf").read_text()
    config.write_text(text.replace("@COMPATIBLE@", "mc252-x86_64"))
    shutil.copytree(ROOT / "firmware", folder / "tree/usr/lib/mc252/firmware", ignore=lambda at, names: names[:-1])
    shutil.copy(ROOT / "firmware/__init__.py", folder / "tree/usr/lib/mc252/firmware")
    run("mksquashfs", folder / "tree", folder / "small.root", "-quiet", "-no-progress")
    environment = dict(os.environ, KEYS=str(keys), MIN_VERSION="0.1.0")
    return pathlib.Path(run(IMAGE / "make-bundle", folder / "small.root", env=environment).strip())


@needs("rauc", "mksquashfs", "unsquashfs")
def test_a_bundle_is_signed_by_the_makers_key_and_no_other_is_believed(bundle, keys, tmp_path):
    said = run("rauc", "info", f"--keyring={keys / 'rauc-ca.pem'}", bundle)
    assert "'mc252-x86_64'" in said and "+min.0.1.0'" in said and "verity" in said
    make_certificates(tmp_path, 400, "another")
    done = subprocess.run(["rauc", "info", f"--keyring={tmp_path / 'rauc-ca.pem'}", bundle], capture_output=True)
    assert done.returncode != 0


@needs("rauc", "mksquashfs", "unsquashfs")
def test_the_index_says_of_it_for_what_it_is(bundle):
    entry = entry_of(bundle)
    assert (entry["compatible"], entry["architecture"]) == (["mc252"], "x86_64")
    assert entry["size"] == bundle.stat().st_size and "+" not in entry["version"]


def test_a_signing_key_is_renewed_under_the_same_authority(keys, tmp_path):
    shutil.copytree(keys, tmp_path / "keys")
    before = (tmp_path / "keys/rauc-signing.pem").read_bytes()
    for name in ("rauc-signing.pem", "rauc-signing.key"):
        (tmp_path / "keys" / name).unlink()
    make_certificates(tmp_path / "keys", 30, "next")
    assert (tmp_path / "keys/rauc-signing.pem").read_bytes() != before
    run("openssl", "verify", "-CAfile", keys / "rauc-ca.pem", tmp_path / "keys/rauc-signing.pem")


@needs("rauc", "dbus-daemon", "grub-editenv")
def test_rauc_takes_its_configuration_and_tells_the_boot_loader(tmp_path, keys):
    """The real one, on a bus of its own, with files in place of partitions."""
    (tmp_path / "by-partlabel").mkdir()
    for name in ("root-a", "root-b"):
        (tmp_path / "by-partlabel" / name).write_bytes(bytes(65536))
    run("grub-editenv", tmp_path / "grubenv", "create")
    run("grub-editenv", tmp_path / "grubenv", "set", "ORDER=A B", "A_OK=1", "A_TRY=1", "B_OK=1", "B_TRY=3")
    text = (ADDED / "etc/rauc/system.conf").read_text().replace("@COMPATIBLE@", "mc252-x86_64")
    places = {"/boot/state/": f"{tmp_path}/", "/var/lib/rauc/": f"{tmp_path}/", "/dev/disk/": f"{tmp_path}/"}
    for old, new in dict(places, **{"/etc/rauc/keyring.pem": str(keys / "rauc-ca.pem")}).items():
        text = text.replace(old, new)
    (tmp_path / "system.conf").write_text(text)
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", f"--address=unix:path={tmp_path}/bus"], stdout=subprocess.DEVNULL
    )
    path = f"{ADDED / 'usr/libexec/mc252/rauc'}:{os.environ['PATH']}"
    environment = {"DBUS_STARTER_BUS_TYPE": "session", "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/bus"}
    environment = dict(os.environ, PATH=path, **environment)
    while not (tmp_path / "bus").exists():
        time.sleep(0.01)
    command = ["rauc", "service", f"--conf={tmp_path}/system.conf", "--override-boot-slot=A"]
    service = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for words in (("mark-good", "booted"), ("mark-active", "other")):
            for _ in range(200):
                done = subprocess.run(["rauc", "status", *words], env=environment, capture_output=True, text=True)
                if done.returncode == 0:
                    break
                time.sleep(0.05)  # the service is still starting
            assert done.returncode == 0, done.stderr
    finally:
        for process in (service, bus):
            process.terminate()
            process.wait()
    known = dict(line.split("=", 1) for line in run("grub-editenv", tmp_path / "grubenv", "list").splitlines())
    assert known == {"ORDER": "B A", "A_OK": "1", "A_TRY": "0", "B_OK": "1", "B_TRY": "0"}


def test_the_bill_of_materials_names_the_packages_of_debian(tmp_path):
    bill = tmp_path / "bill.json"
    bill.write_text(json.dumps({"components": [{"bom-ref": "python3-gpiod", "name": "python3-gpiod"}]}))
    listed = "libc6 2.36-9+deb12u14 amd64\nmc252-firmware 0.2.0 amd64\npython3-gpiod 1.6 amd64\n"
    components = json.loads(run(IMAGE / "add-to-bill", bill, input=listed))["components"]
    assert [part["name"] for part in components] == ["python3-gpiod", "libc6"]
    assert components[1]["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64"
