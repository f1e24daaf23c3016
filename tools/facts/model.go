package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// The model: what the tables and the interfaces are written from.

type schemaType struct {
	kind     string // scalar list map object alternatives
	scalar   string
	elem     *schemaType
	listType string
	keys     []string
	wrapped  bool
	atomic   bool // a map's or an object's mapType where it differs from the type's own
	granular bool // an object's, the other way round
	marked   bool // the list type is said, not implied
	goStruct bool // a scalar in JSON, a struct in Go
	object   *object
	enum     *enumType
}

type enumType struct {
	pkg    *apiPackage
	name   string
	values []string
}

type field struct {
	name          string
	typ           *schemaType
	omit          string // never empty zero
	pointer       bool
	required      bool
	defaultValue  string
	proto         int
	inlines       []inline // protobuf messages between the object and the field, outermost first
	patchStrategy []string
	patchMergeKey string
	structValue   bool // a struct that is no pointer: printed even when empty
	fromTypeMeta  bool
	unionMember   bool
	unionKey      bool
}

type inline struct {
	name   string
	number int
}

type object struct {
	pkg          *apiPackage
	name         string
	model        string
	kind         bool // holds TypeMeta
	atomic       bool
	alternatives bool
	fields       []*field
	unions       []union
}

type union struct {
	discriminator string
	fields        []string
}

type model struct {
	sources  *sources
	byImport map[string]*apiPackage
	objects  map[string]*object // by import path and name
	enums    map[string]*enumType
}

func newModel(s *sources) *model {
	m := &model{s, map[string]*apiPackage{}, map[string]*object{}, map[string]*enumType{}}
	for i := range apiPackages {
		m.byImport[apiPackages[i].ImportPath] = &apiPackages[i]
	}
	return m
}

// build reads every exported struct that travels, and all they reference.
func (m *model) build() error {
	for i := range apiPackages {
		pkg := &apiPackages[i]
		source, err := m.sources.load(pkg.ImportPath)
		if err != nil {
			return err
		}
		for _, name := range sortedKeys(source.types) {
			decl := source.types[name]
			if !m.travels(pkg, source, decl) {
				continue
			}
			if _, err := m.object(pkg, source, name); err != nil {
				return fmt.Errorf("%s.%s: %w", pkg.ImportPath, name, err)
			}
		}
	}
	return nil
}

func (m *model) travels(pkg *apiPackage, source *goPackage, decl *declaration) bool {
	full := pkg.ImportPath + "." + decl.name
	if _, special := scalarTypes[full]; special || !ast.IsExported(decl.name) {
		return false
	}
	behind, _, err := m.structBehind(source, decl)
	if err != nil || behind == nil || decl.spec.Assign.IsValid() {
		return false
	}
	structType := behind.spec.Type.(*ast.StructType)
	for _, f := range structType.Fields.List {
		named := len(f.Names) > 0 && f.Names[0].IsExported()
		if named && !alternativeTypes[full] && (f.Tag == nil || !strings.Contains(f.Tag.Value, `json:"`)) {
			return false // only ever in memory
		}
	}
	if pkg.Model == "" {
		return source.models[decl.name] != ""
	}
	return true
}

func (m *model) object(pkg *apiPackage, source *goPackage, name string) (*object, error) {
	key := pkg.ImportPath + "." + name
	if known, ok := m.objects[key]; ok {
		return known, nil
	}
	decl := source.types[name]
	result := &object{pkg: pkg, name: name, model: source.models[name], alternatives: alternativeTypes[key]}
	if result.model == "" {
		if pkg.Model == "" {
			return nil, fmt.Errorf("no OpenAPI name for %s", key)
		}
		result.model = pkg.Model + "." + name
	}
	result.atomic = decl.markers.first("structType") == "atomic"
	m.objects[key] = result
	behind, from, err := m.structBehind(source, decl)
	if err != nil {
		return nil, err
	}
	fields, err := m.fields(from, behind, result)
	if err != nil {
		return nil, err
	}
	result.fields = fields
	if decl.markers.has("union") {
		result.unions = append(result.unions, unionOf(fields))
	}
	return result, nil
}

