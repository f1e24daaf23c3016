package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Cross-checks: what was read from the Go sources against upstream's recorded OpenAPI documents and protobuf definitions.

type openapiSchema struct {
	Ref                  string                   `json:"$ref"`
	AllOf                []openapiSchema          `json:"allOf"`
	Type                 string                   `json:"type"`
	Format               string                   `json:"format"`
	Properties           map[string]openapiSchema `json:"properties"`
	Items                *openapiSchema           `json:"items"`
	AdditionalProperties json.RawMessage          `json:"additionalProperties"`
	Required             []string                 `json:"required"`
	Default              json.RawMessage          `json:"default"`
	ListType             string                   `json:"x-kubernetes-list-type"`
	ListKeys             []string                 `json:"x-kubernetes-list-map-keys"`
	MapType              string                   `json:"x-kubernetes-map-type"`
	PatchStrategy        string                   `json:"x-kubernetes-patch-strategy"`
	PatchMergeKey        string                   `json:"x-kubernetes-patch-merge-key"`
	Unions               []struct {
		Discriminator string            `json:"discriminator"`
		Fields        map[string]string `json:"fields-to-discriminateBy"`
	} `json:"x-kubernetes-unions"`
}

type findings struct {
	found   []string
	checked int
}

func (f *findings) expect(what string, got, want any) {
	f.checked++
	if !reflect.DeepEqual(got, want) {
		f.found = append(f.found, fmt.Sprintf("%s: read %v, upstream's document says %v", what, got, want))
	}
}

func (m *model) check() error {
	f := &findings{}
	if err := m.checkOpenAPI(f); err != nil {
		return err
	}
	if err := m.checkProtobuf(f); err != nil {
		return err
	}
	if err := m.checkEnums(f); err != nil {
		return err
	}
	sort.Strings(f.found)
	if len(f.found) > 0 {
		return fmt.Errorf("%d of %d facts differ:\n  %s", len(f.found), f.checked, strings.Join(f.found, "\n  "))
	}
	fmt.Printf("facts: %d facts agree with upstream's OpenAPI and protobuf documents\n", f.checked)
	return nil
}

func (m *model) checkOpenAPI(f *findings) error {
	documents, err := filepath.Glob(filepath.Join(m.sources.modules["k8s.io/kubernetes"], "api", "openapi-spec", "v3", "*.json"))
	if err != nil {
		return err
	}
	schemas := map[string]openapiSchema{}
	for _, path := range documents {
		var document struct {
			Components struct {
				Schemas map[string]openapiSchema `json:"schemas"`
			} `json:"components"`
		}
		if err := readJSON(path, &document); err != nil {
			return err
		}
		for name, schema := range document.Components.Schemas {
			schemas[name] = schema
		}
	}
	byModel := map[string]*object{}
	for _, one := range m.objects {
		byModel[one.model] = one
	}
	missing := map[string]bool{}
	for name, schema := range schemas {
		if len(schema.Properties) == 0 && (schema.Type != "object" || name == "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1" || strings.HasSuffix(name, ".RawExtension")) {
			continue // a type with a form of its own
		}
		if one := byModel[name]; one == nil {
			missing[name] = true
		} else {
			checkObject(f, one, schema)
		}
	}
	f.expect("types that were not read", sortedKeys(missing), []string{})
	return nil
}

func checkObject(f *findings, o *object, schema openapiSchema) {
	names, required := []string{}, []string{}
	for _, one := range o.fields {
		names = append(names, one.name)
		if one.required {
			required = append(required, one.name)
		}
	}
	sort.Strings(names)
	sort.Strings(required)
	f.expect(o.model+" properties", names, sortedKeys(schema.Properties))
	f.expect(o.model+" required", required, sortedStrings(schema.Required))
	f.expect(o.model+" atomic", o.atomic, schema.MapType == "atomic")
	var unions []union
	for _, u := range schema.Unions {
		unions = append(unions, union{u.Discriminator, sortedKeys(u.Fields)})
	}
	f.expect(o.model+" unions", o.unions, unions)
	for _, one := range o.fields {
		property, ok := schema.Properties[one.name]
		if !ok {
			continue
		}
		what := o.model + "." + one.name
		checkType(f, what, one.typ, property)
		f.expect(what+" patch strategy", strings.Join(one.patchStrategy, ","), property.PatchStrategy)
		f.expect(what+" patch merge key", one.patchMergeKey, property.PatchMergeKey)
		f.expect(what+" default", printableDefault(one.defaultValue), documentDefault(one, property))
	}
}

