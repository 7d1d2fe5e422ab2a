"""What the names in a source file are to MicroPython's compiler and to other modules.

Read from the syntax tree alone. Where the tree leaves open which of two roles a name has
(a variable that has the name of a module's global), it counts as both. Annotations and
docstrings leave nothing in bytecode and count for nothing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

_DIRECTIVE = re.compile(r"%[-+ #0-9.*]*[a-zA-Z%]|\{[^{}]*\}")
_WORD = re.compile(r"\w+")
# With a name that is no constant, or with code.
_LOOK_UP = frozenset(
    ("getattr", "setattr", "hasattr", "delattr", "__import__", "eval", "exec", "globals", "locals")
)


@dataclass(frozen=True)
class Function:
    """``owner``: the class it is in, or "". ``parameters``: those that come by position."""

    name: str
    owner: str
    parameters: tuple[str, ...]
    keyword_only: tuple[str, ...]
    takes_any: bool  # **


@dataclass
class Roles:
    """The names of one module, by what they are there."""

    names: set[str] = field(default_factory=set)  # whatever is an identifier
    bound: set[str] = field(default_factory=set)  # the module's globals
    inner: set[str] = field(default_factory=set)  # functions and classes within functions
    attributes: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)  # attributes that it gives to something
    methods: set[str] = field(default_factory=set)  # what is bound in the body of a class
    parameters: set[str] = field(default_factory=set)  # by position
    local: set[str] = field(default_factory=set)  # variables of functions
    imported: set[str] = field(default_factory=set)  # `from module import name`
    modules: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)  # imported from a module not ours
    keywords: set[tuple[str, str]] = field(default_factory=set)  # (what is called, name)
    starred: set[str] = field(default_factory=set)  # what is called with **
    functions: list[Function] = field(default_factory=list)
    bases: dict[str, list[str]] = field(default_factory=dict)  # of each class; "?" unclear
    strings: set[str] = field(default_factory=set)  # and their parts between dots
    words: set[str] = field(default_factory=set)  # in strings
    beginnings: set[str] = field(default_factory=set)  # of what strings are joined to
    endings: set[str] = field(default_factory=set)
    looks_up: bool = False  # things by names that it makes when it runs


def read_roles(text: str, packages: set[str]) -> Roles:
    """The roles of the names in ``text``; modules in ``packages`` are ours.

    Raises SyntaxError.
    """
    reader = _Reader(packages)
    reader.visit(ast.parse(text))
    return reader.roles


class _Reader(ast.NodeVisitor):
    def __init__(self, packages: set[str]) -> None:
        self.roles = Roles()
        self._packages = packages
        self._where = "module"
        self._owner = ""
        self._globals: set[str] = set()

    def _bind(self, name: str) -> None:
        self.roles.names.add(name)
        if self._where == "module" or name in self._globals:
            self.roles.bound.add(name)
        elif self._where == "class":
            self.roles.methods.add(name)
        else:
            self.roles.local.add(name)

    def _body(self, where: str, owner: str, body: list[ast.stmt]) -> None:
        before = self._where, self._owner, self._globals
        self._where, self._owner, self._globals = where, owner, set()
        for node in body:
            self.visit(node)
        self._where, self._owner, self._globals = before

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name)
        if self._where == "function":
            self.roles.inner.add(node.name)
        self.roles.bases[node.name] = [_called(base) or "?" for base in node.bases]
        for part in (*node.decorator_list, *node.bases):
            self.visit(part)
        self._body("class", node.name, node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind(node.name)
        if self._where == "function":
            self.roles.inner.add(node.name)
        for part in node.decorator_list:
            self.visit(part)
        owner = self._owner if self._where == "class" else ""
        self._parameters(node.name, owner, node.args)
        self._body("function", "", node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._parameters("<lambda>", "", node.args)
        self.visit(node.body)

    def _parameters(self, name: str, owner: str, args: ast.arguments) -> None:
        by_position = [arg.arg for arg in (*args.posonlyargs, *args.args)]
        keyword_only = [arg.arg for arg in args.kwonlyargs]
        function = Function(
            name, owner, tuple(by_position), tuple(keyword_only), args.kwarg is not None
        )
        self.roles.functions.append(function)
        self.roles.parameters.update(by_position)
        self.roles.names.update(by_position, keyword_only)
        for star in (args.vararg, args.kwarg):
            if star:
                self.roles.names.add(star.arg)
                self.roles.local.add(star.arg)
        for default in (*args.defaults, *args.kw_defaults):
            if default:
                self.visit(default)

    def visit_Name(self, node: ast.Name) -> None:
        self.roles.names.add(node.id)
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id)

    def visit_Global(self, node: ast.Global) -> None:
        self._globals.update(node.names)
        self.roles.bound.update(node.names)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.roles.names.add(node.attr)
        self.roles.attributes.add(node.attr)
        if node.attr == "__dict__":
            self.roles.looks_up = True
        if not isinstance(node.ctx, ast.Load):
            self.roles.stored.add(node.attr)
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.target)
            self.visit(node.value)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.roles.modules.add(alias.name)
            self._bind(alias.asname or alias.name.split(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        self.roles.modules.add(module)
        ours = module.split(".")[0] in self._packages
        for alias in node.names:
            (self.roles.imported if ours else self.roles.foreign).add(alias.name)
            self._bind(alias.asname or alias.name)

    def visit_Call(self, node: ast.Call) -> None:
        called = _called(node.func)
        if called in _LOOK_UP and not all(map(_is_certain, node.args[1:2] or node.args)):
            self.roles.looks_up = True
        for keyword in node.keywords:
            if keyword.arg is None:
                self.roles.starred.add(called)
            else:
                self.roles.names.add(keyword.arg)
                self.roles.keywords.add((called, keyword.arg))
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            self._joined(node.func.value)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Mod):
            self._joined(node.left)
        elif isinstance(node.op, ast.Add):
            if isinstance(text := _text(node.left), str):
                self.roles.beginnings.update(re.findall(r"\w+$", text))
            if isinstance(text := _text(node.right), str):
                self.roles.endings.update(re.findall(r"^\w+", text))
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            if isinstance(text := _text(part), str):
                self.roles.beginnings.update(re.findall(r"\w+$", text))
                self.roles.endings.update(re.findall(r"^\w+", text))
        self.generic_visit(node)

    def _joined(self, node: ast.expr) -> None:
        """A pattern into which something is put: what stands next to each gap."""
        if isinstance(text := _text(node), str):
            parts = _DIRECTIVE.split(text)
            for part in parts[:-1]:
                self.roles.beginnings.update(re.findall(r"\w+$", part))
            for part in parts[1:]:
                self.roles.endings.update(re.findall(r"^\w+", part))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.roles.strings.update((node.value, *node.value.split(".")))
            self.roles.words.update(_WORD.findall(node.value))


def _text(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _is_certain(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def _called(node: ast.expr) -> str:
    """The last part of what is called, ``publish`` of ``client.publish``; "" if it has none."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
