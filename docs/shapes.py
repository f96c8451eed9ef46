"""The types of the settings, for the type checker: firmware/services/shapes.pyi, made from the table."""

from firmware.services.settings.table import SETTINGS
from hal.fields import AnyOf, Base64, Boolean, Choice, Integer, ListOf, MapOf, Nullable, Number, Object, Text

HEAD = '''"""Made by `make docs` from firmware/services/settings/table.py: the values of the settings by key."""

from typing import Any, Literal, TypedDict

'''

PLAIN = ((Boolean, "bool"), (Integer, "int"), (Number, "float"), (Text, "str"), (Base64, "bytes"))


class Shapes:
    """Types of kinds; those of objects are collected as classes, the inner ones first."""

    def __init__(self):
        self.classes = {}  # name -> text

    def of(self, kind, name: str) -> str:
        """The type of a kind's values; `name` is given to it if it is an object."""
        if isinstance(kind, Object):
            return self.object(kind.fields, name)
        if isinstance(kind, Nullable):
            return self.of(kind.kind, name) + " | None"
        if isinstance(kind, ListOf):
            return f"list[{self.of(kind.kind, name + 'Item')}]"
        if isinstance(kind, MapOf):
            return f"dict[str, {self.of(kind.kind, name + 'Item')}]"
        if isinstance(kind, Choice):
            return "Literal[" + ", ".join(literal(value) for value in kind.values) + "]"
        if isinstance(kind, AnyOf):
            return "Any"
        return next(text for of_kind, text in PLAIN if isinstance(kind, of_kind))

    def object(self, fields, name: str) -> str:
        """A class for an object."""
        members = [f"    {field.name}: {self.of(field.kind, name + capital(field.name))}\n" for field in fields]
        self.classes[name] = f"class {name}(TypedDict):\n" + "".join(members)
        return name


def capital(name: str) -> str:
    """A key as the name of a class."""
    return name[0].upper() + name[1:]


def literal(value) -> str:
    """A value of a Choice as Python writes it, with the quotes of this code."""
    return '"' + value + '"' if isinstance(value, str) else repr(value)


def settings_shapes() -> str:
    """shapes.pyi."""
    shapes = Shapes()
    members = [f"    {field.name}: {shapes.of(field.kind, capital(field.name))}\n" for field in SETTINGS]
    shapes.classes["Area"] = "class Area(TypedDict):\n" + "".join(members)
    text = HEAD + "\n".join(shapes.classes.values())
    for word in ("Any", "Literal"):
        if word not in text.split("\n\n", 2)[2]:
            text = text.replace(word + ", ", "", 1)
    return text
