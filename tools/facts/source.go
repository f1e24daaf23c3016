package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Modules, Go packages and their declarations.

type moduleSet map[string]string // module path → folder

// downloadModules gives the modules' folders and, by "path@version", their checksums.
func downloadModules() (moduleSet, map[string]string, error) {
	paths := make([]string, 0, len(moduleVersions))
	for path := range moduleVersions {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	args := []string{"mod", "download", "-json"}
	for _, path := range paths {
		args = append(args, path+"@"+moduleVersions[path])
	}
	command := exec.Command("go", args...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go mod download: %w", err)
	}
	set, sums := moduleSet{}, map[string]string{}
	decoder := json.NewDecoder(strings.NewReader(string(output)))
	for decoder.More() {
		var module struct{ Path, Version, Dir, Sum, Error string }
		if err := decoder.Decode(&module); err != nil {
			return nil, nil, err
		}
		if module.Error != "" {
			return nil, nil, fmt.Errorf("%s: %s", module.Path, module.Error)
		}
		set[module.Path] = module.Dir
		sums[module.Path+"@"+module.Version] = module.Sum
	}
	return set, sums, nil
}

// folder of an import path, "" where none of the modules holds it.
func (set moduleSet) folder(importPath string) string {
	for module, dir := range set {
		if importPath == module {
			return dir
		}
		if strings.HasPrefix(importPath, module+"/") {
			return filepath.Join(dir, strings.TrimPrefix(importPath, module+"/"))
		}
	}
	return ""
}

type declaration struct {
	name    string
	spec    *ast.TypeSpec
	markers markers
	imports map[string]string // local name → import path
}

type constant struct {
	name  string
	typed string // local name of the type, "" where none is said
	value ast.Expr
	file  map[string]string // local name → import path
	skip  bool
}

type goPackage struct {
	path      string
	types     map[string]*declaration
	constants []constant
	models    map[string]string // type → OpenAPI name
}

type sources struct {
	modules  moduleSet
	packages map[string]*goPackage
}

func (s *sources) load(importPath string) (*goPackage, error) {
	if loaded, ok := s.packages[importPath]; ok {
		return loaded, nil
	}
	dir := s.modules.folder(importPath)
	if dir == "" {
		return nil, fmt.Errorf("no module holds %s", importPath)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	result := &goPackage{path: importPath, types: map[string]*declaration{}, models: map[string]string{}}
	set := token.NewFileSet()
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, ".pb.go") {
			continue
		}
		parsed, err := parser.ParseFile(set, file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		result.collect(parsed)
	}
	s.packages[importPath] = result
	return result, nil
}

func (p *goPackage) collect(file *ast.File) {
	imports := map[string]string{}
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = path
	}
	for _, decl := range file.Decls {
		if function, ok := decl.(*ast.FuncDecl); ok {
			p.collectModelName(function)
			continue
		}
		general, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				doc := spec.Doc
				if doc == nil {
					doc = general.Doc
				}
				if _, seen := p.types[spec.Name.Name]; seen {
					continue
				}
				p.types[spec.Name.Name] = &declaration{spec.Name.Name, spec, markersOf(doc), imports}
			case *ast.ValueSpec:
				if general.Tok == token.CONST {
					p.collectConstants(spec, imports)
				}
			}
		}
	}
}

func (p *goPackage) collectModelName(function *ast.FuncDecl) {
	if function.Name.Name != "OpenAPIModelName" || function.Recv == nil || function.Body == nil {
		return
	}
	receiver := function.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	identifier, ok := receiver.(*ast.Ident)
	if !ok {
		return
	}
	for _, statement := range function.Body.List {
		if ret, ok := statement.(*ast.ReturnStmt); ok {
			if literal, ok := ret.Results[0].(*ast.BasicLit); ok {
				p.models[identifier.Name], _ = strconv.Unquote(literal.Value)
			}
		}
	}
}

func (p *goPackage) collectConstants(spec *ast.ValueSpec, imports map[string]string) {
	for i, name := range spec.Names {
		if i >= len(spec.Values) {
			continue
		}
		typed, value := "", spec.Values[i]
		if identifier, ok := spec.Type.(*ast.Ident); ok {
			typed = identifier.Name
		}
		if call, ok := value.(*ast.CallExpr); ok && len(call.Args) == 1 {
			if identifier, ok := call.Fun.(*ast.Ident); ok {
				typed, value = identifier.Name, call.Args[0]
			}
		}
		skip := markersOf(spec.Doc).has("k8s:enumExclude")
		p.constants = append(p.constants, constant{name.Name, typed, value, imports, skip})
	}
}

// text of a constant, which may be another package's; false where it is no string.
func (s *sources) text(pkg *goPackage, value ast.Expr, imports map[string]string) (string, bool) {
	switch value := value.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(value.Value)
		return text, value.Kind == token.STRING && err == nil
	case *ast.Ident:
		return s.namedText(pkg, value.Name)
	case *ast.SelectorExpr:
		path := imports[value.X.(*ast.Ident).Name]
		if s.modules.folder(path) == "" {
			return "", false
		}
		other, err := s.load(path)
		if err != nil {
			return "", false
		}
		return s.namedText(other, value.Sel.Name)
	}
	return "", false
}

func (s *sources) namedText(pkg *goPackage, name string) (string, bool) {
	for _, c := range pkg.constants {
		if c.name == name {
			return s.text(pkg, c.value, c.file)
		}
	}
	return "", false
}

// enumValues are the constants of a type, sorted; upstream's generator takes the same ones.
func (s *sources) enumValues(pkg *goPackage, typeName string) []string {
	seen := map[string]bool{}
	for _, c := range pkg.constants {
		if c.typed != typeName || c.skip {
			continue
		}
		if text, ok := s.text(pkg, c.value, c.file); ok {
			seen[text] = true
		}
	}
	return sortedKeys(seen)
}

// markers: "+name=value" lines of a comment.
type markers map[string][]string

func markersOf(group *ast.CommentGroup) markers {
	found := markers{}
	if group == nil {
		return found
	}
	for _, comment := range group.List {
		for _, line := range strings.Split(comment.Text, "\n") {
			line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "//"))
			if !strings.HasPrefix(line, "+") {
				continue
			}
			name, value, _ := strings.Cut(line[1:], "=")
			found[name] = append(found[name], value)
		}
	}
	return found
}

func (m markers) has(name string) bool {
	_, ok := m[name]
	return ok
}

func (m markers) first(name string) string {
	if values := m[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}
