"""`truing export`: a finished run as a folder that others load, with a card that explains it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi

from truing.config import RunConfig
from truing.core.progress import SILENT, Progress
from truing.engine.adapters import DESCRIPTION, base_of, is_adapter, load_merged
from truing.engine.models import load_tokenizer
from truing.errors import ConfigError, ResumeError
from truing.jobs.card import NOTHING_SAID, CardFacts, model_card
from truing.jobs.public import public_adapter, public_config
from truing.jobs.speakers import run_config
from truing.training import folder

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_ADAPTER = "adapter_model.safetensors"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        output: the folder.
        is_adapter: whether it holds adapters without their base.
        weights_bytes: of all safetensors.
        url: where it was pushed to; None where it was not.
    """

    output: Path
    is_adapter: bool
    weights_bytes: int
    url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "output": str(self.output),
            "is_adapter": self.is_adapter,
            "weights_bytes": self.weights_bytes,
            "url": self.url,
        }


def export(
    run: str | Path,
    output: str | Path,
    *,
    facts: CardFacts = NOTHING_SAID,
    dtype: str | None = None,
    keeps_adapters: bool = False,
    push: str | None = None,
    is_public: bool = False,
    progress: Progress = SILENT,
) -> Exported:
    """Weights (adapters added to their base), tokenizer and a model card; then to the hub, if so.

    Args:
        run: the folder of a finished run.
        output: a new or empty folder.
        facts: what the run folder cannot know: name, licence, language, data-set names.
        dtype: of the weights; None: as they were trained.
        keeps_adapters: write adapters alone, as peft loads them.
        push: `owner/name` on the hub.
        is_public: whether everybody may see what is pushed.
        progress: is told what is done.

    Raises:
        ResumeError: no finished run.
        ConfigError: an option without effect on this run; something in `output`; no way to the hub.
        ModelError: the weights cannot be loaded.
    """
    run, output = Path(run), Path(output)
    config = _finished(run)
    _check(run, output, dtype, keeps_adapters=keeps_adapters, push=push, is_public=is_public)
    card = model_card(run, config, facts, is_adapter=keeps_adapters)
    description = public_adapter(run, facts.base) if keeps_adapters else ""
    api = None if push is None else _logged_in(push)
    output.parent.mkdir(parents=True, exist_ok=True)
    with folder.folder_written_aside(output) as aside:
        if keeps_adapters:
            (aside / DESCRIPTION).write_text(description, encoding="utf-8")
            shutil.copyfile(run / _ADAPTER, aside / _ADAPTER)
            if facts.base not in {"", base_of(str(run))}:
                progress.note(f"{facts.base} must hold the weights of {base_of(str(run))}")
        else:
            # Weights are written in the numbers that they were trained in unless it is said.
            progress.note("adding adapters to their base" if is_adapter(run) else "copying weights")
            model = load_merged(str(run), DTYPES[dtype or "float32"])
            model.config.use_cache = True
            model.save_pretrained(aside)
        load_tokenizer(str(run)).save_pretrained(aside)
        (aside / "README.md").write_text(card, encoding="utf-8")
        (aside / folder.CONFIG).write_text(public_config(config, facts.base), encoding="utf-8")
        for file in aside.rglob("*.safetensors"):
            # The library writes weights for their owner's eyes alone.
            file.chmod((aside / folder.CONFIG).stat().st_mode)
    size = sum(file.stat().st_size for file in output.glob("*.safetensors"))
    url = None
    if api is not None and push is not None:
        url = _pushed(api, output, push, is_public=is_public)
    return Exported(output, keeps_adapters, size, url)


def _finished(run: Path) -> RunConfig:
    if not (run / folder.CONFIG).is_file() or not (run / folder.FINISHED).exists():
        raise ResumeError(
            "holds no finished run",
            where=str(run),
            fix=f"give the output folder of `truing train`, or end it: truing train --resume {run}",
        )
    return run_config(run)


def _check(
    run: Path,
    output: Path,
    dtype: str | None,
    *,
    keeps_adapters: bool,
    push: str | None,
    is_public: bool,
) -> None:
    faults = {
        "the run has no adapters to keep": (keeps_adapters and not is_adapter(run), "--adapters"),
        "adapters are written as they are, so a dtype would have no effect": (
            keeps_adapters and dtype is not None,
            "--dtype",
        ),
        f"{dtype} is none of {', '.join(DTYPES)}": (
            dtype is not None and dtype not in DTYPES,
            "--dtype",
        ),
        "what is not pushed is nobody's to see": (is_public and push is None, "--public"),
    }
    for what, (is_so, where) in faults.items():
        if is_so:
            raise ConfigError(what, where=where, fix="leave it out")
    folder.refuse_used(output)


# ------------------------------------------------------------------ the hub


def _logged_in(name: str) -> HfApi:
    """The hub, asked who we are before anything is written.

    Raises:
        ConfigError: no way to the hub, or no token.
    """
    api = HfApi()
    try:
        api.whoami()
    except OSError as error:  # every fault of the hub's client is one
        raise _unreachable(name, error) from error
    return api


def _pushed(api: HfApi, output: Path, name: str, *, is_public: bool) -> str:
    try:
        made = api.create_repo(name, private=not is_public, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=output, commit_message="Truing export")
    except (OSError, ValueError) as error:
        raise _unreachable(name, error) from error
    return str(made)


def _unreachable(name: str, error: BaseException) -> ConfigError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConfigError(
        f"cannot be pushed ({first[:200]})",
        where=f"--push {name}",
        fix="log in with `hf auth login`, and look whether the network reaches the hub; "
        "the folder can also be written now and pushed later",
    )
