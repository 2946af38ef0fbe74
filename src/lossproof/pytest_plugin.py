"""pytest plugin: case files are collected as items, one per case, adapter and dtype.

``pytest cases`` in a checkout, or any path to case files, runs them; ``--adapter`` chooses the
backends, ``-k`` the cases and ``--thorough`` the long ones, too. The options' own names are
``--lossproof-adapter`` and ``--lossproof-thorough``: where another plugin or a conftest defines an
``--adapter`` or ``--thorough``, that one is what the short name means.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lossproof.core.escape import visible
from lossproof.errors import LossproofError

# What makes a YAML file a case file, line by line; other people's YAML is left alone.
_FUNCTION = re.compile(rb"function:[ \t]+\w+[ \t]*(#.*)?\r?\n")
_CASES = re.compile(rb"cases:[ \t]*(#.*)?\r?\n?\Z")
# What may stand above a function: nothing, comments, what is indented, the other fields.
_ABOVE = re.compile(rb"\s|#|%|---|about:|thorough:")
_LONGEST = 1000
_OPTION, _SHORT = "--lossproof-adapter", "--adapter"
_THOROUGH = "--lossproof-thorough"
# Short names that nobody else may have taken, for the options' own.
_ALIASES = {_SHORT: _OPTION, "--thorough": _THOROUGH}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lossproof")
    group.addoption(
        _OPTION,
        action="append",
        default=[],
        metavar="A",
        help="lossproof adapter to test: a name, path/to/file.py[:Class], module:Class or a command "
        "(may be repeated; default: the ini option lossproof_adapters, or every installed backend). "
        f"{_SHORT} A is short for it where nobody else defines that option",
    )
    group.addoption(
        _THOROUGH,
        action="store_true",
        help="run the thorough cases, too, in files that are not named themselves. --thorough is short for "
        "it where nobody else defines that option",
    )
    parser.addini("lossproof_adapters", "adapters to test unless --adapter is given", type="args")
    parser.addini("lossproof_thorough", "adapters that always run the thorough cases, too", type="args")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None]:
    """Read ``--adapter`` and ``--thorough`` as this plugin's options, unless they are somebody else's.

    They are rewritten rather than registered: pytest refuses whoever registers a taken name second, which
    would be the project. By the end of this hook all plugins and initial conftests have had their say,
    and the command line is not parsed yet.
    """
    known = early_config.known_args_namespace
    if _is_free(parser, _SHORT):
        # Until then its value passes for a path. One that does not exist would only hide testpaths.
        known.file_or_dir = [
            path for path in known.file_or_dir if path not in _values(args) or Path(path).exists()
        ]
    yield
    for short, option in _ALIASES.items():
        if _is_free(parser, short):
            args[:] = _rewritten(args, short, option)


def _is_free(parser: pytest.Parser, short: str) -> bool:
    """Whether nobody has defined an option of this name."""
    try:
        _, unknown = parser.parse_known_and_unknown_args([short])
    except pytest.UsageError:  # it is known, and wants a value
        return False
    return short in unknown


def _rewritten(args: list[str], short: str, option: str) -> list[str]:
    end = args.index("--") if "--" in args else len(args)
    return [re.sub(rf"^{short}(?==|$)", option, arg) for arg in args[:end]] + args[end:]


def _values(args: list[str]) -> list[str]:
    return [value for option, value in pairwise(args) if option == _SHORT]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix != ".yaml" or file_path.name.endswith(".deviations.yaml"):
        return None
    return CaseFile.from_parent(parent, path=file_path) if _is_case_file(file_path) else None


def _is_case_file(path: Path) -> bool:
    """Whether a file names a function and then has cases; it is read as far as that takes."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            file.seek(3 if file.read(3) == codecs.BOM_UTF8 else 0)
            below, whole = False, True
            # Of a long line no more than its beginning is looked at, and kept.
            while line := file.readline(_LONGEST):
                if whole and below and _CASES.match(line):
                    return True
                if whole and not below:
                    below = _FUNCTION.match(line) is not None
                    if not below and not _ABOVE.match(line):
                        return False
                whole = line.endswith(b"\n")
    except OSError:
        pass
    return False


