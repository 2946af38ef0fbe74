"""What is wrong with a value that does not fit its form: msgspec's finding in words for people.

msgspec says what it expected and the path (``$.cases[0].inputs``). The path is followed through the
value and its form side by side, which gives the names that people know a place by (case 'one': seed
of logits), what would be allowed there, and the keys by which a file's reader finds the line.
"""

from __future__ import annotations

import enum
import json
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET

from lossproof.core.form import Form, Leaf, OneOf, convert
from lossproof.core.text import MAX_SHOWN, shortened, suggest

Place = tuple[str | int, ...]

_STEP = re.compile(r"\.(?P<field>[^.\[\]`]+)|\[(?P<index>[0-9]+)\]|(?P<key>\[\.\.\.\])")
_UNIONS = (Union, UnionType)
# A value from outside may be large and deep.
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = MAX_SHOWN


class Misfit(ValueError):
    """A value is not of the form that is due; ``place`` holds the keys and indices that lead to it."""

    def __init__(self, message: str, place: Place = ()) -> None:
        super().__init__(message)
        self.place = place


def explain(errors: Sequence[str], value: Any, form: Any, what: str) -> Misfit:
    """What to raise for msgspec's messages, each about a part of what the one before it is about.

    Args:
        errors: ``lossproof.core.form.messages`` of msgspec's error.
        value: the whole value; UNSET where Python has no numbers for it.
        form: what it was to be.
        what: the name of the whole.
    """
    spot, finding, keyed = _Spot(form, value), "", False
    for error in errors:
        finding, _, path = error.rpartition(" - at `")
        if not finding or _is_quoted(error, spot.value):
            finding, path = error, ""
        for step in _STEP.finditer(path):
            spot = _step(spot, step) or spot
        keyed = path.startswith("key` in ")
    if keyed:
        return _wrong_name(spot, what)
    return _in_words(finding, spot, what)


def _is_quoted(error: str, value: Any) -> bool:
    """Whether what looks like a path belongs to the name of an unknown field."""
    return isinstance(value, dict) and error.removeprefix("Object contains unknown field ")[1:-1] in value


@dataclass(frozen=True)
class _Spot:
    """A place in a value and in its form."""

    form: Any
    value: Any
    place: Place = ()
    name: str = ""
    """The field; nothing for the whole and for a mapping in a list."""
    item: bool = False
    """Whether it is in the list of that name."""
    labels: tuple[str, ...] = ()
    """The mappings in lists that it is part of, outermost first: case 'one', variant 2."""
    group: str = ""
    """The field whose value by this name it is: layout, of logits."""
    whole: str = ""
    """The field that it describes together with others: logits, of which it is the seed."""
    struct: type[Form] | None = None
    """The form that it is a field of."""

    @property
    def members(self) -> list[Any]:
        """The types that its form is made of and that the value's keys do not rule out."""
        found = list(_members(self.form, self.value))
        tagged = [m for m in found if _is_struct(m) and _is_tagged(m, self.value)]
        return tagged or found

    @property
    def structs(self) -> list[type[Form]]:
        return [member for member in self.members if _is_struct(member)]

    @property
    def called(self) -> str:
        """Its name, if it has one: seed of logits, layout of logits, an item of shape."""
        parts = ["an item" if self.item else "", self.group, self.name, self.whole]
        return " of ".join(part for part in parts if part)


# -- the way there -----------------------------------------------------------------------------


def _step(spot: _Spot, step: re.Match[str]) -> _Spot | None:
    """One step of a path, if there is such a place."""
    if step["index"]:
        return _item(spot, int(step["index"]))
    for member in spot.members:
        if get_origin(member) is dict:
            inner = get_args(member)[1]
            below = _below(spot, inner, step["field"] or _wrong_key(spot.value, inner), None)
            # An array is known by its name alone.
            return below if _has_one_of(inner) else replace(below, group=spot.name)
        if _is_struct(member):
            if step["field"] == member.__struct_config__.tag_field:
                tags = tuple(other.__struct_config__.tag for other in spot.structs)
                return _below(spot, Literal[tags], step["field"], member)
            field = _fields(member).get(step["field"])
            if field is not None:
                return _below(spot, field.type, step["field"], member)
    return None


