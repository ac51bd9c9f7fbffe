"""Mutants of a module: copies of it with one thing changed (see `mutation`)."""

import ast
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, Final

__all__ = ["Mutant", "mutants_of", "sample"]

SWAPPED_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
SWAPPED_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
SWAPPED_NAMES: Final = {
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "sorted": "list",
    "bisect_left": "bisect_right",
    "bisect_right": "bisect_left",
    "partition": "rpartition",
    "rpartition": "partition",
}
#: Parts of a node that stay.
KEPT: Final = frozenset({"annotation", "returns", "decorator_list", "bases", "targets", "target", "ctx"})
Functions = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Mutant:
    """One change; `function` "" = outside of any, `repeat` = how many times the same one came before it."""

    module: str
    function: str
    line: int
    end_line: int
    before: str
    after: str
    code: CodeType
    repeat: int = 0

    @property
    def key(self) -> str:
        """Name the change, without a line number: those move."""
        again = f" ({self.repeat + 1})" if self.repeat else ""
        return f"{self.module} {self.function or 'top'}: {self.before} → {self.after}{again}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(path.read_text("utf-8"))
    seen: Counter[tuple[str, str, str]] = Counter()
    for parent, name, index, function in _places(tree, ""):
        node = _at(parent, name, index)
        for new in _changes(node, bool(function)):
            _put(parent, name, index, ast.fix_missing_locations(ast.copy_location(new, node)))
            try:
                code = compile(tree, str(path), "exec", dont_inherit=True)
            except (SyntaxError, ValueError):
                continue
            finally:
                _put(parent, name, index, node)
            before, after = _wording(node, new)
            key = (function, before, after)
            first, last = _lines(node)
            yield Mutant(path.name, function, first, last, before, after, code, seen[key])
            seen[key] += 1


def _wording(node: ast.AST, new: ast.AST) -> tuple[str, str]:
    if isinstance(node, ast.Call) and isinstance(new, ast.Call) and len(new.keywords) == len(node.keywords) - 1:
        gone = next(keyword for keyword in node.keywords if keyword not in new.keywords)
        return f"{_short(node.func)}({gone.arg}={_short(gone.value)})", f"without {gone.arg}"
    return _short(node), "nothing" if isinstance(new, ast.Pass) else _short(new)


def _lines(node: Any) -> tuple[int, int]:
    if isinstance(node, ast.comprehension):
        node = node.iter
    return node.lineno, node.lineno if isinstance(node, ast.If | ast.While) else node.end_lineno


def _short(node: ast.AST) -> str:
    return re.sub(r"\s+", " ", ast.unparse(node)).replace("`", "'")


def _at(parent: ast.AST, name: str, index: int | None) -> Any:
    value = getattr(parent, name)
    return value if index is None else value[index]


def _put(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def _places(node: ast.AST, function: str, scope: str = "") -> Iterator[tuple[ast.AST, str, int | None, str]]:
    """Yield where a node may be changed, and the outermost function around it."""
    for name, value in ast.iter_fields(node):
        if name in KEPT or (name == "func" and not isinstance(value, ast.Attribute)):
            continue
        in_function = function
        if isinstance(node, Functions) and name == "body" and not function:
            in_function = scope
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_left_out(child):
                continue
            yield node, name, index, in_function
            inner = scope
            if isinstance(child, Functions | ast.ClassDef):
                inner = f"{scope}.{child.name}" if scope else child.name
            yield from _places(child, in_function, inner)


def _is_left_out(node: ast.AST) -> bool:
    """Wordings, documentation, imports, assertions of our own mistakes, names that only tools read."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert | ast.JoinedStr):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        return name.startswith("__") or isinstance(node.value, ast.Subscript | ast.BinOp)  # types by another name
    return False


def _changes(node: ast.AST, in_function: bool) -> Iterator[ast.AST]:
    if isinstance(node, ast.stmt):
        yield from _changes_of_statement(node)
    elif isinstance(node, ast.expr):
        yield from _changes_of_expression(node, in_function)
    elif isinstance(node, ast.comprehension):
        for place in range(len(node.ifs)):
            kept = [*node.ifs[:place], *node.ifs[place + 1 :]]
            new = ast.comprehension(target=node.target, iter=node.iter, ifs=kept, is_async=node.is_async)
            yield new


def _changes_of_statement(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield ast.Pass()
        case ast.AugAssign():
            yield ast.Pass()
            if type(node.op) in SWAPPED_OPERATORS:
                yield ast.AugAssign(node.target, SWAPPED_OPERATORS[type(node.op)](), node.value)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Continue():
            yield ast.Break()
        case ast.If() | ast.While() if isinstance(node.test, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr):
            yield type(node)(_not(node.test), node.body, node.orelse)


def _changes_of_expression(node: ast.expr, in_function: bool) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for new in SWAPPED_COMPARISONS[type(operator)]:
                    yield ast.Compare(node.left, [*node.ops[:place], new(), *node.ops[place + 1 :]], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
        case ast.BinOp() if type(node.op) in SWAPPED_OPERATORS:
            yield ast.BinOp(node.left, SWAPPED_OPERATORS[type(node.op)](), node.right)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.IfExp():
            yield ast.IfExp(_not(node.test), node.body, node.orelse)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as value) if " " not in value:
            yield ast.Constant(value + "~")
        case ast.Call():
            yield from _changes_of_call(node, in_function)


def _changes_of_call(node: ast.Call, in_function: bool) -> Iterator[ast.AST]:
    match node.func:
        case ast.Name(id=name) if name in SWAPPED_NAMES:
            kept = [] if name == "sorted" else node.keywords
            yield ast.Call(ast.Name(SWAPPED_NAMES[name], ast.Load()), node.args, kept)
        case ast.Attribute(attr=name) if name in SWAPPED_NAMES:
            yield ast.Call(ast.Attribute(node.func.value, SWAPPED_NAMES[name], ast.Load()), node.args, node.keywords)
    if in_function:
        for place, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield ast.Call(node.func, node.args, [*node.keywords[:place], *node.keywords[place + 1 :]])


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def sample(mutants: list[Mutant], wanted: int, seed: int) -> list[Mutant]:
    """Take the same share of every module, at least one; the same ones for the same seed."""
    if wanted <= 0 or len(mutants) <= wanted:
        return mutants
    modules: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        modules[mutant.module].append(mutant)
    chance, taken = random.Random(seed), list[Mutant]()  # noqa: S311
    for of_module in modules.values():
        number = max(1, round(len(of_module) * wanted / len(mutants)))
        taken += chance.sample(of_module, number)
    order = {id(mutant): place for place, mutant in enumerate(mutants)}
    return sorted(taken, key=lambda mutant: order[id(mutant)])
