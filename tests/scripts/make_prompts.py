"""Records what `transformers` renders from chat templates (`tests/fixtures/prompts.json`) and writes greedily
(`tests/fixtures/generate.json`), both with the tests' tiny model and its tokenizer.

prompts.json: rows of {template_name, template, bos_token, eos_token, messages, add_generation_prompt, and either
`text`, what `apply_chat_template` renders, or `error`, the template's own complaint}. Beside the tiny model's own
template stand templates in the forms in wide use (LLaMA-2, LLaMA-3, ChatML, Mistral, Zephyr), written here to produce
those formats; they use between them loops with `loop` variables, nested and inline conditions, `set`, `namespace`,
filters, string methods, slices, white-space control and `raise_exception`.

generate.json: {new_tokens, pad_token_id, eos_token_id, rows}, rows of {prompt, input_ids, output_ids}: greedy, one
prompt at a time; output_ids end with the end token where the model wrote one.

usage: python tests/scripts/make_prompts.py
"""
import json
from pathlib import Path

import jinja2
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny_data
from tiny_tasks import Row

TESTS = Path(__file__).resolve().parents[1]
MODEL = TESTS / "models" / "tiny-instruct"
FIXTURES = TESTS / "fixtures"
NEW_TOKENS = 32

LLAMA2 = """{% if messages[0]['role'] == 'system' %}\
{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}\
{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}\
{% for turn in turns %}\
{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('user and assistant must take turns') }}{% endif %}\
{% if turn['role'] == 'user' %}\
{{ bos_token + '[INST] ' + (system if loop.first else '') + turn['content'].strip() + ' [/INST]' }}\
{% elif turn['role'] == 'assistant' %}{{ ' ' + turn['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"""

LLAMA3 = """{%- for message in messages %}
    {%- set header = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' %}
    {%- set part = header + message['content'] | trim + '<|eot_id|>' %}
    {%- if loop.first %}
        {%- set part = bos_token + part %}
    {%- endif %}
    {{- part }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

CHATML = """{%- if messages[0].role != 'system' -%}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>' ~ '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""

MISTRAL = """{{ bos_token }}{% set state = namespace(system='', seen=0) %}{% for message in messages %}\
{% if message['role'] == 'system' %}{% set state.system = message['content'] ~ '\\n\\n' %}\
{% elif message['role'] == 'user' %}{% set state.seen = state.seen + 1 %}\
{{ '[INST] ' ~ state.system ~ message['content'] ~ ' [/INST]' }}\
{% set state.system = '' %}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}\
{% else %}{{ raise_exception('unknown role ' ~ message['role']) }}{% endif %}{% endfor %}"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] in ['user', 'system'] %}
{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n' + message['content'] | default('') + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt is defined and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

TEMPLATES = {
    "tiny-instruct": None, "llama-2": LLAMA2, "llama-3": LLAMA3, "chatml": CHATML, "mistral": MISTRAL, "zephyr": ZEPHYR,
}


def turns(*contents, system=None):
    """A conversation of user and assistant by turns, behind an optional system message."""
    messages = [dict(role="system", content=system)] if system is not None else []
    return messages + [dict(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(contents)]


CONVERSATIONS = [
    turns("What is the opposite of hot?"),
    turns("What is the opposite of hot?", "cold"),
    turns("Reverse the order of the items.\n\nfox, lamp", "lamp, fox", "And back?"),
    turns("Hello!", system="Answer in one word."),
    turns("  spaces around  ", "  kept or trimmed  ", "next", system="  System text. \n"),
    turns("Grüße, 東京! 😀 “quotes” 'single' \"double\" <tag> & {{ braces }} {% raw %}", "é"),
    turns(""),
    [dict(role="assistant", content="I speak first."), dict(role="user", content="Oh?")],
    [dict(role="tool", content="a role that not every template knows")],
]

def row(instruction, context=""):
    """A row of which only the prompt matters."""
    return Row((), instruction, context, "")


PROMPTS = [
    tiny_data.alpaca_prompt(row("What is the opposite of hot?")),
    tiny_data.alpaca_prompt(row("Reverse the order of the items.", "fox, lamp, bread, oak")),
    tiny_data.alpaca_prompt(row("Replace the word fox with lamp.", "Anna painted the red fox near the river."), True),
    tiny_data.alpaca_prompt(row("Write a sentence that says what a violin is.")),
    tiny_data.unnatural_prompt(
        row("Put the numbers that you are given into increasing order.", "Numbers: 7, 1, 9")),
    "One sunny day Anna",
    "There was once a red drum in the market. Tom",
    "",
]


def render(tokenizer, name, template, messages, generation_prompt):
    """One row of prompts.json."""
    rendering = dict(
        template_name=name, template=template or tokenizer.chat_template, bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token, messages=messages, add_generation_prompt=generation_prompt)
    try:
        rendering["text"] = tokenizer.apply_chat_template(
            messages, chat_template=template, add_generation_prompt=generation_prompt, tokenize=False)
    except jinja2.exceptions.TemplateError as error:
        rendering["error"] = str(error)
    return rendering


def generate(model, tokenizer, prompt):
    """One row of generate.json."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS)
    return dict(prompt=prompt, input_ids=ids[0].tolist(), output_ids=out[0, ids.shape[1] :].tolist())


def write(path, value):
    """Writes readable JSON."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def main():
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    renderings = [render(tokenizer, name, template, messages, generation_prompt)
                  for name, template in TEMPLATES.items()
                  for messages in CONVERSATIONS
                  for generation_prompt in (False, True)]
    write(FIXTURES / "prompts.json", renderings)
    print(f"{len(renderings)} renderings, {sum('error' in r for r in renderings)} of them refusals")

    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    generated = [generate(model, tokenizer, prompt) for prompt in PROMPTS]
    write(FIXTURES / "generate.json", dict(
        new_tokens=NEW_TOKENS, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        rows=generated))
    for result in generated:
        print(repr(result["prompt"][-40:]), "->", repr(tokenizer.decode(result["output_ids"])))


if __name__ == "__main__":
    main()
