"""How a user of each framework writes arrays, calls and gradients: the table behind the short scripts."""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import dataclass, replace

from lossproof.adapter import Adapter


@dataclass(frozen=True)
class Framework:
    """One framework's way, as templates of source text.

    An array is written with ``{data}``, nested lists, and ``{dtype}``, a dtype's name. A call is
    written with ``{call}``, its expression; ``{arrays}``, the names of the function's arrays;
    ``{wrt}``, of those to differentiate with respect to; and ``{seed}``, the array that weights the
    result's elements, or ``ones``. It binds ``value``, and ``gradients`` in the order of ``{wrt}``.
    """

    array: str
    leaf: str
    """An array that is differentiated with respect to."""
    dtype: str
    evaluate: str
    differentiate: str
    ones: str
    numpy: str
    """A NumPy array of float64, or of an integer dtype, from ``{result}``."""
    integers: str
    imports: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    """What has to stand before the imports."""
    after: tuple[str, ...] = ()
    """What has to stand behind them."""


_TORCH = Framework(
    imports=("import torch",),
    array="torch.tensor({data}, dtype=torch.{dtype})",
    leaf="torch.tensor({data}, dtype=torch.{dtype}, requires_grad=True)",
    dtype="torch.{dtype}",
    evaluate="value = {call}",
    differentiate="value = {call}\ngradients = torch.autograd.grad(value, [{wrt}], {seed})",
    ones="torch.ones_like(value)",
    numpy="{result}.detach().double().numpy()",
    integers="{result}.numpy()",
)
_TORCH_COMPILE = replace(
    _TORCH,
    evaluate="call = torch.compile(lambda {arrays}: {call}, dynamic=False)\nvalue = call({arrays})",
    differentiate=(
        "call = torch.compile(lambda {arrays}: {call}, dynamic=False)\n"
        "value = call({arrays})\n"
        "gradients = torch.autograd.grad(value, [{wrt}], {seed})"
    ),
)
_TORCH_CUDA = replace(
    _TORCH,
    array='torch.tensor({data}, dtype=torch.{dtype}, device="cuda")',
    leaf='torch.tensor({data}, dtype=torch.{dtype}, device="cuda", requires_grad=True)',
    numpy="{result}.detach().double().cpu().numpy()",
    integers="{result}.cpu().numpy()",
)

_TENSORFLOW = Framework(
    imports=("import tensorflow as tf",),
    after=('tf.config.set_visible_devices([], "GPU")',),
    array="tf.constant({data}, dtype=tf.{dtype})",
    leaf="tf.constant({data}, dtype=tf.{dtype})",
    dtype="tf.{dtype}",
    evaluate="value = {call}",
    differentiate=(
        "with tf.GradientTape() as tape:\n"
        "    tape.watch([{wrt}])\n"
        "    value = {call}\n"
        'gradients = tape.gradient(value, [{wrt}], {seed}, unconnected_gradients="zero")'
    ),
    ones="None",
    numpy="tf.convert_to_tensor({result}).numpy().astype(float)",
    integers="{result}.numpy()",
)
_TENSORFLOW_XLA = replace(
    _TENSORFLOW,
    evaluate="value = tf.function(lambda {arrays}: {call}, jit_compile=True, autograph=False)({arrays})",
    differentiate=(
        "@tf.function(jit_compile=True, autograph=False)\n"
        "def run({arrays}):\n"
        "    with tf.GradientTape() as tape:\n"
        "        tape.watch([{wrt}])\n"
        "        value = {call}\n"
        '    return value, tape.gradient(value, [{wrt}], {seed}, unconnected_gradients="zero")\n'
        "value, gradients = run({arrays})"
    ),
)
_KERAS = replace(
    _TENSORFLOW,
    before=("import os", 'os.environ.setdefault("KERAS_BACKEND", "tensorflow")'),
)

_JAX = Framework(
    imports=("import jax", "import jax.numpy as jnp"),
    after=('jax.config.update("jax_enable_x64", True)',),
    array="jnp.array({data}, dtype=jnp.{dtype})",
    leaf="jnp.array({data}, dtype=jnp.{dtype})",
    dtype="jnp.{dtype}",
    evaluate="value = jax.jit(lambda {arrays}: {call})({arrays})",
    differentiate=(
        "call = jax.jit(lambda {wrt}: {call})\n"
        "value, pull_back = jax.vjp(call, {wrt})\n"
        "gradients = pull_back({seed})"
    ),
    ones="jnp.ones_like(value)",
    numpy="np.asarray({result}).astype(float)",
    integers="np.asarray({result})",
)

# By the names of the built-in adapters. NumPy's functions are lossproof's own, and nobody's to report to.
FRAMEWORKS = {
    "torch": _TORCH,
    "torch-compile": _TORCH_COMPILE,
    "torch-cuda": _TORCH_CUDA,
    "tensorflow": _TENSORFLOW,
    "tensorflow-xla": _TENSORFLOW_XLA,
    "keras": _KERAS,
    "jax": _JAX,
    "optax": _JAX,
}

# What makes arrays, calls and gradients in an adapter, beside the functions themselves.
_WAYS = ("__init__", "device", "from_numpy", "to_numpy", "evaluate", "value_and_gradients", "step")


def framework_of(cls: type[Adapter]) -> Framework | None:
    """The framework of an adapter that is built in, or that changes nothing but functions of one that is."""
    for base in cls.__mro__:
        if base.__module__.startswith("lossproof.adapters.") and issubclass(base, Adapter):
            same = all(getattr(cls, way, None) is getattr(base, way, None) for way in _WAYS)
            return FRAMEWORKS.get(base.name) if same else None
        if not _only_defines(base.__module__):
            return None
    return None


def _only_defines(name: str) -> bool:
    """Whether a module sets nothing: no flag of a framework, no variable of the environment."""
    try:
        body = ast.parse(inspect.getsource(sys.modules[name])).body
    except (OSError, TypeError, KeyError):
        return False
    return all(map(_defines, body))


def _defines(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.ClassDef():
            return True
        case ast.Expr(value=ast.Constant()) | ast.AnnAssign(target=ast.Name()):
            return True
        case ast.Assign(targets=targets):
            return all(isinstance(target, ast.Name) for target in targets)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case _:
            return False
