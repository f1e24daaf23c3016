/** The small pure parts: flags, columns, templates, sorting, errors. */
import { expect, test } from "vitest";
import { notFound, StatusError } from "#machinery/status-error.ts";
import { columnsText, parseColumns } from "./custom-columns.ts";
import { labelOf } from "./describe/generic.ts";
import { CommandError, ConnectError, ExitError, explain, ManyErrors } from "./errors.ts";
import { duration, integer, list, optional, readFlags, repeat, text, toggle } from "./flags.ts";
import { parseTemplate } from "./go-template.ts";
import { compactJson, indentedJson } from "./json-print.ts";
import { warningTexts } from "./rest.ts";
import { compareNaturally, sortByPath } from "./sort.ts";
import { alignTabs, describeStops, tableStops } from "./tab-writer.ts";

const known = [
  text("output", "", { short: "o" }),
  toggle("watch", "", { short: "w" }),
  toggle("tty", "", { short: "t" }),
  toggle("stdin", "", { short: "i" }),
  integer("replicas", ""),
  duration("timeout", ""),
  list("filename", "", { short: "f" }),
  repeat("from-literal", ""),
  optional("dry-run", "", { bare: "unchanged", default: "none" }),
];

test("flags: joined, apart, run together, repeated", () => {
  const { flags, args, dashAt } = readFlags(known, [
    "a",
    "-oyaml",
    "-it",
    "--replicas=3",
    "-f",
    "x,y",
    "-f=z",
    "--from-literal",
    "a=b,c",
    "--dry-run",
    "--timeout",
    "1m30s",
    "b",
    "--",
    "-w",
  ]);
  expect(args).toEqual(["a", "b", "-w"]);
  expect(dashAt).toBe(2);
  expect(flags.text("output")).toBe("yaml");
  expect([flags.switch("stdin"), flags.switch("tty"), flags.switch("watch")]).toEqual([
    true,
    true,
    false,
  ]);
  expect(flags.integer("replicas")).toBe(3);
  expect(flags.list("filename")).toEqual(["x", "y", "z"]);
  expect(flags.list("from-literal")).toEqual(["a=b,c"]);
  expect(flags.text("dry-run")).toBe("unchanged");
  expect(flags.durationMs("timeout")).toBe(90_000);
});

test("flags: the first argument may end them", () => {
  const { args, flags } = readFlags(known, ["-i", "pod", "ls", "-w"], false);
  expect(args).toEqual(["pod", "ls", "-w"]);
  expect(flags.switch("watch")).toBe(false);
});

test.each([
  [["--nope"], "unknown flag: --nope"],
  [["-iz"], "unknown shorthand flag: 'z' in -z"],
  [["--output"], "flag needs an argument: --output"],
  [["-o"], "flag needs an argument: 'o' in -o"],
  [
    ["--watch=maybe"],
    'invalid argument "maybe" for "-w, --watch" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
  ],
  [
    ["--replicas=x"],
    'invalid argument "x" for "--replicas" flag: strconv.ParseInt: parsing "x": invalid syntax',
  ],
  [["--timeout=x"], 'invalid argument "x" for "--timeout" flag: time: invalid duration "x"'],
])("%s is refused", (words, message) => {
  expect(() => readFlags(known, words)).toThrow(new CommandError(message));
});

test("columns line up; the last cell is in none", () => {
  expect(alignTabs("NAME\tAGE\na-long-name\t5s\n", tableStops)).toBe(
    "NAME          AGE\na-long-name   5s\n",
  );
  expect(alignTabs("Name:\tx\nLabels:\ta=b\n\tc=d\nBare\nT:\ty\n", describeStops)).toBe(
    "Name:    x\nLabels:  a=b\n         c=d\nBare\nT:  y\n",
  );
  const widths: number[] = [];
  alignTabs("a-long-name\t1\n", tableStops, widths);
  expect(alignTabs("b\t2\n", tableStops, widths)).toBe("b             2\n");
});

test("custom columns", () => {
  const object = { metadata: { name: "x" }, list: [1, 2], map: { b: 1, a: "t" }, nothing: null };
  const columns = parseColumns("N:.metadata.name,L:list,M:{.map},E:.list[*],Z:.zero,Y:nothing");
  expect(columnsText(columns, object, true)).toBe(
    "N\tL\tM\tE\tZ\tY\nx\t[1 2]\tmap[a:t b:1]\t1,2\t<none>\t<none>\n",
  );
  expect(() => parseColumns("N")).toThrow("unexpected custom-columns spec: N");
});

