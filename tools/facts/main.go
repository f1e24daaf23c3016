// Facts: writes what upstream's published Go modules say about the built-in kinds as tables and TypeScript
// interfaces. Reads the modules' sources and recorded documents; never copies their prose.
//
//	go run . -out ../../src/api/generated -manifest manifest.json
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", "", "folder to write to; it is replaced")
	manifest := flag.String("manifest", "", "file that says what was read and written, with hashes")
	flag.Parse()
	if err := run(*out, *manifest); err != nil {
		fmt.Fprintln(os.Stderr, "facts:", err)
		os.Exit(1)
	}
}

func run(out, manifest string) error {
	if out == "" || manifest == "" {
		return fmt.Errorf("say where to write: -out FOLDER -manifest FILE")
	}
	modules, sums, err := downloadModules()
	if err != nil {
		return err
	}
	m := newModel(&sources{modules, map[string]*goPackage{}})
	if err := m.build(); err != nil {
		return err
	}
	if err := m.dropProtobuf(); err != nil {
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
	return write(out, manifest, files, sums)
}

func write(out, manifest string, files map[string]string, sums map[string]string) error {
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
	text, err := manifestOf(files, sums)
	if err != nil {
		return err
	}
	fmt.Printf("facts: %d files\n", len(files))
	return os.WriteFile(manifest, text, 0o644)
}