func unionOf(fields []*field) union {
	found := union{}
	for _, f := range fields {
		if f.unionKey {
			found.discriminator = f.name
		} else if !f.required && !f.fromTypeMeta {
			found.fields = append(found.fields, f.name)
		}
	}
	sort.Strings(found.fields)
	return found
}

func (m *model) fields(source *goPackage, decl *declaration, owner *object) ([]*field, error) {
	structType, ok := decl.spec.Type.(*ast.StructType)
	if !ok {
		return nil, fmt.Errorf("%s is no struct", decl.name)
	}
	var result []*field
	for _, f := range structType.Fields.List {
		tag := reflect.StructTag("")
		if f.Tag != nil {
			text, err := strconv.Unquote(f.Tag.Value)
			if err != nil {
				return nil, err
			}
			tag = reflect.StructTag(text)
		}
		jsonName, options, _ := strings.Cut(tag.Get("json"), ",")
		if len(f.Names) == 0 && jsonName == "" {
			inlined, err := m.inlined(source, decl, owner, f, tag)
			if err != nil {
				return nil, err
			}
			result = append(result, inlined...)
			continue
		}
		if jsonName == "-" || (len(f.Names) > 0 && !f.Names[0].IsExported()) {
			continue
		}
		number, protoName, err := protobufTag(tag)
		if err != nil {
			return nil, err
		}
		if owner.alternatives {
			jsonName = protoName
		}
		if jsonName == "" {
			return nil, fmt.Errorf("field %s has no JSON name", f.Names[0].Name)
		}
		one, err := m.field(source, decl, f, jsonName, options, tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", jsonName, err)
		}
		one.proto = number
		result = append(result, one)
	}
	return result, nil
}

func (m *model) inlined(source *goPackage, decl *declaration, owner *object, f *ast.Field, tag reflect.StructTag) ([]*field, error) {
	embedded, from, err := m.named(source, decl, f.Type)
	if err != nil {
		return nil, err
	}
	if embedded == nil {
		return nil, fmt.Errorf("an embedded type that is no struct")
	}
	typeMeta := from.path == "k8s.io/apimachinery/pkg/apis/meta/v1" && embedded.name == "TypeMeta"
	fields, err := m.fields(from, embedded, &object{})
	if err != nil {
		return nil, err
	}
	number, protoName, err := protobufTag(tag)
	if err != nil {
		return nil, err
	}
	if protoName == "" {
		protoName = strings.ToLower(embedded.name[:1]) + embedded.name[1:]
	}
	if typeMeta {
		owner.kind = true
	}
	for _, one := range fields {
		one.fromTypeMeta = typeMeta
		if number == 0 {
			one.proto = 0
			continue
		}
		one.inlines = append([]inline{{protoName, number}}, one.inlines...)
	}
	return fields, nil
}

func protobufTag(tag reflect.StructTag) (int, string, error) {
	text := tag.Get("protobuf")
	if text == "" || text == "-" {
		return 0, "", nil
	}
	parts := strings.Split(text, ",")
	number, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0, "", fmt.Errorf("protobuf tag %q: %w", text, err)
	}
	for _, part := range parts {
		if name, ok := strings.CutPrefix(part, "name="); ok {
			return number, name, nil
		}
	}
	return number, "", nil
}

