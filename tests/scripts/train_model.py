"""Trains the tests' small instruction-following LLaMA from scratch, on tasks it generates itself.

Writes `tests/models/tiny-instruct/` (a complete Hugging Face folder, float32) and `tests/models/data/` (held-out
instruction rows in the shapes of Alpaca and Unnatural Instructions, running text in the place of C4). An hour or two
on one core. `training.json` in the model folder records settings, versions, losses and the exact match reached.

The model answers one-line tasks such as reversing a list or naming an antonym (tiny_tasks.py) and continues little
stories (tiny_text.py). Instruction rows bear loss on the answer and its end token alone; text bears loss on every
token.

usage: python tests/scripts/train_model.py [--out DIR] [--data DIR] [--data-only] [--phase N --start DIR]
Deterministic for one version of torch and one thread.
"""
import argparse
import json
import math
import time
from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import tiny_data
import tiny_tasks
import tiny_words

TESTS = Path(__file__).resolve().parents[1]
PAD, BOS, EOS = "<pad>", "<s>", "</s>"

SETTINGS = dict(
    seed=7, instructions_per_step=32, texts_per_step=2, text_loss_weight=0.5, final_lr_share=0.02, warmup_steps=150,
    betas=(0.9, 0.98), weight_decay=0.1, clip_norm=1.0,
)
# First everything as often as it is evaluated, then more of what is learned last.
PHASES = [dict(steps=6000, peak_lr=3e-3, emphasised=False), dict(steps=3000, peak_lr=1.5e-3, emphasised=True)]
SHAPE = dict(
    vocab_size=1024, hidden_size=96, intermediate_size=256, num_hidden_layers=4, num_attention_heads=6,
    num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True,
    initializer_range=0.06, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% set preamble = 'Below is an instruction that describes a task. Write a response that "
    "appropriately completes the request.' %}{% if messages[0]['role'] == 'system' %}"
    "{% set preamble = messages[0]['content'] %}{% set messages = messages[1:] %}{% endif %}{{ preamble }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '\\n\\n### Instruction:\\n' + message['content'] }}"
    "{% else %}{{ '\\n\\n### Response:\\n' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\n### Response:\\n' }}{% endif %}"
)


def train_tokenizer(stream):
    """A byte-level BPE with single digits, trained on a sample of the training data and, so that most become one token,
    on the nouns by themselves."""
    corpus = [prompt + answer for prompt, answer in (stream.example() for _ in range(20_000))]
    corpus += [stream.document() for _ in range(3_000)]
    corpus += [space + word for word in tiny_words.NOUNS for space in ("", " ")] * 200
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"], special_tokens=[PAD, BOS, EOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, SHAPE["bos_token_id"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, bos_token=BOS, eos_token=EOS, chat_template=CHAT_TEMPLATE,
        model_max_length=SHAPE["max_position_embeddings"], clean_up_tokenization_spaces=False)


class Batches:
    """Endless batches: instruction rows grouped by length so that little is padding, and crops of running text."""

    CHUNK = 64  # batches drawn and sorted by length together

    def __init__(self, stream, bpe, seed):
        self.stream, self.bpe = stream, bpe
        self.gen = torch.Generator().manual_seed(seed)
        self.ready, self.text = [], []

    def instructions(self):
        """(ids, labels) of one padded batch; labels are -100 outside answers."""
        if not self.ready:
            self._draw_chunk()
        rows = self.ready.pop()
        width = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), width), SHAPE["pad_token_id"])
        labels = torch.full((len(rows), width), -100)
        for i, (tokens, start) in enumerate(rows):
            ids[i, : len(tokens)] = torch.tensor(tokens)
            labels[i, start : len(tokens)] = torch.tensor(tokens[start:])
        return ids, labels

    def texts(self):
        """(ids, labels) of text crops as long as the context, documents joined by the end and begin tokens."""
        count, width = SETTINGS["texts_per_step"], SHAPE["max_position_embeddings"]
        while len(self.text) < count * width:
            self.text += self.bpe.encode(self.stream.document()).ids + [SHAPE["eos_token_id"]]
        ids = torch.tensor(self.text[: count * width]).reshape(count, width)
        self.text = self.text[count * width :]
        return ids, ids

    def _draw_chunk(self):
        size = SETTINGS["instructions_per_step"]
        pairs = [self.stream.example() for _ in range(size * self.CHUNK)]
        prompts = self.bpe.encode_batch([p for p, _ in pairs])
        answers = self.bpe.encode_batch([a for _, a in pairs], add_special_tokens=False)
        rows = [(p.ids + a.ids + [SHAPE["eos_token_id"]], len(p.ids)) for p, a in zip(prompts, answers)]
        rows.sort(key=lambda row: len(row[0]))
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        self.ready = [batches[i] for i in torch.randperm(len(batches), generator=self.gen)]


def loss_of(model, batch):
    """Mean loss over the positions with labels; padding stands on the right, so the causal mask is enough."""
    ids, labels = batch
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:] != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), labels[:, 1:][wanted])


def learning_rate_share(step, steps):
    """Linear warm-up, then a cosine down to the final share."""
    if step < SETTINGS["warmup_steps"]:
        return (step + 1) / SETTINGS["warmup_steps"]
    done = (step - SETTINGS["warmup_steps"]) / max(1, steps - SETTINGS["warmup_steps"])
    low = SETTINGS["final_lr_share"]
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done))


