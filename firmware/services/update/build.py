"""Puts updates and licences together, for a board that has an updater."""

from firmware import RELEASE_DATE
from firmware.services.settings.document_store import DocumentStore
from firmware.services.time.local_time import parse_iso
from firmware.services.update.activation import Activation
from firmware.services.update.budget import Budget
from firmware.services.update.kept import Kept
from firmware.services.update.quiet import QuietHours
from firmware.services.update.times import Times
from firmware.services.update.trial import Trial
from firmware.services.update.updates import Updates


def build_updates(device, state_dir: str, settings: dict) -> tuple[Updates, Activation, Trial]:
    """The three services, made of what the device has already."""
    updater, identity = device.board.updater, device.identity.full()
    kept = Kept(DocumentStore(state_dir, "update.json"))
    times = Times(device.board.clock, kept, int(parse_iso(RELEASE_DATE)[0]))
    licences = DocumentStore(state_dir, "licence.json")
    activation = Activation(updater, times, identity, device.registers, device.cloud, licences)
    budget = Budget(settings["download"]["gsmBytesPerDay"], device.is_on_gsm, times.latest, kept)
    quiet = QuietHours(identity["mac"], device.clock.minute_of_day)
    updates = Updates(
        *(updater, settings, identity, times, budget, kept, device.card_files, device.health, quiet),
        device.request_restart,
    )
    return updates, activation, Trial(updater, device.health, kept, device.request_restart)
