"""Puts updates and licences together, for a board that has an updater."""

from firmware import RELEASE_DATE, VERSION
from firmware.services import shapes
from firmware.services.settings.document_store import DocumentStore
from firmware.services.time.local_time import parse_iso
from firmware.services.update.activation import Activation
from firmware.services.update.budget import Budget
from firmware.services.update.kept import Kept
from firmware.services.update.quiet import QuietHours
from firmware.services.update.times import Times
from firmware.services.update.trial import Trial
from firmware.services.update.updates import Updates
from hal.service import Service


def build_updates(device, state_dir: str, settings: shapes.Area) -> tuple[Updates, Activation, Trial, Service]:
    """Updates, activation, trial and the server that decides on updates, made of what the device has already."""
    updater, identity = device.board.updater, device.identity.full()
    kept = Kept(DocumentStore(state_dir, "update.json"))
    times = Times(device.board.clock, kept, parse_iso(RELEASE_DATE)[0] // 1000)
    licences = DocumentStore(state_dir, "licence.json")
    activation = Activation(updater, times, identity, device.registers, device.cloud, licences)
    budget = Budget(settings["download"]["gsmBytesPerDay"], device.is_on_gsm, times.latest, kept)
    quiet = QuietHours(identity["mac"], device.clock.minute_of_day)
    server: Service = Service()
    updates = Updates(
        *(updater, settings, identity, times, budget, kept, device.card_files, device.health, quiet),
        device.request_restart,
        (lambda: server.look_now()) if _has_server(settings) else None,  # type: ignore[attr-defined]
    )
    if _has_server(settings):
        server = _hawkbit(settings["download"], updates, updater, kept, identity)
    return updates, activation, Trial(updater, device.health, kept, device.request_restart), server


def _has_server(settings: shapes.Area) -> bool:
    return settings["download"]["enabled"] and settings["download"]["hawkbitUrl"] != ""


def _hawkbit(download: shapes.Download, updates: Updates, updater, kept: Kept, identity: dict) -> Service:
    from firmware.services.update.sources.hawkbit import Hawkbit
    from firmware.services.update.sources.hawkbit_updates import HawkbitUpdates

    controller = identity["mac"].replace(":", "")
    server = Hawkbit(download["hawkbitUrl"], controller, download["hawkbitToken"] or "", download["hawkbitTokenKind"])
    attributes = {"device": identity["device"], "mac": identity["mac"], "version": VERSION}
    return HawkbitUpdates(server, updates, updater, kept, attributes)
