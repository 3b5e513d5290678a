"""The peers' programs, which lie with the shared data and know nothing of Truing."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

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


def vocabulary_of(model: str | Path) -> int:
    """How many tokens a configuration, or a folder with weights, has room for."""
    path = Path(model)
    return json.loads((path / "config.json" if path.is_dir() else path).read_text())["vocab_size"]


def build_model(path: str, seed: int, dtype: str = "float32", **kwargs: Any) -> Any:
    """The model of a folder with its weights, or of a configuration with random ones."""
    if not Path(path).is_dir():
        return _from_configuration(path, seed, dtype, **kwargs)
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), **kwargs)
    model.config.use_cache = False
    return model


_from_configuration = bench_common.build_model
