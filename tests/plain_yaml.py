"""Case files as a YAML parser of another language reads them: 1.2 numbers, hex floats left as text."""

from __future__ import annotations

import re

import yaml


class PlainLoader(yaml.CSafeLoader):
    """YAML 1.2 numbers for PyYAML."""


PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$|[-+]?\.inf$|\.nan$"),
    list("-+0123456789."),
)
