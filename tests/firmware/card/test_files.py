"""Files on the SD card, on real folders: a simulated card, and small real file systems where they can be mounted."""

import asyncio
import base64
import errno
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from firmware.api.endpoints.card import card_dir, card_file_read, card_file_write
from firmware.services.card import paths as card_paths
from firmware.services.card import uploads as card_uploads
from firmware.services.card import volume as card_volume
from firmware.services.card.absent import NoCardFiles
from firmware.services.card.files import CardFiles
from firmware.services.card.paths import CardTree, fold
from firmware.services.card.uploads import BLOCK
from firmware.services.errors import Refused
from firmware.services.time.local_time import LocalTime
from firmware.services.transfers import Transfers
from hal.contracts import CardFull, NoCard
from hal.fields import BadField
from hal.simulated.card import SimulatedCard
from tests.firmware import calls
from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON, environment

ROOT = pathlib.Path(__file__).parents[3]


def local_iso(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 1000 + 7200))


class Clock:
    """A clock that stands still: `now` are seconds, what it tells are milliseconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> int:
        return round(self.now * 1000)


class Rig:
    """A simulated card in a folder, and the service on it."""

    def __init__(self, folder: pathlib.Path, **options):
        self.folder = folder
        self.clock = Clock()
        self.card = SimulatedCard(SimulatedCard.OPTIONS.check({"folder": str(folder), **options}), str(folder.parent))
        self.files = self.restarted()

    def restarted(self) -> CardFiles:
        """The service as it is after the process has begun anew."""
        return CardFiles(self.card, local_iso, clock=self.clock)

    def on_disk(self) -> dict[str, bytes]:
        """Every file that is on the card, with its contents, the service's own among them."""
        files = [file for file in sorted(self.folder.rglob("*")) if file.is_file()]
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}

    async def upload(self, path: str, data: bytes, files: CardFiles | None = None, owner: str = "") -> None:
        for index, block in enumerate(blocks := cut(data)):
            await (files or self.files).write(path, index, len(blocks), block, owner)

    async def dir(self, path: str, first: int = 0, last: int | None = None) -> dict:
        """As HTTP has it, and so below."""
        return await card_dir(calls.call({"card_files": self.files}, {"path": path, "fromIdx": first, "toIdx": last}))

    async def read(self, path: str, index: int) -> dict:
        return await card_file_read(calls.call({"card_files": self.files}, {"path": path, "blockIdx": index}))

    async def write(self, path: str, index: int, count: int, data: bytes) -> dict:
        body = {"path": path, "blockIdx": index, "blockCount": count, "data": data}
        return await card_file_write(calls.call({"card_files": self.files}, body))

    async def download(self, path: str) -> bytes:
        data, index, count = b"", 0, 1
        while index < count:
            answer = await self.read(path, index)
            assert answer["blockIdx"] == index
            data += base64.b64decode(answer["data"], validate=True)
            count = answer["blockCount"]
            index += 1
        return data


def cut(data: bytes) -> list[bytes]:
    return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)] or [b""]


async def refusal(call) -> Refused:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value


async def code(call) -> str:
    return (await refusal(call)).code


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path / "card")
    await rig.card.start()
    yield rig
    await rig.files.stop()


# Reading and writing


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2048, 5000])
async def test_a_file_comes_back_as_it_was_sent(rig, size):
    data = random.Random(size).randbytes(size)
    await rig.upload("/data.bin", data)
    assert await rig.download("/data.bin") == data
    assert rig.on_disk() == {"data.bin": data}


async def test_blocks_that_are_read_and_written_are_transfers_and_looking_is_none(rig):
    transfers = Transfers(rig.clock)
    files = CardFiles(rig.card, local_iso, clock=rig.clock, transfers=transfers)
    await files.dir("/")
    assert await code(files.read("/absent", 0)) == "NOT_FOUND"
    assert transfers.last is None
    await files.write("/a", 0, 1, b"x")
    assert transfers.last == rig.clock()
    rig.clock.now += 5
    await files.info("/a")
    assert transfers.last == rig.clock() - 5000
    await files.read("/a", 0)
    assert transfers.last == rig.clock()
    await files.stop()


async def test_an_empty_file_has_one_empty_block(rig):
    await rig.upload("/empty.txt", b"")
    assert await rig.read("/empty.txt", 0) == {"blockIdx": 0, "blockCount": 1, "data": ""}


async def test_a_large_file_goes_up_and_down_intact(rig):
    data = os.urandom(16 << 20)
    await rig.upload("/large.bin", data)
    digest, index, count = hashlib.sha256(), 0, 1
    while index < count:
        answer = await rig.read("/large.bin", index)
        digest.update(base64.b64decode(answer["data"]))
        index, count = index + 1, answer["blockCount"]
    assert count == 16384
    assert digest.digest() == hashlib.sha256(data).digest()


async def test_a_file_is_not_there_before_its_last_block_is(rig):
    data = os.urandom(3000)
    for index in range(2):
        await rig.files.write("/a.bin", index, 3, cut(data)[index])
        assert await code(rig.files.info("/a.bin")) == "NOT_FOUND"
        assert (await rig.dir("/"))["items"] == []
    await rig.files.write("/a.bin", 2, 3, cut(data)[2])
    assert rig.on_disk() == {"a.bin": data}


async def test_the_old_file_is_read_until_the_new_one_is_whole(rig):
    await rig.upload("/a.txt", b"old")
    await rig.files.write("/a.txt", 0, 2, b"n" * BLOCK)
    assert await rig.download("/a.txt") == b"old"
    await rig.files.write("/a.txt", 1, 2, b"ew")
    assert await rig.download("/a.txt") == b"n" * BLOCK + b"ew"


