"""Records what lm-evaluation-harness makes of made-up items: `tests/fixtures/choices.json`.

For every shipped task of choices or likelihoods: rows in the layout that the data set has on the Hugging Face hub, and for
each of them the log-likelihoods of its choices and its scores, by `lm_eval` itself with its own task definitions, on the
model in `tests/models/tiny-instruct`, in f32; without examples, with some, and cut where the context is too long; some also in the model's chat template.
GSM8K: what the model writes and what is right, and what is extracted from given predictions.

usage: python tests/scripts/make_choices.py
       python tests/scripts/make_choices.py --count 300 --model DIR --host target/release/host
The second form writes no fixture: it runs both on as many items of each layout, and prints how they differ, with items a
second; `--chat` puts them into the model's chat template. Deterministic.
"""
import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parents[1]
FIXTURE = ROOT / "fixtures/choices.json"

WORDS = """the a river fox stone lamp red small quickly walked under over because milk iron heat plant water dog seven
paper garden wind melts freezes light window sings slow near old bright teacher city Bread salt sugar winter
summer machine energy sound moon sun bird tree leaf""".split()
ODD = ["café", "naïve", "東京", "Привет", "😀", "“so”", "well-known", "3.5%", "$1,200", "C++", "e.g.", "ﬁne", "½", "don't",
       "\u00a0x", "tab\there", "x²", "مرحبا", "<s>", "</s>", "[odd]", "{{x}}", "{% y %}", "a\\b", "\"quoted\"", "ŠŁ", "🇩🇪"]


def words(rng, low, high):
    """A run of words, some odd, sometimes with spaces where none belong."""
    picked = [rng.choice(ODD) if rng.random() < 0.12 else rng.choice(WORDS) for _ in range(rng.randint(low, high))]
    return (rng.choice([" ", " ", " ", "  "]) if rng.random() < 0.1 else " ").join(picked)


def edged(rng, text):
    """The text, sometimes with spaces at its ends."""
    return {0: " " + text, 1: text + " ", 2: text + "\n"}.get(rng.randrange(16), text)


def distinct(rng, count, low, high):
    """Different texts."""
    found = []
    while len(found) < count:
        text = edged(rng, words(rng, low, high))
        if text not in found:
            found.append(text)
    return found


def question(rng):
    return edged(rng, words(rng, 4, 14)) + rng.choice(["?", "", "."])


def arc(rng):
    count = rng.choice([3, 4, 4, 4, 5])
    labels = list("ABCDE" if rng.random() < 0.7 else "12345")[:count]
    return {"id": f"Q_{rng.randrange(10**6)}", "question": question(rng),
            "choices": {"text": distinct(rng, count, 1, 6), "label": labels}, "answerKey": rng.choice(labels)}


def hellaswag(rng):
    header = rng.choice(["", "[header] How to walk [title] ", "[step] Go. "])
    a, b = header + words(rng, 4, 12) + ".", rng.choice(["", words(rng, 1, 3)])
    endings = [rng.choice(["", "[substeps] ", "[title] "]) + text for text in distinct(rng, 4, 3, 9)]
    return {"ind": rng.randrange(999), "activity_label": words(rng, 1, 2), "ctx_a": a, "ctx_b": b, "ctx": f"{a} {b}",
            "endings": endings, "source_id": "x", "split": "val", "split_type": "indomain", "label": str(rng.randrange(4))}


def winogrande(rng):
    one, two = distinct(rng, 2, 1, 2)
    text = f"{words(rng, 3, 8)} _ {words(rng, 2, 6)}."
    return {"sentence": text, "option1": one, "option2": two, "answer": rng.choice("12")}


def boolq(rng):
    return {"question": words(rng, 3, 8), "passage": words(rng, 10, 30), "idx": rng.randrange(99), "label": rng.randrange(2)}


def piqa(rng):
    one, two = distinct(rng, 2, 3, 10)
    return {"goal": question(rng), "sol1": one, "sol2": two, "label": rng.randrange(2)}


def openbookqa(rng):
    return {"id": "7-980", "question_stem": question(rng), "choices": {"text": distinct(rng, 4, 1, 4), "label": list("ABCD")},
            "answerKey": rng.choice(["A", "B", "C", "D", " D"])}


def rte(rng):
    return {"sentence1": edged(rng, words(rng, 8, 25)), "sentence2": words(rng, 3, 8), "label": rng.randrange(2),
            "idx": rng.randrange(99)}


def mmlu(rng):
    return {"question": question(rng), "subject": "abstract_algebra", "choices": distinct(rng, 4, 1, 4),
            "answer": rng.randrange(4)}


def lambada(rng):
    return {"text": words(rng, 8, 25) + rng.choice(["", ".", "”"])}


def sum_of(rng):
    one, two = rng.randrange(30), rng.randrange(2000)
    return {"question": f"{words(rng, 3, 8)}. There are {one} and {two:,}. How many?",
            "answer": f"{one} + {two} = {one + two}\n#### {one + two:,}"}


