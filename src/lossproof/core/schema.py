"""JSON Schemas of the forms, for programs and editors that know nothing of Python."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec

from lossproof.core.form import INSTEAD, Leaf, OneOf

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WIDTH = 110


def schema(form: Any, title: str) -> dict[str, Any]:
    """The JSON Schema of a form and of all that it is made of."""
    parts: dict[Any, None] = {form: None}
    special: dict[str, Any] = {}

    def hook(kind: Any) -> dict[str, Any]:
        if issubclass(kind, Leaf):
            special[kind.__name__] = dict(kind.SCHEMA)
        elif issubclass(kind, OneOf):
            choices = (choice for choice in (*kind.BY_KEY.values(), kind.OTHERWISE) if choice is not None)
            members = [member for choice in choices for member in get_args(choice) or [choice]]
            parts.update(dict.fromkeys(members))
            options = [{"$ref": f"#/$defs/{member.__name__}"} for member in members]
            special[kind.__name__] = {"description": kind.__doc__, "anyOf": options}
        else:
            raise NotImplementedError(f"{kind} is no form")
        return {"$ref": f"#/$defs/{kind.__name__}"}

    known = 0
    while known < len(parts):  # what a OneOf may be adds to what has to be described
        known = len(parts)
        (whole, *_), found = msgspec.json.schema_components([*parts], schema_hook=hook)
    defined = {name: _tidy(part) for name, part in sorted({**found, **special}.items())}
    return {"$schema": DIALECT, "title": title, **_tidy(whole), "$defs": defined}


def _tidy(part: Any) -> Any:
    """With what a form says instead, and without what says nothing: names as titles, empty defaults."""
    if isinstance(part, list):
        return [_tidy(item) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("description"), str):
        part = {**part, "description": " ".join(part["description"].replace("``", "`").split())}
    part = {**part, **part.get(INSTEAD, {})}
    silent = {INSTEAD} | ({"title"} if "properties" in part else set())
    silent |= {key for key in ("default", "required") if part.get(key, 0) in (None, [], {})}
    return {
        key: {name: _tidy(item) for name, item in value.items()} if key == "properties" else _tidy(value)
        for key, value in part.items()
        if key not in silent
    }


def text(value: Any, indent: str = "") -> str:
    """JSON with what is short on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= _WIDTH or not isinstance(value, (dict, list)):
        return line
    deeper = indent + "  "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + text(item, deeper) for item in value) + f"\n{indent}]"
    rows = (f"{deeper}{json.dumps(key)}: {text(item, deeper)}" for key, item in value.items())
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
