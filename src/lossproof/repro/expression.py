"""What an adapter's method comes down to for one case: one expression of the framework's own names.

The case's parameters are put into the method's syntax tree. Branches and tables that they decide are
decided, local names are replaced by what they stand for, and so are calls of the adapter's own
methods. If one expression is left that names nothing but arrays, frameworks and constants, it is the
framework's call as a user would write it. If anything else is left, there is none. Nothing of the
method is run.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any

from lossproof.adapter import Adapter

# How deep methods may call methods, and how many parts an expression may have.
MAX_DEPTH = 4
MAX_NODES = 200
# Python's own functions that a line may call.
_BUILTINS = ("tuple", "list", "len", "range", "float", "int")


@dataclass(frozen=True)
class Expression:
    """Source of an expression, and the import statements that it needs."""

    text: str
    imports: tuple[str, ...]


class _OtherError(Exception):
    """The method is more than an expression."""


def expression(
    method: Any,
    cls: type[Adapter],
    arrays: Mapping[str, int],
    weights: Mapping[str, int],
    constants: Mapping[str, Any],
    is_ours: Callable[[str], bool],
) -> Expression | None:
    """The expression that a call of a method comes down to.

    Args:
        method: what the class, or the class that it inherits from, defines for the function.
        cls: the adapter's class, whose other methods the method may call.
        arrays: numbers of dimensions of the arrays by name, in the order of the method's arguments.
        weights: the same for the keyword parameters that are arrays.
        constants: the other keyword parameters.
        is_ours: whether a module is no framework's, so that a script has nothing to import it from.
    """
    dimensions = {**arrays, **weights}
    reducer = _Reducer(cls, dimensions, is_ours)
    try:
        given = {name: _constant_tree(item) for name, item in constants.items()}
        given |= {name: ast.Name(name, ast.Load()) for name in weights}
        tree = reducer.method(method, [ast.Name(name, ast.Load()) for name in arrays], given)
    except _OtherError:
        return None
    if _size(tree, {}) > MAX_NODES or any(isinstance(node, ast.Dict) for node in ast.walk(tree)):
        return None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imports = sorted(text for name, text in reducer.imports.items() if name in names)
    return Expression(ast.unparse(ast.fix_missing_locations(tree)), tuple(imports))


def _size(tree: ast.AST, known: dict[int, int]) -> int:
    """The number of nodes. What a name stood for is shared by its uses, which may multiply."""
    if id(tree) not in known:
        known[id(tree)] = 1 + sum(_size(child, known) for child in ast.iter_child_nodes(tree))
    return known[id(tree)]


def _constant_tree(item: Any) -> ast.expr:
    if isinstance(item, (tuple, list)):
        return ast.Tuple([_constant_tree(entry) for entry in item], ast.Load())
    if item is None or type(item) in (bool, int, float, str):
        return ast.Constant(item)
    raise _OtherError


@dataclass(frozen=True)
class _Module:
    """The top level of a module: import statements and assigned expressions by the names they bind."""

    imports: Mapping[str, ast.Import | ast.ImportFrom]
    assigned: Mapping[str, ast.expr]


@cache
def _read(source: str) -> _Module:
    imports: dict[str, ast.Import | ast.ImportFrom] = {}
    assigned: dict[str, ast.expr] = {}
    bound: list[str] = []
    for node in ast.parse(source).body:
        match node:
            case ast.Import(names=aliases):
                for alias in aliases:
                    bound.append(alias.asname or alias.name.partition(".")[0])
                    imports[bound[-1]] = ast.Import([alias])
            case ast.ImportFrom(module=module, names=aliases, level=level):
                for alias in aliases:
                    bound.append(alias.asname or alias.name)
                    imports[bound[-1]] = ast.ImportFrom(module, [alias], level)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                bound.append(name)
                assigned[name] = value
    # What is bound twice stands for different things at different times.
    once = {name for name in bound if bound.count(name) == 1}
    return _Module(
        {name: node for name, node in imports.items() if name in once},
        {name: node for name, node in assigned.items() if name in once},
    )


@dataclass(frozen=True)
class _Scope:
    """What names stand for: local ones, and those of the module."""

    names: Mapping[str, ast.expr]
    module: _Module

    def of_module(self) -> _Scope:
        return _Scope({}, self.module)


class _Reducer:
    """Reduces the methods of one class; keeps the imports of the framework's names on the way."""

    def __init__(
        self, cls: type[Adapter], dimensions: Mapping[str, int], is_ours: Callable[[str], bool]
    ) -> None:
        self.cls = cls
        self.dimensions = dimensions
        self.is_ours = is_ours
        self.imports: dict[str, str] = {}
        self.depth = 0

    # -- statements ------------------------------------------------------------------------------

    def method(self, method: Any, args: Sequence[ast.expr], keywords: Mapping[str, ast.expr]) -> ast.expr:
        """The value of a call of a method, given what stands for its arguments."""
        if not isinstance(method, FunctionType) or method.__closure__ or self.depth == MAX_DEPTH:
            raise _OtherError
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
            signature = inspect.signature(method)
            bound = signature.bind(None, *args, **keywords).arguments
            module = _read(inspect.getsource(sys.modules[method.__module__]))
        except (OSError, TypeError, SyntaxError, ValueError, KeyError):
            raise _OtherError from None
        if not isinstance(tree, ast.FunctionDef) or tree.decorator_list:
            raise _OtherError
        names = {}
        for parameter in list(signature.parameters.values())[1:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise _OtherError
            absent = parameter.name not in bound
            names[parameter.name] = _constant_tree(parameter.default) if absent else bound[parameter.name]
        self.depth += 1
        try:
            return self.body(tree.body, _Scope(names, module))
        finally:
            self.depth -= 1

    def body(self, body: Sequence[ast.stmt], scope: _Scope) -> ast.expr:
        names = dict(scope.names)
        scope = _Scope(names, scope.module)
        pending = list(body)
        while pending:
            match pending.pop(0):
                case ast.Return(value=ast.expr() as value):
                    return self.reduce(value, scope)
                case ast.Expr(value=ast.Constant()):
                    pass  # a docstring
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    names[name] = self.reduce(value, scope)
                case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                    reduced = [self.reduce(value, scope) for value in values]
                    if len(targets) != len(values) or not all(isinstance(t, ast.Name) for t in targets):
                        raise _OtherError
                    names.update(zip(map(ast.unparse, targets), reduced, strict=True))
                case ast.If(test=test, body=then, orelse=otherwise):
                    pending = [*(then if self.truth(test, scope) else otherwise), *pending]
                case _:
                    raise _OtherError  # an error that is raised, a loop, a context
        raise _OtherError

    # -- expressions -----------------------------------------------------------------------------

    def reduce(self, node: ast.expr, scope: _Scope) -> ast.expr:
        """An expression with its names replaced, and what is known decided."""
        match node:
            case ast.Constant():
                return node
            case ast.Name(id=name):
                return self.name(name, scope)
            case ast.IfExp(test=test, body=then, orelse=otherwise):
                return self.reduce(then if self.truth(test, scope) else otherwise, scope)
            case ast.Subscript(value=container, slice=index):
                entry = self.entry(container, index, scope)
                return self.children(node, scope) if entry is None else self.reduce(*entry)
            case ast.Attribute(value=owner, attr=attribute):
                inner = self.reduce(owner, scope)
                if attribute == "ndim" and isinstance(inner, ast.Name) and inner.id in self.dimensions:
                    return ast.Constant(self.dimensions[inner.id])
                return ast.Attribute(inner, attribute, ast.Load())
            case ast.Call():
                return self.call(node, scope)
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                try:
                    return ast.Constant(self.truth(node, scope))
                except _OtherError:
                    return self.children(node, scope)
            case ast.BinOp() | ast.UnaryOp() | ast.Tuple() | ast.List() | ast.Slice() | ast.Dict():
                return self.children(node, scope)
            case _:
                raise _OtherError

    def children(self, node: ast.expr, scope: _Scope) -> ast.expr:
        fresh = copy.copy(node)
        for field, item in ast.iter_fields(node):
            if isinstance(item, list):
                reduced = [self.reduce(i, scope) if isinstance(i, ast.expr) else i for i in item]
                setattr(fresh, field, reduced)
            elif isinstance(item, ast.expr):
                setattr(fresh, field, self.reduce(item, scope))
        return fresh

    def name(self, name: str, scope: _Scope) -> ast.expr:
        if name in scope.names:
            return scope.names[name]
        if name in scope.module.imports:
            statement = scope.module.imports[name]
            relative = isinstance(statement, ast.ImportFrom) and statement.level
            source = statement.module if isinstance(statement, ast.ImportFrom) else statement.names[0].name
            text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(statement)))
            if relative or self.is_ours(source or "") or name in self.dimensions:
                raise _OtherError
            if self.imports.setdefault(name, text) != text:
                raise _OtherError  # two modules use the name for different things
            return ast.Name(name, ast.Load())
        if name in scope.module.assigned:
            return self.reduce(scope.module.assigned[name], scope.of_module())
        if name in _BUILTINS:
            return ast.Name(name, ast.Load())
        raise _OtherError

    def entry(self, container: ast.expr, index: ast.expr, scope: _Scope) -> tuple[ast.expr, _Scope] | None:
        """What stands in a table under a known key; the other entries need not be reducible."""
        table, within = container, scope
        if isinstance(container, ast.Name) and container.id not in scope.names:
            table, within = scope.module.assigned.get(container.id, container), scope.of_module()
        if not isinstance(table, ast.Dict):
            return None
        key = self.known(index, scope)
        for candidate, value in zip(table.keys, table.values, strict=True):
            if candidate is not None and _value(candidate) == key:
                return value, within
        raise _OtherError

    def call(self, node: ast.Call, scope: _Scope) -> ast.expr:
        args = [self.reduce(arg, scope) for arg in node.args]
        named: dict[str, ast.expr] = {}
        for keyword in node.keywords:
            value = self.reduce(keyword.value, scope)
            named |= _unpacked(value) if keyword.arg is None else {keyword.arg: value}
        function, within = node.func, scope
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            if function.value.id == "self" and "self" not in scope.names:
                return self.method(inspect.getattr_static(self.cls, function.attr, None), args, named)
        elif isinstance(function, ast.Subscript):
            function, within = self.entry(function.value, function.slice, scope) or (function, scope)
        if isinstance(function, ast.Lambda):
            parameters = [argument.arg for argument in function.args.args]
            if named or len(parameters) != len(args) or function.args.vararg:
                raise _OtherError
            names = {**within.names, **dict(zip(parameters, args, strict=True))}
            return self.reduce(function.body, _Scope(names, within.module))
        called = self.reduce(function, within)
        return ast.Call(called, args, [ast.keyword(name, value) for name, value in named.items()])

    # -- what is known ---------------------------------------------------------------------------

    def truth(self, test: ast.expr, scope: _Scope) -> bool:
        match test:
            case ast.BoolOp(op=operator, values=values):
                # One after the other as in Python: what comes later may make no sense.
                decisive = isinstance(operator, ast.Or)
                found = any(self.truth(value, scope) is decisive for value in values)
                return found is decisive
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self.truth(operand, scope)
            case _:
                return bool(self.known(test, scope))

    def known(self, node: ast.expr, scope: _Scope) -> Any:
        """The value of an expression of constants."""
        match node:
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as operator], comparators=[right]):
                if not (isinstance(right, ast.Constant) and right.value is None):
                    raise _OtherError
                subject = self.reduce(left, scope)
                array = isinstance(subject, ast.Name) and subject.id in self.dimensions
                absent = not array and _value(subject) is None
                return absent is isinstance(operator, ast.Is)
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return _compared(operator, self.known(left, scope), self.known(right, scope))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _number(self.known(left, scope)) + _number(self.known(right, scope))
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return _number(self.known(left, scope)) - _number(self.known(right, scope))
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return tuple(self.known(element, scope) for element in elements)
            case ast.Compare():
                raise _OtherError
            case _:
                return _value(self.reduce(node, scope))


def _unpacked(mapping: ast.expr) -> dict[str, ast.expr]:
    """The keyword arguments that ``**mapping`` stands for."""
    if not isinstance(mapping, ast.Dict):
        raise _OtherError
    named = {}
    for key, value in zip(mapping.keys, mapping.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise _OtherError
        named[key.value] = value
    return named


def _value(tree: ast.expr) -> Any:
    try:
        return ast.literal_eval(tree)
    except (ValueError, TypeError, SyntaxError):
        raise _OtherError from None


def _number(item: Any) -> int | float:
    if not isinstance(item, (int, float)):
        raise _OtherError
    return item


_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def _compared(operator: ast.cmpop, left: Any, right: Any) -> bool:
    try:
        return bool(_COMPARISONS[type(operator)](left, right))
    except (KeyError, TypeError):
        raise _OtherError from None