def too_long(row):
    """The row with its first long text made longer than the model's context."""
    key = next(key for key in ("passage", "sentence1", "question", "question_stem", "goal", "ctx_a", "sentence", "text")
               if key in row)
    filler = "fox and stone é " * 60
    row[key] = filler + row[key]
    return row


# Our name: the harness' task, the row, its splits (of the items, of the examples), the other number of examples.
TASKS = {
    "arc_easy": ("arc_easy", arc, "test", "train", 2),
    "arc_challenge": ("arc_challenge", arc, "test", "train", 0),
    "hellaswag": ("hellaswag", hellaswag, "validation", "train", 1),
    "winogrande": ("winogrande", winogrande, "validation", "train", 2),
    "boolq": ("boolq", boolq, "validation", "train", 1),
    "piqa": ("piqa", piqa, "validation", "train", 6),
    "openbookqa": ("openbookqa", openbookqa, "test", "train", 3),
    "rte": ("rte", rte, "validation", "train", 2),
    "mmlu": ("mmlu_abstract_algebra", mmlu, "test", "dev", 3),
    "lambada": ("lambada_openai", lambada, "test", None, 0),
    "gsm8k": ("gsm8k", sum_of, "test", "train", 1),
}

# Runs in the chat template that are recorded: the task, the examples, and whether each is a turn of its own.
CHATS = [("arc_easy", 0, True), ("arc_easy", 2, True), ("mmlu", 3, True), ("mmlu", 3, False), ("winogrande", 2, True),
         ("winogrande", 2, False), ("lambada", 0, True), ("gsm8k", 1, True), ("gsm8k", 1, False)]

# Tokens that are written for an item of GSM8K: the small model's context has no room for the harness' own 256.
WRITTEN = 24


def rows_of(name, count):
    """The items and the examples of a task."""
    rng = random.Random(name)
    _, make, _, examples, _ = TASKS[name]
    items = [make(rng) for _ in range(count)]
    items[1] = too_long(items[1])
    pool = [make(rng) for _ in range(8 if count < 50 else 40)] if examples else []
    if TASKS[name][4] and TASKS[name][2] == "validation":
        # An example that is an item: the harness leaves it out before that item.
        pool[3] = items[0]
    return items, pool


def write(folder, name, items, pool):
    """The files of a task, named as on the hub."""
    _, _, split, examples, _ = TASKS[name]
    home = Path(folder) / name
    home.mkdir()
    files = {split: items, **({examples: pool} if examples else {})}
    for part, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (home / f"{part}-00000-of-00001.jsonl").write_text(text)
    return home, {part: str(home / f"{part}-00000-of-00001.jsonl") for part in files}


class Harness:
    """lm-evaluation-harness with one model."""

    def __init__(self, model, batch_size):
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
        self.manager = TaskManager()
        self.model = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=batch_size)

    def run(self, name, files, shots, multiturn=None):
        """The samples of a task, in order, and the seconds that its requests took; in the chat template unless `multiturn` is
        None."""
        import lm_eval
        own = TASKS[name][0]
        overrides = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
        index = self.manager._index
        task = self.manager._factory.build(index[own], overrides=overrides, registry=index)
        took = []
        kind = "generate_until" if name == "gsm8k" else "loglikelihood"
        inner = getattr(self.model, kind)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            found = inner(*args, **kwargs)
            took.append(time.perf_counter() - start)
            return found

        setattr(self.model, kind, timed)
        try:
            result = lm_eval.simple_evaluate(self.model, tasks=[task], num_fewshot=shots, log_samples=True,
                                             task_manager=self.manager, bootstrap_iters=100, verbosity="ERROR",
                                             apply_chat_template=multiturn is not None,
                                             fewshot_as_multiturn=bool(multiturn),
                                             gen_kwargs=f"max_gen_toks={WRITTEN}" if name == "gsm8k" else None)
        finally:
            delattr(self.model, kind)
        (name, samples), = result["samples"].items()
        return sorted(samples, key=lambda sample: sample["doc_id"]), result["results"][name], sum(took)


def recorded(sample):
    """What is kept of a sample."""
    if "exact_match" in sample:
        return {"item": sample["doc_id"], "filter": sample["filter"], "text": sample["resps"][0][0].strip(), "right": float(sample["exact_match"])}
    found = {"choices": [round(float(pair[0][0]), 6) for pair in sample["resps"]]}
    found.update({key: float(sample[key]) for key in ("acc", "acc_norm") if key in sample})
    return found


def differences(ours, theirs):
    """The largest difference of a log-likelihood, and how many items differ in a score or in their choices."""
    worst, other = 0.0, 0
    if theirs and "exact_match" in theirs[0]:
        for sample in map(recorded, theirs):
            own = ours[sample.pop("item")]
            name = {"strict-match": "strict_match", "flexible-extract": "flexible_extract"}[sample["filter"]]
            other += own["prediction"] != sample["text"] or own["scores"][name] != sample["right"]
        return worst, other
    for own, sample in zip(ours, map(recorded, theirs), strict=True):
        worst = max([worst] + [abs(a - b) for a, b in zip(own["choices"], sample["choices"], strict=True)])
        other += any(own["scores"][key] != sample[key] for key in ("acc", "acc_norm") if key in sample)
    return worst, other


