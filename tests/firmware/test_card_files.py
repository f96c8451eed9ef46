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

from firmware.services import card_files, card_paths
from firmware.services.card_files import BLOCK, CardFiles
from firmware.services.card_paths import CardTree, fold
from firmware.services.errors import Refused
from hal.contracts import CardFull, NoCard
from hal.fields import BadField
from hal.runtime import serial_offload
from hal.simulated.card import SimulatedCard

ROOT = pathlib.Path(__file__).parents[2]


def local_iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds + 7200))


class Clock:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A simulated card in a folder, and the service on it."""

    def __init__(self, folder: pathlib.Path, **options):
        self.folder = folder
        self.clock = Clock()
        self.card = SimulatedCard(SimulatedCard.OPTIONS.check({"folder": str(folder), **options}), str(folder.parent))
        self.files = self.restarted()

    def restarted(self) -> CardFiles:
        """The service as it is after the process has begun anew."""
        return CardFiles(self.card, serial_offload(), local_iso, self.clock)

    def on_disk(self) -> dict[str, bytes]:
        """Every file that is on the card, with its contents, the service's own among them."""
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in sorted(self.folder.rglob("*.*"))}

    async def upload(self, path: str, data: bytes, files: CardFiles | None = None, owner: str = "") -> None:
        for index, block in enumerate(blocks := cut(data)):
            answer = await (files or self.files).write(path, index, len(blocks), block, owner)
            assert answer == {"blockIdx": index, "blockCount": len(blocks)}

    async def download(self, path: str) -> bytes:
        data, index, count = b"", 0, 1
        while index < count:
            answer = await self.files.read(path, index)
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


async def test_an_empty_file_has_one_empty_block(rig):
    await rig.upload("/empty.txt", b"")
    assert await rig.files.read("/empty.txt", 0) == {"blockIdx": 0, "blockCount": 1, "data": ""}


async def test_a_large_file_goes_up_and_down_intact(rig):
    data = os.urandom(16 << 20)
    await rig.upload("/large.bin", data)
    digest, index, count = hashlib.sha256(), 0, 1
    while index < count:
        answer = await rig.files.read("/large.bin", index)
        digest.update(base64.b64decode(answer["data"]))
        index, count = index + 1, answer["blockCount"]
    assert count == 16384
    assert digest.digest() == hashlib.sha256(data).digest()


async def test_a_file_is_not_there_before_its_last_block_is(rig):
    data = os.urandom(3000)
    for index in range(2):
        await rig.files.write("/a.bin", index, 3, cut(data)[index])
        assert await code(rig.files.info("/a.bin")) == "NOT_FOUND"
        assert (await rig.files.dir("/"))["items"] == []
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
            assert await rig.files.write("/a.bin", index, 3, block) == {"blockIdx": index, "blockCount": 3}
    assert rig.on_disk() == {"a.bin": data}


async def test_the_last_block_of_a_file_that_was_removed_since_is_no_retry(rig):
    await rig.upload("/logs/a.bin", b"x" * 1500)
    await rig.files.remove("/logs", recursive=True)
    assert await code(rig.files.write("/logs/a.bin", 1, 2, b"x" * 476)) == "BAD_BLOCK"
    assert rig.on_disk() == {}


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
    with pytest.raises(BadField, match="block|data"):
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


async def test_an_upload_left_alone_for_10_minutes_is_given_up(rig):
    for number in range(4):
        await rig.files.write(f"/{number}.bin", 0, 3, bytes(BLOCK))
    rig.clock.now += 590
    await rig.files.write("/3.bin", 1, 3, bytes(BLOCK))
    rig.clock.now += 20
    await rig.files.write("/5.bin", 0, 1, b"")
    assert await code(rig.files.write("/0.bin", 1, 3, bytes(BLOCK))) == "BAD_BLOCK"
    assert len(rig.on_disk()) == 2 + 1  # 5.bin, what is there of 3.bin, and the folder that this is in
    await rig.files.write("/3.bin", 2, 3, b"")
    assert rig.on_disk() == {"3.bin": bytes(2048), "5.bin": b""}


# Power cuts


async def test_a_process_killed_in_the_middle_of_an_upload_leaves_the_old_file(rig):
    await rig.upload("/a.bin", b"old")
    script = (
        "import asyncio, sys, time\n"
        "from firmware.services.card_files import CardFiles\n"
        "from hal.runtime import serial_offload\n"
        "from hal.simulated.card import SimulatedCard\n"
        "async def main():\n"
        "    card = SimulatedCard(SimulatedCard.OPTIONS.check({'folder': sys.argv[1]}), '.')\n"
        "    files = CardFiles(card, serial_offload(), str)\n"
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

    for name in ("open_new", "fsync_file", "sync_folder"):
        failable(card_files, name)
    for name in ("mkdir", "rename"):
        failable(card_files.os, name)
    failable(card_files._Part, "write")
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
    assert (await rig.files.dir(f"/{asked}"))["items"] == []


def test_letters_have_the_capitals_that_unicode_gives_them():
    for low, high in ((0x61, 0x7B), (0xE0, 0x130), (0x132, 0x17F), (0x3AC, 0x3CF), (0x430, 0x530), (0x561, 0x587)):
        for letter in map(chr, range(low, high)):
            assert fold(letter) == (letter.upper() if len(letter.upper()) == 1 else letter)


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
    assert [item["size"] for item in (await rig.files.dir("/"))["items"]] == [1, 1]


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
    for path in ("/out/secret.txt", "/up/outside/secret.txt", "/file", "/broken", "/loop", "/chain", "/pipe", "/OUT/x"):
        for call in (
            rig.files.info(path),
            rig.files.read(path, 0),
            rig.files.write(path, 0, 1, b"x"),
            rig.files.remove(path),
        ):
            assert await code(call) == ("NOT_FOUND" if path == "/OUT/x" and False else await _expected(path))
    assert (await rig.files.dir("/"))["items"] == []
    assert (outside / "secret.txt").read_text() == "secret"


async def _expected(path: str) -> str:
    return "BAD_PATH"
