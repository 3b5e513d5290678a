"""On a few fixed responses with free logits every objective with a closed form reaches it."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit, lambertw, logsumexp

from truing.core.view import View
from truing.errors import ConfigError
from truing.recipes import parse
from truing.world.optimum import reweighted

# P(i before j) = STRENGTHS[i] / (STRENGTHS[i] + STRENGTHS[j]): whole numbers, so that a list of
# pairs can hold each order as often as it is labelled so.
STRENGTHS = (1, 2, 3, 4)
RESPONSES = len(STRENGTHS)
ROUNDS = 420 * 5
BETA = 0.7
# L-BFGS in float64 comes this close to the optimum's log-probs.
CLOSE = 1e-5

_random = np.random.default_rng(3)
SCORES = np.log(STRENGTHS)
LENGTHS = np.array([3, 1, 2, 5])
REFERENCE = np.log(_random.dirichlet(np.ones(RESPONSES)))
OTHER = np.log(_random.dirichlet(np.ones(RESPONSES)))
WINS = expit(SCORES[:, None] - SCORES[None, :])


def normalised(logits):
    return logits - logsumexp(logits)


def from_gaps(log_ratio):
    """The policy whose log-ratios are log_ratio(shift), with the shift that makes it one."""
    shift = brentq(lambda c: logsumexp(REFERENCE + log_ratio(c)), -60, 60)
    return REFERENCE + log_ratio(shift)


def tilted(strength):
    return normalised(REFERENCE + SCORES / strength)


def virtual_reference():
    return -np.logaddexp(np.log(0.4) - OTHER, np.log(0.6) - REFERENCE)


def chi2_log_ratio(shift):
    # exp(r) + r = u  <=>  exp(r) = W(exp(u))
    return np.log(lambertw(np.exp(SCORES / BETA + shift)).real)


def logit_of_loss(loss):
    """The z whose -log sigmoid(-z) is the loss."""
    return loss + np.log(-np.expm1(-loss))


PAIRWISE = {
    f"dpo(beta={BETA})": tilted(BETA),
    f"odpo(beta={BETA}, alpha=0.5, scale='identity')": tilted(BETA / 1.5),
    f"r_dpo(beta={BETA}, alpha=0.2)": normalised(REFERENCE + (SCORES - 0.2 * LENGTHS) / BETA),
    f"posterior(beta={BETA})": normalised(SCORES / BETA),
    f"h_dpo(alpha=0.8, beta={BETA})": normalised((REFERENCE + SCORES / BETA) / 0.8),
    f"ipo(beta={BETA}, average=False)": normalised(
        REFERENCE + (2 * WINS - 1).mean(axis=1) / (2 * BETA)
    ),
    f"averaged(dpo(beta={BETA}))": from_gaps(lambda c: LENGTHS * (SCORES / BETA + c)),
    f"chi2po(beta={BETA})": from_gaps(chi2_log_ratio),
    f"f_dpo(beta={BETA}, divergence='forward_kl')": from_gaps(
        # -exp(-r) = u < 0; the shift is measured from where the best response's u reaches 0
        lambda c: -np.log(-(SCORES - SCORES.max()) / BETA + np.exp(-c))
    ),
    f"f_dpo(beta={BETA}, divergence='js')": from_gaps(
        # log 2 + log sigmoid(r) = u < log 2, the shift measured from that bound
        lambda c: -logit_of_loss((SCORES.max() - SCORES) / BETA + np.exp(-c))
    ),
    f"f_dpo(beta={BETA}, divergence='alpha', alpha=0.4)": from_gaps(
        # (1 - exp(-0.4 r)) / 0.4 = u < 1 / 0.4, measured in the same way
        lambda c: -np.log(0.4 * (SCORES.max() - SCORES) / BETA + np.exp(-c)) / 0.4
    ),
    f"d2po(beta={BETA}, gamma=0.8)": from_gaps(
        lambda c: (SCORES / BETA + c) * LENGTHS / np.cumsum(0.8 ** np.arange(1, 6))[LENGTHS - 1]
    ),
    f"simpo(beta={BETA}, gamma=0)": from_gaps(lambda c: LENGTHS * (SCORES / BETA + c) - REFERENCE),
    f"ipo(beta={BETA}, average=True)": from_gaps(
        lambda c: LENGTHS * ((2 * WINS - 1).mean(axis=1) / (2 * BETA) + c)
    ),
    f"likelihood_ratio(beta={BETA})": normalised(OTHER + SCORES / BETA),
    "rebel(eta=1.5)": normalised(REFERENCE + 1.5 * SCORES),
}
LISTWISE = {
    f"infonca(beta={BETA}, alpha=0.5)": tilted(0.5 * BETA),
    f"exo(beta={BETA}, beta_reward=0.5)": tilted(0.5 * BETA),
}


def view_of(logits, pairs, references):
    """One prompt; a response's log-prob is spread over its tokens."""
    response = torch.repeat_interleave(torch.arange(RESPONSES), torch.tensor(LENGTHS))
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)
    spread = [(torch.as_tensor(row) / lengths)[response] for row in references]
    return View(
        policy=(logits.log_softmax(0) / lengths)[response],
        response=response,
        group=torch.zeros(RESPONSES, dtype=torch.int64),
        pairs=pairs,
        references=torch.stack(spread),
        # What the reference says of the response without its prompt.
        unconditional=torch.tensor(OTHER),
        scores=torch.tensor(SCORES),
        row_ids=torch.tensor([7]),
    )


