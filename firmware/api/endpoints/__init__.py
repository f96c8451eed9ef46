"""The API as one table: method, path, access level, what it is for, handler, query, body and answer of each endpoint.

Routes, the access guard, checks of queries and bodies, the OpenAPI document and the README's table derive from it. Each
area has a file with its rows beside their handlers; the table is put together here.
"""

from firmware.api.endpoints.access import ENDPOINTS as ACCESS
from firmware.api.endpoints.bus.modbus import ENDPOINTS as MODBUS
from firmware.api.endpoints.bus.search import ENDPOINTS as SEARCH
from firmware.api.endpoints.bus.trace import ENDPOINTS as TRACE
from firmware.api.endpoints.card import ENDPOINTS as CARD
from firmware.api.endpoints.events import ENDPOINTS as EVENTS
from firmware.api.endpoints.gsm import ENDPOINTS as GSM
from firmware.api.endpoints.settings import ENDPOINTS as SETTINGS
from firmware.api.endpoints.state import ENDPOINTS as STATE
from firmware.api.endpoints.system import ENDPOINTS as SYSTEM
from firmware.api.endpoints.time import ENDPOINTS as TIME
from firmware.api.endpoints.update import ENDPOINTS as UPDATE

AREAS = {
    "system": SYSTEM,
    "access": ACCESS,
    "state": STATE,
    "settings": SETTINGS,
    "modbus": MODBUS,
    "search": SEARCH,
    "trace": TRACE,
    "events": EVENTS,
    "card": CARD,
    "time": TIME,
    "gsm": GSM,
    "update": UPDATE,
}

ENDPOINTS = tuple([row for rows in AREAS.values() for row in rows])
