"""Templates of device classes: how to recognise a device on the line, and what its parameters are.

A template is a JSON object {"meta", "identify", "params"}; docs/templates.md teaches how to write one.
"""

from firmware.services.bus.registers import ORDERS, numbers
from firmware.services.errors import Refused
from firmware.services.search.values import NUMBERS, WORDS
from hal.fields import AnyOf, BadField, Boolean, Choice, Exact, Field, Integer, ListOf, Number, Object, Text
from hal.json_text import JsonError, WrongEncoding, json_decode, json_loads, json_loads_exact
from hal.runtime.decimals import as_number

SIZE_LIMIT = 65536  # bytes of a template file
PARAMS_LIMIT = 256
RULES_LIMIT = 16
REGISTERS_LIMIT = 125  # of one read: application protocol specification, sections 6.3 and 6.4
BITS_LIMIT = 2000  # sections 6.1 and 6.2


_WORD = Integer(0, 65535)
_BOUND = Number(-1e38, 1e38)
_FUNC = Integer(1, 4)
_ADDR = Integer(0, 65535)


def _rule_is_whole(rule: dict) -> list[str]:
    """A rule either compares, perhaps under a mask, or bounds."""
    problems = []
    if rule["equals"] is not None:
        if len(rule["equals"]) != rule["count"]:
            problems.append("equals: must have as many values as count says")
        if isinstance(rule["mask"], list) and len(rule["mask"]) != rule["count"]:
            problems.append("mask: must be one number, or as many as count says")
        if rule["min"] is not None or rule["max"] is not None:
            problems.append("min: has no place beside equals")
        if rule["type"] != "uint16":
            problems.append("type: has no place beside equals")
    elif rule["min"] is None or rule["max"] is None:
        problems.append("equals: is missing, and so are min and max")
    elif rule["mask"] is not None:
        problems.append("mask: has no place without equals")
    elif rule["min"] > rule["max"]:
        problems.append("max: must not be less than min")
    if rule["count"] % WORDS[rule["type"]]:
        problems.append(f"count: must be a multiple of {WORDS[rule['type']]} for {rule['type']}")
    if rule["func"] <= 2 and rule["type"] != "uint16":
        problems.append("type: has no place for functions 1 and 2")
    return problems + _range_problem(rule["addr"], rule["count"])


def _param_is_whole(param: dict) -> list[str]:
    """Bits are boolean, texts have a length."""
    problems = []
    if param["func"] <= 2 and param["type"] != "bool":
        problems.append("type: must be bool for functions 1 and 2")
    if param["type"] == "string" and param["count"] is None:
        problems.append("count: is missing; a string needs its number of registers")
    if param["type"] in ("string", "bool") and param["scale"] != 1:
        problems.append("scale: has no place in a " + param["type"])
    if not problems and size_of(param) > REGISTERS_LIMIT:
        problems.append(f"count: must not need more than {REGISTERS_LIMIT} registers")
    return problems + (_range_problem(param["addr"], size_of(param)) if not problems else [])


def _range_problem(addr: int, count: int) -> list[str]:
    return [] if addr + count <= 65536 else [f"addr: must be 0..{65536 - count} for {count} registers"]


TEMPLATE = Object(
    Field(
        "meta",
        Object(
            Field("class", Text(64, 1)),
            Field("title", Text(128, 1)),
            Field("manufacturer", Text(128), ""),
            Field("version", Text(32), ""),
            Field("source", Text(256), ""),
        ),
    ),
    Field(
        "identify",
        ListOf(
            Object(
                Field("func", _FUNC),
                Field("addr", _ADDR),
                Field("count", Integer(1, REGISTERS_LIMIT)),
                Field("equals", ListOf(_WORD, REGISTERS_LIMIT, 1), None),
                Field("mask", AnyOf(_WORD, ListOf(_WORD, REGISTERS_LIMIT, 1)), None),
                Field("min", _BOUND, None),
                Field("max", _BOUND, None),
                Field("type", Choice(*NUMBERS), "uint16"),
                Field("order", Choice(*ORDERS), "ABCD"),
                Field("orRefused", Boolean(), False),
                rule=_rule_is_whole,
            ),
            RULES_LIMIT,
            1,
        ),
    ),
    Field(
        "params",
        ListOf(
            Object(
                Field("name", Text(64, 1)),
                Field("func", _FUNC),
                Field("addr", _ADDR),
                Field("type", Choice(*NUMBERS, "string", "bool")),
                Field("count", Integer(1, REGISTERS_LIMIT), None),
                Field("order", Choice(*ORDERS), "ABCD"),
                Field("scale", Exact(-1e9, 1e9), 1),
                Field("unit", Text(16), ""),
                rule=_param_is_whole,
            ),
            PARAMS_LIMIT,
        ),
    ),
)


