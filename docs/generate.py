"""Writes docs/api.md, state.md, settings.md, drivers.md, README.md and the types of the settings from the tables.

`python -m docs.generate` writes them, `python -m docs.generate --check` only says whether they are current.
"""

import importlib
import inspect
import json
import pathlib
import sys

from docs.drawing import drawing
from docs.shapes import settings_shapes
from firmware.api.endpoint import Endpoint
from firmware.api.endpoints import ENDPOINTS
from firmware.api.error_meanings import MEANINGS
from firmware.api.errors import ERRORS
from firmware.api.kinds import Anything, Content, Named
from firmware.api.query import Keys, Parameters
from firmware.services.settings.table import SETTINGS
from firmware.services.system.state_table import STATE
from hal.board import DRIVERS, PARTS
from hal.fields import REQUIRED, Field, ListOf, MapOf, Object

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples.json"
ALL_ENDPOINTS = ROOT / "tests" / "conformance" / "endpoints.json"
DRAWING_BEGIN, DRAWING_END = "<!-- drawing: made by make docs -->", "<!-- end of drawing -->"
BEGIN, END = "<!-- endpoints: made by make docs -->", "<!-- end of endpoints -->"


def field_rows(fields: tuple[Field, ...], with_default: bool = True) -> list[str]:
    """Rows of a table for members of an object."""
    rows = []
    for field in fields:
        default = ""
        if with_default:
            default = "required" if field.default is REQUIRED else json.dumps(field.default)
            default += " | "
        rows.append(f"| `{field.name}` | {field.kind.words()} | {default}{field.help} |")
    return rows


def settings_page() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Made by `make docs` from `firmware/services/settings/table.py`.",
        "",
        "The saved area is what `POST /api/settings/saved/set/` writes; it becomes the active one at the next start.",
        'Secrets read as `null` where unset and `"***"` where set; writing `"***"` keeps them.',
        "What is marked as power is changed with a login or over the VPN; with the button alone only while the device",
        "has no password.",
        "",
        "What does not go together is refused by name (two services on one port, the device as its own server), and",
        "so is what a board can give no effect. `logFlags` takes effect at once. Where `httpd.port` is not to be had,",
        "HTTP is on another port, which the console and `system.errors` tell.",
        "",
        "Imports take what another device has exported: what lacks its secret is taken switched off, what this board",
        "does not manage is left out, and the answer and `system.errors` say so. Where the stored settings are lost,",
        "Modbus TCP and the VPN stay off until somebody switches them on again.",
    ]
    for setting in SETTINGS:
        lines += ["", f"## {setting.name}", "", setting.help + (" (power)." if setting.power else "."), ""]
        if isinstance(setting.kind, Object):
            lines += ["| field | value | default | meaning |", "|---|---|---|---|"]
            for field in setting.kind.fields:
                marks = (" (secret)" if field.secret else "") + (" (power)" if field.power else "")
                value = field.kind.words() + marks
                lines.append(f"| `{field.name}` | {value} | `{json.dumps(field.default)}` | {field.help} |")
        else:
            lines.append(f"{setting.kind.words()}, default `{json.dumps(setting.default)}`")
            inner = setting.kind.kind if isinstance(setting.kind, ListOf) else None
            if isinstance(inner, Object):
                lines += ["", "| field | value | default | meaning |", "|---|---|---|---|"]
                lines += field_rows(inner.fields)
    return "\n".join(lines) + "\n"


def state_page() -> str:
    """docs/state.md."""
    lines = [
        "# State",
        "",
        "Made by `make docs` from `firmware/services/system/state_table.py`.",
        "",
        "`GET /api/state/get/?key&key` answers with these keys, all of them without any. A part that fails at",
        "the moment makes its key null; `system.errors` and the log say why.",
    ]
    for key in STATE:
        null = f" Null: {key.nullable}." if key.nullable else ""
        lines += ["", f"## {key.name}", "", f"{key.help[0].upper()}{key.help[1:]}, given by `{key.service}`.{null}"]
        kind = key.kind()
        if isinstance(kind, MapOf):
            lines += ["", f"An object of {kind.name} to:"]
            kind = kind.kind
        if kind.fields:
            lines += ["", "| field | value | unit | meaning |", "|---|---|---|---|"]
            lines += [
                f"| `{field.name}` | {field.kind.words()} | {field.unit} | {field.help} |" for field in kind.fields
            ]
    return "\n".join(lines) + "\n"


