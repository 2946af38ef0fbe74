"""What installs a part of lossproof that is not here, from where this lossproof came."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import distributions
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install(extra: str) -> str:
    """A line that works today: from the checkout or repository where there is no index to ask."""
    # In a checkout there may be two, of which what setuptools left there has no such note.
    notes = [found.read_text("direct_url.json") for found in distributions(name="lossproof")]
    origin = next((json.loads(note) for note in notes if note), None)
    return f"pip install {_requirement(extra, origin)}"


def _requirement(extra: str, origin: object) -> str:
    """What pip takes, by its own note of what lossproof was installed from (PEP 610)."""
    match origin:
        case {"url": str(url), "vcs_info": {"vcs": str(vcs), "commit_id": str(commit)}}:
            return shlex.quote(f"lossproof[{extra}] @ {vcs}+{url}@{commit}")
        case {"url": str(url), "dir_info": {**info}} if url.startswith("file:"):
            editable = "-e " if info.get("editable") else ""
            return editable + shlex.quote(f"{url2pathname(urlsplit(url).path)}[{extra}]")
        case {"url": str(url)}:
            return shlex.quote(f"lossproof[{extra}] @ {url}")
    # Always in quotes: the shell has a meaning for brackets.
    return f"'lossproof[{extra}]'"
