"""The house is as docs/architecture.md says: layers, purity, sockets, sizes, and a test file for each module."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "scanner"
DOCUMENT = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")

IMPURE = {
    "asyncio",
    "asyncio_throttle",
    "concurrent",
    "dns",
    "http",
    "multiprocessing",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
}
OPENS = {"socket", "socketserver", "select", "selectors", "subprocess", "multiprocessing", "http"}
OPENING_CALLS = {
    "create_connection",
    "create_server",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "open_connection",
    "sock_connect",
    "start_server",
    "Popen",
}
CLOCKS = {"now", "utcnow", "today", "monotonic", "perf_counter", "time_ns", "urandom", "token_hex", "token_bytes"}

# Modules outside net that open sockets or start processes; the document says why.
OPENERS = {
    "demo",
    "demo_proxies",
    "deep",
    "processes",
    "listener/server",
    "listener/opening",
    "listener/remote",
    "listen_terminal",
}

# Who else than a TaskGroup holds tasks: a server's connections come and go one by one. Each task is kept under one of
# these names, and waited for at the end or cancelled with its connection.
KEEPERS = {"listener/server": ("_accepting", "_opening", "_serving")}

# Modules without a test file of their own, and why.
UNTESTED_ALONE = {
    "store/stored": "types only; every test of the store uses them",
    "store/migrations/env": "run by Alembic; tests/store/test_schema.py migrates",
    "model/exchange": "types only, used by every test of answers",
    "model/checks": "types only, used by the tests of recognition and of importers",
    "model/declared": "types only, used by the tests of importers and of declared",
    "importers/registry_model": "types only, used by the tests of every registry format",
    "model/certificates": "types only, used by the tests of certificates",
    "model/outbound": "types only, used by the tests of outbound",
    "model/rows": "a tuple, used by the tests of the lane and of packing",
}


def _modules():
    """Every module but package files, by its path below scanner without suffix."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if not name.endswith("__init__") and not name.startswith("store/migrations/versions/"):
            found[name] = path
    return found


MODULES = _modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def _section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL).group(1)


def _rows(text, count):
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [row for row in cells if len(row) == count and not set(row[0]) <= {"-"} and row[0] not in {"row", "module"}]


LAYERS = {row[0]: row for row in _rows(_section("Modules"), 4)}
LAYER_OF = {module: name for name, row in LAYERS.items() for module in re.findall(r"`([^`]+)`", row[1])}
ARROWS = {name: {part.strip() for part in row[2].split(",") if part.strip()} for name, row in LAYERS.items()}
PURE = {name for name, row in LAYERS.items() if "pure" in row[3]}
OTHERS = {row[0].strip("`"): row[1] for row in _rows(_section("Modules"), 2)}


def _layer(module):
    return LAYER_OF[module.split("/")[0]]


def _imports(tree):
    """Every module that is imported anywhere in it, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            yield node.module
            if node.module == "scanner" or node.module.count(".") == 1:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own_imports(tree):
    for name in _imports(tree):
        parts = name.split(".")
        if parts[0] == "scanner" and len(parts) > 1 and (parts[1] in LAYER_OF):
            yield parts[1]


def _names(tree):
    """Every attribute and plain name that is used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):  # a field may be called open
            yield node.id


def test_every_module_has_its_row_and_every_row_its_modules():
    tops = {name.split("/")[0] for name in MODULES} | {"data", "policies"}
    assert set(LAYER_OF) == tops
    assert {target for targets in ARROWS.values() for target in targets} <= set(LAYERS)


def test_the_arrows_have_no_circle():
    left = dict(ARROWS)
    while left:
        free = {name for name, targets in left.items() if not targets & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {name: targets for name, targets in left.items() if name not in free}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_only_where_the_document_says(module):
    layer = _layer(module)
    used = {LAYER_OF[name] for name in _own_imports(TREES[module])}
    assert used <= ARROWS[layer] | {layer}


def test_no_arrow_is_in_the_document_that_nobody_uses():
    used = {name: set() for name in LAYERS}
    for module, tree in TREES.items():
        used[_layer(module)] |= {LAYER_OF[name] for name in _own_imports(tree)}
    assert {name: targets - used[name] for name, targets in ARROWS.items() if targets - used[name]} == {}


def _says_it_is_pure(module):
    return re.search(r"\bPure\b", ast.get_docstring(TREES[module]) or "") is not None


@pytest.mark.parametrize("module", [name for name in MODULES if _layer(name) in PURE or _says_it_is_pure(name)])
def test_pure_modules_have_no_socket_clock_file_or_dice(module):
    tree = TREES[module]
    assert {part for name in _imports(tree) for part in (name, name.split(".")[0])} & IMPURE == set()
    assert set(_names(tree)) & (OPENING_CALLS | CLOCKS | {"open"}) == set()


@pytest.mark.parametrize("module", [name for name in MODULES if _layer(name) != "net"])
def test_only_net_opens_sockets_and_who_else_does_is_named(module):
    tree = TREES[module]
    opens = {name.split(".")[0] for name in _imports(tree)} & OPENS or set(_names(tree)) & OPENING_CALLS
    assert bool(opens) == (module in OPENERS)


def test_exceptions_have_a_reason():
    assert OTHERS.keys() >= OPENERS
    assert all(OTHERS.values())
    assert all(UNTESTED_ALONE.values())


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_small_or_say_why_not(module):
    count = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert count <= 400 or module in OTHERS


def test_no_large_module_is_named_that_is_none():
    named = OTHERS.keys() - OPENERS
    assert {name for name in named if len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 400} == set()


def _test_file(module):
    folder, _, name = module.rpartition("/")
    return REPOSITORY / "tests" / folder / f"test_{name}.py"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test_file(module):
    assert _test_file(module).is_file() != (module in UNTESTED_ALONE)


def test_every_exception_is_a_module():
    assert UNTESTED_ALONE.keys() <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_no_task_is_left_alone(module):
    """A task that nobody waits for loses its error: tasks live in a TaskGroup, or are kept by who cancels them."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create_task":
            assert ast.unparse(node.func.value) in {"group", "self._group"} or module in KEEPERS
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            assert not ast.unparse(node.value.func).endswith("ensure_future"), "kept by nobody"
    tree = ast.unparse(TREES[module])
    groups = re.findall(r"async with .*?(\w*TaskGroup|\w+)\(.*\) as group", tree)
    assert bool(re.search(r"group\.create_task", tree)) <= ("TaskGroup" in groups)
    for function in ast.walk(TREES[module]):
        if module in KEEPERS and isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.unparse(function)
            if "create_task" in text:
                assert any(f"self.{name}" in text for name in KEEPERS[module]), function.name
    for name in KEEPERS.get(module, ()):
        is_waited_for = re.search(rf"await asyncio\.gather\([^\n]*\*self\.{name}\b", tree)
        is_cancelled = re.search(rf"(\w+) = self\.{name}\.pop\([^\n]*\n[^\n]*\n?\s*\1\.cancel\(\)", tree)
        assert is_waited_for or is_cancelled, name
    kept = set(re.findall(r"self\._group = (.+)", tree))
    assert kept <= {"group", "None"}


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_and_classes_are_described(module):
    for node in TREES[module].body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}: {node.name}"
