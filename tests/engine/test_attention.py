"""Attention over a tree of segments is attention under the tree's mask, on every path."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from truing.engine import flash, varlen
from truing.engine.architectures import ARCHITECTURES
from truing.engine.attention import NAME, TREE, attend
from truing.engine.dense import attend_segments
from truing.engine.tree import Segment, SegmentTree
from truing.errors import ModelError

EXACT = 1e-12
H, D = 4, 6
BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}


def tree_of(*shape):
    """Segments from (length, parent) in the order of a walk."""
    segments: list[Segment] = []
    for length, parent in shape:
        before = 0 if parent < 0 else segments[parent].depth
        start = segments[-1].end if segments else 0
        segments.append(Segment(start, length, parent, before))
    return SegmentTree(tuple(segments))


TREES = {
    "one": tree_of((5, -1)),
    "two responses": tree_of((5, -1), (3, 0), (4, 0)),
    "single tokens": tree_of((1, -1), (1, 0), (1, 0), (1, -1), (1, 3)),
    "deep": tree_of((4, -1), (3, 0), (2, 1), (5, 1), (2, 0), (3, 4), (6, -1), (2, 6), (1, 6)),
}


def heads(tree, heads_of_keys=H, width=D):
    draw = torch.Generator().manual_seed(3)
    shapes = [(H, D), (heads_of_keys, D), (heads_of_keys, width)]
    return [
        torch.randn(1, h, tree.num_tokens, d, generator=draw, dtype=torch.float64).requires_grad_()
        for h, d in shapes
    ]


def by_mask(query, key, value, tree, scale, window=None, softcap=None, sinks=None):
    """One square of scores for the whole packed row, masked by `reach` and positions."""
    query_at = torch.arange(tree.num_tokens)[:, None]
    key_at = torch.arange(tree.num_tokens)[None]
    mask = (key_at <= query_at) & (query_at < torch.from_numpy(tree.reach)[None])
    if window is not None:
        position = torch.from_numpy(tree.positions)
        mask &= position[:, None] - position[None] < window
    times = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    scores = query @ key.transpose(-1, -2) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    powers = torch.exp(scores) * mask
    total = powers.sum(-1, keepdim=True)
    if sinks is not None:
        total = total + sinks.exp()[None, :, None, None]
    return powers / total @ value


def assert_same(found, expected, inputs):
    torch.testing.assert_close(found, expected, atol=EXACT, rtol=0)
    weight = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).reshape(found.shape)
    one, other = (
        torch.autograd.grad((result * weight).sum(), inputs, retain_graph=True)
        for result in (found, expected)
    )
    for gradient, wanted in zip(one, other, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=EXACT, rtol=0)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("heads_of_keys", [4, 2, 1])
def test_the_joined_parts_are_the_whole(name, heads_of_keys):
    tree = TREES[name]
    inputs = heads(tree, heads_of_keys)
    expected = by_mask(*inputs, tree, 0.3)
    assert_same(flash.attend(*inputs, tree, 0.3), expected, inputs)
    assert_same(attend_segments(*inputs, tree, 0.3), expected, inputs)


def test_a_prompt_and_its_first_response_are_one_call():
    runs, others = flash.parts_of(TREES["two responses"])
    assert runs == [slice(0, 8), slice(8, 12)]
    assert others == [(slice(0, 5), slice(8, 12))]


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("window", [1, 2, 6])
def test_a_window_counts_from_the_position_in_the_sequence(name, window):
    tree = TREES[name]
    inputs = heads(tree)
    expected = by_mask(*inputs, tree, 0.3, window=window)
    assert_same(attend_segments(*inputs, tree, 0.3, window=window), expected, inputs)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("window", [None, 3])
def test_caps_and_sinks_are_applied(name, window):
    tree = TREES[name]
    inputs = [*heads(tree), torch.linspace(-1, 1, H, dtype=torch.float64).requires_grad_()]
    expected = by_mask(*inputs[:3], tree, 0.3, window=window, softcap=1.5, sinks=inputs[3])
    found = attend_segments(*inputs[:3], tree, 0.3, window=window, softcap=1.5, sinks=inputs[3])
    assert_same(found, expected, inputs)


def layer_output(inputs, tree, **options):
    module = torch.nn.Module()
    return attend(module, *inputs, None, **{TREE: tree}, **options)[0]


@pytest.mark.parametrize(
    "options",
    [{}, {"sliding_window": 3}, {"sliding_window": 500}, {"softcap": 2.0}],
    ids=["plain", "window", "wide window", "cap"],
)
def test_the_attention_function_gives_tokens_first(options):
    tree = TREES["deep"]
    inputs = heads(tree, 2)
    found = layer_output(inputs, tree, scaling=0.5, **options)
    expected = by_mask(*inputs, tree, 0.5, options.get("sliding_window"), options.get("softcap"))
    assert found.is_contiguous()
    assert_same(found, expected.transpose(1, 2), inputs)


def test_values_may_be_narrower_than_keys():
    tree = TREES["deep"]
    inputs = heads(tree, width=3)
    expected = by_mask(*inputs, tree, D**-0.5).transpose(1, 2)
    assert_same(layer_output(inputs, tree), expected, inputs)


def test_dropout_in_a_packed_row_is_refused():
    tree = TREES["one"]
    with pytest.raises(ModelError, match=r"attention dropout 0\.1"):
        layer_output(heads(tree), tree, dropout=0.1)


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt_oss", "gpt2"])
def test_without_a_tree_a_model_computes_what_transformers_computes(name):
    model = BY_NAME[name].build()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 3], [4, 4, 5, *[0] * 9]])
    mask = torch.tensor([[1] * 12, [1, 1, 1, *[0] * 9]])
    expected = model(input_ids=ids, attention_mask=mask).logits
    model.set_attn_implementation(NAME)
    found = model(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1, :3], expected[1, :3], atol=1e-5, rtol=0)


def test_a_model_set_to_our_attention_still_generates():
    model = BY_NAME["gemma2"].build()
    prompt = {"input_ids": torch.tensor([[5, 6, 7, 8]]), "attention_mask": torch.ones(1, 4)}
    options = {"max_new_tokens": 6, "do_sample": False}
    expected = model.generate(**prompt, **options)
    model.set_attn_implementation(NAME)
    assert model.generate(**prompt, **options).tolist() == expected.tolist()


def test_our_attention_is_not_written_into_the_configuration(tmp_path):
    model = BY_NAME["llama"].build()
    model.set_attn_implementation(NAME)
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


# ------------------------------------------------------------------ variable-length kernel
@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("window", [None, 3])
def test_the_blocks_of_the_gpu_kernel_describe_the_tree(name, window):
    """The kernel in plain steps: each block bottom-right, as its documentation has it."""
    tree = TREES[name]
    inputs = heads(tree)
    query, key, value = (one[0] for one in inputs)
    shape = varlen.blocks(tree, torch.device("cpu"))
    key, value = key[:, shape.keys], value[:, shape.keys]
    outputs = []
    for block in range(len(tree.segments)):
        queries = slice(*shape.query_ends[block : block + 2].tolist())
        keys = slice(*shape.key_ends[block : block + 2].tolist())
        count, seen = queries.stop - queries.start, keys.stop - keys.start
        assert count <= shape.most_queries
        assert seen <= shape.most_keys
        at = torch.arange(count)[:, None] + seen - count
        mask = torch.arange(seen)[None] <= at
        if window is not None:
            mask &= torch.arange(seen)[None] >= at - (window - 1)
        scores = query[:, queries] @ key[:, keys].transpose(-1, -2) * 0.3
        outputs.append(scores.masked_fill(~mask, -torch.inf).softmax(-1) @ value[:, keys])
    found = torch.cat(outputs, dim=1)[None]
    expected = by_mask(*inputs, tree, 0.3, window=window)
    torch.testing.assert_close(found, expected, atol=EXACT, rtol=0)


def test_the_gpu_kernel_is_for_half_precision_on_a_gpu():
    query = torch.zeros(1, 1, 1, 8, dtype=torch.bfloat16)
    assert not varlen.can_attend(query, query)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("window", [None, 3])
def test_the_gpu_kernel_gives_what_the_mask_gives(name, window):
    tree = TREES[name]
    draw = torch.Generator().manual_seed(3)
    inputs = [
        torch.randn(1, h, tree.num_tokens, 64, generator=draw).cuda().bfloat16().requires_grad_()
        for h in (4, 2, 2)
    ]
    found = varlen.attend(*inputs, tree, 0.125, window=window)
    full = [one.detach().float().requires_grad_() for one in inputs]
    expected = attend_segments(*full, tree, 0.125, window=window)
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0)
    gradients = torch.autograd.grad(found.float().sum(), inputs)
    wanted = torch.autograd.grad(expected.sum(), full)
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one.float(), other, atol=0.05, rtol=0.05)
