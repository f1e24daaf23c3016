import { describe, expect, test } from "vitest";
import { compile, environmentOf } from "./compile.ts";
import { jsonValue, toJson } from "./json-value.ts";
import { dynType, intType, listOf, mapOf, stringType } from "./type.ts";
import { typeName } from "./value.ts";

const environment = environmentOf([
  ["number", intType],
  ["names", listOf(stringType)],
  ["labels", mapOf(stringType, stringType)],
  ["object", dynType],
]);
const values = [
  7n,
  jsonValue(["b", "a", "c"]),
  jsonValue({ app: "web", "x/y": "1" }),
  jsonValue({ spec: { replicas: 3, names: ["x"] } }),
];

function evaluate(source: string): unknown {
  const compiled = compile(source, environment);
  if ("problem" in compiled) return compiled.problem;
  const outcome = compiled.program.run(values, 1_000_000);
  return "error" in outcome ? `error: ${outcome.error}` : toJson(outcome.value);
}

describe("expressions are true", () => {
  test.each([
    "1 + 2 * 3 == 7 && -(2) == -2",
    "7 / 2 == 3 && -7 / 2 == -3 && 7 % 3 == 1 && -7 % 3 == -1",
    "1.5 + 1.5 == 3.0 && 1 < 1.5 && 2u > 1",
    "9223372036854775807 > 9223372036854775806 && -9223372036854775808 < 0",
    "'a' + 'b' == 'ab' && 'é'.size() == 1 && size(b'é') == 2",
    "r'\\d' == '\\\\d' && '\\u00e9' == 'é' && b'\\xff' == b'\\377'",
    "[1, 2] + [3] == [1, 2, 3] && 2 in [1, 2] && !(4 in [1, 2])",
    "{'a': 1, 'b': 2} == {'b': 2, 'a': 1} && 'a' in {'a': 1}",
    "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x > 1)",
    "[0, 1].exists(x, 1 / x > 0) && !([0, 1].all(x, 1 / x > 1))",
    "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6] && [1, 2].filter(x, x > 1) == [2]",
    "[[1, 2], [3]].map(l, l.map(x, x + 1)) == [[2, 3], [4]]",
    "{'a': 1}.all(k, k == 'a') && {'a': 1}.exists(k, v, v == 1)",
    "[5, 6].transformList(i, v, i * v) == [0, 6] && {'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
    "{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}",
    "false && 1 / 0 > 0 == false || true",
    "(1 / 0 > 0 || true) && (true || 1 / 0 > 0)",
    "true ? 1 == 1 : 1 / 0 == 1",
    "has(object.spec) && !has(object.status) && has(object.spec.replicas)",
    "object.spec.replicas == number - 4 && object.spec.names[0] == 'x'",
    "object.?spec.?gone.orValue(5) == 5 && object.?spec.?replicas.orValue(5) == 3",
    "object[?'gone'].hasValue() == false && [1][?0].value() == 1 && ![1][?3].hasValue()",
    "optional.of(1).optMap(x, x + 1).value() == 2 && !optional.none().hasValue()",
    "optional.ofNonZeroValue('') == optional.none() && [?optional.of(1), ?optional.none()] == [1]",
    "{?'a': optional.none(), 'b': 1} == {'b': 1}",
    "labels.app == 'web' && labels['x/y'] == '1' && 'app' in labels",
    "type(1) == int && type('') == string && type([]) == list && type(type(1)) == type",
    "int('12') == 12 && string(3) == '3' && double('1.5') == 1.5 && bool('true') && uint(3) == 3u",
    "string(1.0) == '1' && string(1e30) == '1e+30' && string(b'abc') == 'abc'",
    "timestamp('2026-11-23T01:02:03.5Z').getMilliseconds() == 500",
    "timestamp('2024-02-29T00:00:00Z').getDayOfYear() == 59",
    "timestamp('2026-11-23T01:00:00+02:00').getHours('UTC') == 23",
    "timestamp('2026-11-23T00:00:00Z') + duration('25h') == timestamp('2026-11-24T01:00:00Z')",
    "timestamp('2026-11-23T00:00:00Z').getDayOfWeek() == 1",
    "duration('1h30m').getMinutes() == 90 && string(duration('1.5s')) == '1.5s'",
    "'abc'.matches('^a.c$') && 'hello'.contains('ell') && 'x'.startsWith('') && 'abc'.endsWith('bc')",
    "'tacocat'.indexOf('a', 2) == 5 && 'tacocat'.lastIndexOf('t') == 6 && 'héllo'.charAt(1) == 'é'",
    "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']",
    "['a', 'b'].join('-') == 'a-b' && ' x '.trim() == 'x' && 'aXa'.lowerAscii() == 'axa'",
    "'abc'.substring(1) == 'bc' && 'abcd'.substring(1, 3) == 'bc' && 'aaa'.replace('a', 'b', 2) == 'bba'",
    "'%s is %d of %.1f%%'.format([dyn('a'), dyn(3), dyn(2.5)]) == 'a is 3 of 2.5%'",
    "'%s'.format([['a', 'b']]) == '[a, b]' && '%b'.format([5]) == '101' && '%e'.format([1200.0]) == '1.200000e+03'",
    "strings.quote('a\"b') == '\"a\\\\\"b\"'",
    "'abc 123 45'.find('[0-9]+') == '123' && 'abc 123 45'.findAll('[0-9]+') == ['123', '45']",
    "'aaa'.find('a+?') == 'a' && 'foobar'.find('foo|foobar') == 'foo' && ''.findAll('x*') == ['']",
    "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].sortBy(x, x) == ['a', 'b'] && [1, 1].distinct() == [1]",
    "[1, 2, 3].slice(1, 2) == [2] && lists.range(3) == [0, 1, 2] && [[1], [2, 3]].flatten() == [1, 2, 3]",
    "[1, 2].reverse() == [2, 1] && [1, 2].first().value() == 1 && [1, 2].last().value() == 2",
    "[1, 2].isSorted() && [1, 3].sum() == 4 && [2, 1].min() == 1 && [2, 1].max() == 2",
    "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [1, 2].includes(2) && 'a'.includes('a')",
    "sets.contains([1, 2], [2]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 2], [2, 1, 1])",
    "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1k').asInteger() == 1000",
    "quantity('50Mi').add(quantity('50Mi')) == quantity('100Mi') && isQuantity('1.5') && !isQuantity('x')",
    "ip('::1').isLoopback() && ip('10.0.0.1').family() == 4 && isIP('1.2.3.4') && !isIP('1.2.3')",
    "ip.isCanonical('127.0.0.1') && !ip.isCanonical('::FFFF') && string(ip('::0001')) == '::1'",
    "cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
    "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.0.0.0/8').prefixLength() == 8",
    "url('https://e.com:80/a?b=c').getHost() == 'e.com:80' && url('https://e.com/p').getHostname() == 'e.com'",
    "url('/path').getScheme() == '' && isURL('https://a') && !isURL('../relative')",
    "url('https://e.com/?a=b&a=c').getQuery()['a'] == ['b', 'c']",
    "!format.dns1123Label().validate('abc').hasValue() && format.named('uuid').hasValue()",
    "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-a').compareTo(semver('1.0.0')) == -1",
    "semver('v1.0', true).major() == 1 && !isSemver('1.0')",
    "names.sort() == ['a', 'b', 'c'] && names.exists(n, n == 'a')",
    "dyn(1) == 1.0 && dyn(1u) == 1 && dyn('a') != 1",
  ])("%s", (source) => {
    expect(evaluate(source)).toBe(true);
  });
});

