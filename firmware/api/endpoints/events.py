"""Live events, and the ticket for clients that cannot send a token with them."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.guard import TICKET
from firmware.api.kinds import Content
from firmware.api.query import Keys
from firmware.http.messages.answers import Stream
from firmware.services.access.tickets import TICKET_LENGTH, TICKET_SEC
from firmware.services.events.follower import OTHERS
from hal.fields import Field, Integer, Object, Text


def _names() -> tuple[str, ...]:
    """The keys of the state are imported here: a small board needs the table for documents alone."""
    from firmware.services.system.state_table import STATE_KEYS

    return STATE_KEYS + OTHERS


async def events(call: Call) -> Stream:
    """GET /api/events/"""
    last_id = call.headers.get("last-event-id")
    return Stream(call.services.events.follow(call.query, call.admission(), last_id), "text/event-stream")


async def events_ticket(call: Call) -> dict:
    """POST /api/events/ticket/"""
    return {"ticket": call.services.tickets.issue(call.admission()), "ttlSec": TICKET_SEC}


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/events/",
        1,
        "Live events: changed state, the trace, searches",
        events,
        lambda: Content("text/event-stream"),
        query=Keys(_names, Field(TICKET, Text(TICKET_LENGTH, TICKET_LENGTH), None, help="instead of a token")),
        takes_ticket=True,
    ),
    Endpoint(
        "POST",
        "/api/events/ticket/",
        1,
        "A ticket for one stream of events",
        events_ticket,
        lambda: Object(
            Field("ticket", Text(TICKET_LENGTH, TICKET_LENGTH)),
            Field("ttlSec", Integer(0, 3600), help="seconds in which it can be used, once"),
        ),
    ),
)
