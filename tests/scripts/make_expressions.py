"""Records what the Jinja of transformers makes of expressions: fixtures/expressions.json.

    python tests/scripts/make_expressions.py     needs transformers and jinja2
"""

import json
from pathlib import Path

import jinja2
from transformers.utils.chat_template_utils import _cached_compile_jinja_template

VALUES = {
    "s": "Hello, World",
    "pad": "  two words \n",
    "word": "straße",
    "empty": "",
    "digits": "0042",
    "path": "a.b.c",
    "n": 7,
    "x": 2.5,
    "yes": True,
    "nothing": None,
    "list": [3, 1, 2],
    "names": ["b", "A", "c"],
    "map": {"b": 1, "a": {"é": [1, 2.0, None, True]}},
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi", "name": None},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"q": "x"}}}]},
    ],
}

STRINGS = """
s.upper()
s.lower()
s.title()
s.capitalize()
s.swapcase()
word.casefold()
s.strip()
pad.strip()
pad.lstrip()
pad.rstrip()
s.strip('Hd')
s.lstrip('He')
s.rstrip('ld')
s.removeprefix('Hello')
s.removeprefix('World')
s.removesuffix('World')
s.removesuffix('Hello')
s.startswith('Hello')
s.startswith('ello', 1)
s.startswith(('x', 'He'))
s.endswith('World')
s.endswith(('x', 'ld'))
s.find('o')
s.find('o', 5)
s.find('z')
s.rfind('o')
s.index('W')
s.rindex('o')
s.index('z')
s.count('o')
s.count('o', 5)
s.replace('o', '0')
s.replace('o', '0', 1)
s.split()
s.split(',')
s.split('o', 1)
path.split('.')[-1]
path.split('.', 1)[1]
path.rsplit('.', 1)[0]
pad.split()
s.splitlines()
'a\\nb\\n'.splitlines()
'a\\nb\\n'.splitlines(true)
s.partition(', ')
s.partition('z')
s.rpartition('o')
'-'.join(names)
'-'.join(['a'])
s.center(20, '*')
s.ljust(15, '.')
s.rjust(15, '.')
s.ljust(3)
digits.zfill(6)
'-5'.zfill(4)
digits.isdigit()
s.isdigit()
s.isalpha()
word.isalpha()
digits.isalnum()
s.isupper()
'ABC'.isupper()
s.islower()
s.istitle()
pad.isspace()
'  '.isspace()
digits.isnumeric()
digits.isdecimal()
'a b'.isidentifier()
'a_b'.isidentifier()
'é'.isascii()
'a\\tb'.expandtabs(4)
'{} and {}'.format('a', 1)
'{0}-{1}-{0}'.format('a', 'b')
'{name}!'.format(name='x')
'{:>5}|{:<4}|{:^5}'.format('a', 'b', 'c')
'{:.2f}'.format(x)
'{:03d}'.format(n)
'%s and %s' % ('a', 1)
'%d items' % n
'%.1f%%' % x
'%s' % s
'%05d' % n
'%-6s|' % 'ab'
'%x' % 255
'%r' % 'a'
n % 4
-7 % 4
x % 2
'%s'|format(s)
'%s-%s'|format('a', n)
s[0]
s[-1]
s[1:4]
s[::-1]
s[:-1]
s[100:]
s ~ n
s + '!'
s * 2
'lo' in s
'z' not in s
s|length
s|upper
s|lower
s|title
s|capitalize
pad|trim
s|trim('Hd')
s|replace('l', 'L')
s|first
s|last
s|reverse
s|list
s|wordcount
s|truncate(8)
s|truncate(8, true, '..')
'a b c d'|wordwrap(3)
s|indent
'a\\nb'|indent(2)
'a\\nb'|indent(2, true)
'<a>'|escape
'<a>'|e
'<a>'|safe
s|string
n|string
s|center(20)
'a=b&c'|urlencode
'12'|int
'x'|int
'x'|int(5)
'0x1f'|int(0, 16)
'1.5'|float
s|default('d')
empty|default('d')
empty|default('d', true)
undefined_name|default('d')
nothing|default('d')
s|striptags
s|filesizeformat
1000|filesizeformat
s|pprint
s|hash
'a,b'|split(',')
""".strip()