async def test_a_block_past_the_end_cannot_be_read(rig):
    await rig.upload("/a.txt", b"abc")
    with pytest.raises(BadField, match=r"blockIdx: must be an integer 0\.\.0"):
        await rig.files.read("/a.txt", 1)


async def test_missing_folders_are_made(rig):
    await rig.upload("/logs/2026/november/day.csv", b"1;2")
    assert rig.on_disk() == {"logs/2026/november/day.csv": b"1;2"}


async def test_a_file_that_somebody_else_replaces_is_read_anew(rig):
    await rig.upload("/a.txt", b"old")
    assert await rig.download("/a.txt") == b"old"
    (rig.folder / "b.txt").write_bytes(b"new")
    (rig.folder / "b.txt").rename(rig.folder / "a.txt")
    rig.clock.now += 3
    assert await rig.download("/a.txt") == b"new"


async def test_whole_files_for_the_device_itself(rig):
    await rig.files.write_whole("/backup/settings.json", b"{}" * 5000)
    assert await rig.files.read_whole("/BACKUP/settings.json", 10000) == b"{}" * 5000
    assert await code(rig.files.read_whole("/backup/settings.json", 9999)) == "TOO_LARGE"
    assert await code(rig.files.read_whole("/backup", 100)) == "IS_DIRECTORY"
    assert await code(rig.files.write_whole("/backup", b"")) == "IS_DIRECTORY"
    assert rig.on_disk() == {"backup/settings.json": b"{}" * 5000}


# Blocks out of turn


async def test_a_repeated_block_is_a_harmless_retry(rig):
    data = os.urandom(3000)
    for index, block in enumerate(cut(data)):
        for _ in range(3):
            assert await rig.write("/a.bin", index, 3, block) == {"blockIdx": index, "blockCount": 3}
    assert rig.on_disk() == {"a.bin": data}


async def test_the_last_block_of_a_file_that_was_removed_since_is_no_retry(rig):
    await rig.upload("/logs/a.bin", b"x" * 1500)
    await rig.files.remove("/logs", recursive=True)
    assert await code(rig.files.write("/logs/a.bin", 1, 2, b"x" * 476)) == "BAD_BLOCK"
    assert rig.on_disk() == {}


async def test_what_is_removed_is_forgotten_and_nothing_beside_it(rig):
    for path in ("/a.bin", "/logs/b.bin", "/logs.bin"):
        await rig.upload(path, b"x" * 1500)
    for path in ("/a.bin", "/logs"):
        await rig.files.remove(path, recursive=True)
    await rig.files.write("/logs.bin", 1, 2, b"x" * 476)  # a retry
    for path in ("/a.bin", "/logs/b.bin"):
        assert await code(rig.files.write(path, 1, 2, b"x" * 476)) == "BAD_BLOCK"


@pytest.mark.parametrize("index", [0, 2, 4, 9])
async def test_a_block_out_of_turn_is_told_which_is_expected(rig, index):
    for sent in range(3):
        await rig.files.write("/a.bin", sent, 10, bytes([sent]) * BLOCK)
    if index in (0, 2):  # the beginning of a new upload, a retry
        await rig.files.write("/a.bin", index, 10, bytes([index]) * BLOCK)
        return
    refused = await refusal(rig.files.write("/a.bin", index, 10, bytes(BLOCK)))
    assert refused.code == "BAD_BLOCK"
    assert "block 3 is expected" in str(refused)
    await rig.files.write("/a.bin", 3, 10, bytes(BLOCK))  # the upload goes on


async def test_an_upload_that_never_began_is_told_to_begin(rig):
    refused = await refusal(rig.files.write("/a.bin", 1, 2, b"x"))
    assert (refused.code, "block 0 is expected" in str(refused)) == ("BAD_BLOCK", True)


async def test_block_0_begins_anew(rig):
    await rig.files.write("/a.bin", 0, 3, b"1" * BLOCK)
    await rig.files.write("/a.bin", 1, 3, b"1" * BLOCK)
    await rig.upload("/a.bin", b"2" * 2000)
    assert rig.on_disk() == {"a.bin": b"2" * 2000}


@pytest.mark.parametrize(
    ("index", "count", "length"),
    [(0, 0, 1), (-1, 2, BLOCK), (2, 2, 5), (0, 2, 1000), (0, 1, BLOCK + 1), (0, 2, BLOCK + 1)],
)
async def test_a_block_that_no_file_can_have_is_refused(rig, index, count, length):
    with pytest.raises(BadField, match=r"block|data"):
        await rig.files.write("/a.bin", index, count, b"x" * length)
    assert rig.on_disk() == {}


async def test_the_number_of_blocks_must_not_change(rig):
    await rig.files.write("/a.bin", 0, 3, bytes(BLOCK))
    with pytest.raises(BadField, match="blockCount: must be 3"):
        await rig.files.write("/a.bin", 1, 4, bytes(BLOCK))


async def test_no_file_is_longer_than_fat_can_hold(rig):
    assert await code(rig.files.write("/a.bin", 0, 4 * 1024 * 1024 + 1, bytes(BLOCK))) == "TOO_LARGE"
    assert await code(rig.files.write("/a.bin", 4194303, 4194304, bytes(BLOCK))) == "TOO_LARGE"
    await rig.files.write("/a.bin", 0, 4194304, bytes(BLOCK))


# Several uploads


async def test_two_uploads_at_once_do_not_mix(rig):
    ours, theirs = os.urandom(5000), os.urandom(5000)
    await asyncio.gather(rig.upload("/ours.bin", ours), rig.upload("/theirs.bin", theirs))
    assert rig.on_disk() == {"ours.bin": ours, "theirs.bin": theirs}


