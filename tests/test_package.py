"""What is installed is what is in the tree, and each layer imports no more than it owns."""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import tailbound

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PYPROJECT["tool"]["setuptools"]["packages"]
NOT_SHIPPED = {"tests", "benchmarks", "docs", "build", "dist", "shared", "__pycache__"}
HEAVY = ["numpy", "scipy", "sympy", "cvxpy", "torch", "matplotlib", "pandas", "pyarrow"]


def shipped_folders(folder: Path = ROOT):
    """The folders below the root that can hold modules, the root first."""
    yield folder
    for below in sorted(folder.iterdir()):
        environment = not below.name.isidentifier() or (below / "pyvenv.cfg").exists()  # .venv, .git, a venv
        if below.is_dir() and below.name not in NOT_SHIPPED and not environment:
            yield from shipped_folders(below)


def package_name(folder: Path) -> str:
    return ".".join(("tailbound", *folder.relative_to(ROOT).parts))


def python(*args: object, cwd: Path, interpreter: object = sys.executable):
    """Run Python as a shell elsewhere would, without this checkout on the path."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV_"))}
    return subprocess.run(
        [str(interpreter), *map(str, args)],
        cwd=cwd, env=keep, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def loaded_by(code: str, cwd: Path) -> set[str]:
    """Names of the top-level modules that are loaded after `code` has run in a fresh interpreter."""
    report = "import atexit, json, sys; atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
    done = python("-W", "error", "-c", report + code, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_listed_packages_are_those_of_the_tree():
    assert PACKAGES == sorted(package_name(each) for each in shipped_folders() if (each / "__init__.py").exists())


def test_every_folder_of_modules_is_a_package():
    stray = [
        str(each.relative_to(ROOT))
        for each in shipped_folders()
        if any(each.glob("*.py")) and not (each / "__init__.py").exists()
    ]
    assert not stray


def test_package_data_exists():
    for package, files in PYPROJECT["tool"]["setuptools"]["package-data"].items():
        for file in files:
            assert list(ROOT.joinpath(*package.split(".")[1:]).glob(file)), f"{package} has no {file}"


def test_importing_the_package_imports_no_library(tmp_path):
    loaded = loaded_by("import tailbound; assert tailbound.__version__; dir(tailbound)", tmp_path)
    assert "tailbound" in loaded
    assert not loaded & {*HEAVY, "typer", "rich"}


@pytest.mark.parametrize("command", ["", "verify", "explain", "derive", "figures"])
def test_help_imports_no_library(command, tmp_path):
    code = f"import sys; sys.argv = {['tailbound', *command.split(), '--help']}; from tailbound.cli import main; main()"
    assert not loaded_by(code, tmp_path) & {"sympy", "cvxpy", "torch", "matplotlib", "pandas"}


def test_derive_of_numbers_imports_neither_solvers_nor_torch(tmp_path):
    code = "import sys; sys.argv = 'tailbound derive 5 3 --json'.split(); from tailbound.cli import main; main()"
    assert not loaded_by(code, tmp_path) & {"sympy", "cvxpy", "torch", "matplotlib"}


def test_listing_the_studies_imports_no_torch():
    code = (
        "import sys; from tailbound.sims.core.study import select; "
        "print('vs_loss.real_pairs' in {study.name for study in select()}, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


IMPORT_ALL = """
import importlib, pkgutil, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {missing!r}:
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Missing())
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.startswith({but!r}):
        importlib.import_module(module.name)
"""


def test_theory_imports_where_torch_and_matplotlib_are_missing(tmp_path):
    code = IMPORT_ALL.format(package="tailbound.theory", missing=["torch", "matplotlib"], but=())
    assert "cvxpy" in loaded_by(code, tmp_path)


def test_training_imports_where_cvxpy_and_sympy_are_missing(tmp_path):
    claims = (
        "tailbound.nn_validation.claims",
        "tailbound.nn_validation.core.checks",
    )  # decided where everything is installed
    code = IMPORT_ALL.format(package="tailbound.nn_validation", missing=["cvxpy", "sympy"], but=claims)
    assert "numpy" in loaded_by(code, tmp_path)


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports absolutely, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    ("layer", "forbidden"),
    [
        ("theory", {"torch", "matplotlib", "joblib", "random"}),
        ("sims", {"torch", "matplotlib"}),
        ("nn_validation", {"cvxpy", "sympy", "matplotlib"}),
        ("paper_figs", {"torch", "cvxpy"}),
    ],
)
def test_a_layer_writes_no_import_that_belongs_to_another(layer, forbidden):
    found = {str(path.relative_to(ROOT)): imported(path) & forbidden for path in (ROOT / layer).rglob("*.py")}
    assert found
    assert not {path: names for path, names in found.items() if names}


def test_modules_import_each_other_relatively():
    paths = [path for folder in shipped_folders() for path in folder.glob("*.py")]
    assert len(paths) > 10
    assert not [str(path.relative_to(ROOT)) for path in paths if "tailbound" in imported(path)]


def test_import_contracts_hold(tmp_path):
    script = Path(sysconfig.get_path("scripts")) / "lint-imports"
    found = script if script.exists() else shutil.which("lint-imports")
    if found is None:
        pytest.skip("import-linter is not installed")
    done = python(found, "--no-cache", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("name", tailbound.__all__)
def test_public_names_resolve(name):
    assert getattr(tailbound, name) is not None
    assert name in dir(tailbound)


def test_unknown_attribute_is_named_with_the_known_ones():
    with pytest.raises(AttributeError, match=r"'tailbound' has no attribute 'derve'; it has ClassCounts"):
        _ = tailbound.derve


def test_version_is_that_of_the_metadata():
    from importlib.metadata import version

    assert version("tailbound") == tailbound.__version__


def copy_sources(to: Path) -> None:
    """Copy what a commit of the tree would hold, so that no build output comes along."""
    git = shutil.which("git")
    listed = git and subprocess.run(
        [git, "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
    )
    if listed and listed.returncode == 0 and listed.stdout:
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, to / name)
    else:
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "shared")
        shutil.copytree(ROOT, to, dirs_exist_ok=True, ignore=ignored)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    copy_sources(source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = python("-m", "pip", "wheel", *options, "-w", out, source, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_holds_the_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"tailbound/py.typed", "tailbound/theory/claims/verdicts.json"} <= set(names)
    modules = {name for name in names if name.endswith(".py")}
    assert modules == {
        f"{package_name(each).replace('.', '/')}/{path.name}"
        for each in shipped_folders()
        for path in each.glob("*.py")
    }
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tailbound"}
    assert not [name for name in names if NOT_SHIPPED & set(name.split("/"))]


@pytest.mark.slow
def test_installed_wheel_verifies_outside_the_checkout(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    interpreter = scripts / "python"
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    done = python("-m", "pip", "--python", interpreter, "install", *options, wheel, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(python("-c", where, cwd=tmp_path, interpreter=interpreter).stdout.strip())
    # the dependencies of this environment, but not its .pth files, through which the checkout would come in
    (own / "dependencies.pth").write_text(
        "\n".join(dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))), encoding="utf-8"
    )
    outside = tmp_path / "outside"
    outside.mkdir()
    where = "import tailbound, numpy; print(tailbound.__file__)"
    done = python("-W", "error", "-c", where, cwd=outside, interpreter=interpreter)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "venv")
    done = python("verify", "ldam", cwd=outside, interpreter=scripts / "tailbound")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none unexpected" in done.stdout
    assert done.stderr == ""
