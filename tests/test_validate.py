"""One checker for all that comes from outside: what it says, and that nothing gets past its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
import yaml
from msgspec import UNSET, Meta, UnsetType, field

from lossproof.case import yaml as yamlio
from lossproof.core.form import Form, Leaf, OneOf, matching, must
from lossproof.core.misfit import Misfit
from lossproof.core.validate import Malformed, decode, encode, fit, load
from lossproof.core.verdicts import Verdict
from lossproof.errors import InputError


class Filling(OneOf):
    """A pie's."""

    __slots__ = ()
    SAYS: ClassVar[str] = "a weight, or a mapping with fruit or cheese"


class Weight(Leaf, Filling):
    """Grams."""

    __slots__ = ()
    SCHEMA: ClassVar[dict[str, Any]] = {"type": "number"}


class Fruit(Form, Filling, frozen=True):
    """Pieces of one kind."""

    fruit: str
    pieces: Annotated[int, must("some", ge=1)]


class Soft(Form, Filling, frozen=True, tag_field="cheese", tag="soft"):
    """To be spread."""

    KIND: ClassVar[str] = "kind of cheese"
    fat: float = 0.5


class Hard(Form, Filling, frozen=True, tag_field="cheese", tag="hard"):
    """To be cut."""

    KIND: ClassVar[str] = "kind of cheese"
    months: int = 12


Filling.BY_KEY = {"fruit": Fruit, "cheese": Soft | Hard}
Filling.OTHERWISE = Weight


class Pie(Form, frozen=True, kw_only=True):
    """One pie."""

    id: Annotated[str, matching("[a-z]+", "lower-case letters")]
    filling: Filling
    sizes: Annotated[tuple[int, ...], Meta(min_length=1)] = (1,)
    verdict: Verdict | UnsetType = UNSET
    oven: Literal["gas", "wood"] = "gas"
    prices: dict[str, float] = field(default_factory=dict)
    box: tuple[int, int] | None = None


class Menu(Form, frozen=True):
    """What there is."""

    SAYS: ClassVar[str] = "a menu has version 1 and pies"
    version: Literal[1]
    pies: tuple[Pie, ...]


def menu(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "pies": [{"id": "plain", "filling": 3}, {"id": "apple", "filling": 3, **changes}]}


