package main

import (
	"fmt"
	"sort"
	"strings"
)

// TypeScript interfaces: one file a group and version.

type interfaceWriter struct {
	pkg     *apiPackage
	imports map[string]*apiPackage
}

func (m *model) interfaces() map[string]string {
	files := map[string]string{}
	for i := range apiPackages {
		pkg := &apiPackages[i]
		writer := &interfaceWriter{pkg, map[string]*apiPackage{}}
		var body strings.Builder
		for _, key := range sortedKeys(m.enums) {
			if enum := m.enums[key]; enum.pkg == pkg {
				writer.enum(&body, enum)
			}
		}
		for _, one := range m.objectsOf(pkg) {
			writer.object(&body, one)
		}
		var imports strings.Builder
		for _, alias := range sortedKeys(writer.imports) {
			other := writer.imports[alias]
			path := "../" + other.Folder + "/" + other.Version + ".ts"
			if other.Folder == pkg.Folder {
				path = "./" + other.Version + ".ts"
			}
			fmt.Fprintf(&imports, "import type * as %s from \"%s\";\n", alias, path)
		}
		files[packageKey(pkg)+".ts"] = generatedHeader() + imports.String() + body.String()
	}
	return files
}

func (w *interfaceWriter) enum(body *strings.Builder, enum *enumType) {
	fmt.Fprintf(body, "\nexport type %s =\n", enum.name)
	for _, value := range enum.values {
		fmt.Fprintf(body, "  | %q\n", value)
	}
	body.WriteString("  | (string & {});\n")
}

func (w *interfaceWriter) object(body *strings.Builder, o *object) {
	if o.alternatives {
		var names []string
		for _, f := range o.fields {
			names = append(names, w.typeName(f.typ))
		}
		fmt.Fprintf(body, "\nexport type %s = %s;\n", o.name, strings.Join(names, " | "))
		return
	}
	travelsAlone := false
	for _, f := range o.fields {
		travelsAlone = travelsAlone || o.kind && f.name == "metadata" && f.structValue
	}
	fmt.Fprintf(body, "\nexport interface %s {\n", o.name)
	if o.kind {
		mark := "?"
		if travelsAlone {
			mark = ""
		}
		fmt.Fprintf(body, "  apiVersion%s: string;\n  kind%s: string;\n", mark, mark)
	}
	for _, f := range o.fields {
		if f.fromTypeMeta {
			continue
		}
		top := travelsAlone && f.structValue && (f.name == "metadata" || f.name == "spec" || f.name == "status")
		mark, null := "?", ""
		if f.omit == "never" || f.structValue && f.omit != "zero" || top {
			mark = ""
			if f.pointer && !f.required {
				null = " | null"
			}
		}
		fmt.Fprintf(body, "  %s%s: %s%s;\n", propertyName(f.name), mark, w.typeName(f.typ), null)
	}
	body.WriteString("}\n")
}

func propertyName(name string) string {
	for _, c := range name {
		if c != '_' && c != '$' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return fmt.Sprintf("%q", name)
		}
	}
	return name
}

func (w *interfaceWriter) reference(pkg *apiPackage, name string) string {
	if pkg == w.pkg {
		return name
	}
	alias := camel(pkg.Folder) + strings.ToUpper(pkg.Version[:1]) + pkg.Version[1:]
	w.imports[alias] = pkg
	return alias + "." + name
}

func (w *interfaceWriter) typeName(t *schemaType) string {
	switch t.kind {
	case "list":
		elem := w.typeName(t.elem)
		if strings.Contains(elem, " ") && !strings.HasPrefix(elem, "Record<") {
			elem = "(" + elem + ")"
		}
		return elem + "[]"
	case "map":
		return "Record<string, " + w.typeName(t.elem) + ">"
	case "object", "alternatives":
		return w.reference(t.object.pkg, t.object.name)
	}
	if t.enum != nil {
		return w.reference(t.enum.pkg, t.enum.name)
	}
	switch t.scalar {
	case "boolean":
		return "boolean"
	case "int32", "int64", "float64":
		return "number"
	case "intOrString":
		return "number | string"
	case "any", "json":
		return "unknown"
	case "fields":
		return "Record<string, unknown>"
	}
	return "string"
}

func sortedStrings(values []string) []string {
	sorted := append([]string{}, values...)
	sort.Strings(sorted)
	return sorted
}