VALUES_OF_OTHERS = """
list|sort
list|sort(reverse=true)
names|sort
names|sort(case_sensitive=true)
list|sum
list|max
list|min
list|join(', ')
names|join
list|first
list|last
list|length
list|count
list|reverse|list
list|unique|list
[1, 1, 2]|unique|list
list|map('string')|list
names|map('upper')|join(',')
messages|map(attribute='role')|list
messages|map(attribute='name')|list
messages|map(attribute='name', default='-')|list
messages|selectattr('role', 'equalto', 'user')|list
messages|selectattr('role', '==', 'user')|list|length
messages|selectattr('content')|list|length
messages|rejectattr('role', 'eq', 'system')|map(attribute='role')|join(' ')
messages|selectattr('tool_calls', 'defined')|list|length
list|select('odd')|list
list|select('gt', 1)|list
list|reject('even')|list
list|batch(2)|list
list|batch(2, 0)|list
list|slice(2)|list
messages|groupby('role')|map('first')|list
list|tojson
map|tojson
map|tojson(indent=2)
map|tojson(indent=4)
map|tojson(ensure_ascii=true)
map|tojson(sort_keys=true)
map|tojson(separators=(',', ':'))
map|tojson(indent=1, separators=(',', ': '))
map|tojson(true)
map|tojson(false, 2)
map|tojson(indent='--')
map|tojson(indent=0)
s|tojson
'<é>&'|tojson
'a\\n"'|tojson
x|tojson
2.0|tojson
1e20|tojson
1e-7|tojson
nothing|tojson
yes|tojson
undefined_name|tojson
map.items()|list
map|items|list
map|dictsort
map.keys()|list
map.values()|list
map.get('a')
map.get('z')
map.get('z', 'd')
map['b']
map.z
map.z is defined
'b' in map
'z' in map
map|length
map|list
map.copy()
map.pop('a')
map.update({'z': 1})
list.append(4)
list.pop()
list.index(1)
list.count(1)
list.copy()
list + [4]
list * 2
list[0]
list[-1]
list[1:]
list[::-1]
list[5]
[] or 'e'
list and 'l'
2 in list
list is iterable
list is sequence
s is iterable
s is sequence
nothing is iterable
undefined_name is iterable
n is iterable
map is iterable
map is mapping
list is mapping
s is string
n is number
x is float
n is integer
yes is integer
yes is number
yes is boolean
nothing is none
nothing is defined
undefined_name is undefined
undefined_name is none
n is odd
n is even
n is divisibleby(7)
n is divisibleby 7
n is eq(7)
n is equalto 7
n is ne 7
n is gt 3
n is ge 7
n is lt 3
n is le 7
n is greaterthan 3
n is lessthan 3
n is in([7])
n is sameas 7
yes is true
yes is false
yes is sameas true
s is upper
'abc' is lower
s is callable
'upper' is filter
'odd' is test
s is escaped
nothing|length
undefined_name|length
nothing|string
yes|string
true
none
True
None
[true, none, 1.0, 's']
{'a': none}
(1, 2)
(1,)
()
[1, (2, 3)]
1.0
1e3
1e16
1e-5
0.1 + 0.2
7 / 2
6 / 2
7 // 2
-7 // 2
2 ** 3
2 ** -1
2 ** 0.5
7 - 10
-n
+n
n + x
n > 3 and n < 9
1 < n < 9
not yes
n == 7.0
'7' == n
'a' < 'b'
[1, 2] < [1, 3]
1 if yes else 2
1 if nothing
'yes' if undefined_name else 'no'
n|abs
-n|abs
x|round
2.567|round(2)
2.567|round(1, 'floor')
2.5|round(method='ceil')
n|float
x|int
'%.2f'|format(x)
range(3)|list
range(1, 7, 2)|list
range(3)
dict(a=1)
dict({'a': 1}, b=2)
namespace(a=1).a
cycler('a', 'b').next()
joiner(', ')()
lipsum is defined
messages[1].name is none
messages[0].name is defined
messages[-1].tool_calls[0].function.arguments|tojson
messages[-1]['tool_calls'][0]['function'].name
messages[1:]|length
messages[0]['role'] != 'system'
messages|length - 1
messages[0].content|trim ~ '\\n'
messages|first
(messages|last).role
messages|map(attribute='content')|select('string')|list
s|default(none)
x.is_integer()
n.bit_length()
{'a': 1}|xmlattr
messages|map(attribute='tool_calls.0.function.name')|list
messages|selectattr('role', 'in', ['user', 'system'])|list|length
list|random is number
strftime_now('%Y') is string
strftime_now is defined
raise_exception('no')
s.format_map({})
s.encode('utf-8')
s.maketrans('a', 'b')
s.__class__
""".strip()