const object = { name: "x", list: ["a", "b"], map: { k: "v", l: 1 }, empty: [], secret: "aGk=" };
test.each([
  ["{{.name}}", "x"],
  ["{{range .list}}<{{.}}>{{end}}", "<a><b>"],
  ["{{range $i, $x := .list}}{{$i}}{{$x}} {{end}}", "0a 1b "],
  ["{{range .empty}}x{{else}}none{{end}}", "none"],
  ["{{range $k, $v := .map}}{{$k}}={{$v}};{{end}}", "k=v;l=1;"],
  ['{{if eq .name "x"}}yes{{else}}no{{end}}', "yes"],
  ["{{if .nope}}a{{else if .name}}b{{else}}c{{end}}", "b"],
  ["{{with .map}}{{.k}}{{end}}", "v"],
  ['{{len .list}} {{index .list 1}} {{index .map "k"}}', "2 b v"],
  ['{{printf "%-3s|%02d|%q" .name 7 "z"}}', 'x  |07|"z"'],
  ["{{.secret | base64decode}}", "hi"],
  ["{{.nope}}", "<no value>"],
  ["a {{- .name -}} b", "axb"],
  ["{{/* said */}}{{$x := .name}}{{$x}}", "x"],
  ['{{and .name (not .nope)}} {{or .nope "d"}}', "true d"],
  ["{{.list}} {{.map}}", "[a b] map[k:v l:1]"],
])("go-template %s", (template, expected) => {
  expect(parseTemplate(template, true)(object)).toBe(expected);
});

test("go-template: what is not there is refused by name", () => {
  expect(() => parseTemplate('{{define "x"}}{{end}}', true)).toThrow("{{define}} is not part of");
  expect(() => parseTemplate("{{nope .x}}", true)({})).toThrow('function "nope" not defined');
});

test("JSON as Go prints it", () => {
  expect(compactJson({ b: "<&>", a: [1, 1.5, null] })).toBe(
    '{"a":[1,1.5,null],"b":"\\u003c\\u0026\\u003e"}',
  );
  expect(indentedJson({ a: [], b: {} })).toBe('{\n    "a": [],\n    "b": {}\n}');
});

test("sorting: numbers in names, quantities, missing first", () => {
  expect(["pod-10", "pod-9"].toSorted(compareNaturally)).toEqual(["pod-9", "pod-10"]);
  const items = [{ q: "1Gi" }, { q: "500Mi" }, {}];
  expect(sortByPath(items, (one) => one, "{.q}")).toEqual([{}, { q: "500Mi" }, { q: "1Gi" }]);
  expect(() => sortByPath([{}], (one) => one, ".q")).toThrow("couldn't find any field with path");
});

test("words of fields", () => {
  expect(["apiVersion", "creationTimestamp", "uid", "clusterIPs", "x.y/z"].map(labelOf)).toEqual([
    "API Version",
    "Creation Timestamp",
    "UID",
    "Cluster I Ps",
    "x.y/z",
  ]);
});

test("warnings of the server", () => {
  expect(warningTexts('299 - "one, \\"two\\"", 299 - "three"')).toEqual(['one, "two"', "three"]);
});

const pods = { group: "", plural: "pods" };
test.each([
  [new CommandError("x"), "error: x", 1],
  [notFound(pods, "a"), 'Error from server (NotFound): pods "a" not found', 1],
  [
    new StatusError(401, "Unauthorized", "Unauthorized"),
    "error: You must be logged in to the server (Unauthorized)",
    1,
  ],
  [
    new ConnectError("h:1", "", true),
    "The connection to the server h:1 was refused - did you specify the right host or port?",
    1,
  ],
  [new ConnectError("h:1", "why", false), "Unable to connect to the server: why", 1],
  [new ExitError(7, "gone"), "gone", 7],
  [
    new ManyErrors([notFound(pods, "a"), new CommandError("b")]),
    'Error from server (NotFound): pods "a" not found\nb',
    1,
  ],
  [
    new StatusError(422, "Invalid", "m", {
      kind: "Pod",
      name: "a",
      causes: [
        { field: "f", message: "bad" },
        { field: "g", message: "worse" },
      ],
    }),
    'The Pod "a" is invalid: \n* f: bad\n* g: worse',
    1,
  ],
])("error %#", (error, said, code) => {
  expect(explain(error)).toEqual({ text: said, code });
});