def parse(data: bytes) -> dict:
    """The checked template of a file's bytes; Refused BAD_TEMPLATE names the line and the field."""
    if len(data) > SIZE_LIMIT:
        raise Refused("BAD_TEMPLATE", f"the file must not be longer than {SIZE_LIMIT} bytes")
    text = ""
    try:
        text = json_decode(data)
        content = json_loads_exact(text)
    except JsonError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise Refused("BAD_TEMPLATE", f"line {line}: not JSON: {exc}") from None
    except WrongEncoding as exc:
        raise Refused("BAD_TEMPLATE", f"the file cannot be read: {exc}") from None
    except MemoryError:
        raise Refused("BAD_TEMPLATE", "the file is more than this board's memory holds") from None
    try:
        template = TEMPLATE.check(content, "template")
    except BadField as exc:
        problems = [_with_line(text, problem) for problem in exc.problems[:5]]
        raise Refused("BAD_TEMPLATE", "; ".join(problems)) from None
    names = [param["name"] for param in template["params"]]
    for name in names:
        if names.count(name) > 1:
            raise Refused("BAD_TEMPLATE", f"params: the name {name} is given twice")
    return template


def size_of(param: dict) -> int:
    """Registers, or bits for functions 1 and 2, that a parameter takes."""
    if param["type"] == "string":
        return param["count"]
    return WORDS[param["type"]] * (param["count"] or 1)


def holds(rule: dict, words: list[int]) -> bool:
    """Whether a rule of `identify` holds for what was read."""
    if rule["equals"] is None:
        values = numbers(rule["type"], rule["order"], words)
        return all(value is not None and rule["min"] <= as_number(value) <= rule["max"] for value in values)
    masks = rule["mask"]
    if masks is None:
        masks = 0xFFFF
    if not isinstance(masks, list):
        masks = [masks] * len(words)
    return all(words[index] & masks[index] == rule["equals"][index] & masks[index] for index in range(len(words)))


class Read:
    """One request that fetches several parameters: function, first address, count, and whether it has gaps."""

    def __init__(self, param: dict):
        self.func = param["func"]
        self.addr = param["addr"]
        self.count = size_of(param)
        self.params = [param]
        self.has_gaps = False

    def take(self, param: dict, with_gaps: bool, most: int) -> bool:
        """Let the request fetch one more parameter where its limits allow; `most`: registers or bits."""
        gap = param["addr"] - (self.addr + self.count)
        end = max(self.addr + self.count, param["addr"] + size_of(param))
        limit = min(most, BITS_LIMIT if self.func <= 2 else REGISTERS_LIMIT)
        if param["func"] != self.func or (gap > 0 and not with_gaps) or end - self.addr > limit:
            return False
        self.count = end - self.addr
        self.params.append(param)
        self.has_gaps = self.has_gaps or gap > 0
        return True


def plan(params: list[dict], with_gaps: bool = True, most: int = BITS_LIMIT) -> list[Read]:
    """As few requests as fetch all parameters, each of at most so many registers or bits, or one parameter; without
    gaps only what the device is known to have is read."""
    reads: list = []
    for param in sorted(params, key=_place):
        if not reads or not reads[-1].take(param, with_gaps, most):
            reads.append(Read(param))
    return reads


def _place(param: dict) -> tuple:
    return param["func"], param["addr"]


# Where a field stands in the text


def _with_line(text: str, problem: str) -> str:
    """A problem ("template.params[3].type: must ...") with the line on which the field stands."""
    where, _, what = problem.partition(": ")
    path = where.replace("[", ".").replace("]", "").split(".")[1:]
    position = _find(text, path)
    line = text.count("\n", 0, position) + 1
    shown = where[len("template.") :] if where[:9] == "template." else where
    return f"line {line}: {shown}: {what}"


def _find(text: str, path: list[str]) -> int:
    """Position of a member's value in JSON text; of the deepest part of the path that is there."""
    position = _skip_space(text, 0)
    for step in path:
        found = _find_member(text, position, step)
        if found is None:
            return position
        position = found
    return position


def _find_member(text: str, start: int, step: str) -> int | None:
    if text[start : start + 1] not in ("{", "["):
        return None
    is_object = text[start] == "{"
    position = _skip_space(text, start + 1)
    index = 0
    while text[position] not in "]}":
        name = str(index)
        if is_object:
            end = _skip_value(text, position)
            name = str(json_loads(text[position:end]))
            position = _skip_space(text, _skip_space(text, end) + 1)
        if name == step:
            return position
        position = _skip_space(text, _skip_value(text, position))
        if text[position] == ",":
            position = _skip_space(text, position + 1)
        index += 1
    return None


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _skip_value(text: str, position: int) -> int:
    """The end of the JSON value that begins at a position."""
    depth = 0
    while True:
        character = text[position]
        if character == '"':
            position += 1
            while text[position] != '"':
                position += 2 if text[position] == "\\" else 1
            position += 1
        elif character in "[{":
            depth += 1
            position += 1
        elif character in "]}":
            depth -= 1
            position += 1
        elif depth:
            position += 1
        else:
            while position < len(text) and text[position] not in ",]} \t\r\n":
                position += 1
            return position
        if depth == 0:
            return position