async def test_of_two_uploads_to_one_path_the_later_wins(rig):
    first, second = cut(os.urandom(3000)), cut(os.urandom(3000))
    await rig.files.write("/File.bin", 0, 3, first[0], "anna")
    await rig.files.write("/file.BIN", 0, 3, second[0], "ben")
    refused = await refusal(rig.files.write("/File.bin", 1, 3, first[1], "anna"))
    assert (refused.code, "block 0 is expected" in str(refused)) == ("BAD_BLOCK", True)
    await rig.files.write("/file.BIN", 1, 3, second[1], "ben")
    await rig.files.write("/file.BIN", 2, 3, second[2], "ben")
    assert rig.on_disk() == {"file.BIN": b"".join(second)}


async def test_two_uploads_of_one_client_to_one_path_in_step_end_both_instead_of_mixing(rig):
    first, second = cut(os.urandom(3000)), cut(os.urandom(3000))
    await rig.files.write("/a.bin", 0, 3, first[0])
    await rig.files.write("/a.bin", 0, 3, second[0])
    await rig.files.write("/a.bin", 1, 3, first[1])
    for block in (second[1], first[1]):
        assert await code(rig.files.write("/a.bin", 1, 3, block)) == "BAD_BLOCK"
    assert rig.on_disk() == {}


async def test_too_many_uploads_are_refused_until_one_ends(rig):
    for number in range(4):
        await rig.files.write(f"/{number}.bin", 0, 2, bytes(BLOCK))
    refused = await refusal(rig.files.write("/5.bin", 0, 2, bytes(BLOCK)))
    assert (refused.code, refused.retry_after) == ("CARD_BUSY", 10)
    await rig.files.write("/3.bin", 1, 2, b"")
    await rig.files.write("/5.bin", 0, 2, bytes(BLOCK))


async def test_uploads_of_one_address_give_way_to_those_of_others(rig):
    for number in range(4):
        await rig.files.write(f"/{number}.bin", 0, 2, bytes(BLOCK), f"session {number}", "10.0.0.1")
        rig.clock.now += 1
    await rig.files.write("/1.bin", 0, 2, bytes(BLOCK), "session 1", "10.0.0.1")
    for number in range(2):
        await rig.files.write(f"/other{number}.bin", 0, 2, bytes(BLOCK), "other", "10.0.0.2")
    assert await code(rig.files.write("/other2.bin", 0, 2, bytes(BLOCK), "other", "10.0.0.2")) == "CARD_BUSY"
    assert await code(rig.files.write("/third.bin", 0, 2, bytes(BLOCK), "third", "10.0.0.3")) == "CARD_BUSY"
    assert await code(rig.files.write("/0.bin", 1, 2, b"", "session 0", "10.0.0.1")) == "BAD_BLOCK"
    assert await code(rig.files.write("/2.bin", 1, 2, b"", "session 2", "10.0.0.1")) == "BAD_BLOCK"
    for name, owner, address in (
        ("/1.bin", "session 1", "10.0.0.1"),
        ("/3.bin", "session 3", "10.0.0.1"),
        ("/other0.bin", "other", "10.0.0.2"),
    ):
        await rig.files.write(name, 1, 2, b"", owner, address)


async def test_an_upload_that_has_been_idle_for_longest_gives_way_where_there_is_no_room(rig):
    for number in range(4):
        await rig.files.write(f"/{number}.bin", 0, 3, bytes(BLOCK), "", "10.0.0.1")
    rig.clock.now += 31
    await rig.files.write("/0.bin", 1, 3, bytes(BLOCK), "", "10.0.0.1")
    await rig.files.write("/5.bin", 0, 2, bytes(BLOCK), "", "10.0.0.1")
    await rig.files.write("/0.bin", 2, 3, b"", "", "10.0.0.1")
    assert await code(rig.files.write("/1.bin", 1, 3, bytes(BLOCK), "", "10.0.0.1")) == "BAD_BLOCK"


async def test_an_upload_left_alone_for_10_minutes_is_given_up(rig):
    for number in range(4):
        await rig.files.write(f"/{number}.bin", 0, 3, bytes(BLOCK))
    rig.clock.now += 590
    await rig.files.write("/3.bin", 1, 3, bytes(BLOCK))
    rig.clock.now += 20
    await rig.files.write("/5.bin", 0, 1, b"")
    assert await code(rig.files.write("/0.bin", 1, 3, bytes(BLOCK))) == "BAD_BLOCK"
    assert len(rig.on_disk()) == 2  # 5.bin and what is there of 3.bin
    await rig.files.write("/3.bin", 2, 3, b"")
    assert rig.on_disk() == {"3.bin": bytes(2048), "5.bin": b""}


# Power cuts


