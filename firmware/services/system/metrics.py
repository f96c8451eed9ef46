"""The metrics: the declared state in Prometheus' text format.

Every number, truth value and choice of the state table is a series, named after its key and field with its unit as
OpenMetrics has it (seconds, bytes, ratio; `_total` where it only grows). What is null has none. Names, types and help
come from the table, so that a new field of the state is a new metric.
"""

from firmware.services.system.state_table import STATE, Code, Histogram, Label, Total
from hal.fields import Boolean, Choice, Integer, ListOf, MapOf, Nullable, Number, Object
from hal.runtime.annotations import Any, Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "mc252_"
_PART = 4096  # characters that are made at once at least

# unit of the table -> the word of a field's name that says it there, the last one here, how many of them make one here
_UNITS = {
    "s": ("sec", "seconds", 1),
    "ms": ("ms", "seconds", 1000),
    "B": ("bytes", "bytes", 1),
    "%": ("percent", "ratio", 100),
    "°C": ("c", "celsius", 1),
}


def metrics_text(values: dict, about: dict) -> Iterator[str]:
    """The text in parts, of a few kilobytes each: `values` as the state gives them, `about` names and texts that tell
    what the device is."""
    labels = ",".join([f'{_snake(name)}="{_escape(str(about[name]))}"' for name in about])
    text = f"# HELP {_PREFIX}info What the device is.\n# TYPE {_PREFIX}info gauge\n{_PREFIX}info{{{labels}}} 1\n"
    for key in STATE:
        value = values.get(key.name)
        if value is None:
            continue
        for family in _families(_PREFIX + _snake(key.metric), key.kind(), value, key.help, ""):
            text += family
            if len(text) >= _PART:
                yield text
                text = ""
    yield text


def _families(name: str, kind: Any, value: Any, help: str, unit: str) -> Iterator[str]:
    """The series of a value, grouped by name as the format wants them."""
    if isinstance(kind, Nullable):
        kind = kind.kind
    if value is None:
        return
    if isinstance(kind, Object):
        for field in kind.fields:
            inner = value.get(field.name)
            yield from _families(f"{name}_{_snake(field.name)}", field.kind, inner, field.help, field.unit)
    elif isinstance(kind, MapOf):
        yield from _map_families(name, kind, value, help, unit)
    else:
        yield _Family(name, kind, unit).text([""], [value], help)


def _map_families(name: str, kind: MapOf, value: dict, help: str, unit: str) -> Iterator[str]:
    """The series of an object of like members, whose names become a label."""
    label = kind.name.replace(" ", "_")
    labels = [_join("", label, member) for member in value]
    if not isinstance(kind.kind, Object):
        yield _Family(name, kind.kind, unit).text(labels, list(value.values()), help)
        return
    for field in kind.kind.fields:
        column = [member[field.name] for member in value.values()]
        yield _Family(f"{name}_{_snake(field.name)}", field.kind, field.unit).text(labels, column, field.help)


class _Family:
    """What all series of one name have in common."""

    def __init__(self, name: str, kind: Any, unit: str) -> None:
        self._kind = kind.kind if isinstance(kind, Nullable) else kind
        spoken, last, self._divisor = _UNITS.get(unit, ("", "", 1))
        words = [word for word in name.split("_") if word != spoken]
        self._label = words[-1]
        words += [last] if last else []
        words += ["total"] if isinstance(self._kind, Total) else []
        self._name = "_".join(words)

    def text(self, labels: list[str], values: list, help: str) -> str:
        """The lines with what they mean; nothing where all are null, or of a kind without series."""
        if None in values:
            labels = [labels[index] for index, value in enumerate(values) if value is not None]
            values = [value for value in values if value is not None]
        lines = self._lines(labels, values) if values else ""
        if not lines:
            return ""
        kind = self._kind
        type_ = "histogram" if isinstance(kind, Histogram) else "counter" if isinstance(kind, Total) else "gauge"
        return f"# HELP {self._name} {_escape(help)}\n# TYPE {self._name} {type_}\n{lines}"

    def _lines(self, labels: list[str], values: list) -> str:
        kind = self._kind
        name = self._name
        if isinstance(kind, Boolean):
            return _text(name, labels, [int(value) for value in values])
        if isinstance(kind, (Integer, Number)) and not isinstance(kind, Code):
            return _text(name, labels, values if self._divisor == 1 else [value / self._divisor for value in values])
        if isinstance(kind, ListOf):
            return _text(name, labels, [len(value) for value in values])
        if isinstance(kind, (Choice, Label)):
            return "".join(map(self._words, labels, values))
        if isinstance(kind, Histogram):
            return "".join(map(self._histogram, labels, values))
        return ""

    def _words(self, labels: str, value: Any) -> str:
        """What a choice could be, and which it is."""
        known = self._kind.values if isinstance(self._kind, Choice) else (value,)
        words = [_join(labels, self._label, str(one)) for one in known]
        return _text(self._name, words, [int(one == value) for one in known])

    def _histogram(self, labels: str, value: dict) -> str:
        """The buckets hold what is no more than their bound, so each counts those below it too."""
        bounds: tuple = self._kind.bounds  # type: ignore[union-attr]
        limits = [str(bound / self._divisor) for bound in bounds] + ["+Inf"]
        counts = [sum(value["counts"][: index + 1]) for index in range(len(limits))]
        text = _text(self._name + "_bucket", [_join(labels, "le", limit) for limit in limits], counts)
        text += _text(self._name + "_sum", [labels], [value["sum"] / self._divisor])
        return text + _text(self._name + "_count", [labels], [counts[-1]])


def _text(name: str, labels: list[str], values: list) -> str:
    """A line for each of hundreds of series perhaps: so all of them are written at once."""
    return (name + f" %s\n{name}".join(labels) + " %s\n") % tuple(values)


def _join(labels: str, name: str, value: str) -> str:
    """Labels in their braces, or "", and one more; a percent sign is doubled, as `_text` takes it."""
    label = f'{name}="{_escape(value)}"'.replace("%", "%%")
    return f"{labels[:-1]},{label}}}" if labels else f"{{{label}}}"


def _snake(name: str) -> str:
    """A camelCase name as the format writes names."""
    text = ""
    for letter in name:
        text += "_" + letter.lower() if "A" <= letter <= "Z" else letter
    return text


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
