"""`mc252 check`: tries every part of a board, then the firmware on it, and says what works, what does not, and why."""

import asyncio

from firmware.device import Device
from firmware.services.settings.values import factory_settings
from hal.board import PARTS, BadBoard, Board, check_ttys, make_part, read_config
from hal.contracts import PartError
from hal.fields import BadField
from hal.runtime import in_time, log_exception
from hal.runtime.annotations import Callable

PROBE_SEC = 60  # for a part to show what it can: modems take their time

WORKS, FAILS, ABSENT = "works", "FAILS", "absent"

CALLS_OUT = ("cbCloud", "ownSrv", "rmSrv")  # settings of connections, which a trial of the board makes none of


async def check_board(path: str, state_dir: str, tell: Callable[[str], None]) -> bool:
    """Try the parts of the board config in a file, one after another, then the firmware; whether all works.

    `tell` is called with each line of a table of part, driver, verdict and what was found. BadBoard where the config
    is none; a part that is not there is a line of the table.
    """
    config = read_config(path)
    try:
        check_ttys(config)
    except BadField as exc:
        raise BadBoard(f"{path}: {exc}") from exc
    try:
        factory_settings(config.get("settings") or {})
    except BadField as exc:
        raise BadBoard(f"{path}: settings: {exc}") from exc
    tell(f"board {config['board']}")
    works = True
    for part in PARTS:
        verdict, found = await _try(config, part, state_dir)
        driver = (config.get(part) or {}).get("driver", "-")
        tell(f"{part:<8} {driver!s:<10} {verdict:<7} {found}".rstrip())
        works = works and verdict != FAILS
    verdict, found = await _try_firmware(config, state_dir) if works else ("-", "not tried: parts fail")
    tell(f"{'health':<8} {'-':<10} {verdict:<7} {found}")
    return works and verdict != FAILS


async def _try_firmware(config: dict, state_dir: str) -> tuple[str, str]:
    """Verdict on a firmware that has the line and serves HTTP to this machine, and leaves all else alone."""
    parts = {part: make_part(config, part, state_dir) if part in ("system", "rs485") else None for part in PARTS}
    settings = dict(config.get("settings") or {})
    for name in CALLS_OUT:
        settings[name] = dict(settings.get(name, {}), enabled=False)
    device = Device(Board(config["board"], parts, settings), state_dir)
    await device.start(("127.0.0.1", 0), None)
    try:
        problems = await device.health.problems({"busWasOpen": 1, "settingsWereRead": 1})
    finally:
        await device.stop()
    return (FAILS, "; ".join(problems)) if problems else (WORKS, "every service lives, HTTP answers")


async def _try(config: dict, part: str, state_dir: str) -> tuple[str, str]:
    """(verdict, what was found or why it fails) of one part."""
    try:
        backend = make_part(config, part, state_dir)
    except BadField as exc:
        return FAILS, str(exc)
    if backend is None:
        return ABSENT, ""
    try:
        return WORKS, await in_time(backend.try_out(), PROBE_SEC)
    except asyncio.TimeoutError:
        return FAILS, f"says nothing for {PROBE_SEC} s"
    except (PartError, OSError) as exc:
        return FAILS, str(exc)
    except Exception as exc:
        log_exception(exc)
        return FAILS, f"unexpected {type(exc).__name__}, see above"
