"""Everything a contributor runs. `nox` alone: lint, types, tests."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
MINIMUM = PYTHONS[0]
PACKAGES = (".", "packaging/lite")
"""Where a package is built."""
LITE_MB = 130
"""What an installation of `fercli-lite` may download."""


def dependencies(group: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group."""
    return nox.project.dependency_groups(PYPROJECT, group)


def test(session: nox.Session, *arguments: str) -> None:
    """Install the package with its test tools and run pytest."""
    session.install(".[hub]", *dependencies("test"))
    spread = ("-n", "auto", "--dist", "worksteal")
    session.run("pytest", *spread, *arguments, *session.posargs, env={"TERM": "dumb"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, rules and spelling; needs no torch."""
    session.install(*dependencies("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, tests included."""
    session.install(".", *dependencies("types"), *dependencies("test"), "nox")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the quick tests on the interpreter that runs nox."""
    test(session)


@nox.session(name="tests-all", python=PYTHONS, default=False)
def tests_all(session: nox.Session) -> None:
    """Run the quick tests on every supported Python."""
    test(session)


@nox.session(default=False)
def slow(session: nox.Session) -> None:
    """Run the slow tests."""
    test(session, "-m", "slow and not gpu")


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Run the tests that need a CUDA device."""
    test(session, "-m", "gpu")


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """Look at the page of `fer serve`, and at the site, with the Chromium that is installed."""
    groups = ("test", "browser", "docs")
    session.install(".[serve]", *(need for group in groups for need in dependencies(group)))
    pages = ("tests/e2e/test_page.py", "tests/e2e/test_site.py")
    session.run("pytest", "-m", "browser", *pages, *session.posargs)


@nox.session(default=False)
def cloud(session: nox.Session) -> None:
    """Read from a server that speaks as S3 does, on this machine."""
    session.install(".[cloud]", *dependencies("test"), *dependencies("cloud"))
    session.run("pytest", "-m", "cloud", "tests/e2e/test_cloud.py", *session.posargs)


@nox.session(default=False)
def cluster(session: nox.Session) -> None:
    """Predict on clusters of this machine whose processes are killed, and run the recipes."""
    session.install(".[ray,parquet]", *dependencies("test"), *dependencies("cluster"))
    tests = ("tests/e2e/test_cluster.py", "tests/e2e/test_recipes.py")
    session.run("pytest", "-m", "cluster", *tests, *session.posargs)


@nox.session(python=MINIMUM, venv_backend="uv", default=False)
def minimums(session: nox.Session) -> None:
    """Run the quick tests with the lowest supported version of every dependency."""
    session.install(".", *dependencies("test"), "--resolution", "lowest-direct")
    # Old libraries use what newer ones of theirs deprecate; that is theirs to mend.
    quiet = ("-W", "default::DeprecationWarning", "-W", "default::FutureWarning")
    # Help is worded and wrapped by typer, each version in its way.
    worded = ("--deselect", "tests/contract/test_surface.py::test_the_reference_page_is_current")
    spread = ("-n", "auto", "--dist", "worksteal")
    session.run("pytest", *quiet, *worded, *spread, *session.posargs, env={"TERM": "dumb"})


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Report the lines and branches that the quick tests run."""
    test(session, "--cov", "--cov-report=term-missing:skip-covered")


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Change modules point by point and look whether tests notice: `-- MODULE… --tests TEST…`."""
    session.install(".", *dependencies("test"))
    session.run("python", "scripts/mutate.py", *(session.posargs or ["--help"]))


def harness(session: nox.Session, name: str) -> None:
    """Run one of the programs of tests/reliability; what follows `--` is its options."""
    session.install(".", *dependencies("test"))
    session.run("python", f"tests/reliability/{name}.py", *session.posargs)


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Kill commands before, and fail, each of their system calls that writes; needs strace."""
    harness(session, "faults")


@nox.session(default=False)
def kills(session: nox.Session) -> None:
    """Kill commands at random moments, a hundred times, and let them go on."""
    harness(session, "kills")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Give odd inputs to everything that reads, ten minutes for each kind."""
    harness(session, "fuzz")


@nox.session(default=False)
def rot(session: nox.Session) -> None:
    """Flip bits, zero blocks and cut files of every kind that is written."""
    harness(session, "rot")


@nox.session(default=False)
def api(session: nox.Session) -> None:
    """Let schemathesis ask `fer serve` for what its OpenAPI allows, and what it does not."""
    session.install(".[serve]", *dependencies("api"))
    session.run("python", "tests/api/run.py", *session.posargs)


@nox.session(default=False)
def audit(session: nox.Session) -> None:
    """Look all that an installation with every extra brings up among known vulnerabilities.

    Needs the network. What the service does not know fails, since it was not looked up.
    """
    session.install(*dependencies("audit"))
    pins = str(Path(session.create_tmp()).resolve() / "pins.txt")
    session.run("uv", "pip", "compile", "-q", "pyproject.toml", "--all-extras", "-o", pins)
    known = ("--strict", "--no-deps", "--disable-pip", "--progress-spinner", "off")
    session.run("pip-audit", *known, "--requirement", pins, *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Run every command of the documentation, and follow its tutorials and notebooks."""
    pages = ("tests/contract/test_docs.py", "tests/contract/test_tutorials.py")
    test(session, "-m", "not gpu", *pages)


@nox.session(default=False)
def site(session: nox.Session) -> None:
    """Build the documentation site, strictly; `-- links` asks the addresses outside, too."""
    session.install(*dependencies("docs"))
    output = "docs/_build/html"
    strictly = ("-E", "-W", "--keep-going", "-n")
    session.run("sphinx-build", *strictly, "-b", "html", "docs", output)
    session.run("python", "scripts/check_site.py", output, "--external")
    if "links" in session.posargs:
        # Without a network, and where others are down, it tells and fails nothing.
        asking = ("-b", "linkcheck", "docs", "docs/_build/links")
        session.run("sphinx-build", *asking, success_codes=[0, 1])


@nox.session(default=False)
def sync(session: nox.Session) -> None:
    """Write what is derived from the code: reference pages, design.md's table, golden files."""
    session.install(".", *dependencies("test"))
    session.run("python", "scripts/write_reference.py")
    session.run("pytest", "tests/contract/test_surface.py", "--update-golden")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build sdists and wheels, check their metadata, then run the demo from the wheel alone."""
    session.install(*dependencies("build"))
    shutil.rmtree("dist", ignore_errors=True)
    for source in PACKAGES:
        session.run("python", "-m", "build", "--outdir", "dist", source)
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    session.notify("wheel")


@nox.session(reuse_venv=False, default=False)
def wheel(session: nox.Session) -> None:
    """Install the built wheel in a clean environment and run the demo there."""
    (path,) = Path("dist").resolve().glob("fercli-*.whl")
    session.install(str(path))
    with session.chdir(session.create_tmp()):
        session.run("fer", "--version")
        session.run("fer", "demo", "--force")


@nox.session(reuse_venv=False, default=False)
def lite(session: nox.Session) -> None:
    """Build both wheels, and use `fercli-lite` in a clean environment; then the two together."""
    tmp = Path(session.create_tmp()).resolve()
    session.install("build", "hatchling", "uv")
    built = tmp / "built"
    shutil.rmtree(built, ignore_errors=True)
    for source in PACKAGES:
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(built), source)
    (small,) = built.glob("fercli_lite-*.whl")
    (full,) = built.glob("fercli-*.whl")
    session.run("python", "benchmarks/install_size.py", str(small), "--limit", str(LITE_MB))
    # It brings the photo of a face, which may be used.
    session.install("--no-deps", "--target", str(tmp / "pictures"), "scikit-image")
    photo = tmp / "pictures" / "skimage" / "data" / "astronaut.png"
    # uv is in the session's own environment; the wheels get one with nothing else in it.
    session.run("uv", "venv", "--clear", str(tmp / "clean"))
    programs = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    python = str(tmp / "clean" / programs)
    session.run("uv", "pip", "install", "--python", python, str(small))
    work = tmp / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    script = Path("tests/lite/run.py").resolve()
    with session.chdir(work):
        environment = {"FERCLI_HOME": str(tmp / "home"), "TERM": "dumb"}
        run = (python, str(script))
        session.run(*run, str(photo), env=environment, external=True)
        session.run("uv", "pip", "install", "--no-deps", "--python", python, str(full))
        session.run(*run, "--together", env=environment, external=True)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run the benchmarks named after `--`, or list them."""
    session.install(".")
    names = session.posargs or sorted(path.stem for path in Path("benchmarks").glob("*.py"))
    for name in names:
        session.run("python", f"benchmarks/{name}.py", *([] if session.posargs else ["--help"]))