def pytest_report_header(config: pytest.Config) -> list[str]:
    if not config.getoption(_OPTION) and not _wants_cases(config):
        return []
    lines = []
    for reference in _references(config):
        loaded = _load(reference)
        info = loaded.info
        state = (
            f"skipped, {info.skipped}"
            if info.skipped is not None
            else f"{info.backend} {info.version}, {info.device}"
        )
        lines.append(visible(f"lossproof adapter {info.name}: {state}"))
    return lines


def _wants_cases(config: pytest.Config) -> bool:
    # Frameworks take seconds to import; only a run over case files needs them.
    from lossproof.core.resources import folder

    own = folder("cases")
    paths = [Path(str(a).split("::")[0]) for a in config.args]
    return any(p.suffix == ".yaml" or p.resolve().is_relative_to(own) for p in paths)


def _references(config: pytest.Config) -> list[str]:
    from lossproof.registry.find import available_names

    given: list[str] = config.getoption(_OPTION) or config.getini("lossproof_adapters")
    return given or available_names()


@cache
def _load(reference: str) -> Any:
    from lossproof.isolation.load import load_adapter, runs_apart

    try:
        return load_adapter(reference, isolate=runs_apart(reference, False))
    except LossproofError as error:
        raise pytest.UsageError(str(error)) from None


class CaseFile(pytest.File):
    """A case file; its items are named ``case[adapter-dtype]``."""

    def collect(self) -> Iterator[pytest.Item]:
        from lossproof.case.read import load_file, thorough_ids

        explicit = bool(self.config.getoption(_OPTION))
        # A file that is named has all its cases.
        all_cases = self.config.getoption(_THOROUGH) or any(
            Path(str(arg).split("::")[0]).resolve() == self.path.resolve() for arg in self.config.args
        )
        always: list[str] = self.config.getini("lossproof_thorough")
        try:
            if not (all_cases or always) and thorough_ids(self.path) is not None:
                return
            cases = load_file(self.path)
        except LossproofError as error:
            raise self.CollectError(str(error)) from None
        for reference in _references(self.config):
            loaded = _load(reference)
            if loaded.adapter is None and not explicit:
                continue  # named once in the header
            for case in cases:
                if case.huge or (case.thorough and not all_cases and loaded.info.name not in always):
                    continue
                for dtype in case.dtypes:
                    yield CaseItem.from_parent(
                        self,
                        name=f"{case.id.rsplit('/', 1)[1]}[{loaded.info.name}-{dtype}]",
                        case=case,
                        dtype=dtype,
                        loaded=loaded,
                    )


class CaseItem(pytest.Item):
    """One case on one adapter in one dtype."""

    def __init__(self, *, case: Any, dtype: str, loaded: Any, **rest: Any) -> None:
        super().__init__(**rest)
        self.case, self.dtype, self.loaded = case, dtype, loaded
        self.extra_keyword_matches |= {case.function.name, loaded.info.name}

    def runtest(self) -> None:
        from lossproof.core.verdicts import FAILURES, UNJUDGED, Verdict
        from lossproof.engine.runner import run_here

        if self.case.expected is None:
            raise CaseFailure("has no expectation yet; run lossproof certify --write")
        (records,) = run_here(self.loaded, [(self.case, self.dtype)])
        self.user_properties += [(record.output, str(record.verdict)) for record in records]
        lines = [visible(f"{r.output}: {r.verdict}: {r.message}") for r in records]
        verdicts = {record.verdict for record in records}
        if verdicts & FAILURES:
            raise CaseFailure("\n".join(lines))
        for verdict in (Verdict.DEVIATION, Verdict.BELOW):
            if verdict in verdicts:
                pytest.xfail("; ".join(lines))
        if verdicts and verdicts <= UNJUDGED:
            pytest.skip(visible(records[0].message))

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, CaseFailure):
            case = self.case
            return (
                f"{case.id} on {self.loaded.info.name} in {self.dtype}\n"
                f"{case.clause}: {visible(case.why)}\n{excinfo.value}\n"
                f"lossproof explain {case.id} --adapter {self.loaded.info.name}"
            )
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.case.line - 1, self.name


class CaseFailure(Exception):
    """A case whose outputs are not all right."""
