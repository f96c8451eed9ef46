"""Plants small mistakes in the core modules, one at a time, and tells which ones no test notices.

    python tests/mutate.py [--seed N] [--count N] [--list] [MODULE ...]

MODULE is a name of TESTS, all of them without any. COUNT mistakes are drawn for each module from all that can be
planted there (0: all of them); the same SEED draws the same ones. Each is planted in a copy of the checkout, where the
tests that stand beside the module in TESTS run until the first one fails. A mistake that only changes what is logged is
not planted. What survives is printed with its line, before and after; some of it may be no mistake: that is for a
reader to say. Exit code 0 where at least 95 % were noticed.
"""

import argparse
import ast
import copy
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
AIM = 95  # per cent
TEST_SEC = 40  # for one test; a mistake that makes one hang is noticed by that
RUN_SEC = 400  # for all tests of a module

SETTINGS = ["firmware/settings", "firmware/access/test_authority.py"]
BUS = ["firmware/bus", "firmware/search/test_devices.py"]
LINE = ["hal/rs485", "firmware/bus"]
HTTP = ["firmware/http", "firmware/access/test_crowd.py", "conformance/test_http.py"]
LOGIN = ["firmware/access"]
CARD = ["firmware/card", "firmware/test_hung_card.py"]
MODEM = ["hal/gsm"]
TESTS = {  # module -> tests that are to notice mistakes in it, the quickest first
    "firmware/api/guard.py": ["firmware/api/test_guard.py", "firmware/access/test_authority.py"],
    "firmware/services/settings/document_store.py": [*SETTINGS, "firmware/test_damaged_state.py"],
    "firmware/services/settings/areas.py": SETTINGS,
    "firmware/services/settings/values.py": SETTINGS,
    "firmware/services/bus/arbiter.py": BUS,
    "firmware/services/bus/lanes.py": BUS,
    "firmware/services/bus/debts.py": ["firmware/bus/test_debts.py", *BUS],
    "hal/rs485/port.py": LINE,
    "hal/rs485/framing.py": [*LINE, "hal/simulated/test_world.py"],
    "firmware/http/server.py": HTTP,
    "firmware/http/connection.py": HTTP,
    "firmware/http/messages/http1.py": HTTP,
    "firmware/services/access/login.py": LOGIN,
    "firmware/services/access/salts.py": LOGIN,
    "firmware/services/access/throttle.py": LOGIN,
    "firmware/services/access/sessions.py": ["firmware/access/test_sessions.py"],
    "firmware/services/access/authority.py": ["firmware/access/test_authority.py"],
    "firmware/services/routing/router.py": ["firmware/gateway"],
    "firmware/services/card/files.py": CARD,
    "firmware/services/card/paths.py": CARD,
    "firmware/services/card/uploads.py": CARD,
    "firmware/services/card/volume.py": CARD,
    "firmware/services/card/worker.py": ["firmware/card/test_worker.py"],
    "hal/gsm/sim_pin.py": MODEM,
    "hal/gsm/at.py": MODEM,
}

COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
SHOWN = 110  # characters of a line that survives
SMALL = 16  # numbers up to this are changed by one; limits and times above it are doubled or halved
UNTOUCHED = ("log", "log_exception")  # calls whose arguments only people read


def mistakes(tree: ast.Module) -> list:
    """All mistakes that can be planted: (index of the node in ast.walk order, number of the kind)."""
    silent = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in UNTOUCHED:
            silent.update(id(inner) for inner in ast.walk(node))
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if annotation is not None:
                silent.update(id(inner) for inner in ast.walk(annotation))
    found = []
    for index, node in enumerate(ast.walk(tree)):
        if id(node) not in silent:
            found += [(index, kind) for kind in range(len(_variants(node)))]
    return found