STATEMENTS = [
    "{% for a in list %}{{ loop.index }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for a in nothing or [] %}{{ a }}{% else %}none{% endfor %}",
    "{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ loop.index0 }}{{ m.role }}{% endfor %}",
    "{% for a in list %}{% if a == 1 %}{% continue %}{% endif %}{{ a }}{% endfor %}",
    "{% for a in list %}{% if a == 1 %}{% break %}{% endif %}{{ a }}{% endfor %}",
    "{% for a in list|sort recursive %}{{ a }}{% endfor %}",
    "{% for c in s %}{{ c }}.{% endfor %}",
    "{% for k in map %}{{ k }}{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }};{% endfor %}",
    "{% for a in list %}{{ loop.cycle('x', 'y') }}{% endfor %}",
    "{% for a in list %}{{ loop.changed(a) }}{% endfor %}",
    "{% for a in list %}{{ loop.depth }}{{ loop.revindex }}{% endfor %}",
    "{% set ns = namespace(found=false) %}{% for a in list %}{% if a == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}",
    "{% set a = 1 %}{% for b in list %}{% set a = b %}{% endfor %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a %}in {{ n }}{% endset %}{{ a|upper }}",
    "{% set a | upper %}block{% endset %}{{ a }}",
    "{% macro m(a, b='d') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}{{ m('x', 'y')|upper }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body{% endcall %}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(x) %}{{ m.name }}{{ m.arguments }}{% endmacro %}{{ m(1) }}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}",
    "{% filter upper %}text {{ n }}{% endfilter %}",
    "{% raw %}{{ not }}{% endraw %}",
    "{# a comment #}text",
    "a\n  {%- if yes -%}\n  b\n  {%- endif %}\nc",
    "a\n    {% if yes %}\n    b\n    {% endif %}\nc\n",
    "{{- s -}}  \n x",
    "  {%+ if yes %}x{% endif %}",
    "{% if yes +%}\nx{% endif %}",
    "{% if n is not none and n is not string %}ok{% endif %}",
    "{% if nothing %}a{% elif n %}b{% else %}c{% endif %}",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ loop_messages|length }}",
    "a\r\n{% if yes %}\r\nb\r\n{% endif %}\r\nc",
    "a\rb",
    "{{ 'a\\r\\nb' }}",
    "\n\nx\n",
    "{% generation %}x{{ n }}{% endgeneration %}",
    "{%- generation -%} x {%- endgeneration -%}",
    "{{ messages }}",
    "{{ map }}",
    "{{ x }} {{ 1.0 }} {{ yes }} {{ nothing }} {{ undefined_name }}",
    "{{ undefined_name.a }}",
    "{{ map.z.y }}",
    "{{ map['z']['y'] }}",
    "{{ 'it\\'s' }} {{ \"q\\\"\" }} {{ '\\u00e9' }} {{ '\\x41' }} {{ '\\t' }}|",
    "{{ ['it\\'s', 'a\"b', 'é', 'a\\nb'] }}",
    "{% set x = {'a': 1} %}{% set _ = x.update({'b': 2}) %}{{ x }}",
    "{% set l = [] %}{% do l.append(1) %}",
    "{% set l = [] %}{% set l = l + [1] %}{{ l }}",
    "{% block a %}in{% endblock %}",
    "{{ self }}",
    "{{ loop }}",
    "{% set ns = namespace() %}{% set ns.x = 1 %}{{ ns.x }}{{ ns.y is defined }}",
    "{% set ns = namespace(a=[]) %}{% set ns.a = ns.a + [n] %}{{ ns.a }}",
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + (m['content'] or '') }}{% endfor %}",
    "{% for m in messages %}{{ m['content'] + 'x' }}{% endfor %}",
    "{{ 1 + 'a' }}",
    "{{ 'a' + 1 }}",
    "{{ messages[-1].tool_calls is defined and messages[-1].tool_calls is not none }}",
    "{{ messages[-1]['tool_calls']|length > 0 }}",
    "{{ '%s=%s' % ('a', map.b) + '!' }}",
    "{{ 'x%s' % (n + 1) }}",
    "{{ ('%s' % s)|upper }}",
    "{{ 'a' ~ 5 % 3 }}",
    "{% if n % 2 == 1 %}odd{% endif %}",
    "{{ (n % 2 == 1) != (messages|length % 2 == 1) }}",
    "{% for a in list %}{{ loop.index0 % 2 }}{% endfor %}",
    "{{ '5%' }} % {{ n }}",
]


def render(template):
    try:
        return {"text": _cached_compile_jinja_template(template).render(**VALUES)}
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, AttributeError, KeyError, LookupError, ZeroDivisionError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    lines = [line for line in (STRINGS + "\n" + VALUES_OF_OTHERS).split("\n") if line]
    templates = ["{{ " + line.replace("\\\\", "\\") + " }}" for line in lines] + STATEMENTS
    cases = [{"template": template} | render(template) for template in templates]
    # Nothing that differs from run to run can be kept.
    cases = [case for case in cases if " object at 0x" not in case.get("text", "") and "|hash" not in case["template"]]
    out = Path(__file__).parent.parent / "fixtures/expressions.json"
    out.write_text(json.dumps({"values": VALUES, "cases": cases}, ensure_ascii=False, indent=1) + "\n")
    print(len(cases), "cases,", sum("error" in case for case in cases), "refused")


main()
