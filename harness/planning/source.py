"""A method's code: its file and the project's modules that it imports, their digest, and how they
get to a worker.

What is hashed is what runs: a method's file and the modules in its folder are read once, imported
from that text, and sent to workers as text.
"""

import ast
import hashlib
import importlib.util
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from harness.errors import BadInput
from harness.planning.builtin import HERE

_OURS = ("harness", "methods")


@dataclass(frozen=True)
class File:
    """One module's source."""

    name: str
    """Its name in imports."""
    path: str
    text: bytes
    package: bool = False


@dataclass(frozen=True)
class Code:
    """A method's file, then the modules that it imports, directly or indirectly, except those of
    installed packages."""

    files: tuple[File, ...]
    local: frozenset[str] = frozenset()
    """Names of those in the method's folder or below. Workers get their text; the others they must
    be able to import."""

    @cached_property
    def digest(self) -> str:
        """sha256 of the file; if it imports others of the project, of the list of their sha256s and
        names."""
        main, *others = (hashlib.sha256(file.text).hexdigest() for file in self.files)
        if not others:
            return main
        lines = sorted(
            f"{digest}  {file.name}" for digest, file in zip(others, self.files[1:], strict=True)
        )
        return hashlib.sha256("\n".join([main, *lines]).encode()).hexdigest()


def of_file(path: Path) -> Code:
    """The code of a method's file. Raises `BadInput` if it can't be read."""
    if not path.is_file():
        raise BadInput(f"there is no file {path}.")
    path = path.resolve()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} can't be read ({error.strerror}).") from error
    name = f"user_method_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    local: set[str] = set()

    def locate(module: str) -> File | None:
        top = module.partition(".")[0]
        if _is_local(top, path.parent):
            local.add(module)
            return _module(path.parent, module)
        root = _project_of(top)
        return _module(root, module) if root is not None else None

    files = _walk(File(name, str(path), text), locate)
    return Code(tuple(files), frozenset(local & {file.name for file in files}))


def of_class(method: type) -> Code | None:
    """The code of a class in an installed package: its module, and those of the same package that
    it imports. None if there is no source."""
    top = method.__module__.partition(".")[0]
    try:
        file, above = Path(inspect.getfile(method)), sys.modules[top]
        root = Path(
            above.__path__[0] if hasattr(above, "__path__") else above.__file__ or ""
        ).parent
        main = File(method.__module__, str(file), file.read_bytes(), file.name == "__init__.py")
    except (OSError, TypeError, KeyError, IndexError):
        return None
    return Code(
        tuple(
            _walk(
                main,
                lambda module: _module(root, module) if module.partition(".")[0] == top else None,
            )
        )
    )


def check_apart(one: Code, other: Code) -> None:
    """Raises `BadInput` if a module in the folder of one file has the same name as one in the
    folder of the other."""
    paths = {file.name: file.path for file in one.files if file.name in one.local}
    for file in other.files:
        if file.name in other.local and paths.get(file.name, file.path) != file.path:
            raise BadInput(
                f"two methods import a module '{file.name}', {paths[file.name]} and {file.path}:"
                " rename one of them."
            )


def imported(code: Code) -> ModuleType:
    """The module of a method's file, executed from its text; only once, unless a text has changed.
    Its exceptions propagate."""
    main = code.files[0]
    known = sys.modules.get(main.name)
    if known is not None and getattr(known, "__digest__", None) == code.digest:
        return known
    finder = _finder()
    texts = {file.name: file for file in code.files if file.name in code.local}
    finder.files |= texts
    for name in texts:
        sys.modules.pop(name, None)  # from an older text
    folder = str(Path(main.path).parent)
    if folder not in sys.path:
        sys.path.append(folder)  # for imports without an import statement
    module = importlib.util.module_from_spec(_spec(main))
    sys.modules[main.name] = module
    try:
        assert module.__spec__ is not None
        assert module.__spec__.loader is not None
        module.__spec__.loader.exec_module(module)
    except BaseException:
        del sys.modules[main.name]
        raise
    module.__dict__["__digest__"] = code.digest
    return module


