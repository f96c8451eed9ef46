"""Leaves out of a module's source what only the API's document says, which a board has as a file that was made before.

Each such text takes some 60 bytes of a board's heap, and there are hundreds.
"""

import ast

KEPT = ("firmware/services/system/state_table.py",)  # whose texts are in the metrics
_PLACES = {"Field": 3, "Endpoint": 3, "_key": 1, "_secret": 2}  # function -> which argument is its text
_KEYWORD = "help"


def without_texts(source: str) -> str:
    """The source with empty texts in their place, every line where it was."""
    lines = source.encode().splitlines(keepends=True)
    found = [text for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) for text in _texts(node)]
    for text in sorted(found, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        first, last = text.lineno - 1, (text.end_lineno or text.lineno) - 1
        begin, end = lines[first][: text.col_offset], lines[last][text.end_col_offset :]
        lines[first : last + 1] = [begin + b'""' + b"\n" * (last - first) + end]
        lines[first : first + 1] = lines[first].splitlines(keepends=True)
    return b"".join(lines).decode()


def _texts(call: ast.Call) -> list[ast.Constant]:
    named = [keyword.value for keyword in call.keywords if keyword.arg == _KEYWORD]
    place = _PLACES.get(call.func.id) if isinstance(call.func, ast.Name) else None
    if place is not None:
        named += call.args[place : place + 1]
    return [value for value in named if isinstance(value, ast.Constant) and isinstance(value.value, str)]
