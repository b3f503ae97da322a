#!/usr/bin/env python3
"""Renders one-line templates, each about one thing that chat templates do, with jinja2 and with Troupe.

    compare_snippets.py RENDER_TOOL

Needs no files. Exits with 77, which Meson reports as skipped, where jinja2 is missing.
"""
import sys

import compare_templates

CONTEXT = {
    "none": None, "t": True, "f": False, "i": 42, "n": -7, "zero": 0, "x": 2.5, "big": 1e22, "small": 1.5e-7, "one": 1.0,
    "s": "Hello World", "u": "Grüße, 世界 \U0001f600ß", "w": "  pad\t\n", "e": "", "q": "it's \"q\" \\ \n\t\x01\x7f\u200b",
    "l": [3, 1, 2], "m": ["b", "A", "c", "a"], "el": [], "d": {"b": 1, "a": {"c": [1, "x", None]}, "items": 5}, "ed": {},
    "p": [{"n": "x", "v": 2, "a": {"b": 1}}, {"n": "Y", "v": 1, "a": {"b": 0}}, {"n": "x", "v": 3}],
    "mixed": [1, "1", 1.0, True, None, "a", [1], {"k": 1}],
}

EXPRESSIONS = r"""
none | t | f | 1 is defined
none ~ t ~ f ~ i ~ x ~ one ~ big ~ small ~ missing ~ l ~ d
[none, t, 1.0, 'a', "it's", 'q"q', '\n', u, q, missing]
(1,) | (1, 2) | list
()
{'a': 1, 2: 'b', none: true, 1.5: []}
1 + 2 * 3 - 4 / 2
7 // 2 ~ ' ' ~ -7 // 2 ~ ' ' ~ 7 % 3 ~ ' ' ~ -7 % 3 ~ ' ' ~ 7 % -3
7.5 // 2 ~ ' ' ~ -7.5 % 2 ~ ' ' ~ 2 ** 10 ~ ' ' ~ 2 ** -1 ~ ' ' ~ 2 ** 0.5
-2 ** 2
2 ** 3 ** 2
1 / 3
0.1 + 0.2
1e16 ~ ' ' ~ 1e15 ~ ' ' ~ 123456789012345680.0 ~ ' ' ~ 1e-4 ~ ' ' ~ 1e-5 ~ ' ' ~ 5e-324 ~ ' ' ~ 100.0
1_000 + 0x10 + 0b11 + 0o17
true + true
'a' * 3 ~ 3 * 'b' ~ [1] * 2
'a' 'b' "c"
[1] + [2, 3]
1 + 'a'
'a' + 1
none + 1
missing + 'a'
missing.x
missing | length
missing is sequence
missing is iterable
missing is mapping
missing is string
missing == missing2
missing in l
'a' in missing
1 in none
1 == 1.0 and true == 1 and 'a' != 'b'
1 < 2 < 3 ~ (1 < 3 < 2)
'a' < 'b' and [1, 2] < [1, 3]
1 < 'a'
none < 1
'ell' in s and 'x' not in s
1 in 'a'
2 in l and 9 not in l
'b' in d and 'z' not in d
not none and not 0 and not '' and not [] and not {}
none or 0 or 'x'
'' and 5
1 if t else 2
1 if f
(1 if f) is defined
1 if f else 2 if f else 3
s[0] ~ s[-1] ~ s[1:3] ~ s[::-1] ~ s[::2] ~ s[-3:] ~ s[:-3] ~ s[10:2] ~ s[5:2:-1]
s[100] is defined
u[0] ~ u[2] ~ u[-1] ~ u[-2] ~ u[::-1] ~ u[1:4] ~ u[7:]
l[0] ~ l[-1] ~ l[1:] ~ l[::-1] ~ l[5] ~ l['x']
l[::0]
l['a':]
d.b ~ d['b'] ~ d.a.c[1] ~ d['a']['c'][-1] ~ d.zzz ~ d['zzz']
d.items is callable ~ d['items']
d.get('b') ~ d.get('z') ~ d.get('z', 7)
d.keys() | list
d.values() | list
d.items() | list
d | items | list
none.x is defined
i.x is defined
s.x is defined
s.upper is defined
s.upper() ~ s.lower() ~ s.title() ~ s.swapcase() ~ 'aBC dEF'.capitalize()
u.upper() ~ u.lower() ~ u.title() ~ 'ﬁx'.upper() ~ "they're bill's".title()
w.strip() ~ '|' ~ w.lstrip() ~ '|' ~ w.rstrip() ~ '|'
'xxaxx'.strip('x') ~ 'abcab'.lstrip('ab') ~ 'abcab'.rstrip('ba') ~ '世a界'.strip('界世')
'\u00a0\u3000a\u2003'.strip()
'a,b,,c'.split(',') ~ 'a,b,c'.split(',', 1) ~ ' a  b '.split() ~ ' a  b c '.split(none, 1) ~ ''.split() ~ ''.split(',')
'a,b,c'.rsplit(',', 1) ~ 'a'.rsplit(',', 1) ~ 'a b'.rsplit()
'a'.split('')
'a\nb\r\nc\n'.splitlines() ~ 'a\nb\n'.splitlines(true) ~ ''.splitlines()
'a=b=c'.partition('=') ~ 'a=b=c'.rpartition('=') ~ 'x'.partition('=') ~ 'x'.rpartition('=')
s.startswith('Hell') ~ s.endswith('d') ~ s.startswith(('x', 'H')) ~ s.endswith('')
s.replace('o', '0') ~ s.replace('o', '0', 1) ~ 'ab'.replace('', '-') ~ 'ab'.replace('', '-', 2) ~ s.replace('l', '')
s.find('o') ~ s.find('z') ~ s.rfind('o') ~ s.find('o', 5) ~ u.find('世') ~ u.find('') ~ s.find('', 20) ~ s.find('l', -3)
s.index('z')
s.count('l') ~ 'aaaa'.count('aa') ~ s.count('') ~ u.count('')
', '.join(['a', 'b']) ~ ''.join([]) ~ '-'.join('abc')
','.join([1])
'12'.isdigit() ~ ''.isdigit() ~ 'ab1'.isalnum() ~ 'ab'.isalpha() ~ ' '.isspace() ~ 'AB1'.isupper() ~ 'ab'.islower()
'a'.ljust(3) ~ '|' ~ 'a'.rjust(3, '*') ~ 'ab'.center(5, '-') ~ 'abc'.center(6, '-') ~ '7'.zfill(3) ~ '-7'.zfill(4)
'abc'.removeprefix('ab') ~ 'abc'.removesuffix('bc') ~ 'abc'.removeprefix('x')
'{} {}'.format(1, 'a') ~ '{1} {0}'.format(1, 2) ~ '{a.b} {d[b]}'.format(a={'b': 3}, d=d)
'{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}|{:x}|{:%}|{:+d}|{:*^7}'.format('a', 'b', 'c', 42, 3.14159, 1234567, 255, 0.5, 3, 'x')
'{!r} {!s} {{}}'.format('a', 'b')
'{} {}'.format(1)
'{a}'.format(b=1)
'%s %s' % (1, 'a') ~ '%d' % 5 ~ '%5.2f|%-5s|%05d|%x|%%' % (3.14159, 'a', 42, 255) ~ '%s' % l ~ '%r' % 'a'
'%(a)s %(b)d' % {'a': 'x', 'b': 2}
'%s' % (1, 2)
'%s %s' % 1
'%d' % 'a'
'%i %u %e %g %G %o %X %+d % d %#x' % (1, 2, 12345.678, 0.00001, 1e20, 8, 255, 5, 5, 255)
'%.3s|%10.2s|%c' % ('abcdef', 'xyz', 'c') if f else '%.3s|%10.2s|' % ('abcdef', 'xyz')
s | length ~ u | length ~ l | count ~ d | length ~ e | length
i | length
w | trim ~ '|' ~ 'xax' | trim('x')
s | upper ~ s | lower ~ 'hELLO wORLD' | capitalize ~ 'hello-world (foo) bar_baz' | title ~ "it's ok" | title
5 | upper
s | replace('o', '0') ~ s | replace('l', 'L', 1) ~ 515 | replace(5, 'x')
[1, none, 'a', 1.0, true] | join(', ') ~ [] | join ~ 'abc' | join('-') ~ missing | join(',')
p | join(',', attribute='n') ~ l | join
missing | default('x') ~ none | default('x') ~ '' | default('x', true) ~ 0 | d(5, boolean=true) ~ missing | default
missing.x | default('y')
l | first ~ l | last ~ [] | first ~ s | first ~ d | first ~ 'ab' | last
([] | first) is defined
'abc' | list ~ d | list ~ (1, 2) | list ~ range(3) | list ~ none | list
l | sort ~ m | sort ~ m | sort(case_sensitive=true) ~ l | sort(reverse=true) ~ p | sort(attribute='v') | map(attribute='v') | list
p | sort(attribute='n,v') | map(attribute='v') | join
[1, 'a'] | sort
l | min ~ l | max ~ m | min ~ m | max ~ [] | min ~ (p | max(attribute='v')).v
l | sum ~ [] | sum ~ p | sum(attribute='v') ~ [1.5, 2] | sum ~ l | sum(start=10)
[1, 1, 2, 'a', 'A'] | unique | list ~ m | unique(true) | list ~ p | unique(attribute='n') | map(attribute='v') | list
l | reverse | list ~ s | reverse ~ u | reverse ~ (1, 2) | reverse | list
p | map(attribute='n') | list ~ p | map(attribute='a.b', default='-') | list ~ ['a', 'b'] | map('upper') | list
['a-b'] | map('replace', '-', '+') | list ~ [1, 2] | map('string') | join(',')
p | selectattr('n', 'equalto', 'x') | map(attribute='v') | list ~ p | rejectattr('a') | list ~ p | selectattr('a') | list | length
p | selectattr('a.b', 'defined') | list | length
[0, 1, 2, '', none, 'a'] | select | list ~ [1, 2, 3] | select('odd') | list ~ [1, 2, 3] | reject('gt', 1) | list ~ none | select | list
[1, 2, 3] | select('in', [1, 3]) | list
(l | select('odd')) is iterable ~ (l | select('odd')) is sequence
[] | select('odd') | length
1 if [] | select('odd') else 2
1 if [] | select('odd') | list else 2
d | dictsort ~ {'B': 1, 'a': 2} | dictsort ~ {'B': 1, 'a': 2} | dictsort(true) ~ {'x': 2, 'y': 1} | dictsort(by='value') ~ {'x': 2, 'y': 1} | dictsort(reverse=true)
[1, 2, 3, 4, 5] | batch(2) | list ~ [1, 2, 3] | batch(2, 0) | list ~ [1, 2, 3, 4, 5] | slice(3) | list ~ [1, 2, 3, 4] | slice(3, 'x') | list
'42' | int ~ '4.7' | int ~ 'x' | int ~ 'x' | int(5) ~ 3.9 | int ~ -3.9 | int ~ true | int ~ '0x1f' | int(base=16) ~ '  7 ' | int ~ '1_000' | int
'1.5' | float ~ 'x' | float ~ 3 | float ~ '1e3' | float ~ ' inf ' | float
2.5 | round ~ 3.5 | round ~ 2.675 | round(2) ~ 42.55 | round(1, 'floor') ~ 42.51 | round(1, 'ceil') ~ 5 | round ~ 1234.5 | round(-2)
n | abs ~ -2.5 | abs
i | string ~ none | string ~ l | string
'<a href="x">\'&' | e ~ '<' | escape | e ~ '<' | safe ~ ('<' | safe) + '<' ~ '<' | forceescape
('<b>' | safe ~ '<i>') ~ ('<' | e).upper() ~ ('a' | safe) * 2
'%s' | safe % '<'
s | center(20) ~ '|' ~ 'foo bar baz qux' | truncate(9) ~ 'foo bar baz qux' | truncate(9, true) ~ 'foo bar baz qux' | truncate(11) ~ 'foo bar baz qux' | truncate(11, false, '...', 0)
'one two, three' | wordcount ~ '%s-%s' | format(1, 2) ~ '%(a)s' | format(a=3)
'a\nb\n\nc' | indent ~ '|' ~ 'a\nb' | indent(2, true) ~ '|' ~ 'a\n\nb' | indent(2, blank=true) ~ '|' ~ 'a\nb\n' | indent('> ', first=true) ~ '|' ~ '' | indent(2, true)
d | tojson ~ l | tojson ~ mixed | tojson ~ q | tojson ~ u | tojson ~ x | tojson ~ none | tojson ~ one | tojson ~ big | tojson
d | tojson(indent=2) ~ [] | tojson(indent=2) ~ {} | tojson(indent=2) ~ [1, [2]] | tojson(indent=0) ~ [1] | tojson(indent='\t')
d | tojson(separators=(',', ':')) ~ {'b': 1, 'a': 2} | tojson(sort_keys=true) ~ u | tojson(ensure_ascii=true) ~ '\x7f\u2028' | tojson(true)
{1: 2, none: 3, true: 4, 1.5: 5} | tojson ~ (1, 2) | tojson ~ '<' | safe | tojson
missing | tojson
range(3) | tojson
range(3) ~ range(1, 10, 3) | list ~ range(5, 0, -2) | list ~ range(0) | list ~ range(3)[1] ~ range(3)[-1] ~ range(3) | length
range(1, 10, 0)
range(10 ** 6)
range(1.5)
dict(a=1, b='x') ~ dict({'a': 1}, b=2) ~ dict([('a', 1)])
1 is number ~ 1.0 is number ~ true is number ~ '1' is number ~ 1 is integer ~ true is integer ~ 1.0 is float ~ true is boolean
s is string ~ l is string ~ d is mapping ~ l is mapping ~ l is sequence ~ s is sequence ~ d is sequence ~ 5 is sequence ~ d.items() is sequence
l is iterable ~ s is iterable ~ d is iterable ~ 5 is iterable ~ none is iterable
none is none ~ missing is none ~ f is none ~ missing is defined ~ s is defined ~ none is defined ~ missing is undefined
t is true ~ 1 is true ~ f is false ~ 0 is false ~ none is false
3 is odd ~ 4 is even ~ 9 is divisibleby 3 ~ 9 is divisibleby(4) ~ 'A' is upper ~ 'a' is lower
1 is eq 1 ~ 1 is equalto 2 ~ 1 is ne 2 ~ 1 is lt 2 ~ 2 is gt(1) ~ 1 is le 1 ~ 1 is ge 2 ~ 1 is in [1] ~ 'a' is in 'abc' ~ none is sameas none
1 is not number ~ s is not string ~ not s is string
s is string and l is sequence or none
'tojson' is filter ~ 'nope' is filter ~ 'odd' is test
range is callable ~ s.upper is callable ~ s is callable
'\x41\u00e9\U0001f600\101\q\'' ~ "\"" ~ 'a\
b'
'ab'[0] in ['a'] and {'k': [1, 2]}['k'][1] == 2
{'a': {'b': {}}}['a']
[[1, 2], [3]][0][1] ~ [1,] ~ {'a': 1,}
(1, 2) == (1, 2) ~ [1] == (1,) ~ {'a': 1} == {'a': 1.0} ~ none == f ~ 1 == true ~ '' == none
l | map('string') | map('int') | sum
- l[0] ~ -x ~ +i ~ -(1 + 2) ~ not t
-1 | abs
1 - 1 ~ 1 -1 ~ 1-1
nope()
s()
d.zzz()
raise_exception('no: ' ~ s)
s | nope
s is nope
l.0 ~ p.0.n ~ p[0]['n'] ~ p[0].n ~ p[-1].n
namespace(a=1, b='x').a ~ namespace({'k': 2}).k ~ namespace().zzz ~ namespace(a=1)['a']
strftime_now('%Y-%m-%d %H:%M %d %b %B %A %j %%')
mixed ~ mixed == mixed
s | attr('upper') is callable
[1, 2, 3, 1].count(1) ~ [1, 2].index(2) ~ d.copy()
loop is defined
"a" ~ 1 + 2 ~ "b"
1 ~ 2 * 3
'é' < 'z'
x is float and x | int == 2
none | trim ~ none | upper ~ none | length
5 | trim
l | trim
i | items | list
d | map('upper') | list
"%d%%" % 50
{} is mapping ~ {} == {} ~ {'a': none}.a is none
['x'] * 0 ~ 'x' * -1
[3, 1] | sort | first ~ ([1, [2]] | last)[0]
not missing ~ (missing or 'z') ~ (missing and 'z')
missing ~ 'x'
missing | string ~ missing | upper ~ missing | trim ~ missing | list ~ missing | int if f
missing | int
missing < 1
-missing
missing()
missing[0]
missing | items | list
missing is eq(missing) ~ (missing == none)
s.split(' ', maxsplit=1) ~ s.replace('o', '', 1)
s.strip(none) ~ s.nope is defined
s.upper(1)
s.split(nope=1)
l | join(', ', nope=1)
d['b', 'c'] is defined
d[l] is defined
d[{}] is defined
{l: 1}
[] | first | default('none')
(p | first).n ~ (p | last).v ~ p[1:] | length ~ p[:1][0].v
""".strip().split("\n")