describe("errors are worded as cel-go words them", () => {
  test.each([
    ["9223372036854775807 + 1", "error: integer overflow"],
    ["-(-9223372036854775807 - 1)", "error: integer overflow"],
    ["0u - 1u", "error: unsigned integer overflow"],
    ["1 / 0", "error: division by zero"],
    ["1 % 0", "error: modulus by zero"],
    ["object.gone", "error: no such key: gone"],
    ["names[3]", "error: index out of bounds: 3"],
    ["object.spec + 1", "error: no such overload"],
    ["optional.none().value()", "error: optional.none() dereference"],
    ["[].min()", "error: min called on empty list"],
    ["{'a': 1, 'a': 2}", "error: Failed with repeated key: a"],
    [
      "number + 'a'",
      "ERROR: <input>:1:8: found no matching overload for '_+_' applied to '(int, string)'\n | number + 'a'\n | .......^",
    ],
    [
      "gone.x",
      "ERROR: <input>:1:1: undeclared reference to 'gone' (in container '')\n | gone.x\n | ^",
    ],
    [
      "number.x",
      "ERROR: <input>:1:7: type 'int' does not support field selection\n | number.x\n | ......^",
    ],
    [
      "names.foo()",
      "ERROR: <input>:1:10: undeclared reference to 'foo' (in container '')\n | names.foo()\n | .........^",
    ],
    [
      "names.size(1)",
      "ERROR: <input>:1:11: found no matching overload for 'size' applied to 'list(string).(int)'\n | names.size(1)\n | ..........^",
    ],
    [
      "number.all(x, x)",
      "ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | number.all(x, x)\n | ^",
    ],
    [
      "duration('x')",
      "ERROR: <input>:1:10: invalid duration argument\n | duration('x')\n | .........^",
    ],
    [
      "[1, 'a']",
      "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^",
    ],
    [
      "names.all(1, true)",
      "ERROR: <input>:1:11: argument must be a simple name\n | names.all(1, true)\n | ..........^",
    ],
    [
      "number >",
      "ERROR: <input>:1:9: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | number >\n | ........^",
    ],
  ])("%s", (source, problem) => {
    expect(evaluate(source)).toBe(problem);
  });
});

test("what costs more than it may is stopped", () => {
  const compiled = compile(
    "lists.range(1000).all(x, lists.range(1000).all(y, x + y >= 0))",
    environment,
  );
  if ("problem" in compiled) throw new Error(compiled.problem);
  const outcome = compiled.program.run(values, 10_000);
  expect(outcome).toMatchObject({
    error: "operation cancelled: actual cost limit exceeded",
    exceeded: true,
  });
});

test("the name of a value's type", () => {
  expect([1n, 1, "a", null, true].map(typeName)).toEqual([
    "int",
    "double",
    "string",
    "null_type",
    "bool",
  ]);
});
