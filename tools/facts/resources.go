package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Resources: what upstream's recorded discovery documents say of every resource, one line each.

type apiResource struct {
	Name               string   `json:"name"`
	SingularName       string   `json:"singularName"`
	Namespaced         bool     `json:"namespaced"`
	Group              string   `json:"group"`
	Version            string   `json:"version"`
	Kind               string   `json:"kind"`
	Verbs              []string `json:"verbs"`
	ShortNames         []string `json:"shortNames"`
	Categories         []string `json:"categories"`
	StorageVersionHash string   `json:"storageVersionHash"`
}

type resourceList struct {
	GroupVersion string        `json:"groupVersion"`
	Resources    []apiResource `json:"resources"`
}

type groupList struct {
	Groups []struct {
		Name             string `json:"name"`
		PreferredVersion struct {
			Version string `json:"version"`
		} `json:"preferredVersion"`
		Versions []struct {
			Version string `json:"version"`
		} `json:"versions"`
	} `json:"groups"`
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func (m *model) resources() (string, error) {
	root := m.sources.modules["k8s.io/kubernetes"]
	discovery := filepath.Join(root, "api", "discovery")
	served, err := m.servedByDefault(root)
	if err != nil {
		return "", err
	}
	priorities, err := groupPriorities(root)
	if err != nil {
		return "", err
	}
	var groups groupList
	if err := readJSON(filepath.Join(discovery, "apis.json"), &groups); err != nil {
		return "", err
	}
	var text, order strings.Builder
	text.WriteString(generatedHeader())
	text.WriteString("/** apiVersion plural singular Kind scope shortNames categories verbs hash served subresources… */\nexport const resourceLines: readonly string[] = [\n")
	one := func(file, group, version string) error {
		var list resourceList
		if err := readJSON(filepath.Join(discovery, file), &list); err != nil {
			return err
		}
		apiVersion := strings.TrimPrefix(group+"/"+version, "/")
		return m.resourceLines(&text, apiVersion, served[apiVersion], list)
	}
	versionLine := func(group, version string) string {
		apiVersion := strings.TrimPrefix(group+"/"+version, "/")
		priority := priorities[apiVersion]
		return fmt.Sprintf("{ version: %q, served: %t, groupPriority: %d, versionPriority: %d }", version, served[apiVersion], priority[0], priority[1])
	}
	fmt.Fprintf(&order, "  { group: \"\", versions: [%s] },\n", versionLine("", "v1"))
	if err := one("api__v1.json", "", "v1"); err != nil {
		return "", err
	}
	for _, group := range groups.Groups {
		var versions []string
		for _, version := range group.Versions {
			versions = append(versions, versionLine(group.Name, version.Version))
			if err := one("apis__"+group.Name+"__"+version.Version+".json", group.Name, version.Version); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(&order, "  { group: %q, versions: [%s] },\n", group.Name, strings.Join(versions, ", "))
	}
	text.WriteString("];\n\n/** In the order of /apis; a group's first served version is the preferred one. */\nexport const groupVersions: readonly {\n  readonly group: string;\n  readonly versions: readonly {\n    readonly version: string;\n    readonly served: boolean;\n    readonly groupPriority: number;\n    readonly versionPriority: number;\n  }[];\n}[] = [\n")
	text.WriteString(order.String())
	text.WriteString("];\n")
	return text.String(), nil
}

func (m *model) resourceLines(text *strings.Builder, apiVersion string, served bool, list resourceList) error {
	subresources := map[string][]string{}
	for _, r := range list.Resources {
		parent, name, ok := strings.Cut(r.Name, "/")
		if !ok {
			continue
		}
		own := apiVersion
		if r.Version != "" {
			own = strings.TrimPrefix(r.Group+"/"+r.Version, "/")
		}
		subresources[parent] = append(subresources[parent], fmt.Sprintf("%s=%s.%s:%s", name, own, r.Kind, strings.Join(r.Verbs, ",")))
	}
	for _, r := range list.Resources {
		if strings.Contains(r.Name, "/") {
			continue
		}
		if r.Version != "" {
			return fmt.Errorf("%s %s: its kind is of another group", apiVersion, r.Name)
		}
		scope, state := "Cluster", "off"
		if r.Namespaced {
			scope = "Namespaced"
		}
		if served {
			state = "served"
		}
		parts := []string{apiVersion, r.Name, r.SingularName, r.Kind, scope, dashed(r.ShortNames), dashed(r.Categories), dashed(r.Verbs), dashed([]string{r.StorageVersionHash}), state}
		parts = append(parts, sortedStrings(subresources[r.Name])...)
		delete(subresources, r.Name)
		fmt.Fprintf(text, "  %q,\n", strings.Join(parts, " "))
	}
	if len(subresources) > 0 {
		return fmt.Errorf("%s: subresources without a resource: %v", apiVersion, subresources)
	}
	return nil
}

func dashed(values []string) string {
	if len(values) == 0 || values[0] == "" {
		return "-"
	}
	return strings.Join(values, ",")
}

// servedByDefault reads the lists "…EnabledByDefault" of the control plane. Extension and aggregation APIs are always served.
func (m *model) servedByDefault(root string) (map[string]bool, error) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "pkg", "controlplane", "instance.go"), nil, 0)
	if err != nil {
		return nil, err
	}
	imports := map[string]string{}
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if spec.Name != nil {
			imports[spec.Name.Name] = path
		}
	}
	served := map[string]bool{"apiextensions.k8s.io/v1": true, "apiregistration.k8s.io/v1": true}
	lists := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasSuffix(spec.Names[0].Name, "EnabledByDefault") || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.CompositeLit)
		if !ok {
			return true
		}
		lists++
		for _, element := range literal.Elts {
			selector, ok := element.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			path := strings.Replace(imports[selector.X.(*ast.Ident).Name], "k8s.io/kubernetes/pkg/apis/", "k8s.io/api/", 1)
			if pkg := m.byImport[path]; pkg != nil {
				served[strings.TrimPrefix(pkg.Group+"/"+pkg.Version, "/")] = true
			} else {
				err = fmt.Errorf("served by default but not in packages.go: %s", selector.X.(*ast.Ident).Name)
			}
		}
		return true
	})
	if err == nil && lists < 2 {
		err = fmt.Errorf("found %d lists of what is served by default, expected at least 2", lists)
	}
	return served, err
}

