"""Small random programs whose dependencies are known: modules of functions, classes, constants and tables, and tasks.

Each node of a program has a number of its own, its salt, on which its value depends besides the values of the nodes
that it uses. So to give one node another salt changes what all tasks that reach it return, and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

# How a node of each kind is written, and how its value is had. `{sum}` adds the values of the nodes it uses.
_BODIES = {
    "function": "def {name}(){returns}:\n{doc}{imports}    return {salt} + {sum}",
    "default": "def {name}(start{number}={salt}){returns}:\n{doc}{imports}    return start + {sum}",
    "keyword": "def {name}(*, start{number}={salt}){returns}:\n{doc}{imports}    return start + {sum}",
    "nested": "def {name}():\n    def inner(){returns}:\n{deep}        return {salt}\n\n"
    "{imports}    return inner() + {sum}",
    "comprehension": "def {name}(){returns}:\n{doc}{imports}    return sum([x + {sum} for x in ({salt}, 1)])",
    "generator": "def {name}_items():\n{doc}{imports}    yield {salt}\n    yield {sum}\n\n\n"
    "def {name}(){returns}:\n    return sum({name}_items())",
    "circle": "def {name}_back(n{number}){returns}:\n{doc}    return {name}(n - 1)\n\n\n"
    "def {name}(n=3):\n{imports}    return {salt} + {sum} if n < 1 else {name}_back(n)",
    "lambda": "{name} = lambda: {salt} + {sum}",
    "constant": "{name}{is_number} = {salt} + {sum}",
    "list": "{name} = [{salt}, {list}]",
    "table": '{name} = {{"salt": lambda: {salt}, "others": {functions}}}',
    "closure": "def make_{name}(start):\n    def inner(){returns}:\n{deep}        return start + {sum}\n\n"
    "    return inner\n\n\n{name} = make_{name}({salt})",
    "partial": "def base_{name}(start{number}){returns}:\n{doc}{imports}    return start + {sum}\n\n\n"
    "{name} = functools.partial(base_{name}, {salt})",
    "remembered": "@functools.lru_cache(maxsize=None)\ndef {name}(){returns}:\n{doc}{imports}    return {salt} + {sum}",
    "wrapped": "def around_{name}(function):\n    @functools.wraps(function)\n    def wrapper(*given):\n    {doc}"
    "        return function(*given) + {sum}\n\n    return wrapper\n\n\n"
    "@around_{name}\ndef {name}(){returns}:\n    return {salt}",
    "class": "class {name}:\n{doc}    rate{is_number} = {salt}\n\n"
    "    def value(self){returns}:\n{deep}        return self.rate + {sum}",
    "heir": "class Base_{name}:\n    @property\n    def rate(self){returns}:\n{deep}        return {salt}\n\n\n"
    "class {name}(Base_{name}):\n    def value(self){returns}:\n        return self.rate + {sum}",
    "dataclass": "@dataclasses.dataclass\nclass {name}:\n{doc}    rate: int = {salt}\n\n"
    "    def value(self){returns}:\n        return self.rate + {sum}",
    "enum": "class {name}(enum.Enum):\n{doc}    RATE = {salt} + {sum}",
    "object": "class Of_{name}:\n    def __init__(self, rate):\n{deep}        self.rate = rate\n\n"
    "    def value(self){returns}:\n        return self.rate + {sum}\n\n\n{name} = Of_{name}({salt})",
    "task": "@task(cache_policy=CODE)\ndef {name}(){returns}:\n{doc}{imports}    return {salt} + {sum}",
}
_VALUES = {
    "constant": "{}",
    "list": "sum({})",
    "table": '({0}["salt"]() + sum(f() for f in {0}["others"]))',
    "class": "{}().value()",
    "heir": "{}().value()",
    "dataclass": "{}().value()",
    "enum": "{}.RATE.value",
    "object": "{}.value()",
}
_KINDS = [kind for kind in _BODIES if kind != "task"]
_PLAIN_CALLS = [kind for kind in _BODIES if kind not in _VALUES and kind != "task"]
_STYLES = ("import", "alias", "from", "from as", "star", "package", "inside", "from inside")
_HEAD = (
    "import dataclasses\nimport enum\nimport functools\n\nfrom kept import task\nfrom kept.cache_policies import CODE\n"
)


class Node(NamedTuple):
    """One definition of a program."""

    name: str
    module: str
    kind: str
    salt: int
    uses: tuple[str, ...]


class Program(NamedTuple):
    """A whole program; an edited one is another one."""

    nodes: tuple[Node, ...]
    """In an order in which each comes after those that it uses."""
    styles: dict[tuple[str, str], str]
    """How each module imports from each other one."""
    remarks: frozenset[str] = frozenset()
    """The nodes with comments, docstrings and annotations."""
    last: frozenset[str] = frozenset()
    """The functions that moved to the end of their modules."""
    unused: bool = False
    """Whether each module has a function and an import that nothing uses."""

    @property
    def tasks(self) -> list[str]:
        return [node.name for node in self.nodes if node.kind == "task"]

    @property
    def modules(self) -> list[str]:
        return list(dict.fromkeys(node.module for node in self.nodes))

    def reached(self, name: str) -> set[str]:
        """The nodes on which the value of a node depends, itself among them."""
        uses = {node.name: node.uses for node in self.nodes}
        found, waiting = set(), [name]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(uses[node])
        return found

    def files(self) -> dict[str, str]:
        """The text of each file."""
        texts = {module.replace(".", "/") + ".py": _Writer(self, module).text() for module in self.modules}
        return {"lib/__init__.py": "", **texts}


def random_program(dice: random.Random) -> Program:
    """Two to four modules with two to five nodes each, and two to four tasks in `job`."""
    modules = [dice.choice(("", "lib.")) + f"m{number}" for number in range(dice.randint(2, 4))]
    nodes: list[Node] = []
    for module in modules:
        for _ in range(dice.randint(2, 5)):
            nodes.append(_random_node(dice, f"n{len(nodes)}", module, dice.choice(_KINDS), nodes))
    for number in range(dice.randint(2, 4)):
        nodes.append(_random_node(dice, f"t{number}", "job", "task", nodes))
    names = [*modules, "job"]
    styles = {(user, used): dice.choice(_STYLES) for user in names for used in names}
    return Program(tuple(nodes), styles)


def _random_node(dice: random.Random, name: str, module: str, kind: str, before: list[Node]) -> Node:
    # What runs at import, and what is called without arguments, can't call tasks.
    fit = [node for node in before if node.kind != "task" or kind == "task"]
    if kind == "table":
        fit = [node for node in fit if node.kind in _PLAIN_CALLS]
    uses = dice.sample(fit, min(len(fit), dice.randint(0, 3)))
    return Node(name, module, kind, _salt(dice), tuple(node.name for node in uses))


def _salt(dice: random.Random) -> int:
    return dice.randint(10**6, 10**9)


def edited(program: Program, dice: random.Random) -> tuple[Program, set[str]]:
    """The program with one node changed, and the tasks whose results that changes."""
    node = dice.choice(program.nodes)
    nodes = tuple(other._replace(salt=_salt(dice)) if other is node else other for other in program.nodes)
    changed = {task for task in program.tasks if node.name in program.reached(task)}
    return program._replace(nodes=nodes), changed


def retouched(program: Program, dice: random.Random) -> Program:
    """The program with remarks, annotations, unused code, and functions in another order: all results are the same."""
    names = [node.name for node in program.nodes]
    at_import = {used for node in program.nodes if _runs_at_import(node) for used in program.reached(node.name)}
    movable = [node.name for node in program.nodes if node.kind == "function" and node.name not in at_import]
    return program._replace(
        remarks=frozenset(dice.sample(names, dice.randint(1, len(names)))),
        last=frozenset(dice.sample(movable, dice.randint(0, len(movable)))),
        unused=dice.random() < 0.5,
    )


def _runs_at_import(node: Node) -> bool:
    return node.kind in ("constant", "list", "table", "enum")


class _Writer:
    """Writes the text of one module, and collects its imports meanwhile."""

    def __init__(self, program: Program, module: str) -> None:
        self.program = program
        self.module = module
        self.known = {node.name: node for node in program.nodes}
        self.imports: set[str] = set()

    def text(self) -> str:
        mine = sorted(
            (n for n in self.program.nodes if n.module == self.module), key=lambda n: n.name in self.program.last
        )
        definitions = [self._definition(node) for node in mine]
        if self.program.unused:
            self.imports.add("import json")
            definitions.insert(0, "def unused():\n    return json")
        return "\n\n\n".join([_HEAD + "\n".join(sorted(self.imports)), *definitions]) + "\n"

    def _definition(self, node: Node) -> str:
        remarked = node.name in self.program.remarks
        body = _BODIES[node.kind]
        inside: set[str] = set()
        # Imports inside are for bodies that have a place for them; what runs at import needs the names at the top.
        names = {used: self._named(used, inside if "{imports}" in body else self.imports) for used in node.uses}
        values = [_VALUES.get(self.known[used].kind, "{}()").format(name) for used, name in names.items()]
        doc = '"""About it."""\n'
        text = body.format(
            name=node.name,
            salt=node.salt,
            sum=" + ".join(values) or "0",
            list=", ".join(values),
            functions="[" + ", ".join(names.values()) + "]",
            imports="".join(f"    {line}\n" for line in sorted(inside)),
            doc=f"    {doc}" if remarked else "",
            deep=f"        {doc}" if remarked else "",
            returns=" -> int" if remarked else "",
            number=": int" if remarked else "",
            is_number=": int" if remarked and node.kind in ("constant", "class") else "",
        )
        return f"# Of {node.name}.\n{text}" if remarked else text

    def _named(self, name: str, inside: set[str]) -> str:
        """How this module names a node, after an import where that takes one."""
        module = self.known[name].module
        if module == self.module:
            return name
        style = self.program.styles[self.module, module]
        where = inside if style.endswith("inside") else self.imports
        package, _, short = module.rpartition(".")
        within = "." if package and self.module.startswith("lib.") else ""
        for line, named in _import(style, within, package, module, short, name):
            where.add(line)
            return named
        raise AssertionError(style)


def _import(style: str, within: str, package: str, module: str, short: str, name: str) -> Iterator[tuple[str, str]]:
    place = f"{within}{short}" if within else module
    if style in ("import", "inside"):
        yield f"import {module}", f"{module}.{name}"
    if style in ("from", "from inside"):
        yield f"from {place} import {name}", name
    if style == "from as":
        yield f"from {place} import {name} as {name}_there", f"{name}_there"
    if style == "star":
        yield f"from {place} import *", name
    if style == "package" and package:
        yield f"from {within or package} import {short}", f"{short}.{name}"
    yield f"import {module} as {short}_there", f"{short}_there.{name}"
