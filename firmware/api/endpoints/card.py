"""Files on the SD card."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import CARD_ERRORS, UINT32, CardPath, nothing
from hal.fields import Base64, Boolean, Field, Integer, ListOf, Nullable, Object, Text
from hal.runtime import b64encode

_FILE = Field("path", CardPath(), help="absolute path on the card, with /")
_PLACE = Field("path", CardPath(root=True), help="absolute path on the card, with /")


def _item() -> tuple[Field, ...]:
    return (
        Field("name", Text(255)),
        Field("attrib", Text(3, 3), help="d directory, r readable, w writable, - where not"),
        Field("size", Integer(0, 0xFFFFFFFF)),
        Field("datetime", Text(32), help="last change, ISO 8601, device local time"),
    )


_INDEX = Nullable(Integer(0, 0x7FFFFFFF))

_BLOCK = Integer(0, 0x3FFFFF)

_BLOCK_COUNT = Field("blockCount", Integer(1, 0x400000), help="blocks of 1024 bytes in the whole file")


def _directory() -> Object:
    """A part of a listing."""
    return Object(
        Field("fromIdx", _INDEX),
        Field("toIdx", _INDEX),
        Field("total", UINT32),
        Field("items", ListOf(Object(*_item()), 65536)),
    )


async def card_dir(call: Call) -> dict:
    """POST /api/card/dir/"""
    first = call.body["fromIdx"]
    items, total = await call.services.card_files.dir(call.body["path"], first, call.body["toIdx"])
    last = first + len(items) - 1
    return {"fromIdx": first if items else None, "toIdx": last if items else None, "total": total, "items": items}


async def card_file_info(call: Call) -> dict:
    """POST /api/card/file/info/"""
    return await call.services.card_files.info(call.body["path"])


async def card_file_read(call: Call) -> dict:
    """POST /api/card/file/read/"""
    data, block_count = await call.services.card_files.read(call.body["path"], call.body["blockIdx"])
    return {"blockIdx": call.body["blockIdx"], "blockCount": block_count, "data": b64encode(data)}


async def card_file_write(call: Call) -> dict:
    """POST /api/card/file/write/"""
    body, owner = call.body, call.token or call.address
    await call.services.card_files.write(
        body["path"], body["blockIdx"], body["blockCount"], body["data"], owner, call.address
    )
    return {"blockIdx": body["blockIdx"], "blockCount": body["blockCount"]}


async def card_remove(call: Call) -> dict:
    """POST /api/card/remove/"""
    await call.services.card_files.remove(call.body["path"], call.body["recursive"])
    return {}


async def card_eject(call: Call) -> dict:
    """POST /api/cmd/memory/card_eject"""
    await call.services.card_files.eject()
    return {}


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/card/dir/",
        1,
        "List files and directories",
        card_dir,
        _directory,
        body=Object(
            _PLACE,
            Field("fromIdx", Integer(0, 0x7FFFFFFF), 0, help="first index"),
            Field("toIdx", Integer(0, 0x7FFFFFFF), None, help="last index, inclusive; default: the last there is"),
        ),
        errors=CARD_ERRORS,
    ),
    Endpoint(
        "POST",
        "/api/card/file/info/",
        1,
        "Get file info on SD card",
        card_file_info,
        lambda: Object(*_item()),
        body=Object(_PLACE),
        errors=CARD_ERRORS,
    ),
    Endpoint(
        "POST",
        "/api/card/file/read/",
        1,
        "Read file from SD card",
        card_file_read,
        lambda: Object(Field("blockIdx", _BLOCK), _BLOCK_COUNT, Field("data", Base64(1024))),
        body=Object(_FILE, Field("blockIdx", _BLOCK)),
        errors=("IS_DIRECTORY",) + CARD_ERRORS,
    ),
    Endpoint(
        "POST",
        "/api/card/file/write/",
        1,
        "Write file to SD card",
        card_file_write,
        lambda: Object(Field("blockIdx", _BLOCK), _BLOCK_COUNT),
        body=Object(_FILE, Field("blockIdx", _BLOCK), _BLOCK_COUNT, Field("data", Base64(1024))),
        errors=("IS_DIRECTORY", "BAD_BLOCK", "CARD_FULL", "CARD_READ_ONLY") + CARD_ERRORS,
    ),
    Endpoint(
        "POST",
        "/api/card/remove/",
        1,
        "Remove file from SD card",
        card_remove,
        nothing,
        body=Object(_FILE, Field("recursive", Boolean(), False, help="remove a folder with all it holds")),
        errors=("NOT_EMPTY", "CARD_READ_ONLY") + CARD_ERRORS,
    ),
    Endpoint(
        "POST",
        "/api/cmd/memory/card_eject",
        1,
        "Safe SD card ejection",
        card_eject,
        nothing,
        errors=("NO_CARD", "CARD_BUSY", "CARD_FAILED", "NOT_PERMITTED"),
    ),
)