func (m *model) field(source *goPackage, decl *declaration, f *ast.Field, name, options string, tag reflect.StructTag) (*field, error) {
	marks := markersOf(f.Doc)
	result := &field{name: name, omit: "never"}
	expression := f.Type
	if star, ok := expression.(*ast.StarExpr); ok {
		result.pointer, expression = true, star.X
	}
	for _, option := range strings.Split(options, ",") {
		switch option {
		case "omitempty":
			if result.omit == "never" {
				result.omit = "empty"
			}
		case "omitzero":
			result.omit = "zero"
		case "", "inline":
		default:
			return nil, fmt.Errorf("unknown JSON option %q", option)
		}
	}
	typ, err := m.resolve(source, decl, expression)
	if err != nil {
		return nil, err
	}
	result.typ = typ.withMarkers(marks)
	result.structValue = !result.pointer && (typ.kind == "object" || typ.kind == "alternatives" || typ.goStruct)
	optional := marks.has("optional") || result.omit != "never" && strings.Contains(options, "omitempty")
	result.required = marks.has("required") || !optional
	if result.structValue && typ.goStruct && result.omit == "empty" {
		result.omit = "never" // encoding/json knows no empty struct: it prints null, "0" or 0
	}
	result.unionKey = marks.has("unionDiscriminator")
	if strategy := tag.Get("patchStrategy"); strategy != "" {
		result.patchStrategy = strings.Split(strategy, ",")
	}
	result.patchMergeKey = tag.Get("patchMergeKey")
	value := marks.first("default")
	if value == "" {
		value = m.typeMarker(source, decl, expression, "default")
	}
	if value != "" {
		if result.defaultValue, err = m.defaultOf(source, value); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func (m *model) defaultOf(source *goPackage, value string) (string, error) {
	if name, ok := strings.CutPrefix(value, "ref("); ok {
		name = strings.TrimSuffix(name, ")")
		if text, ok := m.sources.namedText(source, name); ok {
			quoted, err := json.Marshal(text)
			return string(quoted), err
		}
		return "", fmt.Errorf("no constant %s", name)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(value)); err != nil {
		return "", fmt.Errorf("default %s: %w", value, err)
	}
	return strings.ReplaceAll(compact.String(), " ", "\\u0020"), nil
}

// withMarkers applies a field's own list and map markers to its type.
func (t *schemaType) withMarkers(marks markers) *schemaType {
	result := *t
	switch t.kind {
	case "list":
		if value := marks.first("listType"); value != "" {
			result.listType, result.marked = value, true
			result.keys = marks["listMapKey"]
		}
	case "map":
		if value := marks.first("mapType"); value != "" {
			result.atomic = value == "atomic"
		}
	case "object":
		value := marks.first("structType")
		if value == "" {
			value = marks.first("mapType")
		}
		result.atomic = result.atomic || value == "atomic"
		result.granular = value == "granular"
	}
	return &result
}

// named: the declaration behind an identifier, where it is a struct's.
func (m *model) named(source *goPackage, decl *declaration, expression ast.Expr) (*declaration, *goPackage, error) {
	switch e := expression.(type) {
	case *ast.StarExpr:
		return m.named(source, decl, e.X)
	case *ast.Ident:
		return m.behindAlias(source.types[e.Name], source)
	case *ast.SelectorExpr:
		path := decl.imports[e.X.(*ast.Ident).Name]
		other, err := m.sources.load(path)
		if err != nil {
			return nil, nil, err
		}
		return m.behindAlias(other.types[e.Sel.Name], other)
	}
	return nil, nil, nil
}

// structBehind follows definitions such as `type MatchCondition v1.MatchCondition`; nil where no struct is behind.
func (m *model) structBehind(source *goPackage, decl *declaration) (*declaration, *goPackage, error) {
	for decl != nil {
		switch expression := decl.spec.Type.(type) {
		case *ast.StructType:
			return decl, source, nil
		case *ast.Ident:
			decl = source.types[expression.Name]
		case *ast.SelectorExpr:
			path := decl.imports[expression.X.(*ast.Ident).Name]
			if m.sources.modules.folder(path) == "" {
				return nil, nil, nil
			}
			other, err := m.sources.load(path)
			if err != nil {
				return nil, nil, err
			}
			source, decl = other, other.types[expression.Sel.Name]
		default:
			return nil, nil, nil
		}
	}
	return nil, nil, nil
}

func (m *model) behindAlias(found *declaration, source *goPackage) (*declaration, *goPackage, error) {
	if found == nil {
		return nil, source, nil
	}
	if _, isStruct := found.spec.Type.(*ast.StructType); isStruct || !found.spec.Assign.IsValid() {
		return found, source, nil
	}
	return m.named(source, found, found.spec.Type)
}

func (m *model) typeMarker(source *goPackage, decl *declaration, expression ast.Expr, marker string) string {
	if selector, ok := expression.(*ast.SelectorExpr); ok {
		if m.sources.modules.folder(decl.imports[selector.X.(*ast.Ident).Name]) == "" {
			return ""
		}
	}
	found, _, err := m.named(source, decl, expression)
	if err != nil || found == nil {
		return ""
	}
	return found.markers.first(marker)
}

var builtin = map[string]string{
	"string": "string", "bool": "boolean", "int32": "int32", "int": "int32", "int64": "int64",
	"uint32": "int64", "uint16": "int32", "uint8": "int32", "float32": "float64", "float64": "float64", "any": "any",
}

func scalar(name string) *schemaType { return &schemaType{kind: "scalar", scalar: name} }

func specialScalar(full string) *schemaType {
	name, ok := scalarTypes[full]
	if !ok {
		return nil
	}
	result := scalar(name)
	result.goStruct = full != "time.Duration" && full != "k8s.io/apimachinery/pkg/runtime.Object"
	return result
}

func (m *model) resolve(source *goPackage, decl *declaration, expression ast.Expr) (*schemaType, error) {
	switch e := expression.(type) {
	case *ast.StarExpr:
		return m.resolve(source, decl, e.X)
	case *ast.InterfaceType:
		return scalar("any"), nil
	case *ast.ArrayType:
		if identifier, ok := e.Elt.(*ast.Ident); ok && identifier.Name == "byte" {
			return scalar("bytes"), nil
		}
		elem, err := m.resolve(source, decl, e.Elt)
		if err != nil {
			return nil, err
		}
		return &schemaType{kind: "list", elem: elem, listType: "atomic"}, nil
	case *ast.MapType:
		elem, err := m.resolve(source, decl, e.Value)
		if err != nil {
			return nil, err
		}
		return &schemaType{kind: "map", elem: elem}, nil
	case *ast.Ident:
		if source.types[e.Name] == nil {
			if name, ok := builtin[e.Name]; ok {
				return scalar(name), nil
			}
			return nil, fmt.Errorf("unknown type %s", e.Name)
		}
		return m.resolveNamed(source, e.Name)
	case *ast.SelectorExpr:
		path := decl.imports[e.X.(*ast.Ident).Name]
		if special := specialScalar(path + "." + e.Sel.Name); special != nil {
			return special, nil
		}
		other, err := m.sources.load(path)
		if err != nil {
			return nil, err
		}
		return m.resolveNamed(other, e.Sel.Name)
	}
	return nil, fmt.Errorf("a type of an unknown form: %T", expression)
}

func (m *model) resolveNamed(source *goPackage, name string) (*schemaType, error) {
	full := source.path + "." + name
	if special := specialScalar(full); special != nil {
		return special, nil
	}
	decl := source.types[name]
	if decl == nil {
		return nil, fmt.Errorf("no type %s", full)
	}
	behind, _, err := m.structBehind(source, decl)
	if err != nil {
		return nil, err
	}
	if behind != nil && !decl.spec.Assign.IsValid() {
		pkg := m.byImport[source.path]
		if pkg == nil {
			return nil, fmt.Errorf("%s: its package is not in packages.go", full)
		}
		target, err := m.object(pkg, source, name)
		if err != nil {
			return nil, err
		}
		if target.alternatives {
			return &schemaType{kind: "alternatives", object: target}, nil
		}
		return &schemaType{kind: "object", object: target}, nil
	}
	underlying, err := m.resolve(source, decl, decl.spec.Type)
	if err != nil {
		return nil, err
	}
	if decl.spec.Assign.IsValid() {
		return underlying, nil
	}
	result := underlying.withMarkers(decl.markers)
	result.wrapped = result.kind == "list" && decl.markers.has("protobuf.nullable")
	if decl.markers.has("enum") && result.kind == "scalar" {
		pkg := m.byImport[source.path]
		if pkg == nil {
			return nil, fmt.Errorf("%s: its package is not in packages.go", full)
		}
		if m.enums[full] == nil {
			m.enums[full] = &enumType{pkg, name, m.sources.enumValues(source, name)}
		}
		result.enum = m.enums[full]
	}
	return result, nil
}

func sortedKeys[V any](values map[string]V) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
