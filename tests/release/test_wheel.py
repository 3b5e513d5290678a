"""What is given away: one version, and a wheel that holds all it needs."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import truing


def test_the_version_is_in_one_place_and_the_changelog_knows_it(repository):
    assert metadata.version("truing") == truing.__version__
    assert f"## {truing.__version__}" in (repository / "CHANGELOG.md").read_text()
    assert truing.__version__ not in (repository / "pyproject.toml").read_text()


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", folder, repository], check=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def fresh(wheel, tmp_path_factory):
    """An environment with the wheel in it; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    [packages] = folder.glob("lib/python*/site-packages")
    # A path file that is met on the way is not followed: the clone itself stays out.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--force-reinstall", wheel], check=True)
    return folder


def truing_of(fresh, folder, *arguments):
    return subprocess.run(
        [fresh / "bin" / "truing", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.soak
def test_the_wheel_holds_the_embedded_weights_and_nothing_of_the_clone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("truing/world/") and name.endswith(".safetensors") for name in names)
    assert any(name.endswith("page.css") for name in names)
    assert all(name.split("/")[0] in {"truing", wheel_info(wheel)} for name in names)
    assert wheel.stat().st_size < 30e6


def wheel_info(wheel: Path) -> str:
    return f"truing-{truing.__version__}.dist-info"


@pytest.mark.soak
def test_the_demo_runs_outside_the_clone(fresh, tmp_path):
    code = "import truing; print(truing.__file__)"
    where = subprocess.run(
        [fresh / "bin" / "python", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(fresh) in where
    assert truing.__version__ in truing_of(fresh, tmp_path, "--version").stdout
    found = truing_of(fresh, tmp_path, "demo", "--json")
    assert found.returncode == 0, found.stderr[-2000:]
    numbers = json.loads(found.stdout)
    assert numbers["win_rate_low"] > 0.5
    assert (tmp_path / numbers["output"] / "report.html").exists()