APPLE = "pie 'apple'"
WRONG: list[tuple[Any, str, tuple[str | int, ...]]] = [
    ([], "the file must be a mapping, not []; a menu has version 1 and pies", ()),
    ({"version": 1}, "the file lacks the field 'pies'; a menu has version 1 and pies", ()),
    ({"version": 2, "pies": []}, "version must be 1, not 2; a menu has version 1 and pies", ("version",)),
    (
        {**menu(), "pise": 1},
        "unknown field 'pise' in the file (did you mean 'pies'?); allowed are version, pies",
        ("pise",),
    ),
    ({"version": 1, "pies": {}}, "pies must be a list, not {}", ("pies",)),
    ({"version": 1, "pies": [None]}, "pie 1 must be a mapping, not null", ("pies", 0)),
    (
        {"version": 1, "pies": [{"filling": 1}]},
        "pie 1 lacks the field 'id'; it must have id, filling",
        ("pies", 0),
    ),
    (menu(id="Apple"), "pie 'Apple': id must be lower-case letters, not 'Apple'", ("pies", 1, "id")),
    (menu(id="apple\n"), r"pie 'apple\n': id must be lower-case letters, not 'apple\n'", ("pies", 1, "id")),
    (menu(sizes=[]), f"{APPLE}: sizes is empty", ("pies", 1, "sizes")),
    (menu(sizes=[1, "x"]), f"{APPLE}: an item of sizes must be an integer, not 'x'", ("pies", 1, "sizes", 1)),
    (menu(sizes=[True]), f"{APPLE}: an item of sizes must be an integer, not true", ("pies", 1, "sizes", 0)),
    (
        menu(verdict="pas"),
        f"{APPLE}: unknown verdict 'pas' (did you mean 'pass'?); allowed are pass, variant",
        ("pies", 1, "verdict"),
    ),
    (menu(verdict=None), f"{APPLE}: verdict must be one of pass, variant", ("pies", 1, "verdict")),
    (
        menu(oven="wod"),
        f"{APPLE}: unknown oven 'wod' (did you mean 'wood'?); allowed are gas, wood",
        ("pies", 1, "oven"),
    ),
    (
        menu(prices={"one": 1, "two": "x"}),
        f"{APPLE}: prices of two must be a number, not 'x'",
        ("pies", 1, "prices", "two"),
    ),
    (
        menu(prices={"one": 10**400}),
        f"{APPLE}: prices of one must be a number, not 1000",
        ("pies", 1, "prices", "one"),
    ),
    (menu(box=[1]), f"{APPLE}: box must be a list of length 2, not [1]", ("pies", 1, "box")),
    (menu(box=[1, "x"]), f"{APPLE}: an item of box must be an integer, not 'x'", ("pies", 1, "box", 1)),
    (
        menu(filling={}),
        f"{APPLE}: filling must be a weight, or a mapping with fruit or cheese, not {{}}",
        ("pies", 1, "filling"),
    ),
    (
        menu(filling={"fruit": "apple"}),
        f"filling of {APPLE} lacks the field 'pieces'; it must have fruit, pieces",
        ("pies", 1, "filling"),
    ),
    (
        menu(filling={"fruit": "apple", "pieces": 0}),
        f"{APPLE}: pieces of filling must be some, not 0",
        ("pies", 1, "filling", "pieces"),
    ),
    (
        menu(filling={"cheese": "blue"}),
        f"{APPLE}: unknown kind of cheese 'blue' in filling; allowed are soft, hard",
        ("pies", 1, "filling", "cheese"),
    ),
    (
        menu(filling={"cheese": 3}),
        f"{APPLE}: cheese of filling must be one of soft, hard, not 3",
        ("pies", 1, "filling", "cheese"),
    ),
    (
        menu(filling={"cheese": "hard", "fat": 1}),
        f"unknown field 'fat' in filling of {APPLE}; allowed are cheese, months",
        ("pies", 1, "filling", "fat"),
    ),
    (
        menu(filling={"cheese": "soft", "fat": "x"}),
        f"{APPLE}: fat of filling must be a number, not 'x'",
        ("pies", 1, "filling", "fat"),
    ),
    # What looks like a path of msgspec's is a name like any other.
    (
        {**menu(), "a` - at `$.pies[1].id": 1},
        "unknown field 'a` - at `$.pies[1].id' in the file",
        ("a` - at `$.pies[1].id",),
    ),
    (menu(**{"a` - at `$.b": 1}), f"unknown field 'a` - at `$.b' in {APPLE}", ("pies", 1, "a` - at `$.b")),
    (
        menu(oven="x` - at `$.pies[0].id"),
        f"{APPLE}: unknown oven 'x` - at `$.pies[0].id'",
        ("pies", 1, "oven"),
    ),
]


@pytest.mark.parametrize(("value", "message", "place"), WRONG, ids=[message for _, message, _ in WRONG])
def test_what_is_wrong_is_said_with_its_place(value: Any, message: str, place: tuple[str | int, ...]) -> None:
    with pytest.raises(Misfit) as error:
        fit(value, Menu)
    assert str(error.value).startswith(message)
    assert error.value.place == place


@pytest.mark.parametrize(("value", "message", "place"), WRONG, ids=[message for _, message, _ in WRONG])
def test_json_is_told_the_same(value: Any, message: str, place: tuple[str | int, ...]) -> None:
    with pytest.raises(Misfit) as error:
        decode(json.dumps(value).encode(), Menu)
    assert str(error.value).startswith(message)
    assert error.value.place == place


