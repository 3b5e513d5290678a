"""Where TRL 1.16 computes something else than it says: its number, and beside it the right one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from truing import recipes as r
from truing.core import View

from .cases import Case, dpo, keys_of
from .sides import ROWS_A_STEP, run_ours, run_theirs, their_warnings, theirs_of, trl


def their_first_losses(home, case, model=None, **arguments):
    """TRL's losses; `arguments` go over the case's."""
    reference = home.reference() if case.method in {"dpo", "kto"} else None
    trainer = theirs_of(
        case.method,
        model or home.policy(),
        reference,
        home.tokenizer,
        case.rows(home),
        **case.arguments | {"max_steps": 2} | arguments,
    )
    return run_theirs(trainer).losses


def our_first_loss(home, objective, rows):
    keys = {"model": home.model, "objective": str(objective), "trainer": {"max_steps": 1}}
    if objective.needs.reference != "none":
        keys["reference"] = f"model(path={home.other!r})"
    return run_ours(keys, rows).losses[0]


def log_ratios(home, rows):
    """Log-ratio of chosen and of rejected of each row, (2, rows), by one plain pass a response."""
    policy, reference, tokenizer = home.policy(), home.reference(), home.tokenizer
    found = []
    for side in ("chosen", "rejected"):
        for row in rows:
            prompt = tokenizer(row["prompt"]).input_ids
            whole = [*tokenizer(row["prompt"] + row[side]).input_ids, tokenizer.eos_token_id]
            start = next(
                (i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b),
                len(prompt),
            )
            ids = torch.tensor([whole])
            sums = []
            for model in (policy, reference):
                with torch.no_grad():
                    logps = model(ids).logits[0, :-1].double().log_softmax(-1)
                sums.append(logps.gather(-1, ids[0, 1:, None])[start - 1 :].sum())
            found.append(sums[0] - sums[1])
    return torch.stack(found).view(2, -1)


def test_label_smoothing_does_nothing_to_their_sigmoid_and_cdpo_is_what_it_was(home):
    plain = their_first_losses(home, dpo("sigmoid", "sigmoid"))
    smoothed = their_first_losses(home, dpo("sigmoid", "sigmoid", label_smoothing=0.3))
    assert smoothed == plain
    chosen, rejected = log_ratios(home, home.plain[:ROWS_A_STEP])
    z = 0.1 * (chosen - rejected)
    right = float((-0.7 * logsigmoid(z) - 0.3 * logsigmoid(-z)).mean())
    ours = our_first_loss(home, r.cdpo(beta=0.1, epsilon=0.3), home.plain)
    assert ours == pytest.approx(right, rel=1e-5)
    assert ours != pytest.approx(plain[0], rel=1e-3)


def test_their_alpha_is_one_minus_the_papers(home):
    """The paper: f'(u) = (1 - u^-alpha) / alpha, up to a constant."""
    alpha = 0.2
    chosen, rejected = log_ratios(home, home.plain[:ROWS_A_STEP])
    rewards = [(1 - torch.exp(-alpha * side)) / alpha for side in (chosen, rejected)]
    right = float(-logsigmoid(0.1 * (rewards[0] - rewards[1])).mean())
    ours = our_first_loss(home, r.f_dpo(beta=0.1, divergence="alpha", alpha=alpha), home.plain)
    assert ours == pytest.approx(right, rel=1e-5)
    divergence = {"f_divergence_type": "alpha_divergence"}
    same_word = dpo("alpha", **divergence, f_alpha_divergence_coef=alpha)
    one_minus = dpo("alpha", **divergence, f_alpha_divergence_coef=1 - alpha)
    assert their_first_losses(home, one_minus)[0] == pytest.approx(right, rel=1e-5)
    assert their_first_losses(home, same_word)[0] != pytest.approx(right, rel=1e-4)


def test_their_sppo_is_twice_the_authors(home):
    chosen, rejected = log_ratios(home, home.plain[:ROWS_A_STEP])
    target = 0.5 / 0.5
    right = float((((chosen - target) ** 2 + (rejected + target) ** 2) / 2).mean())
    theirs = their_first_losses(home, dpo("sppo", "sppo_hard", beta=0.5))[0]
    assert theirs == pytest.approx(2 * right, rel=1e-4)
    assert our_first_loss(home, r.sppo(beta=0.5, hard=True), home.plain) == pytest.approx(
        right, rel=1e-4
    )


def test_their_bco_lacks_the_shift_of_the_paper(home):
    chosen, rejected = (0.1 * side for side in log_ratios(home, home.plain[:ROWS_A_STEP]))
    shift = torch.stack([chosen, rejected]).mean()
    right = float((-logsigmoid(chosen - shift) - logsigmoid(-(rejected - shift))).mean())
    without = float((-logsigmoid(chosen) - logsigmoid(-rejected)).mean())
    theirs = their_first_losses(home, dpo("bco", "bco_pair"))[0]
    ours = our_first_loss(home, r.bco(beta=0.1), home.plain)
    assert theirs == pytest.approx(without, rel=1e-5)
    assert ours == pytest.approx(right, rel=1e-5)
    assert ours != pytest.approx(theirs, rel=1e-6)


def speaking_for_itself(home):
    """The same home with responses that its policy finds most probable, of two lengths."""
    policy, tokenizer, rows = home.policy(), home.tokenizer, []
    for row in home.plain[:ROWS_A_STEP]:
        ids = tokenizer(row["prompt"], return_tensors="pt")
        said = policy.generate(
            ids.input_ids,
            attention_mask=ids.attention_mask,
            do_sample=False,
            max_new_tokens=90,
            pad_token_id=0,
        )[0, ids.input_ids.shape[1] :]
        long, short = (
            tokenizer.decode(some, skip_special_tokens=True) for some in (said, said[:60])
        )
        rows.append({"prompt": row["prompt"], "chosen": f" {long}", "rejected": f" {short}"})
    return replace(home, plain=rows)