def is_installed(path: str) -> bool:
    """Whether a file belongs to Python, an installed package or this harness, not to the user's
    project."""
    if path.startswith("<") or {"site-packages", "dist-packages"} & set(Path(path).parts):
        return True
    return os.path.realpath(path).startswith(_installed())


class _Finder:
    """Imports the modules in a method's folder from the texts that were read, before all other
    finders."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return _spec(self.files[name]) if name in self.files else None


class _Loader:
    def __init__(self, file: File) -> None:
        self.file = file

    def create_module(self, spec: ModuleSpec) -> None:
        """The default."""

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.file.text, self.file.path, "exec"), module.__dict__)

    def get_source(self, name: str) -> str:
        """For tracebacks, on a machine that lacks the file."""
        return importlib.util.decode_source(self.file.text)


def _finder() -> _Finder:
    finder = next((one for one in sys.meta_path if isinstance(one, _Finder)), None)
    if finder is None:
        finder = _Finder()
        sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    return finder


def _spec(file: File) -> ModuleSpec:
    spec = ModuleSpec(file.name, _Loader(file), origin=file.path, is_package=file.package)  # type: ignore[arg-type]
    spec.has_location = True
    if file.package:
        folder = Path(file.path)
        spec.submodule_search_locations = [str(folder.parent if folder.suffix == ".py" else folder)]
    return spec


def _walk(main: File, locate: Callable[[str], File | None]) -> list[File]:
    """`main` and everything that it imports and `locate` finds, without repeats."""
    files, queue = {main.name: main}, [main]
    while queue:
        for name in _imports(queue.pop()):
            if name not in files and (file := locate(name)) is not None:
                files[name] = file
                queue.append(file)
    return list(files.values())


def _imports(file: File) -> Iterator[str]:
    """Modules that import statements may name, packages before their modules. None for a file with
    a syntax error: importing it will report that."""
    try:
        tree = ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError):
        return
    package = file.name if file.package else file.name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = (
                    package.split(".")[: len(package.split(".")) - node.level + 1]
                    if package
                    else []
                )
                if not above:
                    continue
                base = ".".join([*above, *([base] if base else [])])
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def _module(root: Path, name: str) -> File | None:
    place = root.joinpath(*name.split("."))
    for path, package in (
        (place / "__init__.py", True),
        (place.parent / f"{place.name}.py", False),
    ):
        if path.is_file():
            return File(name, str(path), path.read_bytes(), package)
    # a package without __init__.py
    return File(name, str(place), b"", True) if place.is_dir() and any(place.glob("*.py")) else None


def _is_local(top: str, folder: Path) -> bool:
    """Whether `import top` in a file in `folder` refers to a module there: as in a script, except
    that Python's and ours come first."""
    if top in sys.stdlib_module_names or top in _OURS or (module := _module(folder, top)) is None:
        return False
    known = sys.modules.get(top)
    if known is not None and not isinstance(getattr(known.__spec__, "loader", None), _Loader):
        return getattr(known, "__file__", None) == module.path
    return bool(module.text) or Path(module.path).suffix == ".py" or _place_of(top) is None


def _project_of(top: str) -> Path | None:
    """The folder of a module or package that can be imported but isn't installed; None for all
    others."""
    if top in sys.stdlib_module_names or top in _OURS:
        return None
    place = _place_of(top)
    return place.parent if place is not None and not is_installed(str(place)) else None


def _place_of(top: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [
        *(spec.submodule_search_locations or ()),
        *([spec.origin] if spec.has_location and spec.origin else []),
    ]
    return Path(places[0]) if places else None


@cache
def _installed() -> tuple[str, ...]:
    """Folders of Python and of this harness, with links resolved, since an environment may be
    one."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {
        *site.getsitepackages(),
        site.getusersitepackages(),
        *(str(HERE / name) for name in _OURS),
    }
    return tuple(f"{os.path.realpath(path)}/" for path in paths)