func printableDefault(text string) string { return strings.ReplaceAll(text, "\\u0020", " ") }

// documentDefault leaves out the zero values that OpenAPI's generator makes up for required fields.
func documentDefault(f *field, property openapiSchema) string {
	text := string(property.Default)
	if f.defaultValue == "" && (text == `""` || text == "0" || text == "false" || text == "{}") {
		return ""
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, "\n", ""), " ", "")
}

var scalarForms = map[string][2]string{
	"string": {"string", ""}, "boolean": {"boolean", ""}, "int32": {"integer", "int32"}, "int64": {"integer", "int64"},
	"float64": {"number", "double"}, "bytes": {"string", "byte"}, "duration": {"string", ""},
}

var scalarNames = map[string][]string{
	"quantity": {"Quantity"}, "intOrString": {"IntOrString"}, "time": {"Time"}, "microTime": {"MicroTime"},
	"fields": {"FieldsV1"}, "any": {"RawExtension", ""}, "json": {"JSON"}, "duration": {"Duration"},
}

func checkType(f *findings, what string, t *schemaType, schema openapiSchema) {
	ref := schema.Ref
	if len(schema.AllOf) == 1 {
		ref = schema.AllOf[0].Ref
	}
	ref = strings.TrimPrefix(ref, "#/components/schemas/")
	short := ref[strings.LastIndex(ref, ".")+1:]
	switch t.kind {
	case "object", "alternatives":
		f.expect(what+" type", t.object.model, ref)
		f.expect(what+" atomic", t.atomic, schema.MapType == "atomic")
		f.expect(what+" granular", t.granular, schema.MapType == "granular")
	case "list":
		if schema.Items == nil {
			f.expect(what+" type", "a list", schema.Type)
			return
		}
		said := ""
		if t.marked {
			said = t.listType
		}
		f.expect(what+" list type", said, schema.ListType)
		f.expect(what+" list keys", sortedStrings(t.keys), sortedStrings(schema.ListKeys))
		checkType(f, what+"[]", t.elem, *schema.Items)
	case "map":
		f.expect(what+" atomic", t.atomic, schema.MapType == "atomic")
		var values openapiSchema
		if err := json.Unmarshal(schema.AdditionalProperties, &values); err != nil {
			f.expect(what+" type", "a map", schema.Type)
			return
		}
		checkType(f, what+"{}", t.elem, values)
	case "scalar":
		if names, ok := scalarNames[t.scalar]; ok && (ref != "" || t.scalar == "any") {
			f.expect(what+" type", contains(names, short) || t.scalar == "any" && schema.Type == "object", true)
			return
		}
		f.expect(what+" type", scalarForms[t.scalar], [2]string{schema.Type, schema.Format})
	}
}

func contains(values []string, value string) bool {
	for _, one := range values {
		if one == value {
			return true
		}
	}
	return false
}

var protoField = regexp.MustCompile(`^  (optional|repeated|required|map<[^>]*>)? ?\.?[A-Za-z0-9_.]* ?([A-Za-z0-9_]+) = ([0-9]+);`)

// checkProtobuf compares every message's field numbers with those that the tags gave.
func (m *model) checkProtobuf(f *findings) error {
	for i := range apiPackages {
		pkg := &apiPackages[i]
		messages, err := m.protoMessagesOf(pkg)
		if err != nil {
			return err
		}
		for _, one := range m.objectsOf(pkg) {
			if numbers, ok := messages[one.name]; ok {
				f.expect(one.model+" protobuf", protoNumbers(one), numbers)
			}
		}
		f.expect(pkg.ImportPath+" messages that are no types", m.unknownMessages(pkg, messages), []string{})
	}
	return nil
}

// protoMessagesOf is nil where the package has no protobuf form.
func (m *model) protoMessagesOf(pkg *apiPackage) (map[string][]int, error) {
	path := filepath.Join(m.sources.modules.folder(pkg.ImportPath), "generated.proto")
	if _, err := os.Stat(path); err != nil {
		return nil, nil
	}
	return protoMessages(path)
}