def _variants(node) -> list:
    """Functions that change a node into a mistaken one, by what it is."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
        return [lambda node: node.ops.__setitem__(0, COMPARED[type(node.ops[0])]())]
    if isinstance(node, ast.Compare) and len(node.ops) == 2:
        return [
            lambda node: node.ops.__setitem__(0, COMPARED[type(node.ops[0])]()),
            lambda node: node.ops.__setitem__(1, COMPARED[type(node.ops[1])]()),
        ]
    if isinstance(node, ast.BoolOp):
        return [_swap_bool, lambda node: node.values.pop(), lambda node: node.values.pop(0)]
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in CALCULATED:
        return [lambda node: setattr(node, "op", CALCULATED[type(node.op)]())]
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return [
            lambda node: setattr(node, "value", node.value + 1),
            lambda node: setattr(node, "value", node.value - 1),
        ]
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        return [lambda node: setattr(node, "value", not node.value)]
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        return [lambda node: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))]
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        return [lambda node: setattr(node, "value", ast.Constant(None))]
    return _of_statements(node)


def _of_statements(node) -> list:
    variants: list = []
    for name in ("body", "orelse", "finalbody"):
        statements = getattr(node, name, None)
        for at, statement in enumerate(statements if isinstance(statements, list) else []):
            if _can_go(statement):
                variants.append(lambda node, name=name, at=at: getattr(node, name).__setitem__(at, ast.Pass()))
    return variants


def _can_go(statement) -> bool:
    """Whether a statement can be left out without the rest making no sense."""
    if isinstance(statement, ast.Expr):
        value = statement.value.value if isinstance(statement.value, ast.Await) else statement.value
        called = getattr(getattr(value, "func", None), "id", getattr(getattr(value, "func", None), "attr", ""))
        return isinstance(value, ast.Call) and called not in UNTOUCHED
    if isinstance(statement, ast.Assign):
        return isinstance(statement.targets[0], (ast.Attribute, ast.Subscript))
    return isinstance(statement, (ast.AugAssign, ast.Delete, ast.Raise, ast.Break, ast.Continue))


def _swap_bool(node) -> None:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _enlarge(node) -> None:
    node.value = node.value + 1 if node.value <= SMALL else node.value * 2


def _lessen(node) -> None:
    node.value = node.value - 1 if node.value <= SMALL else node.value // 2


def planted(tree: ast.Module, mistake: "tuple[int, int]") -> "tuple[str, int]":
    """(source with the mistake, its line in the original)."""
    tree = copy.deepcopy(tree)
    node = list(ast.walk(tree))[mistake[0]]
    line = getattr(node, "lineno", 0)
    _variants(node)[mistake[1]](node)
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n", line


def difference(before: str, after: str) -> str:
    """The first lines in which two sources differ."""
    old, new = before.splitlines(), after.splitlines()
    for at, line in enumerate(old):
        if at >= len(new) or new[at] != line:
            return f"{line.strip()[:SHOWN]}  ->  {new[at].strip()[:SHOWN] if at < len(new) else ''}"
    return ""


def noticed(copy_of_root: pathlib.Path, tests: list) -> str:
    """ "yes", "hang" or "no" for what is planted in the copy of the checkout."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", *(f"tests/{test}" for test in tests)]
    environment = dict(os.environ, TEST_SEC=str(TEST_SEC), KILL_RUNS="20", PYTHONDONTWRITEBYTECODE="1")
    process = subprocess.Popen(
        command, cwd=copy_of_root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said, _ = process.communicate(timeout=RUN_SEC)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "hang"
    if process.returncode == 0:
        return "no"
    return "hang" if f"takes longer than {TEST_SEC} s" in said else "yes"


def try_module(module: str, copy_of_root: pathlib.Path, count: int, seed: str) -> "tuple[int, int, int]":
    """(planted, noticed, of these by a hang) of one module; prints what survives."""
    path = copy_of_root / module
    source = path.read_text()
    tree = ast.parse(source)
    plain = ast.unparse(tree) + "\n"
    path.write_text(plain)
    if noticed(copy_of_root, TESTS[module]) != "no":
        path.write_text(source)
        print(f"{module}: its tests fail as it is", flush=True)
        return 0, 0, 0
    drawn = mistakes(tree)
    if count and count < len(drawn):
        drawn = random.Random(f"{seed} {module}").sample(drawn, count)
    yes = hangs = 0
    for mistake in drawn:
        text, line = planted(tree, mistake)
        path.write_text(text)
        outcome = noticed(copy_of_root, TESTS[module])
        yes += outcome != "no"
        hangs += outcome == "hang"
        if outcome == "no":
            print(f"  {module}:{line}: {difference(plain, text)}", flush=True)
    path.write_text(source)
    return len(drawn), yes, hangs


def copy_checkout(target: pathlib.Path) -> pathlib.Path:
    """The files of this checkout that git knows, and new ones that it does not ignore."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def main() -> int:
    """Plant and count; the exit code."""
    parser = argparse.ArgumentParser(description="Which small mistakes do the tests notice?")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=15, help="mistakes for each module; 0: all")
    parser.add_argument("--list", action="store_true", help="print how many can be planted, and plant none")
    parser.add_argument("modules", nargs="*")
    options = parser.parse_args()
    modules = options.modules or list(TESTS)
    if options.list:
        for module in modules:
            print(f"{module}: {len(mistakes(ast.parse((ROOT / module).read_text())))}")
        return 0
    total = total_yes = 0
    with tempfile.TemporaryDirectory(prefix="mc252-mutate-") as folder:
        root = copy_checkout(pathlib.Path(folder))
        for module in modules:
            began = time.monotonic()
            count, yes, hangs = try_module(module, root, options.count, options.seed)
            total, total_yes = total + count, total_yes + yes
            print(
                f"{module}: {yes} of {count} noticed, {hangs} by a hang, {time.monotonic() - began:.0f} s", flush=True
            )
    print(f"{total_yes} of {total} noticed, {100 * total_yes / max(1, total):.0f} %")
    return 0 if total_yes * 100 >= AIM * total else 1


if __name__ == "__main__":
    sys.exit(main())
