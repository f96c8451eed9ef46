"""Puts updates and licences together, for a board that has an updater."""

from firmware import RELEASE_DATE, VERSION
from firmware.services import shapes
from firmware.services.card.absent import NoCardFiles
from firmware.services.gateway.callback import CloudConnections
from firmware.services.routing.own_registers import OwnRegisters
from firmware.services.settings.document_store import DocumentStore
from firmware.services.system.health import Health
from firmware.services.time.absent import NoClock
from firmware.services.time.local_time import parse_iso
from firmware.services.update.activation import Activation
from firmware.services.update.budget import Budget
from firmware.services.update.kept import Kept
from firmware.services.update.quiet import QuietHours
from firmware.services.update.times import Times
from firmware.services.update.trial import Trial
from firmware.services.update.updates import Updates
from hal.contracts import Clock, Updater
from hal.runtime.annotations import Callable
from hal.service import Service


def build_updates(
    state_dir: str,
    settings: shapes.Area,
    updater: Updater,
    system_clock: Clock | None,
    identity: dict,
    registers: OwnRegisters,
    cloud: CloudConnections,
    clock: NoClock,
    card_files: NoCardFiles,
    health: Health,
    is_on_gsm: Callable[[], bool],
    restart: Callable[[str], None],
) -> tuple[Updates, Activation, Trial, Service]:
    """Updates, activation, trial and the server that decides on updates, made of what the device has already.

    `updater` and `system_clock` are the board's parts.
    """
    kept = Kept(DocumentStore(state_dir, "update.json"))
    times = Times(system_clock, kept, parse_iso(RELEASE_DATE)[0] // 1000)
    activation = Activation(updater, times, identity, registers, cloud, DocumentStore(state_dir, "licence.json"))
    budget = Budget(settings["download"]["gsmBytesPerDay"], is_on_gsm, times.now, kept)
    quiet = QuietHours(identity["mac"], clock.minute_of_day)
    updates = Updates(updater, settings, identity, times, budget, kept, card_files, health, quiet, restart)
    server = _server(settings["download"], updates, updater, kept, identity)
    return updates, activation, Trial(updater, health, kept, restart), server


def _server(download: shapes.Download, updates: Updates, updater: Updater, kept: Kept, identity: dict) -> Service:
    """What asks the server that decides on updates; nothing that runs where the settings name none."""
    if not download["enabled"] or not download["hawkbitUrl"]:
        return Service()
    from firmware.services.update.sources.hawkbit import Hawkbit
    from firmware.services.update.sources.hawkbit_updates import HawkbitUpdates

    controller = identity["mac"].replace(":", "")
    server = Hawkbit(download["hawkbitUrl"], controller, download["hawkbitToken"] or "", download["hawkbitTokenKind"])
    attributes = {"device": identity["device"], "mac": identity["mac"], "version": VERSION}
    asking = HawkbitUpdates(server, updates, updater, kept, attributes)
    updates.ask_server = asking.look_now
    return asking
