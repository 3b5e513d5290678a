"""The site is built without a warning, and the notebooks say what they say."""

import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import truing
from truing.recipes import parse
from truing.recipes.shelf import shelf

ROOT = Path(__file__).parents[2]
EXPRESSION = re.compile(r"`([a-z0-9_]+\([^`]*\))`")
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.filterwarnings("default")  # of the kernel's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert shown
    assert not any(out.output_type == "error" for cell in shown for out in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_what_it_showed_for_the_site(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if "print(" in cell.source]
    assert cells
    assert all("".join(out.get("text", "") for out in cell.outputs).strip() for cell in cells)
    assert "stderr" not in {out.get("name") for cell in cells for out in cell.outputs}


def test_the_reference_names_every_function_of_the_package():
    site = runpy.run_path(str(ROOT / "docs" / "site.py"))
    functions = {name for name in truing.__all__ if inspect.isfunction(getattr(truing, name))}
    assert functions == set(site["API"]["truing"])
    assert "heading: truing.train\n" in site["api_page"]("truing")


def test_every_objective_that_is_recommended_by_symptom_is_one():
    page = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    tried = [line.split("|")[3] for line in page.splitlines() if line.count("|") == 5]
    found = [text for cell in tried for text in EXPRESSION.findall(cell) if "..." not in text]
    assert len(found) > 20
    assert all(parse(text) for text in found)


@pytest.mark.soak
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the site needs the extra docs: make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    found = subprocess.run(
        [*command, "--site-dir", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    page = (tmp_path / "recipes" / "sampo.html").read_text()
    assert "plotly.min.js" in page
    assert all((tmp_path / "recipes" / f"{entry.name}.html").exists() for entry in shelf())
    assert "::: truing" not in page
    scripts = re.findall(r'<(?:script|link)[^>]+(?:src|href)="(https?:[^"]+)"', page)
    assert scripts == [], "the site is read without a network"
