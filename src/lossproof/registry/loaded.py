"""An adapter that is ready to run, or the reason why it is not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lossproof.adapter import Adapter
from lossproof.registry.deviations import Deviations


@dataclass(frozen=True)
class AdapterInfo:
    """An adapter that took part; ``skipped`` says why it could not.

    ``reference`` is how it was asked for, where that is not its name.
    """

    name: str
    backend: str
    version: str
    device: str
    skipped: str | None = None
    reference: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Loaded:
    """An adapter ready to run, or the reason why it is skipped."""

    info: AdapterInfo
    adapter: Adapter | None
    deviations: Deviations


def skipped(name: str, backend: str, reason: str) -> Loaded:
    """An adapter that cannot run here."""
    info = AdapterInfo(name, backend, "", "", skipped=reason)
    return Loaded(info, None, Deviations([], name, "", ""))
