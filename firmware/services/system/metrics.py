"""The metrics: the declared state in Prometheus' text format.

Every number, truth value and choice of the state table is a series, named after its key and field with its unit as
OpenMetrics has it (seconds, bytes, ratio; `_total` where it only grows). What is null has none. Names, types and help
come from the table, so that a new field of the state is a new metric.
"""

from firmware.services.system.state_table import STATE, Code, Histogram, Label, Total
from hal.fields import Boolean, Choice, Field, Integer, ListOf, MapOf, Nullable, Number, Object
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
        lines = _Family(name, kind, unit)
        lines.add("", value)
        yield lines.text(help)


def _map_families(name: str, kind: MapOf, value: dict, help: str, unit: str) -> Iterator[str]:
    """The series of an object of like members, whose names become a label."""
    label = kind.name.replace(" ", "_")
    fields = kind.kind.fields if isinstance(kind.kind, Object) else (Field("", kind.kind, help=help, unit=unit),)
    members = [(f'{label}="{_escape(member)}"', value[member]) for member in value]
    for field in fields:
        family = _Family(f"{name}_{_snake(field.name)}".rstrip("_"), field.kind, field.unit)
        for labels, member in members:
            inner = member[field.name] if field.name else member
            if inner is not None:
                family.add(labels, inner)
        yield family.text(field.help)


class _Family:
    """The lines of all series of one name."""

    def __init__(self, name: str, kind: Any, unit: str) -> None:
        self._kind = kind.kind if isinstance(kind, Nullable) else kind
        spoken, last, self._divisor = _UNITS.get(unit, ("", "", 1))
        words = [word for word in name.split("_") if word != spoken]
        self._label = words[-1]
        words += [last] if last else []
        words += ["total"] if isinstance(self._kind, Total) else []
        self._name = "_".join(words)
        self._lines = ""

    def add(self, labels: str, value: Any) -> None:
        """Add the series of a value that is not null; none where it is of a kind that has none."""
        kind = self._kind
        if isinstance(kind, Histogram):
            self._add_histogram(kind.bounds, labels, value)
        elif isinstance(kind, Boolean):
            self._add("", labels, str(int(value)))
        elif isinstance(kind, (Integer, Number)) and not isinstance(kind, Code):
            self._add("", labels, str(value if self._divisor == 1 else value / self._divisor))
        elif isinstance(kind, ListOf):
            self._add("", labels, str(len(value)))
        elif isinstance(kind, Choice):
            for one in kind.values:
                self._add("", _join(labels, f'{self._label}="{_escape(str(one))}"'), str(int(one == value)))
        elif isinstance(kind, Label):
            self._add("", _join(labels, f'{self._label}="{_escape(value)}"'), "1")

    def text(self, help: str) -> str:
        """The lines with what they mean, nothing where there are none."""
        if not self._lines:
            return ""
        kind = self._kind
        type_ = "histogram" if isinstance(kind, Histogram) else "counter" if isinstance(kind, Total) else "gauge"
        return f"# HELP {self._name} {_escape(help)}\n# TYPE {self._name} {type_}\n{self._lines}"

    def _add(self, suffix: str, labels: str, value: str) -> None:
        self._lines += f"{self._name}{suffix}{{{labels}}} {value}\n" if labels else f"{self._name}{suffix} {value}\n"

    def _add_histogram(self, bounds: tuple, labels: str, value: dict) -> None:
        """The buckets hold what is no more than their bound, so each counts those below it too."""
        count = 0
        for index, more in enumerate(value["counts"]):
            count += more
            limit = str(bounds[index] / self._divisor) if index < len(bounds) else "+Inf"
            self._add("_bucket", _join(labels, f'le="{limit}"'), str(count))
        self._add("_sum", labels, str(value["sum"] / self._divisor))
        self._add("_count", labels, str(count))


def _join(labels: str, label: str) -> str:
    return f"{labels},{label}" if labels else label


def _snake(name: str) -> str:
    """A camelCase name as the format writes names."""
    text = ""
    for letter in name:
        text += "_" + letter.lower() if "A" <= letter <= "Z" else letter
    return text


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
