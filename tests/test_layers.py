"""The floors of the house: a module imports from its own floor or a lower one, and there are no cycles."""

import ast
import builtins
import pathlib
import subprocess
from collections import Counter

import pytest

from deploy.micropython.image import compile_into, sources
from docs.drawing import floors, uses
from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = (  # lowest first
    ("hal", "firmware"),  # what no other floor names: it knows neither parts nor services
    ("hal.contracts", "hal.rs485.framing"),
    ("hal.rs485.exchange", "hal.rs485.copies"),
    (
        "hal.rs485.port",
        "hal.rs485.listening",
        "hal.gsm",
        "hal.debounce",
        "hal.configured_system",
        "hal.update",
    ),  # the shared halves of parts
    ("hal.linux", "hal.micropython", "hal.simulated"),
    ("hal.board",),
    ("firmware.http",),
    ("firmware.services",),
    ("firmware.api",),
    ("firmware.maker",),
    ("firmware.command_line",),
    ("firmware.device",),
    ("firmware.board_check",),
    ("firmware.__main__", "firmware.microcontroller"),
)
BACKENDS = FLOORS[4]
BORROWED = {  # what backends of one kind take of those of another, and why
    ("hal.simulated.rs485", "hal.linux.rs485"): "the real serial code, on a pty",
    ("hal.simulated.modem.part", "hal.linux.modem"): "the real tty of a modem, on a pty",
    ("hal.simulated.system", "hal.linux.host.device_key"): "a process on Linux, with the same key pair",
    ("hal.simulated.system", "hal.linux.host.restart_reason"): "a process on Linux, which restarts itself",
    ("hal.simulated.system", "hal.linux.host.supervisor"): "a process on Linux, under the same service manager",
}
LACKING = {  # what MicroPython does not have, or not as CPython has it
    *[
        "abc",
        "contextlib",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "inspect",
        "itertools",
        "logging",
        "pathlib",
    ],
    *["ipaddress", "secrets", "signal", "subprocess", "threading", "traceback", "types", "typing", "urllib", "uuid"],
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for folder in ("firmware", "hal") for path in (ROOT / folder).rglob("*.py")}


def imports(path):
    """Names of the modules that a file imports, inside functions and for annotations alone too."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name, folders):
    return any(name == folder or name.startswith(folder + ".") for folder in folders)


def floor(name):
    return max(number for number, folders in enumerate(FLOORS) if is_in(name, folders))


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_downward(name):
    for imported in imports(MODULES[name]):
        if imported in MODULES:
            assert floor(imported) <= floor(name), f"{name} imports {imported}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(("firmware.http", "firmware.services"))])
def test_http_and_services_know_nothing_of_each_other(name):
    other = "firmware.services" if name.startswith("firmware.http") else "firmware.http"
    assert [imported for imported in imports(MODULES[name]) if imported.startswith(other)] == []


def test_backends_of_one_kind_take_of_another_only_what_is_listed():
    taken = set()
    for name in MODULES:
        kind = name.split(".")[:2]
        for imported in imports(MODULES[name]) if is_in(name, BACKENDS) else []:
            if imported in MODULES and is_in(imported, BACKENDS) and imported.split(".")[:2] != kind:
                taken.add((name, imported))
    assert taken == set(BORROWED)


@pytest.mark.parametrize("name", [name for name in MODULES if not is_in(name, (*BACKENDS, "hal.board"))])
def test_only_the_board_names_a_backend(name):
    tree = ast.parse(MODULES[name].read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in [*imports(MODULES[name]), *texts] if is_in(text, BACKENDS)] == []


def test_rooms_use_each_other_in_no_circle_and_none_is_crowded():
    assert floors(uses())  # ValueError where there is a circle
    counts = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): count for folder, count in counts.items() if count > 10} == {}


def test_there_are_no_cycles():
    graph = {name: {other for other in imports(path) if other in MODULES} for name, path in MODULES.items()}
    done = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in graph[name]:
                visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


ONE_RUNTIME = (
    "hal.runtime",
    "hal.linux",
    "hal.simulated",
    "firmware.maker",
)  # the one place that knows the difference, and CPython's


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(ONE_RUNTIME)])
def test_what_runs_on_both_runtimes_imports_what_both_have(name):
    roots = {imported.split(".")[0] for imported in imports(MODULES[name])}
    assert roots & LACKING == set()


@pytest.mark.parametrize("name", MODULES)
def test_tasks_belong_to_services_and_waits_do_not_swallow_cancellations(name):
    if name.startswith(("hal.runtime", "hal.service")):
        return
    called = {node.func.attr for node in ast.walk(ast.parse(MODULES[name].read_text())) if is_method_call(node)}
    assert called & {"create_task", "ensure_future", "wait_for"} == set(), "hal/service.py and hal.runtime do this"


def is_method_call(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def test_what_boards_run_compiles_there_and_names_what_is_there(tmp_path):
    compile_into(tmp_path)  # which says what does not
    assert (tmp_path / "firmware" / "device.mpy").exists()
    wanted = [path for path, _ in sources() if path.name != "microdot.py"]
    assert [path for path in wanted if "from argparse import" in path.read_text()] == []


@NEEDS_MICROPYTHON
def test_what_boards_run_names_no_builtin_that_they_lack():
    named = set()
    for path in [path for path, _ in sources() if path.is_relative_to(ROOT) and "cpython" not in path.parts]:
        tree = ast.parse(path.read_text())
        named |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and hasattr(builtins, node.id)}
    script = f"import builtins; print(*[name for name in {sorted(named)} if not hasattr(builtins, name)])"
    done = subprocess.run([MICROPYTHON, "-c", script], capture_output=True, text=True)
    assert done.stdout == "\n", done.stderr
