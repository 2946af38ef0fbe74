"""Write a standalone script of one case on one adapter, to be filed upstream.

The script needs NumPy, ml_dtypes and the framework, and nothing of lossproof: it holds the parts of
the adapter's source that the case uses, the inputs, and the expected outputs.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from lossproof.adapter import Adapter
from lossproof.case import random as generator
from lossproof.case.expected import Sketch
from lossproof.case.inputs import is_description
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.errors import LossproofError, Unavailable, Unsupported
from lossproof.isolation.remote import RemoteAdapter

_HELPERS = '''
def close(actual, expected, rel, abs_, exact_zeros, dtype):
    """Whether an output is what the definition says, within its derived tolerance."""
    actual, expected = np.asarray(actual), np.asarray(expected, dtype=np.float64)
    if actual.shape != expected.shape or (rel is not None and str(actual.dtype) != dtype):
        return False
    if rel is None:
        return bool((actual == expected).all())
    actual = actual.astype(np.float64)
    with np.errstate(all="ignore"):
        ok = np.abs(actual - expected) <= abs_ + rel * np.abs(expected)
        ok |= (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        largest = float(ml_dtypes.finfo(dtype).max)
        ok |= np.isinf(actual) & (np.abs(expected) > largest) & (actual * expected > 0)
    if exact_zeros:
        ok &= (expected != 0) | (actual == 0)
    return bool(ok.all())
'''

_SUMS = '''
def block_sums(tensor, seed, patterns, blocks):
    """Sums over blocks of the flattened tensor against fixed patterns of signs."""
    flat = np.asarray(tensor).astype(np.float64).ravel()
    cuts = [flat.size * b // blocks for b in range(blocks + 1)]
    return np.array([[(flat * signs(seed + p, flat.size))[a:b].sum()
                      for a, b in zip(cuts, cuts[1:])] for p in range(patterns)])
'''


def reproduce(case: Case, adapter: Adapter, dtype: str) -> str:
    """The script's text. It exits with status 1 if the outputs are not those expected.

    Raises:
        LossproofError: the adapter's source cannot be read, or the case has no expectation.
    """
    if case.expected is None:
        raise case.complain("has no expectation yet; run lossproof certify --write")
    if getattr(adapter, case.function.name, None) is None:
        raise LossproofError(
            f"adapter {adapter.name!r} defines no {case.function.name}: nothing to reproduce"
        )
    if type(adapter).value_and_gradients is Adapter.value_and_gradients:
        # A backend without gradients is shown by its value alone.
        case = replace(case, expected={"value": case.expected["value"]})
    assert case.expected is not None
    wrt = [n.removeprefix("gradients.") for n in case.expected if n != "value"]
    described = any(is_description(spec) for spec in [*case.inputs.values(), case.cotangent])
    sketched = any(isinstance(item, Sketch) for item in case.expected.values())
    info = f"{adapter.backend or adapter.name} {adapter.version} on {adapter.device}"
    parts = [
        f'"""{case.id} in {dtype} with {info}.\n\n{_wrap(case.why)}\n"""',
        *_adapter_source(adapter, case, bool(wrt)),
        *(_generator_source() if described or sketched else ()),
        _HELPERS.strip(),
        *([_SUMS.strip()] if sketched else ()),
        "\n".join([*_main(case, adapter, dtype, wrt), *_judgement(case, dtype)]),
    ]
    return "\n\n\n".join(parts) + "\n"


_PIPE = '''
def encode(array):
    """An array as the protocol has it: base64 of little-endian bytes."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"shape": list(array.shape), "dtype": array.dtype.name, "data": data}


def decode(message):
    dtype = ml_dtypes.bfloat16 if message["dtype"] == "bfloat16" else message["dtype"]
    data = message["data"]
    if isinstance(data, str):
        return np.frombuffer(base64.b64decode(data), dtype).reshape(message["shape"])
    numbers = [float(x) if isinstance(x, str) else x for x in data]
    return np.array(numbers).astype(dtype).reshape(message["shape"])


def ask(message):
    process.stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())
