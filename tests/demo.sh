#!/usr/bin/env bash
# Builds everything; prunes the small trained checkpoint in tests/models with libwanda.so, and prints dense and pruned
# perplexity; then runs the study in tests/studies/demo.toml, and prints its table. Its report is in
# target/demo-results/report.html. A few minutes on two cores; run again, it has nothing left to do.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked
host=target/release/host
model=tests/models/tiny-instruct
text=tests/models/data/text_evaluation.txt
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# The model was trained on windows of 256 tokens.
"$host" --plugin libwanda.so --model "$model" --calibration tests/models/data/c4.jsonl --out "$out/pruned" \
    --sparsity 0.5 --samples 64 --seqlen 256
echo
for folder in "$model" "$out/pruned"; do
    echo "$folder"
    "$host" eval --model "$folder" --perplexity "$text" --seqlen 256
done

echo
"$host" -v study tests/studies/demo.toml --out target/demo-results
echo
echo "the report: target/demo-results/report.html"