def host(binary, model, task, home, shots, out, multiturn=None):
    """Our items, the result, and the seconds of the whole command."""
    start = time.perf_counter()
    command = [binary, "eval", "--device", "cpu", "--json", "--model", model, "--task", task, "--data", str(home),
               "--shots", str(shots), *(["--max-new-tokens", str(WRITTEN)] if task == "gsm8k" else []), "--predictions", str(out), "--overwrite", "-q"]
    if multiturn is not None:
        command += ["--apply-chat-template", f"--fewshot-as-multiturn={str(multiturn).lower()}"]
    result = subprocess.run(command, check=True, capture_output=True)
    took = time.perf_counter() - start
    return [json.loads(line) for line in out.read_text().splitlines()], json.loads(result.stdout)["tasks"][0], took


def compare(options):
    """Prints how both differ, item by item."""
    harness = Harness(options.model, options.batch_size)
    multiturn = {None: None, "single": False, "multi": True}[options.chat]
    print(f"{'task':15}{'shots':>6}{'items':>7}{'largest |Δ ln p|':>18}{'scores differ':>15}{'ours/s':>9}{'theirs/s':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.tasks or TASKS:
            items, pool = rows_of(name, options.count)
            home, files = write(folder, name, items, pool)
            for shots in sorted({0, TASKS[name][4]}):
                theirs, _, slow = harness.run(name, files, shots, multiturn)
                out = Path(folder) / "out.jsonl"
                ours, result, fast = host(options.host, options.model, name, home, shots, out, multiturn)
                worst, other = differences(ours, theirs)
                count = result["counts"]["items"]
                assert count == len({sample["doc_id"] for sample in theirs})
                print(f"{name:15}{shots:6}{count:7}{worst:18.2e}{other:15}{count / fast:9.1f}{count / slow:10.1f}", flush=True)


GSM8K = ["It is 3 + 4 = 7.\n#### 7", "#### -1,234.5 then #### 6", "It costs $12.", "nothing", "#### ", "a, b 5 c .",
         "The answer is 1,200", "#### 1,200.", "so 12.50 and 7", "####12", "#### $18", "Ünïcode ٣ #### 3"]


def gsm8k():
    """What the harness' filters take from predictions, and what is right for it."""
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter
    from lm_eval.tasks import TaskManager
    import lm_eval.tasks
    import yaml
    config = yaml.safe_load((Path(lm_eval.tasks.__file__).parent / "gsm8k/gsm8k.yaml").read_text())
    metric = {key: value for key, value in config["metric_list"][0].items()
              if key not in ("metric", "aggregation", "higher_is_better")}
    found = []
    for number, said in enumerate(GSM8K):
        answer = ["Add.\n#### 7", "#### 1,200", "x\n#### 12", "#### 18", "#### 3"][number % 5]
        case = {"prediction": said, "answer": answer}
        for entry in config["filter_list"]:
            step = entry["filter"][0]
            one = RegexFilter(**{key: value for key, value in step.items() if key != "function"})
            (taken,), = one.apply([[said]], [{}])
            right = exact_match_hf_evaluate(predictions=[taken], references=[answer], **metric)["exact_match"]
            case[entry["name"]] = {"taken": taken, "right": float(right)}
        found.append(case)
    return found


def record():
    """Writes the fixture."""
    harness = Harness(ROOT / "models/tiny-instruct", 8)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in TASKS:
            items, pool = rows_of(name, 6)
            _, files = write(folder, name, items, pool)
            runs = []
            for shots in sorted({0, TASKS[name][4]}):
                samples, result, _ = harness.run(name, files, shots)
                means = {key.split(",")[0]: value for key, value in result.items() if isinstance(value, float)}
                runs.append({"shots": shots, "items": [recorded(sample) for sample in samples], "means": means})
            for _, shots, multiturn in (chat for chat in CHATS if chat[0] == name):
                samples, result, _ = harness.run(name, files, shots, multiturn)
                runs.append({"shots": shots, "multiturn": multiturn, "items": [recorded(sample) for sample in samples],
                             "means": {}})
            found[name] = {"split": TASKS[name][2], "items": items, "examples_split": TASKS[name][3], "examples": pool,
                           "runs": runs}
    found["extraction"] = gsm8k()
    FIXTURE.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--model", default=str(ROOT / "models/tiny-instruct"))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--chat", choices=["single", "multi"], help="in the model's chat template")
    parser.add_argument("--host")
    options = parser.parse_args()
    if options.host:
        compare(options)
    else:
        record()


if __name__ == "__main__":
    main()
