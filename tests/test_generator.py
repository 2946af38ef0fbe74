"""The generator's test vectors, as spec/generator.md lists them."""

from __future__ import annotations

import numpy as np

from lossproof.case.expected import sampled
from lossproof.case.random import generate, signs, splitmix64


def test_splitmix64() -> None:
    # The first two outputs for the state 0 are those of the reference implementation.
    assert splitmix64(0, 2).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert splitmix64(7, 2).tolist() == [0x63CBE1E459320DD7, 0x44C3CD7F43C661C]


def test_vectors() -> None:
    four = {"seed": 7, "shape": [4]}
    assert generate({"random": "normal", **four}).tolist() == [
        -0.65234375, -0.78515625, 0.09228515625, 0.138671875,
    ]  # fmt: skip
    assert generate({"random": "uniform", **four}).tolist() == [
        0.390625, 0.016845703125, 0.90234375, 0.58203125,
    ]  # fmt: skip
    assert generate({"random": "integers", "high": 1000, **four}).tolist() == [389, 16, 900, 582]
    assert generate({"random": "choice", "of": [10, 20, 30], **four}).tolist() == [20, 10, 30, 20]
    one_hot = generate({"random": "one_hot", "seed": 7, "shape": [1, 4]})
    assert one_hot.tolist() == [[0, 1, 0, 0]]
    assert signs(7, 4).tolist() == [1, 1, -1, -1]
    assert sampled(7, 1000, 6).tolist() == [0, 999, 900, 582, 452, 249]


def test_a_scalar_implementation_agrees() -> None:
    """The page's pseudocode, one element at a time in Python integers."""

    def z(seed: int, i: int) -> int:
        mask = 2**64 - 1
        x = (seed + (i + 1) * 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    for i, value in enumerate(generate({"random": "normal", "seed": 2**63, "shape": [50], "scale": 3})):
        fields = sum((z(2**63, i) >> (16 * k)) & 0xFFFF for k in range(4))
        exact = (fields - 131070) * (3 / 32768)
        assert abs(value - exact) <= abs(exact) * 2**-8
        assert value == np.float32(value) and value.hex() == float(np.float64(value)).hex()
        assert splitmix64(2**63, 50)[i] == z(2**63, i)