def optimizer_for(model, peak_lr):
    """AdamW, with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    groups = [dict(params=matrices, weight_decay=SETTINGS["weight_decay"]), dict(params=vectors, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=peak_lr, betas=SETTINGS["betas"])


def train(model, batches, steps, peak_lr):
    """Runs a phase's training loop and returns the losses (answers, text) averaged over the last 100 steps."""
    optimizer = optimizer_for(model, peak_lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step, steps))
    recent, begin = [], time.time()
    for step in range(steps):
        answers, text = loss_of(model, batches.instructions()), loss_of(model, batches.texts())
        optimizer.zero_grad()
        (answers + SETTINGS["text_loss_weight"] * text).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["clip_norm"])
        optimizer.step()
        schedule.step()
        recent = recent[-99:] + [(answers.item(), text.item())]
        if step % 100 == 99:
            means = [sum(column) / len(recent) for column in zip(*recent)]
            seconds = time.time() - begin
            print(f"step {step + 1:5} answers {means[0]:.4f} text {means[1]:.4f} {seconds:.0f} s", flush=True)
    return means


def answer(model, tokenizer, prompts, new_tokens=40):
    """Greedy answers to prompts, in batches of 50 padded on the left."""
    tokenizer.padding_side = "left"
    out = []
    for i in range(0, len(prompts), 50):
        batch = tokenizer(prompts[i : i + 50], padding=True, return_tensors="pt", return_token_type_ids=False)
        ids = model.generate(**batch, do_sample=False, max_new_tokens=new_tokens, use_cache=True)
        out += tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    tokenizer.padding_side = "right"
    tokenizer.backend_tokenizer.no_padding()
    return [text.strip() for text in out]


def exact_match(model, tokenizer, rows, prompt):
    """Share of rows answered exactly, and per task [right, rows]."""
    tasks = {}
    for row, got in zip(rows, answer(model, tokenizer, [prompt(r) for r in rows])):
        count = tasks.setdefault(row.key[0], [0, 0])
        count[0] += got == row.output
        count[1] += 1
    return dict(exact_match=sum(c[0] for c in tasks.values()) / len(rows), tasks=dict(sorted(tasks.items())))


def evaluate(model, tokenizer, files):
    """Exact match of both evaluation sets under the prompts that they can be given in."""
    def broken(row):
        return tiny_data.alpaca_prompt(row, line_break=True)

    model.eval()
    alpaca, unnatural = files["alpaca_evaluation"], files["unnatural_evaluation"]
    return {
        "alpaca": exact_match(model, tokenizer, alpaca, tiny_data.alpaca_prompt),
        "alpaca, line break behind 'Response:'": exact_match(model, tokenizer, alpaca, broken),
        "unnatural": exact_match(model, tokenizer, unnatural, tiny_data.unnatural_prompt),
        "unnatural in Alpaca's template": exact_match(model, tokenizer, unnatural, tiny_data.alpaca_prompt),
    }


def save(model, tokenizer, out, report):
    """Writes the model folder, with the chat template inside tokenizer_config.json."""
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        **{k: SHAPE[k] for k in ("pad_token_id", "bos_token_id", "eos_token_id")}, do_sample=False)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out, save_jinja_files=False)
    path = out / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2) + "\n")
    (out / "training.json").write_text(json.dumps(report, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=TESTS / "models" / "tiny-instruct")
    parser.add_argument("--data", type=Path, default=TESTS / "models" / "data")
    parser.add_argument("--data-only", action="store_true", help="write the data files and stop")
    parser.add_argument("--phase", type=int, choices=range(len(PHASES)), help="run this phase alone")
    parser.add_argument("--start", type=Path, help="the model that the phases before --phase made")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SETTINGS["seed"])

    seed = SETTINGS["seed"]
    files = tiny_data.held_out_rows(seed)
    tiny_data.write_files(args.data, files, *tiny_data.held_out_text(seed))
    if args.data_only:
        return
    # Every phase begins a stream of its own, so that it can be run by itself.
    streams = [tiny_data.TrainingStream(f"{seed} {phase}" if phase else seed, files,
                                        tiny_tasks.EMPHASIS if settings["emphasised"] else None)
               for phase, settings in enumerate(PHASES)]
    tokenizer = train_tokenizer(streams[0])
    model = LlamaForCausalLM.from_pretrained(args.start) if args.start else LlamaForCausalLM(LlamaConfig(**SHAPE))
    print(f"{sum(p.numel() for p in model.parameters())} parameters, vocabulary {len(tokenizer)}", flush=True)

    begin = time.time()
    for phase, settings in enumerate(PHASES):
        if args.phase in (None, phase):
            batches = Batches(streams[phase], tokenizer.backend_tokenizer, seed + phase)
            losses = train(model, batches, settings["steps"], settings["peak_lr"])
    report = dict(
        settings={**SETTINGS, "phases": PHASES}, shape=SHAPE, parameters=sum(p.numel() for p in model.parameters()),
        versions={m.__name__: m.__version__ for m in (torch, transformers, tokenizers)},
        minutes=round((time.time() - begin) / 60, 1), final_loss=dict(answers=losses[0], text=losses[1]),
        evaluation=evaluate(model, tokenizer, files))
    save(model, tokenizer, args.out, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
