"""The peers' programs, which lie with the shared data and know nothing of Truing."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

SHARED = Path(os.environ.get("TRUING_SHARED", Path(__file__).resolve().parents[2] / "shared"))
BENCH = SHARED / "bench"
PREFERENCES = SHARED / "data" / "preferences"
MODELS = BENCH / "models"


def _load(name: str) -> ModuleType:
    path = BENCH / f"{name}.py"
    if not path.is_file():
        raise SystemExit(f"{path} is not there: set TRUING_SHARED to the folder of shared data")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


bench_common = _load("bench_common")
