"""Prompts, held-out split and data files of the tiny model.

Prompt styles:
- ALPACA: the two templates published with Stanford Alpaca (github.com/tatsu-lab/stanford_alpaca, train.py), which end
  in `### Response:`; its README and many other codes put a line break behind. Both endings occur in training.
- UNNATURAL: `instruction`, `Input:` and `Output:` on lines of their own, after the fields of Unnatural Instructions
  (Honovich et al., 2212.09689). A quarter of that set's training rows stand in the Alpaca templates, so that the set
  can be evaluated under either.
"""
import json
import random

import tiny_tasks
import tiny_text

ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
ALPACA_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
UNNATURAL = "{instruction}\nInput: {input}\nOutput:"
UNNATURAL_TEMPLATE = "{{ instruction }}\nInput: {{ input }}\nOutput: {{ output }}\n"  # the same, as a template file

HELD_OUT = {  # file stem -> (task set, rows), written in this order
    "alpaca_evaluation": (tiny_tasks.ALPACA, 200),
    "unnatural_evaluation": (tiny_tasks.UNNATURAL, 200),
    "alpaca_calibration": (tiny_tasks.ALPACA, 400),
    "unnatural_calibration": (tiny_tasks.UNNATURAL, 400),
}
C4_DOCUMENTS = 300
TEXT_EVALUATION_BYTES = 80_000


def alpaca_prompt(row, line_break=False):
    """A row in Alpaca's template, optionally with a line break behind `### Response:`."""
    template = ALPACA_WITH_INPUT if row.input else ALPACA_WITHOUT_INPUT
    return template.format(instruction=row.instruction, input=row.input) + "\n" * line_break


def unnatural_prompt(row):
    """A row in the template of the unnatural set; its answer follows behind one space."""
    return UNNATURAL.format(instruction=row.instruction, input=row.input)


def held_out_rows(seed):
    """Rows of every data file, no key twice, as {file stem: rows}."""
    rng = random.Random(f"held out {seed}")
    taken, files = set(), {}
    for stem, (task_set, count) in HELD_OUT.items():
        rows = files[stem] = []
        while len(rows) < count:
            row = tiny_tasks.draw_row(rng, task_set)
            if row.key not in taken:
                taken.add(row.key)
                rows.append(row)
    return files


def held_out_text(seed):
    """Documents that stand for C4, and the evaluation text, each from a stream of its own."""
    rng = random.Random(f"c4 {seed}")
    documents = [tiny_text.document(rng) for _ in range(C4_DOCUMENTS)]
    rng, text = random.Random(f"text {seed}"), ""
    while len(text) < TEXT_EVALUATION_BYTES:
        text += tiny_text.document(rng) + "\n\n"
    return documents, text


def write_files(folder, files, documents, text):
    """Writes the data files in the shapes of the collections they stand for."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, rows in files.items():
        if stem.startswith("alpaca"):
            table = [dict(instruction=r.instruction, input=r.input, output=r.output) for r in rows]
            (folder / f"{stem}.json").write_text(json.dumps(table, indent=1) + "\n")
        else:
            write_jsonl(folder / f"{stem}.jsonl", (
                dict(instruction=r.instruction, instances=[dict(input=r.input, output=r.output, constraints="None")])
                for r in rows))
    write_jsonl(folder / "c4.jsonl", (dict(text=d) for d in documents))
    (folder / "text_evaluation.txt").write_text(text)
    (folder / "unnatural.jinja").write_text(UNNATURAL_TEMPLATE)


def write_jsonl(path, rows):
    """Writes one JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class TrainingStream:
    """Endless training examples that share no key with the held-out rows."""

    def __init__(self, seed, held_out, emphasis=None):
        self.rng = random.Random(f"training {seed}")
        self.emphasis = emphasis
        self.taken = {row.key for rows in held_out.values() for row in rows}

    def example(self):
        """A (prompt, answer) pair: three of five from the Alpaca set, the others from the unnatural set."""
        alpaca = self.rng.random() < 0.6
        while True:
            task_set = tiny_tasks.ALPACA if alpaca else tiny_tasks.UNNATURAL
            row = tiny_tasks.draw_row(self.rng, task_set, self.emphasis)
            if row.key not in self.taken:
                break
        if alpaca or self.rng.random() < 0.25:
            return alpaca_prompt(row, line_break=self.rng.random() < 0.5), row.output
        return unnatural_prompt(row), " " + row.output

    def document(self):
        """A document of running text."""
        return tiny_text.document(self.rng)
