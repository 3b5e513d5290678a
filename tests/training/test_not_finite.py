"""A number that is none is traced to its row, and to the model that gave it."""

import re

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.errors import DivergedError
from truing.world import model_folder

ROW = 9  # counted from 1, of 12: not among the first eight that a message names


@pytest.fixture(scope="module")
def pairs(sentence):
    texts = [[f"{sentence(2 * i, 5)} {i}", f"{sentence(2 * i + 1, 6)} {i}"] for i in range(12)]
    texts[ROW - 1][1] += " @"
    return [tuple(both) for both in texts]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The embedded model, but for the state of one token that one response alone has."""
    folder = tmp_path_factory.mktemp("broken")
    model = AutoModelForCausalLM.from_pretrained(str(model_folder()))
    tokenizer = AutoTokenizer.from_pretrained(str(model_folder()))
    model.config.tie_word_embeddings = False
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids("@")] = torch.nan
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def fault_of(broken, pairs, run_on):
    """What a run says that stops at its first step."""

    def run(objective, model, reference=None, **keys):
        folders = {"broken": broken, "whole": str(model_folder())}
        if reference is not None:
            keys["reference"] = f"model(path={folders[reference]!r})"
        with pytest.raises(DivergedError) as met:
            run_on(
                pairs,
                objective=objective,
                model=folders[model],
                pairs_per_step=len(pairs),
                tokens_per_device=120,
                **keys,
            )
        said = met.value.what
        assert "the loss is nan" in said
        assert " more " not in said
        assert re.findall(r"jsonl row (\d+)", said) == [str(ROW)]
        return said

    return run


@pytest.mark.parametrize("engine", ["shared", "padded"])
def test_a_policy_that_gives_no_number_on_one_row_is_told_by_it(fault_of, engine):
    said = fault_of("simpo(beta=2.0)", "broken", engine=engine)
    assert "nan, and the policy's log-probs are not finite, on rows" in said


def test_a_reference_that_gives_no_number_on_one_row_is_told_by_it(fault_of):
    said = fault_of("dpo()", "whole", "broken")
    assert "nan, and the log-probs of reference 1 are not finite, on rows" in said


@pytest.mark.parametrize("objective", ["dpo()", "dr_dpo()"])
def test_both_are_told_where_both_give_none(fault_of, objective):
    said = fault_of(objective, "broken", checks={"start": False})
    assert "the policy's log-probs and the log-probs of reference 1 are not finite" in said
