"""The SD card of a Linux board: a block device that the firmware mounts, or a folder where the system mounts it."""

import asyncio
import errno
import os
import re
import stat
import tempfile

from hal.contracts import Card, CardFailed, CardReadOnly, NoCard, NotPermitted, PartError
from hal.fields import BadField, Choice, Field, Nullable, Object, Text
from hal.linux import libc
from hal.linux.device_node import require_folder
from hal.linux.host import systemd
from hal.linux.storage.mounts import Watch, mounted_at
from hal.runtime import in_time, log, log_exception, wait_until
from hal.runtime.annotations import Callable, T, Ts, Unpack
from hal.runtime.files import serial_offload
from hal.runtime.logs import INFO
from hal.service import Pauses, Trouble

LOOK_PAUSE = 10.0  # seconds: it is looked again after these even where the kernel has told nothing
ANSWER_SEC = 10.0  # for the card, or what mounts it, to answer; a call that takes longer goes on unheard
EJECT_SEC = 30.0  # for all that was written to reach a slow card
STOP_SEC = 5.0

_SYS_DEVICES = "/sys/dev/block"
_FLAGS = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC | libc.MS_NOATIME
_MMC_CARD = re.compile(r"mmc[0-9]+:[0-9a-f]{4}")  # what the kernel calls a card in a slot of the machine itself


class CardHangs(CardFailed):
    """The SD card, or what it is in, does not answer."""


class CardBusy(CardFailed):
    """Some other program has files open on the SD card."""

    code = "CARD_BUSY"


