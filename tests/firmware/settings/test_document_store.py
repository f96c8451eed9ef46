"""Stored documents: a cut, a failing medium or damage at any place leaves the old document or the new one."""

import errno
import os
import stat

import pytest

from firmware.services.settings.document_store import SIZE_LIMIT, DocumentStore, FileOperations

FIRST = {"version": 1, "text": "first \u20ac"}
SECOND = {"version": 2, "text": "second"}
THIRD = {"version": 3, "text": "third, and longer than the others"}
FOURTH = {"version": 4, "text": "4"}


class PowerCut(Exception):
    """The supply is gone."""


class Inode:
    """A file's content as programs see it, and as it is on the medium."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.durable = content


class Disk:
    """A folder in memory whose changes reach the medium in any order until they are synced.

    Without `atomic_rename` a rename over a file removes that file first, as FAT drivers do.
    """

    def __init__(self, files: dict, atomic_rename: bool = True) -> None:
        self.atomic_rename = atomic_rename
        self.names = {name: Inode(content) for name, content in files.items()}
        self.durable_names = dict(self.names)
        self.pending: list = []  # changes of names that are not synced

    def change(self, *change) -> None:
        self.pending.append(change)
        _apply(change, self.names)

    def after_power_cut(self) -> list:
        """Every content of the medium that a power cut can leave now, as name -> bytes."""
        found = {}
        for chosen in range(1 << len(self.pending)):
            names = dict(self.durable_names)
            for index, change in enumerate(self.pending):
                if chosen >> index & 1:
                    _apply(change, names)
            for files in _contents(sorted(names.items())):
                found[tuple(sorted(files.items()))] = files
        return list(found.values())


def _apply(change: tuple, names: dict) -> None:
    if change[0] == "create":
        names[change[1]] = change[2]
    elif change[0] == "remove":
        names.pop(change[1], None)
    elif change[1] in names:
        names[change[2]] = names.pop(change[1])


def _contents(names: list) -> list:
    """Every combination of contents of files, given as (name, inode): what is not synced may be there in part."""
    if not names:
        return [{}]
    (name, inode), rest = names[0], names[1:]
    size = len(inode.content)
    contents = {inode.durable, inode.content}
    if inode.durable != inode.content:
        contents |= {b"", inode.content[: size // 2], inode.content[: size - 1]}
    return [dict(files, **{name: content}) for files in _contents(rest) for content in contents]


class Shim(FileOperations):
    """File operations on a Disk; the one numbered `cut_at` is where the power goes, those of `fails` fail.

    A write at which the power goes or that fails writes `tear(length)` bytes.
    """

    def __init__(self, disk: Disk, cut_at: int = 0, fails=lambda number: False, tear=lambda length: 0) -> None:
        self.disk = disk
        self.cut_at = cut_at
        self.fails = fails
        self.tear = tear
        self.count = 0

    def _step(self) -> None:
        self.count += 1
        if self.cut_at and self.count >= self.cut_at:
            raise PowerCut
        if self.fails(self.count):
            raise OSError(errno.ENOSPC, "no space left")

    def read(self, path):
        self._step()
        inode = self.disk.names.get(path)
        return None if inode is None else inode.content

    def create(self, path):
        self._step()
        inode = self.disk.names.get(path)
        if inode is None:
            inode = Inode()
            self.disk.change("create", path, inode)
        inode.content = b""
        return inode

    def write(self, file, data):
        try:
            self._step()
        except (PowerCut, OSError):
            file.content += data[: self.tear(len(data))]
            raise
        file.content += data

    def sync(self, file):
        self._step()
        file.durable = file.content

    def close(self, file):
        self._step()

    def rename(self, path, new_path):
        self._step()
        if path not in self.disk.names:
            raise OSError(errno.ENOENT, "no such file")
        if not self.disk.atomic_rename and new_path in self.disk.names:
            self.disk.change("remove", new_path)
        self.disk.change("rename", path, new_path)

    def remove(self, path):
        self._step()
        self.disk.change("remove", path)

    def sync_folder(self, path):
        self._step()
        self.disk.pending = []
        self.disk.durable_names = dict(self.disk.names)


TEARS = [
    pytest.param(lambda length: 0, id="nothing"),
    pytest.param(lambda length: length // 2, id="half"),
    pytest.param(lambda length: length - 1, id="all but one"),
]


def store_on(disk: Disk, **shim) -> DocumentStore:
    """A store that has loaded what is on a disk; the shim counts from then on."""
    operations = Shim(disk)
    store = DocumentStore("", "doc", operations)
    store.load()
    operations.__init__(disk, **shim)  # type: ignore[misc]
    return store


def document_on(files: dict, atomic_rename: bool = True):
    """What a device that starts with these files reads; it finds nothing damaged."""
    document, problems = DocumentStore("", "doc", Shim(Disk(files, atomic_rename))).load()
    assert problems == []
    return document


def stored(*documents: dict) -> dict:
    """The files after these documents were saved in turn."""
    disk = Disk({})
    store = store_on(disk)
    for document in documents:
        store.save(document)
    return {name: inode.durable for name, inode in disk.names.items()}


def cuts(files: dict, document: dict, atomic_rename: bool, tear):
    """Save a document with the power cut at each operation in turn: (files left, whether save had returned)."""
    number = 0
    whole = False
    while not whole:
        number += 1
        disk = Disk(files, atomic_rename)
        store = store_on(disk, cut_at=number, tear=tear)
        try:
            store.save(document)
            whole = True
        except PowerCut:
            pass
        for left in disk.after_power_cut():
            yield left, whole


@pytest.mark.parametrize("tear", TEARS)
@pytest.mark.parametrize("atomic_rename", [True, False])
@pytest.mark.parametrize("before", [[], [FIRST], [FIRST, SECOND]])
def test_power_cut_at_any_operation_leaves_the_old_document_or_the_new(before, atomic_rename, tear) -> None:
    old = before[-1] if before else None
    seen = []
    for files, told in cuts(stored(*before), THIRD, atomic_rename, tear):
        document = document_on(files)
        assert document in ([THIRD] if told else [old, THIRD])
        seen.append(document)
    assert old in seen
    assert THIRD in seen


@pytest.mark.parametrize("tear", TEARS)
def test_power_cut_in_the_save_after_a_power_cut(tear) -> None:
    states = {tuple(sorted(files.items())): files for files, _ in cuts(stored(FIRST, SECOND), THIRD, False, tear)}
    assert len(states) > 3
    for files in states.values():
        found = document_on(files)
        for left, told in cuts(files, FOURTH, False, tear):
            assert document_on(left) in ([FOURTH] if told else [found, FOURTH])


@pytest.mark.parametrize("tear", TEARS)
@pytest.mark.parametrize("before", [[], [FIRST], [FIRST, SECOND]])
def test_a_save_that_fails_at_any_operation_has_changed_nothing(before, tear) -> None:
    old = before[-1] if before else None
    failed = number = 0
    while failed == number:
        number += 1
        disk = Disk(stored(*before))
        store = store_on(disk, fails=lambda count, at=number: count == at, tear=tear)
        try:
            store.save(THIRD)
        except OSError:
            failed += 1
            for files in disk.after_power_cut():
                assert document_on(files) == old
            store.save(FOURTH)
            assert [document_on(files) for files in disk.after_power_cut()] == [FOURTH]
    assert failed >= 6


@pytest.mark.parametrize("tear", TEARS)
def test_a_medium_that_dies_in_a_save_holds_the_old_document_or_the_new(tear) -> None:
    for number in range(1, 12):
        disk = Disk(stored(FIRST, SECOND))
        store = store_on(disk, fails=lambda count, at=number: count >= at, tear=tear)
        try:
            store.save(THIRD)
        except OSError:
            pass
        for files in disk.after_power_cut():
            assert document_on(files) in [SECOND, THIRD]


def test_the_damage_model_notices_a_missing_sync() -> None:
    class Unsynced(Shim):
        def sync(self, file):
            pass

    disk = Disk(stored(FIRST))
    store = DocumentStore("", "doc", Unsynced(disk))
    store.load()
    store.save(SECOND)
    with pytest.raises(AssertionError):
        for files in disk.after_power_cut():
            assert document_on(files) in [FIRST, SECOND]


def folder_with(path, *documents: dict):
    store = DocumentStore(str(path), "doc")
    assert store.load() == (None, [])
    for document in documents:
        store.save(document)
    return path / "doc"


def load(path):
    return DocumentStore(str(path), "doc").load()


def test_documents_are_read_back_after_a_restart(tmp_path) -> None:
    folder_with(tmp_path, FIRST, SECOND)
    assert load(tmp_path) == (SECOND, [])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["doc", "doc.old"]


def test_any_damaged_byte_brings_the_copy_before_and_is_reported(tmp_path) -> None:
    current = folder_with(tmp_path, FIRST, SECOND)
    whole = current.read_bytes()
    for index in range(len(whole)):
        for flipped in (0x01, 0x80):
            current.write_bytes(whole[:index] + bytes([whole[index] ^ flipped]) + whole[index + 1 :])
            document, problems = load(tmp_path)
            assert document == FIRST
            assert len(problems) == 1 and problems[0].startswith("doc: is damaged")


def test_a_file_cut_short_anywhere_brings_the_copy_before(tmp_path) -> None:
    current = folder_with(tmp_path, FIRST, SECOND)
    whole = current.read_bytes()
    for length in range(len(whole)):
        current.write_bytes(whole[:length])
        document, problems = load(tmp_path)
        assert document == FIRST
        assert problems


def test_two_damaged_copies_bring_the_defaults_and_are_reported(tmp_path) -> None:
    current = folder_with(tmp_path, FIRST, SECOND)
    current.write_bytes(b"x")
    (tmp_path / "doc.old").write_bytes(b"")
    document, problems = load(tmp_path)
    assert document is None
    assert problems == ["doc: is damaged (wrong checksum); the defaults are in use"]


def test_a_damaged_file_never_replaces_the_good_copy(tmp_path) -> None:
    current = folder_with(tmp_path, FIRST, SECOND)
    current.write_bytes(b"damaged")
    store = DocumentStore(str(tmp_path), "doc")
    assert store.load()[0] == FIRST
    store.save(THIRD)
    assert load(tmp_path) == (THIRD, [])
    current.write_bytes(b"damaged again")
    assert load(tmp_path)[0] == FIRST


def test_what_is_saved_after_a_start_that_could_read_nothing_is_in_force() -> None:
    disk = Disk(stored(FIRST, SECOND))
    store = DocumentStore("", "doc", Shim(disk, fails=lambda number: number <= 2))
    assert store.load() == (None, [f"doc: cannot be read (error {errno.ENOSPC}); the defaults are in use"])
    store.save(THIRD)
    assert [document_on(files) for files in disk.after_power_cut()] == [THIRD]


def test_a_file_too_large_to_be_a_document_is_not_read(tmp_path) -> None:
    current = folder_with(tmp_path, FIRST, SECOND)
    with open(current, "wb") as file:
        file.truncate(SIZE_LIMIT + 1)
    assert load(tmp_path) == (FIRST, ["doc: is damaged (too large); the copy before it is in use"])


def test_a_folder_in_the_documents_place_is_reported(tmp_path) -> None:
    (tmp_path / "doc").mkdir()
    document, problems = load(tmp_path)
    assert document is None
    assert problems == [f"doc: cannot be read (error {errno.EISDIR}); the defaults are in use"]


def test_a_document_that_could_not_be_read_back_is_refused(tmp_path) -> None:
    folder_with(tmp_path, FIRST)
    store = DocumentStore(str(tmp_path), "doc")
    store.load()
    with pytest.raises(OSError, match="too large"):
        store.save({"text": "x" * SIZE_LIMIT})
    assert load(tmp_path) == (FIRST, [])


def test_a_full_disk_leaves_the_document_and_no_rest(tmp_path) -> None:
    folder_with(tmp_path, FIRST)
    store = DocumentStore(str(tmp_path), "doc")
    store.load()
    os.symlink("/dev/full", tmp_path / "doc.new")
    with pytest.raises(OSError, match="No space"):
        store.save(SECOND)
    assert load(tmp_path) == (FIRST, [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["doc"]
    store.save(SECOND)
    assert load(tmp_path) == (SECOND, [])


def test_a_folder_that_is_gone_fails_the_save(tmp_path) -> None:
    store = DocumentStore(str(tmp_path / "gone"), "doc")
    assert store.load() == (None, [])
    with pytest.raises(OSError, match="gone"):
        store.save(FIRST)


def test_only_the_owner_can_read_a_document(tmp_path) -> None:
    before = os.umask(0)
    try:
        folder_with(tmp_path, FIRST, SECOND)
    finally:
        os.umask(before)
    for entry in tmp_path.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_content_is_on_the_medium_before_its_name_and_the_names_before_save_returns(tmp_path, monkeypatch) -> None:
    current = folder_with(tmp_path, FIRST)
    store = DocumentStore(str(tmp_path), "doc")
    store.load()
    calls: list = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        calls.append(("fsync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def noted_rename(path: str, new_path: str) -> None:
        calls.append(("rename", os.path.basename(path), os.path.basename(new_path)))
        rename(path, new_path)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    store.save(SECOND)
    assert calls == [
        ("fsync", "doc.new"),
        ("rename", "doc", "doc.old"),
        ("rename", "doc.new", "doc"),
        ("fsync", tmp_path.name),
    ]
    assert current.exists()
