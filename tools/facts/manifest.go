package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
)

// The manifest: from which generator and modules which outputs came. verify.mjs compares it without Go.

type manifest struct {
	Kubernetes string            `json:"kubernetes"`
	Modules    map[string]string `json:"modules"`
	Generator  map[string]string `json:"generator"`
	Outputs    map[string]string `json:"outputs"`
}

func manifestOf(files, sums map[string]string) ([]byte, error) {
	result := manifest{kubernetesVersion, sums, map[string]string{}, map[string]string{}}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		return nil, err
	}
	for _, path := range append(sources, "go.mod") {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		result.Generator[path] = hashOf(data)
	}
	for name, text := range files {
		result.Outputs[name] = hashOf([]byte(text))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(result)
	return text.Bytes(), err
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
