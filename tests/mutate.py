"""Plants small mistakes in the core modules, one at a time, and tells which ones no test notices.

    python tests/mutate.py [--seed N] [--count N] [--list] [MODULE ...]

MODULE is a name of TESTS, all of them without any. COUNT mistakes are drawn for each module from all that can be
planted there (0: all of them); the same SEED draws the same ones. Each is planted in a copy of the checkout, where the
tests that stand beside the module in TESTS run until one fails: those that reach the mistaken statement, the quickest
first, then those of files that start other processes, which reach it unseen; all where none is seen to reach it. A test
that fails once and not again has noticed nothing. A mistake that only changes what is logged is not planted. What
survives is printed with its line, before and after, and so is what only a hang shows; some of it may be no mistake:
that is for a reader to say, who writes it into harmless_mistakes.toml; then it counts for nothing. Exit code 0 where at
least 95 % of the others were noticed in every module.
"""

import argparse
import ast
import builtins
import copy
import ctypes
import importlib
import os
import pathlib
import pickle
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from typing import BinaryIO

import pytest

ROOT = pathlib.Path(__file__).parents[1]
HARMLESS = tomllib.loads((ROOT / "tests/harmless_mistakes.toml").read_text())
AIM = 95  # per cent
TEST_SEC = 40  # for one test; a mistake that makes one hang is noticed by that
RUN_SEC = 400  # for all tests of a module
HANG = "hang"
REACHED = "mutated_module_reached"  # the name, among those that are built in, of what is told about each statement
STARTS = ("subprocess.Popen", "os.fork", "os.posix_spawn")
TESTS_FOLDER = "../tests"  # beside the copy of the checkout: where its tests have their files
LIBC = ctypes.CDLL(None)
END_WITH_PARENT, ADOPT_ORPHANS = 1, 36  # PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of prctl(2)
PLUGINS = ["-p", "pytest_asyncio.plugin"]  # looking for others takes longer than most tests
FOREIGN = ("httpx", "pymodbus.client", "pymodbus.server", "serial", "microdot", "cryptography.x509")  # loaded once

MEMORY = "firmware/test_out_of_memory.py"
SETTINGS = ["firmware/settings", "firmware/access/test_authority.py", "hal/test_trace.py"]
BUS = ["firmware/bus", "firmware/search/test_devices.py", MEMORY]
LINE = ["hal/rs485", "firmware/bus"]
HTTP = [f"firmware/http/test_{name}.py" for name in ("requests", "bodies", "slots", "server", "files")]
HTTP += [MEMORY]
LOGIN = ["firmware/access", "hal/test_trace.py"]
CARD = ["firmware/card", "firmware/test_hung_card.py"]
MODEM = ["hal/gsm"]
TESTS = {  # module -> tests that are to notice mistakes in it, the quickest first
    "firmware/api/guard.py": ["firmware/api/test_guard.py", "firmware/access/test_authority.py"],
    "firmware/services/settings/document_store.py": [*SETTINGS, "firmware/test_damaged_state.py"],
    "firmware/services/settings/areas.py": SETTINGS,
    "firmware/services/settings/values.py": SETTINGS,
    "firmware/services/bus/arbiter.py": BUS,
    "firmware/services/bus/lanes.py": BUS,
    "firmware/services/bus/queue.py": BUS,
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
    "firmware/services/routing/router.py": ["firmware/gateway", MEMORY],
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
        return [_enlarge, _lessen]
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
    """(source with the mistake, line of the statement that it is in)."""
    tree = copy.deepcopy(tree)
    node = list(ast.walk(tree))[mistake[0]]
    line = statement_line(tree, node)
    _variants(node)[mistake[1]](node)
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n", line


def statement_line(tree: ast.Module, node: ast.AST) -> int:
    """Line of the innermost statement around a node."""
    inside = [
        statement
        for statement in ast.walk(tree)
        if isinstance(statement, ast.stmt) and any(inner is node for inner in ast.walk(statement))
    ]
    return inside[-1].lineno if inside else 0  # ast.walk goes from the outside in


def watched(tree: ast.Module) -> str:
    """The source, in which every statement says before it runs that it is reached (where somebody wants to know)."""
    tree = copy.deepcopy(tree)
    for node in list(ast.walk(tree)):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list) and not isinstance(node, (ast.Module, ast.ClassDef)):
                said = [[ast.parse(f"_reached({statement.lineno})").body[0], statement] for statement in statements]
                setattr(node, name, [line for pair in said for line in pair])
    head = f'import builtins\n_reached = getattr(builtins, "{REACHED}", id)\n'
    return head + ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def difference(before: str, after: str) -> "tuple[str, str]":
    """The first lines in which two sources differ, each with the one above it."""
    old, new = before.splitlines(), after.splitlines()
    for at, line in enumerate(old):
        if at >= len(new) or new[at] != line:
            above = old[at - 1].strip() + " " if at else ""
            return above + line.strip(), above + (new[at].strip() if at < len(new) else "")
    return "", ""


