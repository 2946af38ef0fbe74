"""Wrong implementations: the NumPy reference with one plausible bug each.

Every class is one mutant; its docstring says the bug. ``MUTANTS`` holds them with the functions they
break, the kind of mistake and, where it really happened, the upstream issue.
"""

from . import binary, cross_entropy, l2, mask_rcnn, pspnet, sigmoid, softmax, sparse, special_pairs

from . import counts, lanes, layouts, narrowing, pairs, ranks, tiles  # isort: skip  (made for many functions)

from . import everywhere  # isort: skip  (leaves out what the others have)
from .registry import KINDS, MUTANTS, Mutant

__all__ = [
    "KINDS",
    "MUTANTS",
    "Mutant",
    "binary",
    "counts",
    "cross_entropy",
    "everywhere",
    "l2",
    "lanes",
    "layouts",
    "mask_rcnn",
    "narrowing",
    "pairs",
    "pspnet",
    "ranks",
    "sigmoid",
    "softmax",
    "sparse",
    "special_pairs",
    "tiles",
]