def endpoint_section(endpoint: Endpoint) -> list[str]:
    """An endpoint's part of docs/api.md."""
    lines = ["", f"## {endpoint.method} {endpoint.path}", "", f"{endpoint.purpose}. Access level {endpoint.level}."]
    if isinstance(endpoint.query, Keys):
        lines += [
            "",
            "Query: bare key names, none for all: " + ", ".join(f"`{name}`" for name in endpoint.query.names()),
        ]
        if endpoint.query.fields:
            lines += ["", "Besides:", "", "| parameter | value | default | meaning |", "|---|---|---|---|"]
            lines += field_rows(endpoint.query.fields)
    if isinstance(endpoint.query, Parameters):
        lines += ["", "Query:", "", "| parameter | value | default | meaning |", "|---|---|---|---|"]
        lines += field_rows(endpoint.query.fields)
    if isinstance(endpoint.body, Object):
        lines += ["", "Body:", "", "| field | value | default | meaning |", "|---|---|---|---|"]
        lines += field_rows(endpoint.body.fields)
    elif isinstance(endpoint.body, Anything):
        lines += ["", "Body: an object of key to value."]
    answer = endpoint.answer()
    if isinstance(answer, Named):
        answer = answer.make()
    if isinstance(answer, Object) and answer.fields:
        lines += ["", "Answer:", "", "| field | value | meaning |", "|---|---|---|"]
        lines += field_rows(answer.fields, with_default=False)
    elif isinstance(answer, Object):
        lines += ["", "Answer: `{}`."]
    elif isinstance(answer, Content):
        lines += ["", f"Answer: `{answer.media_type}`."]
    return lines


def example(endpoint: Endpoint) -> list[str]:
    """The lines of an endpoint's example, which docs.examples has made."""
    asked = [made for made in json.loads(EXAMPLES.read_text()) if made["path"].split("?")[0] == endpoint.path]
    lines = []
    for made in asked:
        lines += ["", "Example:", "", "```", f"{made['method']} {made['path']}"]
        if made["body"] is not None:
            lines += [json.dumps(made["body"])]
        answer = made["answer"]
        lines += ["", f"{made['status']} " + (answer if isinstance(answer, str) else json.dumps(answer)), "```"]
    return lines


def api_page() -> str:
    """docs/api.md."""
    lines = [
        "# API",
        "",
        "Made by `make docs` from `firmware/api/endpoints/`. Every path works with and without its trailing slash.",
        "",
        'A failure is `{"error": CODE, "message": text}` with the status of its code:',
        "",
        "| code | status | meaning |",
        "|---|---|---|",
        *[f"| `{code}` | {ERRORS[code][0]} | {MEANINGS[code]} |" for code in ERRORS],
        "",
        "Where waiting helps, the header `Retry-After` says for how many seconds.",
    ]
    lines += ["", "[login.md](login.md) explains the login step by step, and what browsers lack on plain HTTP."]
    for endpoint in ENDPOINTS:
        lines += endpoint_section(endpoint) + example(endpoint)
    return "\n".join(lines) + "\n"


def drivers_page() -> str:
    """docs/drivers.md."""
    lines = [
        "# Drivers",
        "",
        "Made by `make docs` from the backends that `hal/board.py` names. [porting.md](porting.md) puts them to use.",
    ]
    for (part, driver), (module, name) in sorted(DRIVERS.items(), key=lambda row: (PARTS.index(row[0][0]), row[0][1])):
        backend = getattr(importlib.import_module(module), name)
        lines += ["", f"## {part}: {driver}", "", inspect.cleandoc(backend.__doc__)]
        if backend.OPTIONS.fields:
            lines += ["", "| option | value | default | meaning |", "|---|---|---|---|"]
            lines += field_rows(backend.OPTIONS.fields)
    return "\n".join(lines) + "\n"


def readme_table() -> str:
    """The README's table of all endpoints: those of the original device and which of them work, then ours."""
    working = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    rows = json.loads(ALL_ENDPOINTS.read_text())
    lines = ["| endpoint | level | purpose | works |", "|---|---|---|---|"]
    for row in rows:
        mark = "yes" if (row["method"], row["path"]) in working else "not yet"
        lines.append(f"| `{row['method']} {row['path']}` | {row['level']} | {row['purpose']} | {mark} |")
        working.discard((row["method"], row["path"]))
    for endpoint in ENDPOINTS:
        if (endpoint.method, endpoint.path) in working:
            lines.append(f"| `{endpoint.method} {endpoint.path}` | {endpoint.level} | {endpoint.purpose} | yes |")
    return "\n".join(lines)


def architecture_page() -> str:
    """docs/architecture.md with its drawing renewed."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    head, rest = text.split(DRAWING_BEGIN)
    return head + DRAWING_BEGIN + "\n```\n" + drawing() + "\n```\n" + DRAWING_END + rest.split(DRAWING_END)[1]


def readme_page() -> str:
    """README.md with its table renewed."""
    text = (ROOT / "README.md").read_text()
    head, rest = text.split(BEGIN)
    return head + BEGIN + "\n" + readme_table() + "\n" + END + rest.split(END)[1]


def main() -> int:
    """Write the pages, or check them; 1 where one is not current."""
    pages = {
        "docs/settings.md": settings_page(),
        "docs/state.md": state_page(),
        "docs/api.md": api_page(),
        "docs/drivers.md": drivers_page(),
        "README.md": readme_page(),
        "docs/architecture.md": architecture_page(),
        "firmware/services/shapes.pyi": settings_shapes(),
    }
    stale = [name for name, text in pages.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"{name} is not current: make docs", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).write_text(pages[name])
        print(f"{name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
