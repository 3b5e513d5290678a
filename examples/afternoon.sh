#!/usr/bin/env bash
# An afternoon with a real chat model: from its first weights to a folder to give away.
#
#   make models            once: SmolLM2-135M-Instruct into models/
#   examples/afternoon.sh [FOLDER]
#
# MODEL, PAIRS and HELD_OUT may be set; ROWS says how many pairs.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=.venv/bin
shared=${TRUING_SHARED:-../shared}
model=${MODEL:-models/SmolLM2-135M-Instruct}
pairs=${PAIRS:-$shared/data/preferences/ultrafeedback-sample/train.jsonl}
held_out=${HELD_OUT:-$shared/data/preferences/ultrafeedback-sample/test.jsonl}
rows=${ROWS:-400}
folder=${1:-runs/afternoon}
question="How do I boil an egg?"

test -f "$model/config.json" || { echo "no model at $model: make models"; exit 1; }
test -f "$pairs" || { echo "no pairs at $pairs: set PAIRS or TRUING_SHARED"; exit 1; }
rm -rf "$folder" && mkdir -p "$folder"
began=$SECONDS
step() { echo; echo "== $* ($((SECONDS - began)) s)"; }

step "inspect: some of the pairs, and what is wrong with them"
$bin/truing subset "$pairs" "$folder/pairs.jsonl" --rows "$rows"
$bin/truing inspect "$folder/pairs.jsonl" --model "$model" --test "$held_out"

keys=(max_length=256 pairs_per_step=8 learning_rate=2e-4 tokens_per_device=2048
      evaluation.data="$held_out" evaluation.rows=16 evaluation.samples=2)

step "sft: the chosen responses, as a start"
$bin/truing sft --model "$model" --data "$folder/pairs.jsonl" --output "$folder/sft" --lora \
  "${keys[@]}"

step "check: the run that follows, before it begins"
run=(--model "$folder/sft" --data "$folder/pairs.jsonl" --lora "${keys[@]}")
$bin/truing check "${run[@]}" --output "$folder/sampo" objective="sampo(beta=0.1)"

step "train: DPO, and SamPO beside it; what the start says is computed once"
$bin/truing train "${run[@]}" --output "$folder/dpo" objective="dpo(beta=0.1)"
$bin/truing train "${run[@]}" --output "$folder/sampo" objective="sampo(beta=0.1)"

step "evaluate and compare"
$bin/truing evaluate "$folder/sampo" --data "$held_out" --rows 32
$bin/truing compare "$folder/dpo" "$folder/sampo" --data "$held_out" --output "$folder/compare.html"

step "chat: one question to the start and to the run"
echo "$question" | $bin/truing chat "$folder/sampo" --max-new-tokens 48

step "export: adapters added to their base, with a card"
$bin/truing export "$folder/sampo" "$folder/model" --licence apache-2.0 \
  --base HuggingFaceTB/SmolLM2-135M-Instruct

step "done: $folder/model"
