"""An adapter that is ready to run, or the reason why it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lossproof.adapter import Adapter
from lossproof.core.form import Form
from lossproof.registry.deviations import Deviations


class AdapterInfo(Form, frozen=True, omit_defaults=True):
    """An adapter that took part; ``skipped`` says why it could not.

    ``reference`` is how it was asked for, where that is not its name.
    """

    SAYS: ClassVar[str] = "an adapter has name, backend, version, device, and maybe skipped and reference"
    name: str
    backend: str
    version: str
    device: str
    skipped: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Loaded:
    """An adapter ready to run, or the reason why it is skipped."""

    info: AdapterInfo
    adapter: Adapter | None
    deviations: Deviations
    sources: str = ""
    """A digest of what the adapter is made of; nothing where that cannot be known."""


def skipped(name: str, backend: str, reason: str) -> Loaded:
    """An adapter that cannot run here."""
    info = AdapterInfo(name, backend, "", "", skipped=reason)
    return Loaded(info, None, Deviations([], name, "", ""))
