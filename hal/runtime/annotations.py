"""Names that annotations need and MicroPython lacks. A type checker reads annotations.pyi.

At run time they are only there to be named: MicroPython never looks at annotations, and nobody uses what CPython makes
of them.
"""


def __getattr__(name: str) -> type:
    return dict