async def test_a_process_killed_in_the_middle_of_an_upload_leaves_the_old_file(rig):
    await rig.upload("/a.bin", b"old")
    script = (
        "import asyncio, sys, time\n"
        "from firmware.services.card.files import CardFiles\n"
        "from hal.simulated.card import SimulatedCard\n"
        "async def main():\n"
        "    card = SimulatedCard(SimulatedCard.OPTIONS.check({'folder': sys.argv[1]}), '.')\n"
        "    files = CardFiles(card, str)\n"
        "    for index in range(5):\n"
        "        await files.write('/a.bin', index, 6, bytes(1024))\n"
        "    print('half', flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(rig.folder)], cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"half\n"
        child.send_signal(signal.SIGKILL)
    assert (rig.folder / "a.bin").read_bytes() == b"old"
    assert (rig.folder / card_paths.UPLOADS_FOLDER).is_dir()
    files = rig.restarted()
    await files.start()
    assert rig.on_disk() == {"a.bin": b"old"}


@pytest.mark.parametrize("old", [b"old" * 700, None])
async def test_whichever_step_of_an_upload_fails_the_file_is_whole_or_as_before(tmp_path, monkeypatch, old, capfd):
    new = b"new" * 700
    seen = []
    for failing in range(20):
        rig = Rig(tmp_path / str(failing))
        await rig.card.start()
        if old is not None:
            await rig.upload("/logs/a.bin", old)
        steps = _fail_step(monkeypatch, failing)
        try:
            await rig.upload("/logs/a.bin", new)
        except Refused as exc:
            assert exc.code == "CARD_FAILED"
        monkeypatch.undo()
        await rig.restarted().start()
        seen.append(rig.on_disk().get("logs/a.bin"))
        assert seen[-1] in (old, new)
        assert len(rig.on_disk()) <= 1
        if len(steps) <= failing:
            break
    assert old in seen
    assert seen[-1] == new
    assert len(seen) > 5


async def test_what_is_said_to_be_stored_is_on_the_medium(rig, monkeypatch):
    """The content before the name that shows it, and each new name before it is told of."""
    steps = _fail_step(monkeypatch, -1)  # none
    await rig.upload("/new/a.bin", b"new")
    assert steps[-5:] == ["fsync_file", "mkdir", "sync_folder", "rename", "sync_folder"]
    steps.clear()
    await rig.upload("/new/a.bin", b"newer")
    assert steps[-3:] == ["fsync_file", "rename", "sync_folder"]
    steps.clear()
    await rig.files.remove("/new/a.bin")
    assert steps == ["sync_folder"]


def _fail_step(monkeypatch, failing: int) -> list:
    """Let the step with this number fail among those that change the card."""
    steps: list = []

    def failable(module, name):
        function = getattr(module, name)

        def step(*args):
            steps.append(name)
            if len(steps) == failing + 1:
                raise OSError(errno.EIO, "input/output error")
            return function(*args)

        monkeypatch.setattr(module, name, step)

    for name in ("open_new", "fsync_file"):
        failable(card_uploads, name)
    failable(card_volume, "sync_folder")
    for name in ("mkdir", "rename"):
        failable(card_volume.os, name)
    failable(card_uploads.Part, "write")
    return steps


# Names


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("Readme.TXT", "rEADME.txt"),
        ("Журнал Їжак.csv", "ЖУРНАЛ їЖАК.CSV"),
        ("Łódź.txt", "łÓDŹ.TXT"),
        ("ΟΔΟΣ.txt", "οδοσ.TXT"),
        ("Größe.txt", "GRÖßE.txt"),
        ("数据.TXT", "数据.txt"),
    ],
)
async def test_names_match_without_regard_to_case(rig, stored, asked):
    await rig.upload(f"/{stored}/{stored}", b"1")
    assert (await rig.files.info(f"/{asked}/{asked}"))["name"] == stored
    assert await rig.download(f"/{asked}/{asked}") == b"1"
    await rig.upload(f"/{asked}/{asked}", b"2")
    assert rig.on_disk()[f"{stored}/{stored}"] == b"2"
    await rig.files.remove(f"/{asked}/{asked}")
    assert (await rig.dir(f"/{asked}"))["items"] == []


def test_letters_have_the_capitals_that_unicode_gives_them():
    for low, high in ((0x61, 0x7B), (0xE0, 0x130), (0x132, 0x17F), (0x3AC, 0x3CF), (0x430, 0x530), (0x561, 0x587)):
        for letter in map(chr, range(low, high)):
            assert fold(letter) == (letter.upper() if len(letter.upper()) == 1 else letter)


def test_no_letter_is_taken_for_another_one_than_its_capital():
    changed = [letter for letter in map(chr, range(0xD800)) if fold(letter) != letter]
    assert [letter for letter in changed if fold(letter) != letter.upper()] == []
    assert len(changed) == 511  # as many as the table has: those that FAT drivers know too


async def test_of_two_names_that_differ_in_case_the_exact_one_is_meant(rig):
    (rig.folder / "A.txt").write_bytes(b"capital")
    (rig.folder / "a.txt").write_bytes(b"small")
    assert await rig.download("/A.txt") == b"capital"
    assert await rig.download("/a.txt") == b"small"


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", "absolute"),
        ("a.txt", "absolute"),
        ("/..", "[.][.]"),
        ("/../etc/passwd", "[.][.]"),
        ("/logs/../../etc/passwd", "[.][.]"),
        ("/./a", "[.]"),
        ("//etc/passwd", "empty name"),
        ("/a//b", "empty name"),
        ("/a/", "empty name"),
        ("/a\0b", "control"),
        ("/a\nb", "control"),
        ("/a\x7fb", "control"),
        ("/a\ud800b", "control"),
        ("/a\\..\\b", "backslash"),
        ("\\a", "absolute"),
        ("/c:", "any of"),
        ("/a*", "any of"),
        ("/a?", "any of"),
        ('/"a"', "any of"),
        ("/<a>", "any of"),
        ("/a|b", "any of"),
        ("/" + "a" * 256, "255"),
        ("/" + "a" * 300, "255"),
        ("/" + "\U0001f600" * 128, "255"),
        ("/" + "ж" * 200, "too long"),
        ("/" + "a/" * 600 + "a", "1024"),
        ("/a.", "ends in"),
        ("/...", "ends in"),
        ("/a ", "ends in"),
        ("/_UPLOADS.TMP", "own"),
        ("/_uploads.tmp/1.part", "own"),
    ],
)
async def test_a_path_that_breaks_a_rule_is_refused_by_every_operation(rig, path, rule):
    await rig.files.write("/held.bin", 0, 2, bytes(BLOCK))
    for call in (
        rig.files.dir(path),
        rig.files.info(path),
        rig.files.read(path, 0),
        rig.files.write(path, 0, 1, b""),
        rig.files.remove(path, recursive=True),
        rig.files.read_whole(path, 1),
        rig.files.write_whole(path, b""),
    ):
        with pytest.raises(Refused, match=rule) as caught:
            await call
        assert caught.value.code == "BAD_PATH"
    await rig.files.write("/held.bin", 1, 2, b"")
    assert rig.on_disk() == {"held.bin": bytes(BLOCK)}