'''


def reproduce_command(case: Case, adapter: RemoteAdapter, dtype: str) -> str:
    """The same for an adapter that is a command: the script starts it and sends it the case.

    Raises:
        LossproofError: the case has no expectation.
    """
    if case.expected is None:
        raise case.complain("has no expectation yet; run lossproof certify --write")
    wrt = [n.removeprefix("gradients.") for n in case.expected if n != "value"]
    start = adapter.start
    described = any(is_description(spec) for spec in [*case.inputs.values(), case.cotangent])
    sketched = any(isinstance(item, Sketch) for item in case.expected.values())
    parts = [
        f'"""{case.id} in {dtype} with {start.backend} {start.version} on {start.device}.\n\n'
        f'{_wrap(case.why)}\n"""',
        "import base64\nimport json\nimport subprocess\n\nimport ml_dtypes\nimport numpy as np",
        *(_generator_source() if described or sketched else ()),
        _PIPE.strip(),
        _HELPERS.strip(),
        *([_SUMS.strip()] if sketched else ()),
        "\n".join([*_exchange(case, adapter.command, dtype, wrt), *_judgement(case, dtype)]),
    ]
    return "\n\n\n".join(parts) + "\n"


def _exchange(case: Case, command: tuple[str, ...], dtype: str, wrt: list[str]) -> Iterator[str]:
    integers = {array.name: array.integer and dtype in FLOAT_TYPES for array in case.function.arrays}
    weights = {p.name for p in case.function.parameters if p.kind == "array"}
    yield "nan, inf = float('nan'), float('inf')"
    yield f"command = {list(command)!r}"
    yield "process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)"
    yield "ask({'command': 'start', 'protocol': 1})"
    yield "request = {"
    yield f"    'command': 'run', 'id': 1, 'function': {case.function.name!r},"
    yield "    'arrays': {"
    for name, spec in case.inputs.items():
        yield f"        {name!r}: encode({_array(spec, 'int64' if integers[name] else dtype)}),"
    yield "    },"
    yield "    'parameters': {"
    for name, value in case.parameters.items():
        is_array = name in weights and value is not None
        yield f"        {name!r}: {f'encode({_array(value, dtype)})' if is_array else repr(value)},"
    yield "    },"
    yield f"    'wrt': {wrt!r},"
    if case.cotangent is not None:
        yield f"    'cotangent': encode({_array(case.cotangent, dtype)}),"
    yield "}"
    yield "answer = ask(request)"
    if wrt:
        yield "if 'value' not in answer:"
        yield "    print('gradients:', answer.get('error') or answer.get('unsupported'))"
        yield "    answer = ask({**request, 'wrt': []})"
    yield "process.stdin.close()"
    yield "if 'value' not in answer:"
    yield "    print(answer.get('error') or answer.get('unsupported'))"
    yield "    raise SystemExit(1)"
    yield "outputs = {'value': decode(answer['value'])}"
    yield "outputs.update((f'gradients.{k}', decode(g)) for k, g in answer.get('gradients', {}).items())"


def _wrap(text: str) -> str:
    return textwrap.fill(text[0].upper() + text[1:] + ".", 96)


# -- the adapter's source --------------------------------------------------------------------


def _adapter_source(adapter: Adapter, case: Case, gradients: bool) -> Iterator[str]:
    classes = [c for c in type(adapter).__mro__ if c not in (Adapter, object)]
    members = [_members(cls) for cls in classes]
    wanted = {case.function.name, f"_grad_{case.function.name}", "__init__", "from_numpy"}
    wanted |= {"to_numpy", "evaluate"} | ({"value_and_gradients"} if gradients else set())
    while True:
        found = {
            name
            for member in members
            for key in wanted & member.keys()
            for name in _attributes(member[key][0])
        }
        if found <= wanted:
            break
        wanted |= found
    bodies = [{key: member[key] for key in member if key in wanted} for member in members]
    modules = list(dict.fromkeys(sys.modules[cls.__module__] for cls in reversed(classes)))
    used = {name for body in bodies for node, _ in body.values() for name in _names(node)}
    header, statements = _module_parts(modules, used)
    yield "\n".join(dict.fromkeys(["import ml_dtypes", "import numpy as np", *header]))
    yield "\n\n\n".join([_stand_ins(gradients), *statements])
    for cls, body in reversed(list(zip(classes, bodies, strict=True))):
        bases = ", ".join(base.__name__ for base in cls.__bases__)
        text = "\n\n".join(textwrap.indent(source, "    ") for _, source in body.values())
        yield f"class {cls.__name__}({bases}):\n{text or '    pass'}"


def _stand_ins(gradients: bool) -> str:
    """What the adapter takes from lossproof, in its shortest form."""
    base = ["from_numpy", "to_numpy", "evaluate"]
    methods = "\n\n".join(
        _without_annotations(textwrap.dedent(inspect.getsource(getattr(Adapter, name)))) for name in base
    )
    call = (
        "class Call:\n"
        "    def __init__(self, adapter, function, parameters):\n"
        "        self.adapter, self.function, self.parameters = adapter, function, parameters\n\n"
        "    def __call__(self, *arrays):\n"
        "        return getattr(self.adapter, self.function)(*arrays, **self.parameters)"
    )
    return (
        f"class {Unsupported.__name__}(Exception):\n    pass\n\n\n"
        f"class {Unavailable.__name__}(Exception):\n    pass\n\n\n{call}\n\n\n"
        f"class {Adapter.__name__}:\n{textwrap.indent(methods, '    ')}"
    )


def _without_annotations(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            for argument in [*every, node.args.vararg, node.args.kwarg]:
                if argument is not None:
                    argument.annotation = None
            if ast.get_docstring(node):
                node.body = node.body[1:]
    return ast.unparse(tree)


@cache
def _source(module: ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        raise LossproofError(f"the source of {module.__name__} cannot be read") from None


@cache
def _members(cls: type) -> dict[str, tuple[ast.AST, str]]:
    """Methods and class attributes of one class: syntax tree and source without annotations."""
    tree = ast.parse(_source(sys.modules[cls.__module__]))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            found: dict[str, tuple[ast.AST, str]] = {}
            for item in node.body:
                source = _without_annotations(ast.unparse(item))
                if isinstance(item, ast.FunctionDef):
                    found[item.name] = (item, source)
                elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
                    found[item.targets[0].id] = (item, source)
            return found
    raise LossproofError(f"the source of class {cls.__name__} cannot be found")


def _attributes(node: ast.AST) -> set[str]:
    """Names that a method looks up on itself or its base class."""
    return {
        item.attr
        for item in ast.walk(node)
        if isinstance(item, ast.Attribute)
        and (
            (isinstance(item.value, ast.Name) and item.value.id == "self")
            or (isinstance(item.value, ast.Call) and getattr(item.value.func, "id", "") == "super")
        )
    }


def _names(node: ast.AST) -> set[str]:
    # Annotations are dropped from the script, so what only they name is not needed.
    stripped = ast.parse(_without_annotations(ast.unparse(node)))
    return {item.id for item in ast.walk(stripped) if isinstance(item, ast.Name)}


def _module_parts(modules: Iterable[ModuleType], used: set[str]) -> tuple[list[str], list[str]]:
    """Imports, and the other module-level statements, that the used names need."""
    imports: list[str] = []
    statements: list[str] = []
    for module in modules:
        body = ast.parse(_source(module)).body
        bound = {name: node for node in body for name in _bound_names(node)}
        pending = list(used)
        needed: set[str] = set(used)
        while pending:
            node = bound.get(pending.pop())
            if isinstance(node, (ast.FunctionDef, ast.Assign)):
                fresh = _names(node) - needed
                needed |= fresh
                pending += fresh
        effects = [n for n in body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
        needed |= {name for node in effects for name in _names(node)}
        for node in body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                outside = not (
                    isinstance(node, ast.ImportFrom)
                    and (node.level or node.module in ("lossproof", "__future__"))
                )
                if outside and _bound_names(node) & needed:
                    imports.append(ast.unparse(node))
            elif node in effects:
                # Settings stand where they stood: before or after the imports around them.
                imports.append(ast.unparse(node))
            elif isinstance(node, (ast.FunctionDef, ast.Assign)) and _bound_names(node) & needed:
                statements.append(_without_annotations(ast.unparse(node)))
    return imports, list(dict.fromkeys(statements))


def _bound_names(node: ast.AST) -> set[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()


def _generator_source() -> Iterator[str]:
    constants = "\n".join(
        f"{name} = np.uint64({int(getattr(generator, name)):#x})" for name in ("_GAMMA", "_MIX1", "_MIX2")
    )
    yield f"import math\n\n{constants}"
    for function in (
        generator.splitmix64, generator.round_significand, generator._scaled, generator.generate,
        generator.signs.__wrapped__,
    ):  # fmt: skip
        source = re.sub(r"@lru_cache.*\n", "", textwrap.dedent(inspect.getsource(function)))
        yield _without_annotations(source)


# -- the case --------------------------------------------------------------------------------


def _main(case: Case, adapter: Adapter, dtype: str, wrt: list[str]) -> Iterator[str]:
    assert case.expected is not None
    kinds = {array.name: array.integer for array in case.function.arrays}
    parameter_kinds = {p.name: p.kind for p in case.function.parameters}
    yield "nan, inf = float('nan'), float('inf')"
    yield f"adapter = {type(adapter).__name__}()"
    yield "arrays = {"
    for name, spec in case.inputs.items():
        kind = "int64" if kinds[name] and dtype in FLOAT_TYPES else dtype
        yield f"    {name!r}: adapter.from_numpy({_array(spec, kind)}),"
    yield "}"
    for name, layout in case.layout.items():
        yield f"# The case lays out {name} {layout} in memory; this script does not."
    yield "parameters = {"
    for name, value in case.parameters.items():
        is_array = parameter_kinds[name] == "array" and value is not None
        text = f"adapter.from_numpy({_array(value, dtype)})" if is_array else repr(value)
        yield f"    {name!r}: {text},"
    yield "}"
    yield f"call = Call(adapter, {case.function.name!r}, parameters)"
    yield "outputs = {}"
    if wrt:
        extra = (
            ""
            if case.cotangent is None
            else f", cotangent=adapter.from_numpy({_array(case.cotangent, dtype)})"
        )
        yield (f"value, gradients = adapter.value_and_gradients(call, arrays, {tuple(wrt)!r}{extra})")
        yield "outputs['value'] = adapter.to_numpy(value)"
        yield "outputs.update((f'gradients.{k}', adapter.to_numpy(g)) for k, g in gradients.items())"
    else:
        yield "outputs['value'] = adapter.to_numpy(adapter.evaluate(call, arrays))"


def _judgement(case: Case, dtype: str) -> Iterator[str]:
    assert case.expected is not None
    yield ""
    yield f"# What the definition says ({case.clause}), rounded to float64, and its tolerance."
    yield "expected = {"
    for name, item in case.expected.items():
        bound = case.tolerances.get(dtype, {}).get(name)
        limits = f"{bound.rel!r}, {bound.abs!r}, {bound.zeros!r}" if bound else "None, None, False"
        values = item.sums if isinstance(item, Sketch) else item
        yield f"    {name!r}: ({_literal(values)}, {limits}),"
    yield "}"
    yield "right = True"
    yield "for name, (want, rel, abs_, exact_zeros) in expected.items():"
    yield "    if name not in outputs:"
    yield "        continue"
    yield "    got = outputs[name]"
    yield f"    dtype = {dtype!r}"
    sketches = [n for n, item in case.expected.items() if isinstance(item, Sketch)]
    if sketches:
        patterns = {
            n: (item.seed, *item.sums.shape) for n, item in case.expected.items() if isinstance(item, Sketch)
        }
        yield f"    if name in {sketches!r}:"
        yield f"        got = block_sums(got, *{patterns!r}[name])"
        yield "        dtype = 'float64'"
    yield "    ok = close(got, want, rel, abs_, exact_zeros, dtype)"
    yield "    right &= ok"
    yield '    print(f\'{name}: {"as defined" if ok else "DEVIATES"}\')'
    yield "    print('  got     ', np.array2string(np.asarray(got), threshold=20, prefix=' ' * 11))"
    yield "    want = np.asarray(want)"
    yield "    print('  expected', np.array2string(want, threshold=20, prefix=' ' * 11))"
    yield "raise SystemExit(0 if right else 1)"


def _array(spec: Any, dtype: str) -> str:
    cast = "ml_dtypes.bfloat16" if dtype == "bfloat16" else f"np.{dtype}"
    if not is_description(spec):
        return f"np.array({_literal(spec)}, dtype={cast})"
    plain = dict(spec)
    if "set" in plain:
        places = plain.pop("set")
        base = _array(plain, "float64" if dtype in FLOAT_TYPES else "int64")
        text = f"(lambda a: ([a.__setitem__(tuple(i), v) for i, v in {places!r}], a)[1])({base})"
        return f"{text}.astype({cast})"
    if "full" in plain:
        return f"np.full({tuple(plain['shape'])!r}, {plain['full']!r}, dtype={cast})"
    return f"generate({plain!r}).astype({cast})"


def _literal(values: Any) -> str:
    array = np.asarray(values)
    if array.size > 16 and np.unique(array).size == 1:
        return f"np.full({array.shape!r}, {array.flat[0].item()!r})"
    if not array.size:
        return f"np.zeros({array.shape!r})"
    return repr(array.tolist())
