"""Floats as boards have them, of 24 bits, on CPython, which has no others: a plugin of pytest, `-p`, and for scripts.

Whatever a float comes out of in `firmware` and in the parts of `hal` that boards run is rounded: constants, sums and
products, results of calls. The firmware's clocks tell of an uptime at which seconds in such a float step by four.
"""

import ast
import builtins
import importlib.machinery
import importlib.util
import struct
import sys
import time

UPTIME_SEC = 400 * 86400
_ELSEWHERE = ("hal.linux", "hal.simulated", "hal.runtime.cpython")  # which no board runs

_single = struct.Struct("f")


def single(value: object) -> object:
    """A float as 32 bits hold it, anything else as it is."""
    if type(value) is not float:
        return value
    try:
        return _single.unpack(_single.pack(value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


class _Rounding(ast.NodeTransformer):
    def visit_Constant(self, node):
        return ast.copy_location(ast.Constant(single(node.value)), node)

    def visit_BinOp(self, node):
        return self._rounded(node)

    def visit_Call(self, node):
        return self._rounded(node)

    def visit_Await(self, node):
        return self._rounded(node)

    def visit_AugAssign(self, node):
        self.generic_visit(node)
        loaded = ast.parse(ast.unparse(node.target), mode="eval").body
        rounded = ast.Assign([node.target], _call(loaded))
        return [node, ast.fix_missing_locations(ast.copy_location(rounded, node))]

    def visit_JoinedStr(self, node):
        return node  # what is formatted inside has been rounded before

    def _rounded(self, node):
        self.generic_visit(node)
        return ast.copy_location(_call(node), node)


def _call(node):
    return ast.Call(ast.Name("__single__", ast.Load()), [node], [])


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        tree = _Rounding().visit(ast.parse(self.get_data(self.path)))
        return compile(ast.fix_missing_locations(tree), self.path, "exec")


class _Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] not in ("firmware", "hal") or name.startswith(_ELSEWHERE):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(name, spec.origin)
        return spec


def install() -> None:
    """Have what is imported from now on compute as on a board that has run for UPTIME_SEC."""
    builtins.__single__ = single  # type: ignore[attr-defined]
    sys.meta_path.insert(0, _Finder)
    clock = time.monotonic_ns
    time.monotonic_ns = lambda: clock() + UPTIME_SEC * 10**9


if "pytest" in sys.modules and __name__ != "__main__":
    install()