async def test_the_longest_names_are_taken(rig):
    await rig.upload("/" + "a" * 255, b"1")
    await rig.upload("/" + "ж" * 127, b"2")
    assert [item["size"] for item in (await rig.dir("/"))["items"]] == [1, 1]


async def test_a_folder_where_a_file_is_meant_and_the_reverse(rig):
    await rig.upload("/folder/file.txt", b"x")
    files = rig.files
    assert await code(files.read("/folder", 0)) == "IS_DIRECTORY"
    assert await code(files.write("/folder", 0, 1, b"")) == "IS_DIRECTORY"
    assert await code(files.read("/", 0)) == "IS_DIRECTORY"
    assert await code(files.write("/", 0, 1, b"")) == "IS_DIRECTORY"
    assert await code(files.dir("/folder/file.txt")) == "NOT_DIRECTORY"
    assert await code(files.read("/folder/file.txt/x", 0)) == "NOT_DIRECTORY"
    assert await code(files.write("/folder/file.txt/x", 0, 1, b"")) == "NOT_DIRECTORY"
    assert await code(files.write("/folder/file.txt/x/y", 0, 1, b"")) == "NOT_DIRECTORY"
    assert await code(files.dir("/nothing")) == "NOT_FOUND"
    assert await code(files.info("/nothing/at/all")) == "NOT_FOUND"
    assert await code(files.read("/nothing", 0)) == "NOT_FOUND"
    assert await code(files.remove("/nothing")) == "NOT_FOUND"


async def test_a_folder_made_where_an_upload_was_to_go_refuses_its_end(rig):
    await rig.files.write("/a", 0, 2, bytes(BLOCK))
    (rig.folder / "a").mkdir()
    assert await code(rig.files.write("/a", 1, 2, b"")) == "IS_DIRECTORY"
    assert rig.on_disk() == {}


# Links and other things that only somebody else can have put on the card


