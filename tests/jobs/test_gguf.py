"""A GGUF file is a model like any other: loaded, trained with adapters, evaluated."""

import importlib.util
import json

import gguf
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from truing import evaluate, train
from truing.engine.models import load_config, load_model, load_tokenizer
from truing.errors import ModelError
from truing.jobs.doctor import model_line
from truing.world import model_folder

# What llama.cpp calls the weights of a block.
BLOCK = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
REST = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def name_of(weight):
    if weight in REST:
        return REST[weight]
    _, _, number, *rest = weight.split(".")
    return f"blk.{number}.{BLOCK['.'.join(rest[:-1])]}.weight"


def rotated(values, heads):
    """llama.cpp turns neighbouring pairs, transformers halves."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(model_folder())


@pytest.fixture(scope="module")
def model(tokenizer, random_llama):
    return random_llama(tokenizer, 0).eval()


@pytest.fixture(scope="module")
def file(model, tokenizer, tmp_path_factory):
    """The model as llama.cpp's programs would write it, in float32."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for weight, values in model.state_dict().items():
        name, array = name_of(weight), values.numpy().astype(np.float32)
        kind = name.split(".")[-2]
        writer.add_tensor(name, rotated(array, heads[kind]) if kind in heads else array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_file_gives_the_model_that_it_was_made_of(file, model):
    found = load_model(str(file), torch.float32)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(found(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-5)
    assert load_config(str(file)).vocab_size == model.config.vocab_size
    assert not hasattr(found.config, "quantization_config")


def test_the_doctor_proves_an_engine_on_it(file):
    assert model_line(str(file)).engine == "shared"


@pytest.mark.parametrize("lora", [None, {"rank": 2}], ids=["full", "lora"])
def test_it_is_trained_and_evaluated_with_a_tokenizer_beside_it(file, lora, least, tmp_path):
    keys = {**least, "model": str(file), "tokenizer": str(model_folder())}
    result = train(
        **keys,
        objective="dpo(beta=0.5)",
        output=tmp_path / "run",
        lora=lora,
        epochs=0.34,
    )
    numbers = evaluate(result.output, str(least["data"]))
    assert numbers["pairs"] == 24
    assert numbers["margin"] != 0
    if lora:
        adapter = json.loads((result.output / "adapter_config.json").read_text())
        assert adapter["base_model_name_or_path"].endswith("base"), "no adapter sits on a GGUF file"


@pytest.mark.parametrize(("kind", "pieces"), [("smollm", ["1", "0"]), ("gpt-2", ["10"])])
def test_text_is_cut_as_the_files_vocabulary_was_learned(kind, pieces, tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "words.gguf", "llama")
    tokens = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "10"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(kind)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * (len(tokens) - 1)])
    writer.add_token_merges(["1 0"])
    writer.add_eos_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tokenizer = load_tokenizer(str(tmp_path / "words.gguf"))
    assert tokenizer.convert_ids_to_tokens(tokenizer("10").input_ids) == pieces


def test_the_chat_model_that_was_fetched_has_the_ids_of_its_authors(repository, shared):
    folder = repository / "models" / "SmolLM2-135M-Instruct"
    if not folder.is_dir():
        pytest.skip("no chat model (make models)")
    ours = AutoTokenizer.from_pretrained(folder)
    theirs = AutoTokenizer.from_pretrained(shared / "data/tokenizers/smollm2-chatml")
    lines = (shared / "data/preferences/ultrafeedback-sample/test.jsonl").read_text().splitlines()
    talks = [row["prompt"] + row["chosen"] for row in map(json.loads, lines)]
    texts = [theirs.apply_chat_template(talk, tokenize=False) for talk in talks]
    assert [ours.apply_chat_template(talk, tokenize=False) for talk in talks] == texts
    assert ours(texts).input_ids == theirs(texts).input_ids


def test_what_is_missing_is_said(file, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="no such GGUF file"):
        load_model(str(tmp_path / "nowhere.gguf"), torch.float32)
    with pytest.raises(ModelError, match=r"tokenizer(.|\n)*tokenizer=FOLDER"):
        load_tokenizer(str(file))
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(ModelError, match="can be made of this GGUF file"):
        load_model(str(tmp_path / "text.gguf"), torch.float32)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'truing\[gguf\]'"):
        load_model(str(file), torch.float32)
