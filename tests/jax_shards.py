"""JAX kernels that are written for several devices, right and wrong ones, and what the cases find of them.

``python -m tests.jax_shards`` judges them in a process that has eight devices, and those of
``tests/jax_modes.py`` under modes for several devices; it prints as JSON what is right and what is wrong.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

os.environ["JAX_NUM_CPU_DEVICES"] = "8"
# Compiling takes longer than what is compiled.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from lossproof.adapters._jax_shards import shard_map
from lossproof.adapters.jax import JaxArrays

from lossproof import Unsupported
from lossproof.case.model import Case
from lossproof.case.select import select_cases
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.judge import run_case
from lossproof.isolation.load import load_adapter
from lossproof.registry.deviations import Deviations

DEVICES = 4
AXIS = "devices"
NONE = Deviations([], "", "", "")


class _Split(JaxArrays):
    """A sparse cross entropy whose arrays lie on four devices."""

    backend = "jax"

    def __init__(self) -> None:
        super().__init__()
        self.mesh = Mesh(np.array(jax.devices()[:DEVICES]), (AXIS,))

    def from_numpy(self, array: Any) -> Any:
        return jax.device_put(jnp.asarray(array), NamedSharding(self.mesh, PartitionSpec()))

    def sparse_softmax_cross_entropy(
        self, logits: Any, labels: Any, *, axis: int, weight: Any, ignore_index: Any,
        label_smoothing: float, reduction: str,
    ) -> Any:  # fmt: skip
        if weight is not None or label_smoothing or logits.size == 0:
            raise Unsupported("neither class weights, label smoothing nor nothing at all")
        classes = logits.shape[axis]
        rows, labels = jnp.moveaxis(logits, axis, -1).reshape(-1, classes), labels.reshape(-1)
        counted = jnp.full(labels.shape, True) if ignore_index is None else labels != ignore_index
        rows = jnp.where(counted[:, None], rows, 0)
        labels = jnp.where(counted, labels, 0)
        valid = (labels >= 0) & (labels < classes)
        loss = self.losses(rows, jnp.where(valid, labels, 0))
        loss = jnp.where(valid, jnp.where(counted, loss, 0), jnp.nan)
        if reduction == "none":
            return loss.reshape([n for place, n in enumerate(logits.shape) if place != axis % logits.ndim])
        return self.mean(loss, counted) if reduction == "mean" else jnp.sum(loss)

    def losses(self, rows: Any, labels: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(rows), labels[:, None], axis=-1)[:, 0]

    def mean(self, loss: Any, counted: Any) -> Any:
        return jnp.sum(loss) / jnp.sum(counted).astype(loss.dtype)

    def mapped(self, part: Any, *places: Any) -> Any:
        return shard_map(part, mesh=self.mesh, in_specs=places, out_specs=PartitionSpec())


class ClassParallel(_Split):
    """Each device has some of the classes, the last ones maybe too few: there is −inf behind them."""

    name = "class-parallel"
    filler = -jnp.inf

    def losses(self, rows: Any, labels: Any) -> Any:
        width = -(-rows.shape[1] // DEVICES)
        behind = ((0, 0), (0, width * DEVICES - rows.shape[1]))
        filled = jnp.pad(rows, behind, constant_values=self.filler)
        return self.mapped(self.part, PartitionSpec(None, AXIS), PartitionSpec())(filled, labels)

    def part(self, logits: Any, labels: Any) -> Any:
        top = self.largest(lax.stop_gradient(logits))
        total = lax.psum(jnp.sum(jnp.exp(logits - top[:, None]), axis=-1), AXIS)
        return jnp.log(total) + top - lax.psum(self.own(logits, labels), AXIS)

    def largest(self, logits: Any) -> Any:
        """The largest logit of all devices, and 0 where there is none, for −inf − (−inf) is no number."""
        top = lax.pmax(jnp.max(logits, axis=-1), AXIS)
        return jnp.where(top == -jnp.inf, 0, top)

    def own(self, logits: Any, labels: Any) -> Any:
        """The logit of the label on the device that has it, 0 on the others."""
        place = labels - lax.axis_index(AXIS) * logits.shape[1]
        here = (place >= 0) & (place < logits.shape[1])
        found = jnp.take_along_axis(logits, jnp.where(here, place, 0)[:, None], axis=-1)[:, 0]
        return jnp.where(here, found, 0)


class LargestOfTheShard(ClassParallel):
    """Each device shifts by the largest logit of its own."""

    name = "largest-of-the-shard"

    def largest(self, logits: Any) -> Any:
        return jnp.max(logits, axis=-1)

    def part(self, logits: Any, labels: Any) -> Any:
        top = self.largest(lax.stop_gradient(logits))
        top = jnp.where(top == -jnp.inf, 0, top)
        total = lax.psum(jnp.sum(jnp.exp(logits - top[:, None]), axis=-1), AXIS)
        return jnp.log(total) + lax.pmax(top, AXIS) - lax.psum(self.own(logits, labels), AXIS)


class NoOffset(ClassParallel):
    """The label is looked up as if every shard began with the first class."""

    name = "no-offset"

    def own(self, logits: Any, labels: Any) -> Any:
        width = logits.shape[1]
        here = labels // width == lax.axis_index(AXIS)
        found = jnp.take_along_axis(logits, jnp.minimum(labels, width - 1)[:, None], axis=-1)[:, 0]
        return jnp.where(here, found, 0)


class LabelOnEveryShard(ClassParallel):
    """What is looked up past the end of a shard is its last class, and all shards add theirs."""

    name = "label-on-every-shard"

    def own(self, logits: Any, labels: Any) -> Any:
        place = labels - lax.axis_index(AXIS) * logits.shape[1]
        clipped = jnp.clip(place, 0, logits.shape[1] - 1)
        found = jnp.take_along_axis(logits, clipped[:, None], axis=-1)[:, 0]
        return jnp.where(place >= 0, found, 0)


class FilledWithZeros(ClassParallel):
    """What is put behind the classes to make them divide counts as classes."""

    name = "filled-with-zeros"
    filler = 0.0


class NothingOnAShard(ClassParallel):
    """A shard that is all −inf is shifted by it before the others are asked."""

    name = "nothing-on-a-shard"

    def part(self, logits: Any, labels: Any) -> Any:
        top = self.largest(lax.stop_gradient(logits))
        mine = jnp.max(lax.stop_gradient(logits), axis=-1)
        # As an online softmax does: the sum of the shard, and then what it weighs in the whole.
        sums = jnp.sum(jnp.exp(logits - mine[:, None]), axis=-1) * jnp.exp(mine - top)
        return jnp.log(lax.psum(sums, AXIS)) + top - lax.psum(self.own(logits, labels), AXIS)


@jax.custom_vjp
def _summed_again(loss: Any) -> Any:
    return loss


_summed_again.defvjp(lambda loss: (loss, None), lambda _, seed: (lax.psum(seed, AXIS),))


class GradientOfEachDevice(ClassParallel):
    """The gradient of a loss that every device has is summed over the devices."""

    name = "gradient-of-each-device"

    def part(self, logits: Any, labels: Any) -> Any:
        return _summed_again(super().part(logits, labels))


class RowParallel(_Split):
    """Each device has some of the rows; those behind the last are not counted."""

    name = "row-parallel"

    def mean(self, loss: Any, counted: Any) -> Any:
        more = (0, -loss.shape[0] % DEVICES)
        places = PartitionSpec(AXIS)
        return self.mapped(self.part, places, places)(jnp.pad(loss, more), jnp.pad(counted, more))

    def part(self, loss: Any, counted: Any) -> Any:
        count = lax.psum(jnp.sum(counted), AXIS)
        return lax.psum(jnp.sum(loss), AXIS) / count.astype(loss.dtype)


class MeanOfMeans(RowParallel):
    """Each device divides by the number of its own rows that count."""

    name = "mean-of-means"

    def part(self, loss: Any, counted: Any) -> Any:
        here = jnp.sum(counted)
        mean = jnp.sum(loss) / jnp.maximum(here, 1).astype(loss.dtype)
        return lax.psum(mean, AXIS) / lax.psum((here > 0).astype(loss.dtype), AXIS)


class MeanOfAllRows(RowParallel):
    """Rows that are ignored, and those that were put behind the last, are counted."""

    name = "mean-of-all-rows"

    def part(self, loss: Any, counted: Any) -> Any:
        return lax.pmean(jnp.mean(loss), AXIS)


OF_CLASSES = (
    "label-on-each-of-eight",
    "maximum-on-each-of-eight",
    "classes-do-not-divide",
    "shard-of-minus-infinity",
)
OF_ROWS = ("rows-do-not-divide", "ignored-unevenly", "ignored-on-whole-shards")
RIGHT: dict[type[_Split], tuple[str, ...]] = {ClassParallel: OF_CLASSES, RowParallel: OF_ROWS}
WRONG: dict[type[_Split], tuple[str, ...]] = {
    LargestOfTheShard: ("maximum-on-each-of-eight",),
    NoOffset: ("label-on-each-of-eight",),
    LabelOnEveryShard: ("label-on-each-of-eight",),
    FilledWithZeros: ("classes-do-not-divide",),
    NothingOnAShard: ("shard-of-minus-infinity",),
    GradientOfEachDevice: ("label-on-each-of-eight",),
    MeanOfMeans: ("ignored-unevenly",),
    MeanOfAllRows: ("rows-do-not-divide",),
}
# One number of devices for each way to split a call: the others differ in it alone.
MODES = ("sharded-rows-2", "sharded-classes-4", "shard-map-8")


def findings(given: Any, cases: Iterable[Case], mode: str = "") -> dict[str, Any]:
    """How many outputs are right, and which are wrong."""
    loaded = load_adapter(given, mode=mode)
    assert loaded.adapter is not None, loaded.info.skipped
    records = [r for case in cases for r in run_case(loaded.adapter, loaded.info.name, case, "float32", NONE)]
    wrong = [f"{r.case} {r.output}: {r.message}" for r in records if r.verdict in FAILURES]
    return {"right": sum(r.verdict is Verdict.PASS for r in records), "wrong": wrong}


def main() -> None:
    from tests import jax_modes

    shards = {
        case.id.rsplit("/", 1)[1]: case
        for case in select_cases(["sparse_softmax_cross_entropy/shards"], [], False)
    }
    found = {}
    kernels: list[type[_Split]] = [*RIGHT, *WRONG]
    for cls in kernels:
        found[cls.name] = findings(cls, [shards[name] for name in RIGHT.get(cls) or WRONG[cls]])
    plain = list(select_cases(["softmax/ordinary/three-classes", "softmax/axis/middle-of-three"], [], False))
    for mode in MODES:
        found[f"right+{mode}"] = findings(jax_modes.Right, plain, mode)
        for mutant in jax_modes.MUTANTS[mode]:
            found[mutant.name] = findings(mutant, plain)
            found[f"{mutant.name}+{mode}"] = findings(mutant, plain, mode)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
