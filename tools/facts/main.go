// Facts: writes what upstream's published Go modules say about the built-in kinds as tables and TypeScript
// interfaces. Reads the modules' sources and recorded documents; never copies their prose.
//
//	go run . -out ../../src/api/generated
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", "", "folder to write to; it is replaced")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "facts:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	if out == "" {
		return fmt.Errorf("say where to write: -out FOLDER")
	}
	modules, err := downloadModules()
	if err != nil {
		return err
	}
	m := newModel(&sources{modules, map[string]*goPackage{}})
	if err := m.build(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	files, err := m.tables()
	if err != nil {
		return err
	}
	for name, text := range m.interfaces() {
		files[name] = text
	}
	if files["resources.ts"], err = m.resources(); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	for _, name := range sortedKeys(files) {
		path := filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("facts: %d types, %d files\n", len(m.objects), len(files))
	return nil
}