def _below(spot: _Spot, form: Any, key: str, struct: type[Form] | None) -> _Spot:
    return replace(
        spot,
        form=form,
        value=spot.value.get(key, UNSET) if isinstance(spot.value, dict) else UNSET,
        place=(*spot.place, key),
        name=key,
        item=False,
        group="",
        whole=spot.called if _has_one_of(spot.form) or (struct is not None and struct.PARTS) else "",
        struct=struct,
    )


def _item(spot: _Spot, index: int) -> _Spot | None:
    for member in spot.members:
        inner = get_args(member)
        if get_origin(member) not in (list, tuple) or not inner:
            continue
        found = replace(
            spot,
            form=inner[0] if Ellipsis in inner or index >= len(inner) else inner[index],
            value=spot.value[index] if isinstance(spot.value, list) and index < len(spot.value) else UNSET,
            place=(*spot.place, index),
            item=True,
        )
        if not found.structs:
            return found
        own = found.value.get("id") if isinstance(found.value, dict) else None
        label = f"{_singular(spot.name)} {_show(own) if isinstance(own, str) else index + 1}"
        return replace(found, name="", item=False, group="", whole="", labels=(*spot.labels, label))
    return None


def _wrong_key(value: Any, form: Any) -> str:
    """The key whose value does not fit, which msgspec does not name."""
    for key, item in value.items() if isinstance(value, dict) else ():
        try:
            convert(item, form)
        except msgspec.ValidationError:
            return str(key)
    return "…"


# -- forms ------------------------------------------------------------------------------------


def _members(form: Any, value: Any) -> Iterator[Any]:
    if get_origin(form) is Annotated:
        yield from _members(get_args(form)[0], value)
    elif get_origin(form) in _UNIONS:
        for member in get_args(form):
            yield from _members(member, value)
    elif _has_one_of(form):
        chosen = form.pick(value)
        yield from () if chosen is None else _members(chosen, value)
    elif form not in (NoneType, msgspec.UnsetType):
        yield form


def _has_one_of(form: Any) -> bool:
    """Whether it is or may be a ``OneOf`` itself, not one of the forms that derive from it."""
    if get_origin(form) is Annotated or get_origin(form) in _UNIONS:
        return any(map(_has_one_of, get_args(form)))
    return isinstance(form, type) and issubclass(form, OneOf) and not issubclass(form, (Form, Leaf))


def _is_struct(form: Any) -> bool:
    return isinstance(form, type) and issubclass(form, Form)


def _is_tagged(struct: type[Form], value: Any) -> bool:
    config = struct.__struct_config__
    return (
        config.tag_field is not None and isinstance(value, dict) and value.get(config.tag_field) == config.tag
    )