class LinuxCard(Card):
    """An SD card that is mounted when it is put in.

    With `device` the firmware mounts and unmounts it, for which it needs CAP_SYS_ADMIN. Without, the system does (by
    fstab, autofs, udev) and the firmware notices. An ejected card counts as gone until it is taken out and put in
    again, or, without `device`, until somebody mounts it again.
    """

    OPTIONS = Object(
        Field("mountPoint", Text(255, 2), help="absolute path of the folder where the card is mounted"),
        Field("device", Nullable(Text(255, 1)), None, help="block device; null: the system mounts the card by itself"),
        Field("fileSystem", Choice("vfat", "exfat", "ext4"), "vfat", help="what is on the card"),
    )

    def __init__(self, options: dict, state_dir: str):
        self.insertions = 0
        self._folder = options["mountPoint"]
        self._device: str | None = options["device"]
        self._kind = options["fileSystem"]
        self._present = False
        self._ejected = False
        self._ejected_disk: str | None = None  # which disk it was, as the kernel counts them
        self._mount: int | None = None  # number of the mount that holds the card's files
        self._ours: int | None = None  # number of the last such mount, which may outlive its card
        self._mounting = False  # whether a mount has begun of which it is not known what came
        self._failure: PartError | None = None  # why the card that is in is not mounted
        self._trouble = Trouble("SD card")
        self._pauses = Pauses()
        self._turn = asyncio.Lock()
        self._offload = serial_offload()
        self._changed = asyncio.Event()
        self._watch: Watch | None = None
        if not os.path.isabs(self._folder) or os.path.normpath(self._folder) != self._folder:
            raise BadField("card.mountPoint: must be an absolute path, without . or .., and with no slash at its end")
        if self._device is not None:
            require_folder("card.device", self._device)

    async def start(self) -> None:
        """Mount the card if one is in, and watch for what comes and goes."""
        if self._device is not None:
            try:
                os.makedirs(self._folder, mode=0o555, exist_ok=True)  # nobody writes there while no card is mounted
            except OSError as exc:
                raise CardFailed(f"the mount point {self._folder} cannot be made: {exc}") from exc
        self._watch = Watch(asyncio.get_running_loop(), self._changed.set)
        try:
            await self._look()
        except CardHangs as exc:
            self._fail(exc)
        self.keep_running(self._follow())

    async def stop(self) -> None:
        """Unmount the card, where it was mounted by the firmware."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        await super().stop()
        async with self._turn:
            if self._device is not None and (self._mount is not None or self._mounting):
                self._mount = None
                self._mounting = False
                try:
                    await self._call_within(STOP_SEC, self._unmount_at_all_costs)
                except CardHangs as exc:
                    log(f"SD card: not unmounted: {exc}")

    async def probe(self) -> str:
        """Where the card is mounted, and its room."""
        self.root()
        return await self._call(self._describe, self._folder)

    async def try_out(self) -> str:
        """As `probe`. A card that a running device has mounted is looked at where it is, one that nobody has mounted,
        be it ejected, for reading at another place, so that such a device does not notice."""
        mount = await self._call(mounted_at, self._folder)
        if self._device is None:
            if mount is None:
                raise NoCard("no SD card: " + self._absence())
            return await self._call(self._describe, self._folder)
        number = await self._call(medium_in, self._device)
        if number is None:
            raise NoCard("no SD card: " + self._absence())
        if mount is not None and mount.device == number:
            return await self._call(self._describe, self._folder)
        try:
            return await self._call(self._describe_elsewhere, self._device)
        except OSError as exc:
            raise self._mount_failure(exc) from exc

    def root(self) -> str:
        """The mount point. NoCard; CardFailed or NotPermitted where a card is in but cannot be mounted."""
        if self._mount is None:
            if self._failure is not None:
                raise type(self._failure)(str(self._failure))  # anew: each raise would add to the old one's traceback
            raise NoCard("no SD card: " + self._absence())
        return self._folder

    def _absence(self) -> str:
        if self._ejected:
            return "it was ejected"
        return f"put one in ({self._device})" if self._device is not None else f"nothing is mounted at {self._folder}"

    def before_write(self, count: int) -> None:
        """CardReadOnly where the card is mounted read-only, by its lock or after errors; a full one says so itself."""
        self.root()
        if self._is_read_only():
            raise CardReadOnly("the SD card is write-protected, or was made so by the kernel after errors on it")

    def status(self) -> dict:
        """Size and free room in bytes; None while no card is mounted."""
        total = free = None
        if self._mount is not None:
            try:
                room = os.statvfs(self._folder)
                total, free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
            except OSError as exc:
                log(f"SD card: {exc}")
        return {
            "present": self._present and not self._ejected,
            "mounted": self._mount is not None,
            "totalBytes": total,
            "freeBytes": free,
        }

    async def eject(self) -> None:
        """Sync, unmount, and let go of a card in a slot of the machine itself. CardBusy, CardFailed, NotPermitted."""
        async with self._turn:
            self.root()
            mount, self._mount = self._mount, None  # nothing may begin on the card from here on
            try:
                await self._call_within(EJECT_SEC, self._unmount)
            except CardHangs:
                self._mount = mount
                raise
            except OSError as exc:
                self._mount = mount
                raise _failure("unmounted", exc) from exc
            self._ejected = True
            if self._device is not None:
                self._ejected_disk = disk_sequence(self._device)
                await self._call(_let_go, self._device)

    # Watching

    async def _follow(self) -> None:
        while True:
            pause = LOOK_PAUSE
            if self._failure is not None:
                pause = self._pauses.next()
            if await wait_until(self._changed, pause):
                self._changed.clear()
            try:
                await self._look()
            except CardHangs as exc:
                self._fail(exc)
            except Exception as exc:
                log_exception(exc)

    async def _look(self) -> None:
        """Compare what is there with what was known, and mount what has come."""
        async with self._turn:
            if self._device is None:
                await self._look_at_folder()
            else:
                await self._look_at_device(self._device)

    async def _look_at_folder(self) -> None:
        mount = await self._call(mounted_at, self._folder)
        self._present = mount is not None
        if mount is None:
            self._gone()
        elif mount.number != self._mount:
            self._come(mount.number)

    async def _look_at_device(self, device: str) -> None:
        number = await self._call(medium_in, device)
        mount = await self._call(mounted_at, self._folder)
        self._present = number is not None
        if disk_sequence(device) != self._ejected_disk:  # swapped in a moment
            self._ejected = False
        if number is None:
            self._ejected = False
            self._failure = None
            self._works()
            self._gone()
            if mount is not None and mount.number == self._ours:
                await self._call(self._unmount_at_all_costs)
        elif mount is not None and mount.device == number:
            if mount.number != self._mount and not self._ejected:
                self._come(mount.number)
        else:
            self._gone()
            if mount is not None and mount.number == self._ours:  # of a card that was swapped in a moment
                await self._call(self._unmount_at_all_costs)
            if not self._ejected:
                await self._try_mount(device)

    async def _try_mount(self, device: str) -> None:
        self._mounting = True  # also where nobody waits for it any more
        try:
            await self._call(self._mount_device, device)
        except OSError as exc:
            self._mounting = False
            self._fail(self._mount_failure(exc))
            return
        self._mounting = False
        mount = await self._call(mounted_at, self._folder)
        if mount is not None:
            self._come(mount.number)

    def _fail(self, failure: PartError) -> None:
        self._trouble.tell(str(failure))
        self._failure = failure

    def _mount_failure(self, exc: OSError) -> PartError:
        if exc.errno == errno.ENODEV:
            return CardFailed(f"the SD card cannot be mounted: the kernel does not know the file system {self._kind}")
        if exc.errno == errno.EINVAL:
            return CardFailed(f"the SD card cannot be mounted: what is on it is not {self._kind}, or is damaged")
        return _failure("mounted", exc)

    def _come(self, number: int) -> None:
        self._mount = self._ours = number
        self._ejected = False
        self._failure = None
        self._works()
        self.insertions += 1
        log(f"SD card: mounted at {self._folder}", INFO)

    def _works(self) -> None:
        self._trouble.end()
        self._pauses.reset()

    def _gone(self) -> None:
        if self._mount is not None:
            self._mount = None
            log("SD card: gone", INFO)

    async def _call(self, function: Callable[[Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        return await self._call_within(ANSWER_SEC, function, *args)

    async def _call_within(self, seconds: float, function: Callable[[Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        """The result of a function that blocks. CardHangs where it takes too long, or the one before still does."""
        try:
            return await in_time(self._offload(function, *args), seconds)
        except asyncio.TimeoutError:
            raise CardHangs(f"the SD card does not answer within {seconds:g} s") from None

    # What blocks

    def _mount_device(self, device: str) -> None:
        options = ""
        if self._kind != "ext4":  # the others know no owners: all belongs to this process
            options = f"uid={os.geteuid()},gid={os.getegid()},umask=0077,errors=remount-ro"
        if self._kind == "vfat":
            options += ",utf8=1,shortname=mixed"
        try:
            libc.mount(device, self._folder, self._kind, _FLAGS, options)
        except OSError as exc:
            if exc.errno not in (errno.EROFS, errno.EACCES):
                raise
            libc.mount(device, self._folder, self._kind, _FLAGS | libc.MS_RDONLY, options)

    def _describe(self, folder: str) -> str:
        room = os.statvfs(folder)
        text = f"{self._folder}, {room.f_bavail * room.f_frsize} of {room.f_blocks * room.f_frsize} bytes free"
        return text + (", write-protected" if room.f_flag & os.ST_RDONLY else "")

    def _describe_elsewhere(self, device: str) -> str:
        folder = tempfile.mkdtemp(prefix="mc252-card-")
        try:
            libc.mount(device, folder, self._kind, _FLAGS | libc.MS_RDONLY, "")
            try:
                return self._describe(folder).removesuffix(", write-protected")
            finally:
                libc.umount(folder)
        finally:
            os.rmdir(folder)

    def _unmount(self) -> None:
        """By this process, or else by systemd, which may do it on behalf of this process. OSError."""
        libc.sync_file_system(self._folder)
        try:
            libc.umount(self._folder)
        except PermissionError:
            if not systemd.runs():
                raise
            systemd.ask("systemctl", "stop", systemd.mount_unit(self._folder))

    def _unmount_at_all_costs(self) -> None:
        """Unmount, if need be as soon as nobody uses it any more. What cannot be synced is lost with the card."""
        if mounted_at(self._folder) is None:
            return
        try:
            self._unmount()
        except OSError as exc:
            log(f"SD card: {exc}")
            try:
                libc.umount(self._folder, libc.MNT_DETACH)
            except OSError as again:
                log(f"SD card: cannot be unmounted: {again}")

    def _is_read_only(self) -> bool:
        return bool(os.statvfs(self._folder).f_flag & os.ST_RDONLY)


def medium_in(device: str) -> tuple[int, int] | None:
    """(major, minor) of a block device with a medium in it, None where the device or the medium is missing."""
    try:
        status = os.stat(device)
    except OSError:
        return None
    if not stat.S_ISBLK(status.st_mode):
        return None
    number = (os.major(status.st_rdev), os.minor(status.st_rdev))
    try:
        with open(os.path.join(_SYS_DEVICES, f"{number[0]}:{number[1]}", "size")) as file:
            return number if int(file.read()) > 0 else None
    except (OSError, ValueError):
        return None


def disk_sequence(device: str) -> str | None:
    """The kernel's number of the disk, a new one for every medium that is put in; None where it keeps no count."""
    number = medium_in(device)
    if number is None:
        return None
    folder = os.path.realpath(os.path.join(_SYS_DEVICES, f"{number[0]}:{number[1]}"))
    for candidate in (folder, os.path.dirname(folder)):  # a partition's is its disk's
        try:
            with open(os.path.join(candidate, "diskseq")) as file:
                return file.read().strip()
        except OSError:
            continue
    return None


def _let_go(device: str) -> None:
    """Have the MMC driver let go of the card in a slot of the machine itself: its block device goes away.

    The slot keeps its power, which the kernel cuts only together with the means to notice the next card. Readers on USB
    have no such switch either that would not end the reader.
    """
    number = medium_in(device)
    if number is None:
        return
    folder = os.path.realpath(os.path.join(_SYS_DEVICES, f"{number[0]}:{number[1]}"))
    while folder != "/" and not _MMC_CARD.fullmatch(os.path.basename(folder)):
        folder = os.path.dirname(folder)
    if folder == "/":
        return
    try:
        with open(os.path.join(folder, "driver", "unbind"), "w") as file:
            file.write(os.path.basename(folder))
    except OSError as exc:
        log(f"SD card: unmounted, but the driver does not let go of it: {exc}")


def _failure(done: str, exc: OSError) -> PartError:
    if exc.errno == errno.EBUSY:
        return CardBusy(f"the SD card cannot be {done}: it is in use by another program")
    if exc.errno == errno.EPERM:
        return NotPermitted(f"the SD card cannot be {done}: this process lacks CAP_SYS_ADMIN")
    return CardFailed(f"the SD card cannot be {done}: {exc.strerror}")
