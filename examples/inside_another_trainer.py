"""An objective inside transformers' Trainer: one method, `compute_loss`."""

import copy
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from truing.core import View
from truing.recipes import averaged, dpo, sft
from truing.world import model_folder, prompts

objective = averaged(dpo(beta=5.0)) + 0.1 * sft()


class PreferenceTrainer(Trainer):
    """A Trainer whose loss is any objective on pairs."""

    def __init__(self, objective, reference, **others):
        super().__init__(**others)
        self.objective, self.reference = objective, reference.eval().requires_grad_(False)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with torch.no_grad():
            of_reference = token_logps(self.reference, inputs)
        both = [table.chunk(2) for table in (token_logps(model, inputs), inputs["mask"])]
        chosen, rejected = of_reference.chunk(2)
        view = View.from_padded(
            *both[0], *both[1], reference_chosen=chosen, reference_rejected=rejected
        )
        terms = self.objective(view)
        self.log({name: float(value) for name, value in terms.metrics.items()})
        return (terms.loss, {}) if return_outputs else terms.loss


def token_logps(model, inputs):
    """Log-probs in nats of every token but the first; (N, T - 1)."""
    ids = inputs["input_ids"]
    logits = model(input_ids=ids, attention_mask=inputs["attention_mask"]).logits[:, :-1]
    return logits.float().log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def collate(rows):
    """The chosen half of the batch above the rejected half, padded on the right."""
    texts = [(row["prompt"], row[side]) for side in ("chosen", "rejected") for row in rows]
    prompt_ids = tokenizer([prompt for prompt, _ in texts])["input_ids"]
    response_ids = tokenizer([response for _, response in texts])["input_ids"]
    end = [tokenizer.eos_token_id]
    sequences = [torch.tensor(p + r + end) for p, r in zip(prompt_ids, response_ids, strict=True)]
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    lengths = torch.tensor([len(sequence) for sequence in sequences])[:, None]
    column, start = torch.arange(ids.shape[1]), torch.tensor([len(p) for p in prompt_ids])[:, None]
    is_response = (column >= start) & (column < lengths)
    return {
        "input_ids": ids,
        "attention_mask": (column < lengths).long(),
        "mask": is_response[:, 1:],
    }


tokenizer = AutoTokenizer.from_pretrained(model_folder())
model = AutoModelForCausalLM.from_pretrained(model_folder())
rows = [
    {"prompt": prompt.text, "chosen": "It is quiet.", "rejected": "I do not care about this."}
    for prompt in prompts("train")[:16]
]
trainer = PreferenceTrainer(
    objective,
    copy.deepcopy(model),
    model=model,
    args=TrainingArguments(
        tempfile.mkdtemp(),
        per_device_train_batch_size=4,
        learning_rate=1e-4,
        num_train_epochs=2,
        remove_unused_columns=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    ),
    train_dataset=rows,
    data_collator=collate,
)
result = trainer.train()
margins = [line["rewards/margins"] for line in trainer.state.log_history if "logps/chosen" in line]
print(f"reward margin {margins[0]:.3f} at the first step, {margins[-1]:.3f} at the last")
assert margins[-1] > margins[0]