@pytest.mark.parametrize(
    ("value", "message", "place"), [row for row in WRONG if row[0]], ids=[row[1] for row in WRONG if row[0]]
)
def test_yaml_is_told_the_line(
    value: Any, message: str, place: tuple[str | int, ...], tmp_path: Path
) -> None:
    """The line of the last key or member of the place, as PyYAML wrote it."""
    path = tmp_path / "menu.yaml"
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6)
    if len(text) > 400:  # the YAML reader has its own say on integers of 400 digits
        return
    with pytest.raises(InputError) as error:
        yamlio.load_as(path, Menu, text)
    assert message in str(error.value)
    line = int(str(error.value).removeprefix(f"{path}:").partition(":")[0])
    shown = text.splitlines()[line - 1]
    if place and isinstance(place[-1], str) and place[-1].isalpha():
        assert f"{place[-1]}:" in shown
    elif len(place) == 2:
        assert shown.lstrip().startswith("- ")


def test_what_fits_is_read() -> None:
    read = fit(menu(filling={"cheese": "hard"}, oven="wood", box=[1, 2], verdict="pass"), Menu)
    assert [pie.id for pie in read.pies] == ["plain", "apple"]
    assert isinstance(read.pies[0].filling, Weight) and read.pies[0].filling.value == 3
    assert read.pies[1].filling == Hard() and read.pies[1].verdict is Verdict.PASS
    assert decode(json.dumps(menu(prices={"a": 1})).encode(), Menu).pies[1].prices == {"a": 1.0}


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (b"", "it ends too early", None),
        (b'{"version": 1,', "it ends too early", None),
        (b'{"version": 1,\n"pies": [}', "invalid character", 2),
        (b'{"version": 1,\n"pies": [NaN]}', 'NaN is no JSON; write it as the text "NaN"', 2),
        (b'{"version": 1, "pies": [-Infinity]}', '-Infinity is no JSON; write it as the text "-Infinity"', 1),
        (b"[" * 100_000, "nested too deeply", None),
        (b'{"version": 1, "pies": ' + b"[" * 100_000, "nested too deeply", None),
        (b'{"\xff": 1}', "not UTF-8", None),
        (b'{"version": 1} x', "trailing characters", 1),
    ],
)
def test_what_is_no_json(text: bytes, message: str, line: int | None) -> None:
    with pytest.raises(Malformed) as error:
        decode(text, Menu)
    assert message in str(error.value)
    assert error.value.line == line


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 400, b"9" * 5000], ids=lambda n: str(n[:6]))
def test_numbers_that_python_has_not(number: bytes) -> None:
    text = b'{"version":1,"pies":[{"id":"a","filling":1,"prices":{"x":%b}}]}' % number
    with pytest.raises(Misfit, match=r"^pie .*: prices.* must be a number"):
        decode(text, Menu)
    text = text.replace(b'"prices":{"x":', b'"sizes":[').replace(b"}}", b"]}")
    if b"e" in number or len(number) > 4300:  # as many digits as Python reads
        with pytest.raises(Misfit, match=r"^pie .*: an item of sizes must be an integer"):
            decode(text, Menu)
    else:
        assert decode(text, Menu).pies[0].sizes == (int(number),)


def test_long_and_deep_values_are_cut_short() -> None:
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    for value in ("x" * 10**6, deep, list(range(10**5)), {str(n): n for n in range(10**5)}):
        with pytest.raises(Misfit) as error:
            fit(menu(box=value), Menu)
        assert len(str(error.value)) < 200


def test_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json: cannot be read: No such file"):
        load(tmp_path / "absent.json", Menu)
    path = tmp_path / "menu.json"
    path.write_bytes(b'{"version": 1,\n "pies": [1,]}')
    with pytest.raises(InputError, match=r"menu\.json:2: no JSON: trailing comma"):
        load(path, Menu)
    path.write_bytes(b'{"version": 1, "pies": [1]}')
    with pytest.raises(InputError, match=r"menu\.json: pie 1 must be a mapping, not 1"):
        load(path, Menu)


def test_what_is_written_is_json_whatever_it_holds() -> None:
    row = {"half \ud800": ["\udfff", float("nan"), float("inf"), None], "ü": (np.int64(1), np.float64(0.1))}
    assert json.loads(encode(row)) == {"half \\ud800": ["\\udfff", None, None, None], "ü": [1, 0.1]}
    assert json.loads(encode({"x": np.float32(0.5)})) == {"x": 0.5}
    assert b"\n" not in encode({"a": "\n"})