def minimised(loss):
    """The log-probs at which a loss of free logits is least."""
    logits = torch.zeros(RESPONSES, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [logits],
        max_iter=2000,
        tolerance_grad=1e-11,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure():
        solver.zero_grad()
        value = loss(logits)
        value.backward()
        return value

    solver.step(closure)
    return logits.detach().log_softmax(0).numpy()


def labelled(flipped):
    """Every couple equally often, each order as often as it is labelled so."""
    times = np.rint(ROUNDS * ((1 - flipped) * WINS + flipped * (1 - WINS))).astype(int)
    orders = [(i, j) for i in range(RESPONSES) for j in range(RESPONSES) if i != j]
    return torch.tensor([order for order in orders for _ in range(times[order])])


def population_optimum(expression, *, flipped=0.0, references=(REFERENCE,)):
    objective, pairs = parse(expression), labelled(flipped)
    return minimised(lambda logits: objective(view_of(logits, pairs, references)).loss)


@pytest.mark.parametrize("expression", PAIRWISE)
def test_soft_labels_of_every_pair_lead_to_the_closed_form(expression):
    found = population_optimum(expression)
    assert found == pytest.approx(PAIRWISE[expression], abs=CLOSE)


@pytest.mark.parametrize("expression", LISTWISE)
def test_scores_of_all_responses_lead_to_the_closed_form(expression):
    objective = parse(expression)
    nothing = torch.zeros(0, 2, dtype=torch.int64)
    found = minimised(lambda logits: objective(view_of(logits, nothing, (REFERENCE,))).loss)
    assert found == pytest.approx(LISTWISE[expression], abs=CLOSE)


def test_several_references_lead_to_their_virtual_one_tilted():
    found = population_optimum(
        f"mrpo(beta={BETA}, alpha=0.4, clip='none')", references=(REFERENCE, OTHER)
    )
    expected = normalised(virtual_reference() + SCORES / BETA)
    assert found == pytest.approx(expected, abs=CLOSE)


def test_robust_dpo_finds_under_flipped_labels_what_dpo_finds_without():
    found = population_optimum(f"robust_dpo(beta={BETA}, epsilon=0.2)", flipped=0.2)
    assert found == pytest.approx(tilted(BETA), abs=CLOSE)
    assert population_optimum(f"dpo(beta={BETA})", flipped=0.2) != pytest.approx(
        tilted(BETA), abs=0.05
    )


def test_two_scored_responses_are_dpo_with_a_soft_label():
    logits = torch.tensor(_random.normal(size=RESPONSES))
    both = torch.tensor([(0, 1), (1, 0)])
    view = view_of(logits, both, (REFERENCE,))
    two = slice(0, int(LENGTHS[:2].sum()))
    alone = View(
        policy=view.policy[two],
        response=view.response[two],
        group=view.group[:2],
        pairs=torch.zeros(0, 2, dtype=torch.int64),
        references=view.references[:, two],
        scores=view.scores[:2],
        row_ids=view.row_ids,
    )
    hard = parse(f"dpo(beta={BETA})")(view).per_pair
    soft = WINS[0, 1] * hard[0] + WINS[1, 0] * hard[1]
    assert parse(f"infonca(beta={BETA}, alpha=1.0)")(alone).loss == pytest.approx(soft)


def test_reweighted_samples_are_as_good_and_as_far_away_as_the_tilted_policy():
    drawn = _random.choice(RESPONSES, size=(1, 400_000), p=np.exp(REFERENCE))
    found = reweighted(SCORES[drawn], BETA)
    policy = tilted(BETA)
    assert found.score == pytest.approx(float(np.exp(policy) @ SCORES), abs=0.01)
    assert found.kl == pytest.approx(float(np.exp(policy) @ (policy - REFERENCE)), abs=0.01)
    assert found.start == pytest.approx(float(np.exp(REFERENCE) @ SCORES), abs=0.01)


def test_few_samples_show_too_little_and_the_effective_number_says_so():
    scores = _random.normal(size=(2000, 2))
    many = _random.normal(size=(200, 2000))
    # a normal score of variance 1, tilted by exp(score), has mean 1
    assert reweighted(scores, 1.0).score < reweighted(many, 1.0).score == pytest.approx(1, abs=0.05)
    assert reweighted(scores, 1.0).effective < 2


def test_a_strength_of_zero_is_an_error():
    with pytest.raises(ConfigError, match="strength"):
        reweighted(SCORES[None], 0.0)