TEMPLATES = [
    "{% for a in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for a in el %}x{% else %}none{% endfor %}|{% for a in l if a > 5 %}x{% else %}none{% endfor %}",
    "{% for a in l if a != 1 %}{{ a }}{{ loop.index }}{{ loop.length }}{{ loop.last }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in u %}{{ c }}.{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for a in 5 %}{% endfor %}",
    "{% for a in none %}{% endfor %}", "{% for a in missing %}x{% else %}e{% endfor %}",
    "{% for a in l %}{% if a == 1 %}{% continue %}{% endif %}{{ a }}{% endfor %}|{% for a in l %}{% if a == 1 %}{% break %}{% endif %}{{ a }}{% else %}e{% endfor %}",
    "{% for a in l %}{% for b in l %}{% if b == 1 %}{% break %}{% endif %}{{ loop.depth }}{{ a }}{{ b }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for a in l %}{{ loop.cycle('x', 'y') }}{{ loop.changed(a > 1) }}{% endfor %}",
    "{% set z = 1 %}{% for a in l %}{% set z = z + a %}{{ z }} {% endfor %}{{ z }}",
    "{% set ns = namespace(z=1) %}{% for a in l %}{% set ns.z = ns.z + a %}{% endfor %}{{ ns.z }}{% set ns.y = 'new' %}{{ ns.y }}",
    "{% set z.a = 1 %}", "{% set d.a = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}",
    "{% set a %}x{{ i }}y{% endset %}{{ a }}{{ a is string }}|{% set a | upper | replace('X', '-') %}x{{ s }}{% endset %}{{ a }}",
    "{% if t %}{% set y = 1 %}{% endif %}{{ y }}{% if f %}{% set z = 1 %}{% endif %}{{ z is defined }}",
    "{% if not tools is defined %}{% set tools = none %}{% endif %}{{ tools }}",
    "{% if f %}a{% elif none %}b{% elif 1 %}c{% else %}d{% endif %}{% if e %}a{% else %}b{% endif %}",
    "{% macro m(a, b=2, c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(a=5, c=6) }}{{ m() }}{{ m(1) | upper }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}{{ m.name }}",
    "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ g }}{% endmacro %}{% set g = 7 %}{{ a() }}",
    "{% macro m() %}{% set s = 'in' %}{{ s }}{% endmacro %}{{ m() }}{{ s }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in {{ i }}{% endcall %}",
    "{% macro m() %}{% for a in l %}{{ caller(a) }}{% endfor %}{% endmacro %}{% call(x) m() %}({{ x }}){% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}in{% endcall %}", "{% macro m(a) %}{{ a.b.c }}{% endmacro %}{{ m() }}",
    "{% for a in l %}{% macro m() %}{{ a }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m(x) %}{{ loop is defined }}{% endmacro %}{% for a in l %}{{ m(a) }}{% endfor %}",
    "{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b') | upper %}aa{% endfilter %}",
    "{% with a = 1, b = i %}{{ a }}{{ b }}{% set i = 2 %}{{ i }}{% endwith %}{{ a is defined }}{{ i }}",
    "{% generation %}x{{ s }}{% endgeneration %}", "{% raw %}{{ x }}{% if %}{# c #}{% endraw %}|{%- raw -%}  a  {%- endraw -%}  b",
    "a{# comment #}b{#- c -#}  d  {# x\ny #}\ne", "{{ 'a' }}\n{{ 'b' }}\n", "a\n\n", "a\r\nb\rc\r\n", "\n  {% if t %}\n  x\n  {% endif %}\n  y\n",
    "  {%- if t -%}  \n x \n {%- endif -%}  z", "x  {%+ if t %}\n y{% endif +%}\nz", "{% if t +%}\nx{% endif %}", "a {{- 1 -}} b {{ 2 }} c",
    "    {% if t %}a{% endif %}  {% if t %}b{% endif %}\n  {# c #}\n\t{{ 1 }}\n", "x\n  {# a #}  y\n  {#- b #}\nz", "{% if t %}\n\n  a{% endif %}",
    "{{ '{{' }}{{ '}}' }}{{ '%}' }}{{ {'a': {'b': 1}} }}{{ {} }}", "{{ 1 }}{% set x = {'a': {}} %}{{ x }}", "{ {{ 1 }} } {{{'a':1}}}",
    "{% set q = namespace(l=[]) %}{% for a in l %}{% set q.l = q.l + [a * 2] %}{% endfor %}{{ q.l }}",
    "{%set x=1%}{{x}}{%-set x=2-%} {{x}}", "{% set x = 1 if f else 2 %}{{ x }}", "{{ 1, 2 }}", "{{ }}",
    "{% if %}{% endif %}", "{% for %}{% endfor %}", "{% endif %}", "{% if t %}", "{{ 1", "{% if t", "{# x", "{% raw %}x", "{{ 'a }}", "{{ (1 }}",
    "{{ 1) }}", "{{ a b }}", "{% nope %}", "{% set %}", "{% set 1 = 2 %}", "{% set none = 2 %}", "{{ a. }}", "{{ a[ }}", "{{ a[] }}", "{{ a| }}",
    "{{ a is }}", "{{ f(a=1, 2) }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% break %}", "{{ 1 if }}", "{{ not }}", "{{ $ }}", "{{ 'a' if t else }}",
    "{% macro 1() %}{% endmacro %}", "{% block a %}{% endblock %}x{{ 1 is 2 }}", "{{ x is string is string }}", "{{ {1} }}", "{{ {1:} }}", "{{ [1 2] }}",
    "{% for x in [1, 2] recursive %}{{ x.y.z }}{% endfor %}", "{{ x.y.z }}", "{{ l | map | list }}", "{{ l | selectattr | list }}", "{{ p | map(attribute='a.b.c') | list }}",
    "{% if f %}{{ s | nope }}{% endif %}ok", "{% if f %}{% if s is nope %}{% endif %}{% endif %}ok",
    "{%- for m in p %}\n  {%- if loop.first %}\nfirst\n  {%- endif %}\n  {{- m.n }}\n{%- endfor %}\n",
    "{% for a in range(3) %}{{ a }}{% if not loop.last %}, {% endif %}{% endfor %}{{ a is defined }}{{ loop is defined }}",
    "{% set t = 5 %}{% for t in l %}{{ t }}{% endfor %}{{ t }}", "{% for a in l %}{% set b = a %}{% endfor %}{{ b is defined }}",
    "{% for a in l %}{% if loop.previtem is defined and loop.previtem > a %}>{% endif %}{{ loop.nextitem is undefined }}{% endfor %}",
    "{% macro f(x) %}{{- x -}}{% endmacro %}{{ f(**{'x': 1}) }}{{ f(*[2]) }}", "{{ dict(**{'a': 1}) }}",
    "{% set x = l | sort %}{{ l }}{{ x }}", "{% if 'a' in 'abc' and not ('z' in 'abc') %}y{% endif %}", "{% if l|length > 2 and l[0] == 3 %}y{% endif %}",
    "{% if s == 'Hello World' and (i > 40 or none) %}y{% endif %}", "{{ s if s is string else (s | tojson) }}", "{{- s }}\n\n{{ u -}}\n\n",
]


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    env = compare_templates.environment()
    troupe = compare_templates.Troupe(sys.argv[1])
    different, texts, refusals = [], 0, 0
    templates = ["{{ " + e + " }}" for e in "\n".join(EXPRESSIONS).replace("\\\nb'", "\\b'").split("\n")] + TEMPLATES
    for template in templates:
        wanted = compare_templates.reference(env, template, CONTEXT)
        found = troupe.render(template, CONTEXT)
        texts += isinstance(wanted, str)
        refusals += not isinstance(wanted, str)
        text = "".join(part[0] for part in found["parts"]) if "parts" in found else None
        if isinstance(wanted, str) != (text is not None) or (text is not None and text != wanted):
            if not (isinstance(wanted, Exception) and compare_templates.beyond(wanted)):
                different.append(f"{template}\n  wanted {wanted!r}\n  found  {found.get('error') or text!r}")
    if troupe.close() != 0:
        different.append("render_tool failed at its end")
    print("\n".join(different + [f"{texts} texts and {refusals} refusals compared, {len(different)} differ"]))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