// dropProtobuf forgets the numbers of types of which upstream makes no message.
func (m *model) dropProtobuf() error {
	for i := range apiPackages {
		messages, err := m.protoMessagesOf(&apiPackages[i])
		if err != nil {
			return err
		}
		for _, one := range m.objectsOf(&apiPackages[i]) {
			if _, ok := messages[one.name]; ok {
				continue
			}
			for _, field := range one.fields {
				field.proto, field.inlines = 0, nil
			}
		}
	}
	return nil
}

func (m *model) unknownMessages(pkg *apiPackage, messages map[string][]int) []string {
	unknown := []string{}
	source := m.sources.packages[pkg.ImportPath]
	for _, name := range sortedKeys(messages) {
		full := pkg.ImportPath + "." + name
		decl := source.types[name]
		if m.objects[full] == nil && scalarTypes[full] == "" && (decl == nil || !decl.markers.has("protobuf.nullable")) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// checkEnums compares with the enums in upstream's generated OpenAPI source: the recorded documents leave them out.
func (m *model) checkEnums(f *findings) error {
	path := filepath.Join(m.sources.modules["k8s.io/kubernetes"], "pkg", "generated", "openapi", "zz_generated.openapi.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return err
	}
	byFunction := map[string]*object{}
	for _, key := range sortedKeys(m.objects) {
		one := m.objects[key]
		parts := strings.Split(one.pkg.ImportPath, "/")
		name := strings.Join(parts[len(parts)-3:], "_") + "_" + one.name
		byFunction[strings.NewReplacer("-", "_", ".", "").Replace(name)] = one
	}
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(function.Name.Name, "schema_") {
			continue
		}
		name := function.Name.Name
		for name != "" && byFunction[name] == nil {
			_, name, _ = strings.Cut(name, "_")
		}
		if one := byFunction[name]; one != nil {
			properties := enumsIn(function.Body)
			for _, field := range one.fields {
				if enum := enumOf(field.typ); enum != nil || properties[field.name] != nil {
					values := []string{}
					if enum != nil {
						values = enum.values
					}
					f.expect(one.model+"."+field.name+" enum", values, sortedStrings(properties[field.name]))
				}
			}
		}
	}
	return nil
}

// enumsIn: property → the strings of the innermost "Enum" list in its literal.
func enumsIn(body ast.Node) map[string][]string {
	found := map[string][]string{}
	property := ""
	ast.Inspect(body, func(node ast.Node) bool {
		pair, ok := node.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		if key, ok := pair.Key.(*ast.BasicLit); ok && !strings.HasPrefix(key.Value, `"x-kubernetes-`) {
			property, _ = strconv.Unquote(key.Value)
		}
		key, isName := pair.Key.(*ast.Ident)
		list, isList := pair.Value.(*ast.CompositeLit)
		if isName && isList && key.Name == "Enum" {
			for _, element := range list.Elts {
				if literal, ok := element.(*ast.BasicLit); ok {
					value, _ := strconv.Unquote(literal.Value)
					found[property] = append(found[property], value)
				}
			}
		}
		return true
	})
	return found
}

func protoMessages(path string) (map[string][]int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	messages := map[string][]int{}
	name := ""
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		line := scanner.Text()
		if rest, ok := strings.CutPrefix(line, "message "); ok {
			name = strings.Fields(rest)[0]
			messages[name] = []int{}
		} else if match := protoField.FindStringSubmatch(line); match != nil {
			number, err := strconv.Atoi(match[3])
			if err != nil {
				return nil, err
			}
			messages[name] = append(messages[name], number)
		}
	}
	for _, numbers := range messages {
		sort.Ints(numbers)
	}
	return messages, scanner.Err()
}

func protoNumbers(o *object) []int {
	seen := map[int]bool{}
	for _, one := range o.fields {
		switch {
		case len(one.inlines) > 0:
			seen[one.inlines[0].number] = true
		case one.proto != 0:
			seen[one.proto] = true
		}
	}
	numbers := []int{}
	for number := range seen {
		numbers = append(numbers, number)
	}
	sort.Ints(numbers)
	return numbers
}
