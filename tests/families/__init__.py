"""Families of cases that are made by a rule: every length, every pair of parameters, every axis.

A family is a module of this package whose name has no underscore in front, with a function ``topics``
that yields a ``Topic`` for each case file it makes:

    def topics() -> Iterator[Topic]:
        yield Topic("sigmoid", "ranks", "An array of any rank gives one of the same shape.", [
            {"id": "rank-1", "clause": "SG-1", "level": "required", "why": "…", "dtypes": DTYPES,
             "inputs": {"logits": [0.5, -1.25]}},
        ])

``python -m tests.families --write`` writes ``cases/<function>/<name>.yaml``, and ``lossproof certify
--write`` fills in what is expected; written again, a case keeps that as long as nothing else of it
changed. Values are numbers, lists, NumPy arrays and descriptions (``{"random": "normal", …}``); fields
come in the order of ``FIELDS`` whatever their order in the mapping. Nothing needs to be registered, and
``tests/test_families.py`` says when a file is not what its family makes.
"""

from tests.families._topic import DTYPES, FIELDS, Topic, every_topic

__all__ = ["DTYPES", "FIELDS", "Topic", "every_topic"]