@pytest.mark.usefixtures("shared")  # a random model writes nothing that it reads as likely
def test_their_weights_of_wpo_may_pass_one_and_the_authors_may_not(home):
    # A token that is likelier than the others on average has a weight above one.
    home = speaking_for_itself(home)
    theirs = their_first_losses(home, dpo("wpo", use_weighting=True))[0]
    uncapped = our_first_loss(home, r.wpo(beta=0.1, capped=False), home.plain)
    capped = our_first_loss(home, r.wpo(beta=0.1), home.plain)
    assert theirs == pytest.approx(uncapped, rel=1e-5)
    assert capped < uncapped


def test_weights_beside_likelihood_make_their_step_fail(home):
    case = dpo("both", "sigmoid", "sft", use_weighting=True)
    with pytest.raises(RuntimeError, match="single memory location"):
        their_first_losses(home, case)


def test_their_bent_reward_of_a_sum_is_not_finite(home):
    """exp(-sum) has no room in float32; (1 - exp(-alpha * L)) / alpha needs only alpha * L."""
    case = Case("bent", "cpo", {"alpha": 0.1, "cpo_alpha": 0.0, "beta": 0.01})
    rows = sorted(home.plain, key=lambda row: -len(row["chosen"]) - len(row["rejected"]))
    trainer = theirs_of("cpo", home.policy(), None, home.tokenizer, rows, **case.arguments)
    with their_warnings():
        batch = next(iter(trainer.get_train_dataloader()))
        theirs = trainer.compute_loss(trainer.model, batch)
    assert not torch.isfinite(theirs)
    rewards = []
    for length in (-300.0, -310.0):
        rewards.append((1 - math.exp(-0.1 * length)) / 0.1)
    right = math.log1p(math.exp(-1e-14 * (rewards[0] - rewards[1])))
    view = View.from_padded(
        torch.tensor([[-300.0]], dtype=torch.float64),
        torch.tensor([[-310.0]], dtype=torch.float64),
        mask_chosen=torch.ones(1, 1),
        mask_rejected=torch.ones(1, 1),
    )
    bent = r.parse(
        "Pairwise(beta=1e-14, likelihood=PolicyLogp(), chosen=PowerReward(alpha=0.1), "
        "rejected=PowerReward(alpha=0.1))"
    )
    assert float(bent(view).loss) == pytest.approx(right)


@pytest.mark.parametrize(
    "case",
    [dpo("sft", "sft"), dpo("aot", "aot"), dpo("aot-unpaired", "aot_unpaired")],
    ids=lambda case: case.name,
)
def test_their_loss_depends_on_how_a_step_is_cut_and_ours_does_not(case, home):
    whole = their_first_losses(home, case, per_device_train_batch_size=8)[0]
    parts = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    cut = their_first_losses(home, case, **parts)
    assert np.mean(cut[:4]) != pytest.approx(whole, rel=1e-5)
    keys = keys_of(case, home) | {"trainer": {"max_steps": 1}, "pairs_per_step": 8}
    for budget in (8192, 320):
        ours = run_ours(keys | {"tokens_per_device": budget}, home.plain).losses[0]
        assert ours == pytest.approx(whole, rel=2e-5)


def test_their_mismatched_response_may_be_the_prompts_own(home):
    rows = [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for row in home.plain
        for side in ("chosen", "rejected")
    ]
    trainer = theirs_of("kto", home.policy(), home.reference(), home.tokenizer, rows)
    table = trainer.train_dataset
    own = {
        (tuple(prompt), tuple(response))
        for prompt, response in zip(table["prompt_ids"], table["completion_ids"], strict=True)
    }
    taken = [
        (tuple(prompt), tuple(response))
        for prompt, response in zip(table["prompt_ids"], table["KL_completion_ids"], strict=True)
    ]
    assert sum(one in own for one in taken) >= len(rows) // 2
    from truing.data import prepare
    from truing.data.beside import partners

    examples = prepare(rows, home.tokenizer, max_length=512).examples
    for row, partner in enumerate(partners(examples, 0)):
        assert examples[row].prompt.tolist() != examples[int(partner)].prompt.tolist()


def test_a_template_with_a_line_break_gets_a_second_end_token_in_their_cpo(home):
    tokenizer = home.tokenizer
    tokenizer.chat_template = tokenizer.chat_template.replace("eos_token }}", "eos_token + '\n' }}")
    with their_warnings():
        trainer = theirs_of("cpo", home.policy(), None, tokenizer, home.conversational)
    end = tokenizer.eos_token_id
    ids = trainer.train_dataset[0]["chosen_input_ids"]
    assert ids[-1] == end
    assert tokenizer.decode(ids[-3:-1]).endswith("\n") or ids[-2] != end
    assert ids.count(end) == tokenizer(_written(home, tokenizer)).input_ids.count(end) + 1
    from truing.data import prepare

    ours = prepare(home.conversational[:1], tokenizer, max_length=512).examples[0]
    assert ours.responses[0].tolist().count(end) == 1
    assert ours.responses[0][-1] == end


def _written(home, tokenizer):
    row = home.conversational[0]
    return tokenizer.apply_chat_template(row["prompt"] + row["chosen"], tokenize=False)


def test_the_release_that_all_this_is_said_of_is_the_one_that_runs():
    assert trl().__version__.startswith("1.16.")