// groupPriorities: "group/version" → the group's and the version's priority, from the composite literals that hold them.
func groupPriorities(root string) (map[string][2]int, error) {
	found := map[string][2]int{}
	var files []string
	for _, pattern := range []string{"pkg/controlplane/apiserver/*.go", "cmd/kube-apiserver/app/*.go"} {
		matches, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, matches...)
	}
	sort.Strings(files)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.KeyValueExpr:
				key, value := literalFields(node.Key), literalFields(node.Value)
				recordPriority(found, key, value)
			case *ast.AssignStmt:
				if index, ok := node.Lhs[0].(*ast.IndexExpr); ok {
					recordPriority(found, literalFields(index.Index), literalFields(node.Rhs[0]))
				}
			}
			return true
		})
	}
	if len(found) < 20 {
		return nil, fmt.Errorf("found the priorities of only %d group versions", len(found))
	}
	return found, nil
}

func recordPriority(found map[string][2]int, key, value map[string]string) {
	version, ok := key["Version"]
	group, err := strconv.Atoi(value["Group"])
	if !ok || err != nil {
		return
	}
	own, err := strconv.Atoi(value["Version"])
	if err != nil {
		return
	}
	found[strings.TrimPrefix(key["Group"]+"/"+version, "/")] = [2]int{group, own}
}

func literalFields(expression ast.Expr) map[string]string {
	fields := map[string]string{}
	literal, ok := expression.(*ast.CompositeLit)
	if !ok {
		return fields
	}
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		name, isName := pair.Key.(*ast.Ident)
		value, isLiteral := pair.Value.(*ast.BasicLit)
		if !isName || !isLiteral {
			continue
		}
		if text, err := strconv.Unquote(value.Value); err == nil {
			fields[name.Name] = text
		} else {
			fields[name.Name] = value.Value
		}
	}
	return fields
}
