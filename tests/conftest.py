"""What every test may count on: no network, few threads, the same random cases each time."""

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

# All of this must be said before torch or a Hugging Face library is imported: they read it once.
# Two threads that wait for each other on a busy machine take many times as long as one.
THREADS = 1  # the models are tiny: a second thread waits more than it works
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(THREADS)
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
HF_HOME = Path(tempfile.mkdtemp(prefix="truing-tests-hf-"))
os.environ["TRUING_CACHE"] = str(HF_HOME / "truing")
os.environ["HF_HOME"] = str(HF_HOME)  # no test reads or writes the caches of whoever runs it

hypothesis.settings.register_profile(
    "truing",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("truing")


def pytest_unconfigure() -> None:
    shutil.rmtree(HF_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds `pyproject.toml`."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared(repository: Path) -> Path:
    """The folder of shared data; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("TRUING_SHARED", repository.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder} (set TRUING_SHARED)")
    return folder


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(capsys):
    """The command in this process: the same parsing, jobs and exit codes, without the imports."""
    from truing.cli.app import app
    from truing.cli.exits import run

    def call(*arguments: object) -> Ended:
        try:
            words = [str(one) for one in arguments]
            code = run(lambda: app(words), debug=False, as_json="--json" in words)
        except SystemExit as end:
            code = end.code
        found = capsys.readouterr()
        return Ended(code or 0, found.out, found.err)

    return call


@pytest.fixture(scope="session")
def random_llama():
    """Makes a model of two layers for a tokenizer, its weights random and decided by the seed."""

    def make(tokenizer, seed: int, **more):
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            initializer_range=0.2,
            **more,
        )
        return LlamaForCausalLM(config)

    return make


@pytest.fixture(scope="session")
def fake_runs():
    """The module `tests/fake_run.py`: made-up run folders."""
    spec = importlib.util.spec_from_file_location("fake_run", Path(__file__).parent / "fake_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
