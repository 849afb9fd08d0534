"""Greedy decoding on the CPU: the host's tokens a second beside transformers' and, where it is installed, llama.cpp's.

All get the same model in bfloat16 and the same number of threads, one after the other. With the rates stand the processor and the
rate at which its memory is read, because decoding one sequence reads every weight for every token.

usage: cargo bench -p espalier-tests --bench decode --no-run      (says where the benchmark is)
       python tests/benches/decode.py --bench target/release/deps/decode-… MODEL [ARCHIVE …] [--tokens 32] [--threads N] [--gguf FILE]
MODEL is a folder, such as make_model.py writes; ARCHIVEs are of `host pack`, run by the host alone. For llama.cpp, FILE is the same
model, made by its convert_hf_to_gguf.py with `--outtype bf16`.
"""
import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path


def processor():
    """The processor's name and numbers, as Linux has them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = dict(tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line)
    return f"{found.get('model name')}, family {found.get('cpu family')}, model {found.get('model')}"


def host(bench, model, tokens, threads):
    """What the benchmark's JSON says of a model."""
    command = [bench, model, "--tokens", str(tokens), "--bench"]
    done = subprocess.run(command, env={**os.environ, "RAYON_NUM_THREADS": str(threads)}, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def transformers(model, tokens, threads, sequences, repeats=3):
    """Tokens a second of `generate`, at best, without the first token."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    prompts = torch.tensor([[1, 100 + number, 7] for number in range(sequences)])

    def seconds(count):
        begin = time.perf_counter()
        with torch.inference_mode():
            loaded.generate(prompts, attention_mask=torch.ones_like(prompts), do_sample=False, max_new_tokens=count,
                            min_new_tokens=count, pad_token_id=0)
        return time.perf_counter() - begin

    seconds(1)
    return max(tokens * sequences / (seconds(1 + tokens) - seconds(1)) for _ in range(repeats))


def llama_cpp(gguf, tokens, threads, repeats=3):
    """Tokens a second of one sequence, at best."""
    from llama_cpp import Llama

    model = Llama(gguf, n_threads=threads, n_ctx=tokens + 16, verbose=False)

    def seconds(count):
        model.reset()
        begin = time.perf_counter()
        for _, _ in zip(model.generate([1, 100, 7], temp=0.0), range(count)):
            pass
        return time.perf_counter() - begin

    seconds(1)
    return max(tokens / (seconds(1 + tokens) - seconds(1)) for _ in range(repeats))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("archives", nargs="*")
    parser.add_argument("--bench", required=True)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--gguf")
    args = parser.parse_args()
    print(f"{processor()}; {args.threads} threads")
    dense = host(args.bench, args.model, args.tokens, args.threads)
    stream, rates = dense["stream_bytes_per_second"], dense["tokens_per_second"]
    print(f"memory is read at {stream / 1e9:.1f} GB/s; a token reads {dense['bytes_per_token'] / 1e9:.3f} GB")
    print(f"{'':28} {'1 sequence':>12} {'of stream':>10} {'16 sequences':>13}")

    def row(name, one, share=None, many=None):
        share = "" if share is None else f"{share:.2f}"
        print(f"{name:28} {one:8.2f} t/s {share:>10} {'' if many is None else f'{many:9.2f} t/s':>13}", flush=True)

    row("host", rates["1"], dense["share_of_stream"], rates["16"])
    for archive in args.archives:
        packed = host(args.bench, archive, args.tokens, args.threads)
        of_packed = packed["tokens_per_second"]
        row(Path(archive).name, of_packed["1"], packed["share_of_stream"], of_packed["16"])
        print(f"{'':28} {of_packed['1'] / rates['1']:8.2f} ×")
    one = transformers(args.model, args.tokens, args.threads, 1)
    row("transformers", one, one * dense["bytes_per_token"] / stream, transformers(args.model, args.tokens, args.threads, 16))
    if args.gguf:
        one = llama_cpp(args.gguf, args.tokens, args.threads)
        row("llama.cpp", one, one * dense["bytes_per_token"] / stream)


if __name__ == "__main__":
    main()
