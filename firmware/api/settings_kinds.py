"""The settings as the API shows and takes them: kinds for the OpenAPI document, made from the table of settings."""

from firmware.api.kinds import Named, type_name
from firmware.services.settings.imports import FORMAT
from firmware.services.settings.table import SETTINGS
from firmware.services.settings.values import KEPT
from hal.fields import AnyOf, Choice, Field, Integer, Kind, Nullable, Object
from hal.runtime.annotations import Callable


def shown() -> Object:
    """An area as it is read, a secret only as null or "***"."""
    return Object(*[Field(key.name, _named("Settings", key, _shown), None, key.help) for key in SETTINGS])


def changes() -> Object:
    """What can be written: any of the keys, of an object any of its fields."""
    return Object(*_changes())


def exported() -> Object:
    """An export: the saved area without its secrets."""
    return Object(_FORMAT, *[Field(key.name, _exported(key), help=key.help) for key in SETTINGS])


def imported() -> Object:
    """What can be imported: an export, or a part of one."""
    return Object(Field(_FORMAT.name, _FORMAT.kind, None, _FORMAT.help), *_changes())


_FORMAT = Field("format", Integer(1, 0x7FFFFFFF), help=f"of the export; this firmware writes {FORMAT}")


def _changes() -> list[Field]:
    return [Field(key.name, _named("Change", key, _changed), None, key.help) for key in SETTINGS]


def _exported(key: Field) -> Kind:
    secrets = isinstance(key.kind, Object) and [field for field in key.kind.fields if field.secret]
    return _named("Exported", key, _public) if secrets else _named("Settings", key, _shown)


def _named(prefix: str, key: Field, make: Callable[[Field], Kind]) -> Kind:
    if not isinstance(key.kind, Object):
        return make(key)
    return Named(type_name(prefix, key.name), lambda: make(key))


def _shown(field: Field) -> Kind:
    if field.secret:
        return Nullable(Choice(KEPT))
    if isinstance(field.kind, Object):
        return Object(*[Field(inner.name, _shown(inner), help=inner.help) for inner in field.kind.fields])
    return field.kind


def _public(field: Field) -> Kind:
    if isinstance(field.kind, Object):
        open_fields = [inner for inner in field.kind.fields if not inner.secret]
        return Object(*[Field(inner.name, _public(inner), help=inner.help) for inner in open_fields])
    return field.kind


def _changed(field: Field) -> Kind:
    if field.secret:
        return AnyOf(Choice(KEPT), field.kind)
    if isinstance(field.kind, Object):
        return Object(*[Field(inner.name, _changed(inner), None, inner.help) for inner in field.kind.fields])
    return field.kind
