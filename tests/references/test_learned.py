"""Responses of several turns: every engine gives the objective the assistant's tokens alone."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.core import State
from truing.core.progress import SILENT
from truing.data import prepare
from truing.engine import LOGPS_ONLY, PackedEngine, PaddedEngine, SharedEngine, Wanted
from truing.recipes import dpo, parse
from truing.references.fill import fill
from truing.references.join import Rows, join
from truing.references.texts import response_sums
from truing.training.execute import StepInputs, StepRunner, counts_of

ENGINES = {
    "shared": SharedEngine(4000, block=2),
    "packed": PackedEngine(4000),
    "padded": PaddedEngine(4000),
}


def chat(*texts):
    return [{"role": ("assistant", "user")[i % 2], "content": text} for i, text in enumerate(texts)]


def row(number):
    return {
        "prompt": [{"role": "user", "content": f"Tell me story {number}."}],
        "chosen": chat("Once upon a time.", "Go on.", f"There were {number} dogs."),
        "rejected": chat("No.", "Please.", "I said no.", "Why?", "I am tired."),
    }


@pytest.fixture(scope="module")
def examples(shared):
    k = AutoTokenizer.from_pretrained(shared / "data/tokenizers/tok512-chatml")
    single = row(7) | {"chosen": chat("Once there was a cat."), "rejected": chat("No.")}
    return prepare([row(3), single, row(5)], k, max_length=500).examples


@pytest.fixture(scope="module")
def model(shared):
    found = AutoModelForCausalLM.from_pretrained(shared / "data/models/stories260K")
    found.resize_token_embeddings(520, mean_resizing=False)
    return found.double().eval()


def view_of(engine, model, examples, wanted=LOGPS_ONLY, references=()):
    policy = engine.logps(model, examples, wanted)
    return join(policy, Rows(examples, references), context=None, state=State())


def longhand(model, example, number):
    """Log-probs of the learned tokens of one response, from a plain forward pass of it alone."""
    ids = torch.from_numpy(np.concatenate([example.prompt, example.responses[number]])).long()
    logps = model(ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
    mask = np.ones(len(example.responses[number]), dtype=bool)
    if example.learned is not None:
        mask = example.learned[number]
    return logps[len(example.prompt) - 1 :][torch.from_numpy(mask)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_view_holds_the_learned_tokens_and_no_other(engine, model, examples):
    with torch.no_grad():
        view = view_of(ENGINES[engine], model, examples)
        expected = [longhand(model, one, i) for one in examples for i in range(2)]
    assert view.lengths.tolist() == list(map(len, expected))
    torch.testing.assert_close(view.policy, torch.cat(expected), atol=1e-10, rtol=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("expression", ["dpo()", "sampo()", "wpo()", "dr_dpo()", "dpo() + sft()"])
def test_loss_and_gradient_are_the_same_through_every_engine(engine, expression, model, examples):
    def step(chosen):
        model.zero_grad()
        references = [[values + 0.1 for values in fill(model, examples, chosen, SILENT)]]
        objective = parse(expression)
        needs = objective.needs
        wanted = Wanted(needs.prompt, needs.vocabulary_statistics)
        runner = StepRunner(objective, chosen, wanted)
        result = runner.backward(
            model, StepInputs(Rows(examples, references)), lambda loss: loss.backward()
        )
        return result.loss, torch.cat([p.grad.flatten() for p in model.parameters()])

    loss, gradient = step(ENGINES[engine])
    expected, slope = step(PaddedEngine(200))
    assert loss == pytest.approx(expected, abs=1e-10)
    torch.testing.assert_close(gradient, slope, atol=1e-6 * float(slope.abs().max()), rtol=0)


def test_a_token_without_loss_has_no_gradient_and_no_part_in_a_mean(model, examples):
    view = view_of(ENGINES["shared"], model, examples)
    counts = counts_of(Rows(examples))
    learned = sum(int(mask.sum()) for one in examples for mask in one.learned or ())
    whole = sum(len(r) for one in examples if one.learned is None for r in one.responses)
    assert counts.tokens == len(view.policy) == learned + whole
    assert counts.chosen_tokens == int(view.lengths[::2].sum())


def test_references_of_all_tokens_are_joined_to_the_learned_ones(model, examples):
    values = fill(model, examples, ENGINES["packed"], SILENT)
    assert [len(v) for v in values] == [sum(map(len, one.responses)) for one in examples]
    with torch.no_grad():
        view = view_of(ENGINES["shared"], model, examples, references=[values])
    assert float(dpo()(view).metrics["rewards/margins"]) == pytest.approx(0.0, abs=1e-10)
    torch.testing.assert_close(view.references[0], view.policy, atol=1e-10, rtol=0)


def test_sums_of_a_reference_leave_out_what_others_say(model, examples):
    values = fill(model, examples, ENGINES["packed"], SILENT)
    with torch.no_grad():
        for sums, one in zip(response_sums(values, examples), examples, strict=True):
            expected = [float(longhand(model, one, number).sum()) for number in range(2)]
            assert sums == pytest.approx(expected, abs=1e-8)
