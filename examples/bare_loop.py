"""An objective in a loop of your own: PyTorch and truing.recipes, nothing else."""

import copy
from dataclasses import replace

import torch
from torch import nn

from truing.core import BatchContext, Counts, State, View
from truing.recipes import parse

objective = parse("sampo(beta=0.5) + 0.1*sft()")
print("it reads:", "; ".join(objective.needs.sentences()))


class TinyModel(nn.Module):
    """Any module from token ids (N, T) to logits (N, T, V)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 32)
        self.body = nn.GRU(32, 32, batch_first=True)
        self.head = nn.Linear(32, 20)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.embed(ids))[0])


def token_logps(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """(N, T) ids to (N, T - 1) log-probs in nats: of each token, given those before it."""
    return model(ids)[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


# Eight pairs: a prompt of three tokens, then responses of 4 and 9 tokens, padded with 0.
torch.manual_seed(0)
prompt = torch.randint(1, 20, (8, 3))
chosen = torch.cat([prompt, prompt[:, :1].expand(8, 4), torch.zeros(8, 5, dtype=torch.long)], 1)
rejected = torch.cat([prompt, torch.randint(1, 20, (8, 9))], 1)
is_response = torch.arange(1, 12) >= 3  # which columns of `token_logps` belong to a response
masks = [(ids[:, 1:] > 0) & is_response for ids in (chosen, rejected)]

policy = TinyModel()
reference = copy.deepcopy(policy)
optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3)
with torch.no_grad():
    of_reference = [token_logps(reference, ids) for ids in (chosen, rejected)]

state = State()
for epoch in range(20):
    view = View.from_padded(
        *[token_logps(policy, ids) for ids in (chosen, rejected)],
        *masks,
        reference_chosen=of_reference[0],
        reference_rejected=of_reference[1],
        row_ids=torch.arange(8),  # SamPO draws its tokens from them
        state=state,
    )
    context = BatchContext(counts=Counts.of(view), seed=0, epoch=epoch)
    terms = objective(replace(view, context=context))
    optimizer.zero_grad()
    terms.loss.backward()
    optimizer.step()
    state = terms.state  # running means of objectives that have some

accuracy = terms.metrics["rewards/accuracies"]
print(f"loss {terms.loss.item():.3f}, reward accuracy {float(accuracy):.2f}")
assert accuracy == 1