def shown(changed: "tuple[str, str]") -> str:
    """A line before and after, around the place where they differ first."""
    same = next((at for at, (old, new) in enumerate(zip(*changed, strict=False)) if old != new), 0)
    begin = max(0, min(same - SHOWN // 2, max(map(len, changed)) - SHOWN))
    return "  ->  ".join(line[begin : begin + SHOWN] for line in changed)


def is_harmless(module: str, changed: "tuple[str, str]") -> bool:
    """Whether somebody has found that this mistake changes no behaviour."""
    before, after = changed
    known = [words.split(" -> ") for words in HARMLESS.get(module, {})]
    return any(old in before and before.replace(old, new) == after for old, new in known)


class Tests:
    """The tests of one module: a pytest plugin that runs the wanted ones, and knows which of them reach which line."""

    def __init__(self, folders: list):
        self.folders = folders
        self.seconds: dict[str, float] = {}  # of each test: the quickest run first
        self.lines: dict[str, set] = {}  # of the module, that each test reaches in this process
        self.wanted: set | None = None
        self.failed: dict[str, str] = {}
        self.passed: set[str] = set()
        self.with_processes: set[str] = set()  # tests of files that start others: what is reached there is not seen

    def learn(self) -> list:
        """Run all of them on the watched module; those that fail as it is notice nothing, and are given back."""
        self.run(None, stop=False)
        if "" in self.failed:
            raise SystemExit(f"the tests of {self.folders} do not come to an end as they are: {self.failed['']}")
        useless = [test for test in self.failed if test in self.failures({test})]
        for known in (self.seconds, self.lines):
            for test in useless:
                known.pop(test, None)
        self.with_processes.difference_update(useless)
        return useless

    def that_fail(self, line: int) -> "tuple[str, str]":
        """(a test that fails, what it says) now, of those that a mistake in a statement can touch; ("", "") if none."""
        reaching = {test for test, lines in self.lines.items() if line in lines}
        for wanted in (reaching, self.with_processes - reaching) if reaching else (set(self.seconds),):
            while wanted:
                failures, passed = self.failures(wanted), self.passed
                for test, said in failures.items():
                    if self.failures({test} if test else wanted):  # twice: no accident of a busy machine
                        return test, said
                wanted = wanted - passed - set(failures) if failures else set()
        return "", ""

    def failures(self, wanted: set) -> dict:
        """Those of the wanted tests that fail, up to the first; none where none is wanted."""
        if not wanted:
            return {}
        self.run(wanted, stop=True)
        return self.failed

    def run(self, wanted: "set | None", stop: bool) -> None:
        """Run tests in a process of their own, which has no module of this checkout yet; None: all."""
        self.wanted, self.failed, self.passed = wanted, {}, set()
        files = self.folders if wanted is None else sorted({test.split("::")[0] for test in wanted})
        arguments = ["-q", *PLUGINS, f"--basetemp={TESTS_FOLDER}", *(["-x"] if stop else []), *files]
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                LIBC.prctl(END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
                os.close(read_end)
                self._in_child(arguments, write_end)
            finally:
                os._exit(1)  # never up into main(), which would remove the checkout under its parent
        os.close(write_end)
        with os.fdopen(read_end, "rb") as answer:
            said = _all_in_time(answer, RUN_SEC)
            _end(child)
        if not said:
            self.failed = {"": HANG if said is None else "it breaks off"}
            return
        self.failed, self.passed, seconds, lines, processes = pickle.loads(said)
        if wanted is None:
            self.seconds, self.lines = seconds, lines
            self.with_processes = {test for test in seconds if test.split("::")[0] in processes}

    def _in_child(self, arguments: list, answer: int) -> None:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        self._reached: set = set()
        self._processes: set = set()
        self._file = ""
        setattr(builtins, REACHED, lambda line: self._reached.add(line))
        sys.addaudithook(lambda event, _: self._processes.add(self._file) if event in STARTS else None)
        code = pytest.main(arguments, plugins=[self])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED) and self.wanted:
            self.failed.setdefault(next(iter(self.wanted)), "")  # nothing could be run: no import, no fixture
        with os.fdopen(answer, "wb") as out:
            out.write(pickle.dumps((self.failed, self.passed, self.seconds, self.lines, self._processes)))
        os._exit(0)

    def pytest_collection_modifyitems(self, items: list) -> None:
        if self.wanted is not None:
            items[:] = [item for item in items if item.nodeid in self.wanted]
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.wanted:
            self.failed[next((test for test in self.wanted if test.startswith(report.nodeid)), report.nodeid)] = ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._file = nodeid.split("::")[0]
        self._reached.clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        self.lines[report.nodeid] = self.lines.get(report.nodeid, set()) | self._reached
        if report.passed and report.when == "call":
            self.passed.add(report.nodeid)
        if report.failed:
            said = str(report.longrepr)
            self.failed[report.nodeid] = HANG if f"takes longer than {TEST_SEC} s" in said else said[-200:]


def _end(child: int) -> None:
    """End a process and whatever its tests have left: processes, mounts, files, so that the next run meets none."""
    os.kill(child, signal.SIGKILL)
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            for left in pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                os.kill(int(left), signal.SIGKILL)  # orphans too: they come to this process
            time.sleep(0.01)
    folder = os.path.realpath(TESTS_FOLDER)
    for line in reversed(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()):
        place = line.split()[4].encode().decode("unicode_escape")
        if place.startswith(folder):
            for words in (["fsfreeze", "-u", place], ["umount", "--lazy", place]):
                subprocess.run(words, stderr=subprocess.DEVNULL)
    shutil.rmtree(folder, ignore_errors=True)


def _all_in_time(pipe: BinaryIO, seconds: float) -> "bytes | None":
    """What a process writes until it closes the pipe; None where that takes longer."""
    deadline, said = time.monotonic() + seconds, b""
    while select.select([pipe], [], [], max(0, deadline - time.monotonic()))[0]:
        more = os.read(pipe.fileno(), 1 << 16)
        if not more:
            return said
        said += more
    return None


def try_module(module: str, count: int, seed: str) -> "tuple[int, int, int, int]":
    """(planted, noticed, of these by a hang, harmless ones) of one module of the checkout in the current folder."""
    path = pathlib.Path(module)
    source = path.read_text()
    tree = ast.parse(source)
    plain = ast.unparse(tree) + "\n"
    tests = Tests([f"tests/{test}" for test in TESTS[module]])
    path.write_text(watched(tree))
    sys.dont_write_bytecode = False  # all other modules are compiled once
    for test in tests.learn():
        print(f"  {module}: fails as it is, and counts for nothing: {test}", flush=True)
    sys.dont_write_bytecode = True
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
    drawn = mistakes(tree)
    if count and count < len(drawn):
        drawn = random.Random(f"{seed} {module}").sample(drawn, count)
    noticing: set[str] = set()
    yes = hangs = harmless = 0
    for mistake in drawn:
        text, line = planted(tree, mistake)
        changed = difference(plain, text)
        if is_harmless(module, changed):
            harmless += 1
            continue
        path.write_text(text)
        test, said = tests.that_fail(line)
        noticing.add(test)
        yes += said != "" or test != ""
        hangs += said == HANG
        if said == HANG or not test:
            word = "only by a hang" if said == HANG else "not noticed"
            print(f"  {module}:{line}: {word}: {shown(changed)}", flush=True)
    path.write_text(source)
    for test in tests.failures(noticing - {""}):
        raise SystemExit(f"{module}: the result is worth nothing, for this fails without any mistake now: {test}")
    return len(drawn) - harmless, yes, hangs, harmless


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
    LIBC.prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    os.environ.update(TEST_SEC=str(TEST_SEC), KILL_RUNS="20", PYTHONDONTWRITEBYTECODE="1")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in FOREIGN:
        importlib.import_module(name)
    total = total_yes = weak = 0
    with tempfile.TemporaryDirectory(prefix="mc252-mutate-", ignore_cleanup_errors=True) as folder:
        os.chdir(copy_checkout(pathlib.Path(folder, "checkout")))
        sys.path[0] = os.getcwd()  # the copy, where this script's folder stood
        for module in modules:
            began = time.monotonic()
            count, yes, hangs, harmless = try_module(module, options.count, options.seed)
            total, total_yes, weak = total + count, total_yes + yes, weak + (yes * 100 < AIM * count)
            words = f"{yes} of {count} noticed, {hangs} by a hang, {harmless} more without an effect"
            print(f"{module}: {words}, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{total_yes} of {total} noticed, {100 * total_yes / max(1, total):.1f} %; {weak} modules below {AIM} %")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