def _fields(struct: type[Form]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def _must(form: Any) -> str:
    """What its annotations say that a value must be."""
    for note in getattr(form, "__metadata__", ()):
        if isinstance(note, msgspec.Meta) and note.extra:
            return str(note.extra["must"])
    return next(filter(None, map(_must, get_args(form))), "") if get_origin(form) in _UNIONS else ""


def _options(member: Any) -> list[Any]:
    """The values of an enumeration."""
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return [option.value for option in member]
    return list(get_args(member)) if get_origin(member) is Literal else []


# -- words -------------------------------------------------------------------------------------


def _in_words(finding: str, spot: _Spot, what: str) -> Misfit:
    here = " of ".join([part for part in (spot.called, *reversed(spot.labels)) if part]) or what
    for struct in spot.structs:
        if "unknown field" in finding:
            return _unknown_field(spot, struct, here)
        if "missing required field" in finding:
            return _missing_field(spot, struct, here)
    label = "".join(f"{label}: " for label in spot.labels)
    options = [option for member in spot.members for option in _options(member)]
    must = _must(spot.form)
    if len(options) > 1 and isinstance(spot.value, str) and not must:
        kind = spot.struct.KIND if spot.struct is not None else ""
        place = f" in {spot.whole}" if spot.whole else ""
        return Misfit(
            f"{label}unknown {kind or _singular(spot.name)} {_show(spot.value)}{place}"
            f"{suggest(spot.value, options)}; allowed are {', '.join(map(str, options))}",
            spot.place,
        )
    name = f"{label}{spot.called}" if spot.called else here
    if not must and "of length >= 1" in finding:
        return Misfit(f"{name} is empty", spot.place)
    wrong = "" if spot.value is UNSET else f", not {_show(spot.value)}"
    # A field with one permitted value says what kind of file this is.
    about = spot.struct if len(options) == 1 else next(iter(spot.structs), None)
    says = f"; {about.SAYS}" if about is not None and about.SAYS else ""
    return Misfit(f"{name} must be {must or _wanted(spot, finding)}{wrong}{says}", spot.place)


def _wrong_name(spot: _Spot, what: str) -> Misfit:
    """A key of a mapping that is not what the keys there have to be."""
    where = " of ".join([part for part in (spot.called, *reversed(spot.labels)) if part]) or what
    for member in spot.members:
        if get_origin(member) is dict:
            form = get_args(member)[0]
            for key in _given(spot):
                try:
                    convert(key, form)
                except msgspec.ValidationError:
                    must = _must(form) or "text"
                    return Misfit(f"a key of {where} must be {must}, not {_show(key)}", (*spot.place, key))
    return Misfit(f"a key of {where} is not what is due there", spot.place)


def _unknown_field(spot: _Spot, struct: type[Form], here: str) -> Misfit:
    known = [name for name in (struct.__struct_config__.tag_field, *_fields(struct)) if name]
    unknown = next((str(name) for name in _given(spot) if name not in known), "")
    lead = "".join(f"{label}: " for label in spot.labels) + struct.LACKS if struct.LACKS else "unknown field"
    place = "" if struct.LACKS else f" in {here}"
    allowed = f"allowed are {', '.join(known)}" if known else "there are none"
    return Misfit(f"{lead} {unknown!r}{place}{suggest(unknown, known)}; {allowed}", (*spot.place, unknown))


def _missing_field(spot: _Spot, struct: type[Form], here: str) -> Misfit:
    tag_field = struct.__struct_config__.tag_field
    needed = [
        *filter(None, [tag_field]),
        *(name for name, field in _fields(struct).items() if field.required),
    ]
    missing = next((name for name in needed if name not in _given(spot)), "")
    rest = struct.SAYS or f"it must have {', '.join(needed)}"
    return Misfit(f"{here} lacks the field {missing!r}; {rest}", spot.place)


def _given(spot: _Spot) -> Mapping[str, Any]:
    return spot.value if isinstance(spot.value, dict) else {}


def _wanted(spot: _Spot, finding: str) -> str:
    """What a type stands for, and msgspec's words for a constraint on it."""
    if not spot.members:
        return _says(spot.form)
    constraint = re.search("` ([<>=]+ .*|of length [^,]*)", finding)
    return " or ".join(dict.fromkeys(map(_noun, spot.members))) + (f" {constraint[1]}" if constraint else "")


def _says(form: Any) -> str:
    """What a ``OneOf`` says of itself."""
    parts: Sequence[Any] = get_args(form) or [form]
    return next((str(part.SAYS) for part in parts if getattr(part, "SAYS", "")), "something else")


def _noun(member: Any) -> str:
    options = _options(member)
    if options:
        return ("one of " if len(options) > 1 else "") + ", ".join(map(str, options))
    if _is_struct(member) or get_origin(member) is dict or member is dict:
        return "a mapping"
    if get_origin(member) in (list, tuple) or member is list:
        return "a list"
    return {int: "an integer", float: "a number", str: "text", bool: "true or false"}.get(
        member, "something else"
    )


def _singular(name: str) -> str:
    return name.removesuffix("s")


def _show(value: Any) -> str:
    """A value as its file has it, as far as that is short."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else _REPR.repr(value)
    return shortened(text)