async def test_links_out_of_the_card_are_refused_and_not_listed(rig, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (rig.folder / "out").symlink_to(outside)
    (rig.folder / "up").symlink_to("..")
    (rig.folder / "file").symlink_to(outside / "secret.txt")
    (rig.folder / "broken").symlink_to("nowhere")
    (rig.folder / "loop").symlink_to("loop")
    (rig.folder / "chain").symlink_to("file")
    os.mkfifo(rig.folder / "pipe")
    for path in ("/out/secret.txt", "/up/outside/secret.txt", "/file", "/broken", "/loop", "/chain", "/pipe"):
        for call in (
            rig.files.info(path),
            rig.files.read(path, 0),
            rig.files.write(path, 0, 1, b"x"),
            rig.files.remove(path),
        ):
            assert await code(call) == "BAD_PATH"
    assert (await rig.dir("/"))["items"] == []
    assert (outside / "secret.txt").read_text() == "secret"


async def test_links_within_the_card_are_followed_and_removed_themselves(rig):
    await rig.upload("/real/a.txt", b"x")
    (rig.folder / "link").symlink_to("real")
    (rig.folder / "direct.txt").symlink_to("real/a.txt")
    assert await rig.download("/LINK/A.txt") == b"x"
    await rig.upload("/direct.txt", b"y")
    assert await rig.download("/real/a.txt") == b"y"
    assert [item["name"] for item in (await rig.dir("/"))["items"]] == ["direct.txt", "link", "real"]
    await rig.files.remove("/link")
    await rig.files.remove("/direct.txt")
    assert rig.on_disk() == {"real/a.txt": b"y"}


async def test_removing_a_folder_leaves_what_its_links_point_at(rig, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    await rig.upload("/folder/sub/a.txt", b"x")
    (rig.folder / "folder/sub/out").symlink_to(outside)
    await rig.files.remove("/folder", recursive=True)
    assert list(rig.folder.iterdir()) == []
    assert (outside / "kept.txt").read_text() == "kept"


async def test_a_link_in_the_place_of_the_device_s_own_folder_is_not_followed(rig, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.part").write_text("kept")
    (rig.folder / "way-in").symlink_to(card_paths.UPLOADS_FOLDER)
    (rig.folder / card_paths.UPLOADS_FOLDER).symlink_to(outside)
    await rig.files.write("/a.txt", 0, 2, bytes(BLOCK))
    assert [file.name for file in outside.iterdir()] == ["1.part"]
    assert await code(rig.files.read("/way-in/1.part", 0)) == "BAD_PATH"


async def test_a_link_to_the_device_s_own_folder_leads_nowhere(rig):
    (rig.folder / "way-in").symlink_to(card_paths.UPLOADS_FOLDER)
    await rig.files.write("/a.txt", 0, 2, bytes(BLOCK))
    assert (rig.folder / "way-in" / "1.part").exists()
    for call in (rig.files.dir("/way-in"), rig.files.info("/way-in"), rig.files.read("/way-in/1.part", 0)):
        assert await code(call) == "BAD_PATH"
    assert await code(rig.files.write("/way-in/b.txt", 0, 1, b"")) == "BAD_PATH"
    assert (await rig.dir("/"))["items"] == []
    await rig.files.write("/a.txt", 1, 2, b"end")
    assert (rig.folder / "a.txt").read_bytes() == bytes(BLOCK) + b"end"


async def test_a_file_from_before_1970_has_its_date(rig):
    await rig.upload("/a.txt", b"")
    os.utime(rig.folder / "a.txt", (-441763200, -441763200))
    files = CardFiles(rig.card, LocalTime(0, 0, {}).local_iso)
    assert (await files.info("/a.txt"))["datetime"] == "1956-01-02T00:00:00"
    os.utime(rig.folder / "a.txt", (-441849600, -441849600))
    assert (await files.info("/a.txt"))["datetime"] == "1956-01-01T00:00:00"


async def test_the_name_of_the_device_s_own_folder_is_free_in_other_folders(rig):
    await rig.upload("/sub/_uploads.tmp", b"x")
    assert [item["name"] for item in (await rig.dir("/sub"))["items"]] == ["_uploads.tmp"]
    assert await rig.download("/sub/_UPLOADS.TMP") == b"x"


async def test_names_that_are_no_text_are_left_out(rig):
    with open(os.fsencode(rig.folder) + b"/\xff\xfe.txt", "wb"):
        pass
    await rig.upload("/a.txt", b"")
    assert [item["name"] for item in (await rig.dir("/"))["items"]] == ["a.txt"]


# Listings


async def test_an_item_tells_name_attributes_size_and_local_time(rig):
    await rig.upload("/logs/Day 1.csv", b"12345")
    (rig.folder / "logs" / "fixed.csv").write_bytes(b"")
    (rig.folder / "logs" / "fixed.csv").chmod(0o444)
    for name in ("logs/Day 1.csv", "logs/fixed.csv", "logs"):
        os.utime(rig.folder / name, (1_800_000_000, 1_800_000_000))
    when = "2027-01-15T10:00:00"
    day = {"name": "Day 1.csv", "attrib": "-rw", "size": 5, "datetime": when}
    fixed = {"name": "fixed.csv", "attrib": "-r-", "size": 0, "datetime": when}
    assert await rig.dir("/logs") == {"fromIdx": 0, "toIdx": 1, "total": 2, "items": [day, fixed]}
    assert await rig.files.info("/LOGS/day 1.CSV") == day
    assert await rig.files.info("/logs") == {"name": "logs", "attrib": "drw", "size": 0, "datetime": when}
    assert (await rig.files.info("/"))["attrib"] == "drw"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ((0, None), (0, 4)),
        ((0, 0), (0, 0)),
        ((1, 3), (1, 3)),
        ((3, 99), (3, 4)),
        ((4, 4), (4, 4)),
        ((5, 9), (None, None)),
        ((3, 2), (None, None)),
        ((99, None), (None, None)),
    ],
)
async def test_a_window_of_a_listing(rig, asked, given):
    for name in ("b.txt", "A.txt", "c", "D.txt", "é.txt"):
        await rig.upload("/f/" + name, b"")
    window = await rig.dir("/f", *asked)
    names = ["A.txt", "b.txt", "c", "D.txt", "é.txt"]
    assert (window["fromIdx"], window["toIdx"], window["total"]) == (*given, 5)
    expected = [] if given[0] is None else names[given[0] : given[1] + 1]
    assert [item["name"] for item in window["items"]] == expected


async def test_an_empty_folder_has_no_indices(rig):
    assert await rig.dir("/") == {"fromIdx": None, "toIdx": None, "total": 0, "items": []}


async def test_a_listing_shows_what_has_changed_since(rig):
    await rig.upload("/a.txt", b"")
    assert (await rig.dir("/"))["total"] == 1
    await rig.upload("/b.txt", b"")
    assert (await rig.dir("/"))["total"] == 2
    (rig.folder / "c.txt").touch()  # by somebody else
    assert (await rig.dir("/"))["total"] == 3
    await rig.files.remove("/a.txt")
    assert [item["name"] for item in (await rig.dir("/"))["items"]] == ["b.txt", "c.txt"]


async def test_windows_over_10000_entries_read_the_names_once_and_the_metadata_of_the_window(rig, monkeypatch):
    many = rig.folder / "many"
    many.mkdir()
    for number in range(10000):
        os.close(os.open(many / f"{number:05}.txt", os.O_CREAT | os.O_WRONLY))
    os.utime(many, (1_700_000_000, 1_700_000_000))
    work = _count(monkeypatch, (card_volume.os, "stat"), (os, "lstat"), (card_paths, "list_folder"))
    for start in range(0, 2000, 20):
        window = await rig.dir("/many", start, start + 19)
        assert window["total"] == 10000
        assert [item["name"] for item in window["items"]] == [f"{n:05}.txt" for n in range(start, start + 20)]
    assert work.count("list_folder") == 1
    assert len(work) < 100 * 20 * 1.5
    whole = await rig.dir("/many")
    assert (whole["fromIdx"], whole["toIdx"], len(whole["items"])) == (0, 999, 1000)


def _count(monkeypatch, *functions) -> list:
    calls: list = []

    def counted(module, name):
        function = getattr(module, name)

        def call(*args, **kwargs):
            calls.append(name)
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    for module, name in functions:
        counted(module, name)
    return calls


def test_names_of_few_folders_are_kept(tmp_path):
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    tree = CardTree(str(tmp_path))
    for number in range(20):
        assert tree.names(str(tmp_path / str(number))) == []
    assert len(tree._listings) == 4


# Removing


async def test_files_and_folders_are_removed(rig):
    await rig.upload("/a.txt", b"x")
    await rig.upload("/folder/sub/b.txt", b"x")
    await rig.files.remove("/a.txt")
    assert await code(rig.files.remove("/folder")) == "NOT_EMPTY"
    assert rig.on_disk() == {"folder/sub/b.txt": b"x"}
    await rig.files.remove("/folder", recursive=True)
    (rig.folder / "empty").mkdir()
    await rig.files.remove("/empty")
    assert list(rig.folder.iterdir()) == []


async def test_a_file_that_was_removed_cannot_be_read_any_more(rig):
    await rig.upload("/a.txt", b"x")
    await rig.files.read("/a.txt", 0)
    await rig.files.remove("/a.txt")
    assert await code(rig.files.read("/a.txt", 0)) == "NOT_FOUND"


@pytest.mark.parametrize("recursive", [False, True])
async def test_the_whole_card_cannot_be_removed(rig, recursive):
    await rig.upload("/a.txt", b"x")
    assert await code(rig.files.remove("/", recursive)) == "BAD_PATH"
    assert rig.on_disk() == {"a.txt": b"x"}


# The card itself


async def test_ejecting_ends_an_upload_and_leaves_nothing_torn(rig):
    await rig.upload("/a.bin", b"old")
    await rig.files.read("/a.bin", 0)
    await rig.files.write("/a.bin", 0, 2, bytes(BLOCK))
    await rig.files.eject()
    assert rig.on_disk() == {"a.bin": b"old"}
    assert _open_under(rig.folder) == []
    for _ in range(2):
        assert await code(rig.files.write("/a.bin", 1, 2, b"x")) == "NO_CARD"
    assert await code(rig.files.read("/a.bin", 0)) == "NO_CARD"
    assert await code(rig.files.eject()) == "NO_CARD"
    rig.card.insert()
    refused = await refusal(rig.files.write("/a.bin", 1, 2, b"x"))
    assert (refused.code, "block 0 is expected" in str(refused)) == ("BAD_BLOCK", True)
    await rig.upload("/a.bin", b"new")
    assert rig.on_disk() == {"a.bin": b"new"}


def _open_under(folder: pathlib.Path) -> list[str]:
    """Files in a folder that this process has open."""
    links = [pathlib.Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if link.is_symlink()]
    return [target for target in targets if target.startswith(str(folder))]


async def test_operations_during_an_ejection_are_refused(rig):
    unmounting, unmounted = asyncio.Event(), asyncio.Event()
    eject = rig.card.eject

    async def slow_eject():
        unmounting.set()
        await unmounted.wait()
        await eject()

    rig.card.eject = slow_eject
    ejection = asyncio.create_task(rig.files.eject())
    await unmounting.wait()
    assert await code(rig.files.write("/a.bin", 0, 1, b"x")) == "NO_CARD"
    assert await code(rig.files.eject()) == "NO_CARD"
    unmounted.set()
    await ejection
    assert rig.on_disk() == {}


@pytest.mark.parametrize("seen", [True, False])
async def test_a_card_pulled_out_ends_an_upload(rig, seen):
    await rig.files.write("/a.bin", 0, 2, bytes(BLOCK))
    rig.card.pull()
    if seen:
        assert await code(rig.files.write("/a.bin", 1, 2, b"x")) == "NO_CARD"
        assert await code(rig.files.dir("/")) == "NO_CARD"
        assert await rig.files.status() == {"present": False, "mounted": False, "totalBytes": None, "freeBytes": None}
    rig.card.insert()
    assert await code(rig.files.write("/a.bin", 1, 2, b"x")) == "BAD_BLOCK"
    assert rig.on_disk() == {}


async def test_an_error_because_the_card_is_being_pulled_out_means_no_card(rig):
    await rig.files.write("/a.bin", 0, 3, bytes(BLOCK))

    def pulled_under_way(count):
        rig.card.pull()
        raise OSError(errno.EIO, "input/output error")

    rig.card.before_write = pulled_under_way
    assert await code(rig.files.write("/a.bin", 1, 3, bytes(BLOCK))) == "NO_CARD"


async def test_a_folder_for_the_card_that_vanishes_means_no_card(rig):
    await rig.upload("/a.bin", b"x")
    shutil.rmtree(rig.folder)
    assert await code(rig.files.dir("/")) == "NO_CARD"
    rig.folder.mkdir()
    assert (await rig.dir("/"))["total"] == 0


async def test_a_board_without_a_card_says_so():
    files = NoCardFiles()
    await files.start()
    assert await code(files.dir("/")) == "NO_CARD"
    assert await code(files.write("/a", 0, 1, b"")) == "NO_CARD"
    assert await code(files.eject()) == "NO_CARD"
    assert await files.status() is None


async def test_a_write_protected_card_can_be_read_but_not_changed(rig):
    await rig.upload("/f/a.txt", b"x")
    await rig.files.write("/b.txt", 0, 2, bytes(BLOCK))
    rig.card.set_read_only(True)
    assert await code(rig.files.write("/b.txt", 1, 2, b"")) == "CARD_READ_ONLY"
    assert await code(rig.files.write("/c.txt", 0, 1, b"")) == "CARD_READ_ONLY"
    assert await code(rig.files.write_whole("/c.txt", b"")) == "CARD_READ_ONLY"
    assert await code(rig.files.remove("/f", recursive=True)) == "CARD_READ_ONLY"
    assert await rig.download("/f/a.txt") == b"x"
    rig.card.set_read_only(False)
    await rig.upload("/c.txt", b"y")
    assert rig.on_disk() == {"c.txt": b"y", "f/a.txt": b"x"}


async def test_a_full_card_ends_an_upload_and_takes_its_remains_away(tmp_path):
    rig = Rig(tmp_path / "card", sizeBytes=10_000)
    await rig.card.start()
    await rig.upload("/kept.bin", bytes(5000))
    assert await rig.files.status() == {"present": True, "mounted": True, "totalBytes": 10_000, "freeBytes": 5000}
    assert await code(rig.upload("/a.bin", bytes(5001))) == "CARD_FULL"
    assert await code(rig.files.write("/a.bin", 4, 5, b"x")) == "BAD_BLOCK"
    assert await code(rig.files.write_whole("/a.bin", bytes(5001))) == "CARD_FULL"
    assert list(rig.on_disk()) == ["kept.bin"]
    await rig.upload("/a.bin", bytes(5000))
    await rig.files.remove("/kept.bin")
    await rig.upload("/b.bin", bytes(4000))
    assert (await rig.files.status())["freeBytes"] == 1000
    await rig.files.stop()


async def test_leftovers_on_a_card_that_was_write_protected_do_not_hinder_later_uploads(rig):
    hidden = rig.folder / card_paths.UPLOADS_FOLDER
    hidden.mkdir()
    (hidden / "1.part").write_bytes(b"rest")
    rig.card.set_read_only(True)
    await rig.files.start()
    assert (hidden / "1.part").exists()
    rig.card.set_read_only(False)
    await rig.upload("/a.txt", b"x")
    assert rig.on_disk() == {"a.txt": b"x"}


@pytest.fixture
async def mounted(tmp_path):
    """A card on a real file system of 256 kB."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    if _mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)):
        pytest.skip("this process may not mount file systems")
    rig = Rig(folder)
    yield rig
    await rig.files.stop()
    subprocess.run(["umount", str(folder)], check=True)


def _mount(*arguments: str) -> int:
    if shutil.which("mount") is None:
        return 1
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode


async def test_a_file_system_that_is_full_ends_an_upload_and_takes_its_remains_away(mounted):
    await mounted.upload("/kept.bin", bytes(100_000))
    assert await code(mounted.upload("/logs/a.bin", bytes(200_000))) == "CARD_FULL"
    assert await code(mounted.files.write_whole("/a.bin", bytes(200_000))) == "CARD_FULL"
    assert list(mounted.on_disk()) == ["kept.bin"]
    await mounted.upload("/logs/a.bin", bytes(100_000))
    assert (await mounted.files.status())["totalBytes"] == 256 * 1024


async def test_what_has_no_room_is_not_added_to_a_file_in_part(mounted):
    await mounted.files.write_whole("/log.bin", bytes(100))
    await mounted.files.append("/log.bin", bytes(100_000))
    assert await code(mounted.files.append("/log.bin", bytes(200_000))) == "CARD_FULL"
    assert mounted.on_disk() == {"log.bin": bytes(100_100)}
    assert await code(mounted.files.append("/other.bin", b"x")) == "NOT_FOUND"


async def test_a_file_system_that_is_mounted_read_only_is_said_to_be(mounted):
    await mounted.upload("/a.txt", b"x")
    assert _mount("-o", "remount,ro", str(mounted.folder)) == 0
    assert await code(mounted.files.write("/b.txt", 0, 1, b"")) == "CARD_READ_ONLY"
    assert await code(mounted.files.remove("/a.txt")) == "CARD_READ_ONLY"
    assert await mounted.download("/a.txt") == b"x"


async def test_the_event_loop_goes_on_while_the_card_is_slow(rig):
    loop_went_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(count):
        asyncio.run_coroutine_threadsafe(_set(loop_went_on), loop).result(10)

    rig.card.before_write = slow
    await rig.upload("/a.txt", b"x")
    assert loop_went_on.is_set()


async def _set(event: asyncio.Event) -> None:
    event.set()


@NEEDS_MICROPYTHON
def test_micropython_does_the_same(tmp_path):
    script = (
        "import asyncio, sys\n"
        "from firmware.services.card.files import CardFiles\n"
        "from firmware.services.errors import Refused\n"
        "from hal.contracts import Card\n"
        "class Folder(Card):\n"
        "    insertions = 0\n"
        "    def root(self): return sys.argv[1]\n"
        "    def before_write(self, count): pass\n"
        "async def main():\n"
        "    files = CardFiles(Folder(), str)\n"
        "    await files.start()\n"
        "    await files.write('/Журнал/a.txt', 0, 2, b'x' * 1024)\n"
        "    await files.write('/Журнал/a.txt', 1, 2, b'end')\n"
        "    print((await files.read('/жУРНАЛ/A.TXT', 1))[0].decode())\n"
        "    print((await files.dir('/журнал'))[0][0]['size'])\n"
        "    await files.write_whole('/b.txt', b'y' * 3000)\n"
        "    await files.remove('/B.txt')\n"
        "    calls = files.remove('/Журнал'), files.read('/b.txt', 0), files.dir('/журнал/a.txt'), files.dir('/..')\n"
        "    for call in calls:\n"
        "        try:\n"
        "            await call\n"
        "        except Refused as exc:\n"
        "            print(exc.code)\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "script.py").write_text(script)
    (tmp_path / "card").mkdir()
    command = [MICROPYTHON, "-X", "heapsize=512K", str(tmp_path / "script.py"), str(tmp_path / "card")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    printed = ["end", "1027", "NOT_EMPTY", "NOT_FOUND", "NOT_DIRECTORY", "BAD_PATH"]
    assert (done.stdout.split(), done.stderr) == (printed, "")
    assert (tmp_path / "card" / "Журнал" / "a.txt").read_bytes() == b"x" * 1024 + b"end"


# The simulated card


async def test_the_control_socket_pulls_inserts_and_protects(tmp_path):
    card = SimulatedCard(SimulatedCard.OPTIONS.check({}), str(tmp_path))
    await card.start()
    assert card.root() == str(tmp_path / "card")
    assert await card.control(["pull"]) == "pulled"
    with pytest.raises(NoCard):
        card.root()
    with pytest.raises(NoCard):
        await card.probe()
    assert await card.control(["insert"]) == "inserted"
    assert "bytes free" in await card.probe()
    assert await card.control(["readonly", "on"]) == "write-protected"
    assert await card.control(["readonly", "off"]) == "writable"
    for words in ([], ["push"], ["readonly"], ["readonly", "maybe"]):
        with pytest.raises(ValueError, match="the card knows"):
            await card.control(words)


async def test_a_simulated_card_counts_what_is_on_it(tmp_path):
    card = SimulatedCard(SimulatedCard.OPTIONS.check({"sizeBytes": 1000}), str(tmp_path))
    await card.start()
    (tmp_path / "card" / "sub").mkdir()
    (tmp_path / "card" / "sub" / "a.bin").write_bytes(bytes(600))
    assert card.status()["freeBytes"] == 400
    with pytest.raises(CardFull):
        card.before_write(401)
    card.before_write(400)
