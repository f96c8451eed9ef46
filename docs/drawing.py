"""The drawing of floors and rooms in docs/architecture.md, made from the imports of the code itself.

A room is a folder of firmware/ or hal/, or a module that stands beside folders. What a room uses is what its modules
import, inside functions too. A floor holds the rooms that use only lower floors: nobody has to say where one belongs.
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
TREES = ("firmware", "hal")
PARTED = ("firmware", "firmware.services", "hal")  # packages whose members are rooms of their own
WIDTH = 118


def modules() -> dict[str, pathlib.Path]:
    """Dotted name -> file of every module of the firmware."""
    found = {}
    for tree in TREES:
        for path in sorted((ROOT / tree).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """The room that a module stands in."""
    parts = module.split(".")
    depth = 1
    while depth < len(parts) and ".".join(parts[:depth]) in PARTED:
        depth += 1
    return ".".join(parts[:depth])


def uses() -> dict[str, set[str]]:
    """Room -> the other rooms that its modules import from."""
    files = modules()
    graph: dict[str, set[str]] = {room_of(name): set() for name in files if name not in PARTED}
    for name, path in files.items():
        if name in PARTED:
            continue
        for imported in imports(path):
            if imported in files and imported not in PARTED and room_of(imported) != room_of(name):
                graph[room_of(name)].add(room_of(imported))
    return graph


def imports(path: pathlib.Path) -> set[str]:
    """Dotted names that a module imports, of modules and of what is in them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def floors(graph: dict[str, set[str]]) -> list[list[str]]:
    """The rooms by floors, the lowest first. ValueError where rooms use each other in a circle."""
    built: list[list[str]] = []
    below: set[str] = set()
    while len(below) < len(graph):
        floor = sorted(room for room, used in graph.items() if room not in below and used <= below)
        if not floor:
            raise ValueError("a circle among " + ", ".join(sorted(set(graph) - below)))
        built.append(floor)
        below.update(floor)
    return built


def drawing() -> str:
    """The floors, the highest first, each room in a box with what it uses of the floor right below and beyond."""
    graph = uses()
    lines = []
    for number, floor in reversed(list(enumerate(floors(graph)))):
        lines.append(f"floor {number} ".ljust(WIDTH, "-"))
        for room in floor:
            lines += room_lines(room, sorted(graph[room]))
    return "\n".join(lines)


def room_lines(room: str, used: list[str]) -> list[str]:
    """A room and the rooms it uses, in lines of at most WIDTH."""
    lines, line = [], f"  {shown(room):<30}"
    for index, name in enumerate(used):
        word = shown(name) + (", " if index + 1 < len(used) else "")
        if len(line) + len(word) > WIDTH:
            lines.append(line.rstrip())
            line = " " * 32
        line += word
    return [*lines, line.rstrip()]


def shown(room: str) -> str:
    """A room by its path, without the part that all services share."""
    path = room.replace(".", "/")
    return path.removeprefix("firmware/services/") + ("/" if (ROOT / path).is_dir() else "")


if __name__ == "__main__":
    print(drawing())
