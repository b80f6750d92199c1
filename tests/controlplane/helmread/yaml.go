package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"

	"sigs.k8s.io/yaml"
)

// reading is one YAML document as Helm and kubectl read it: its value, or why they refuse it.
type reading struct {
	JSON  json.RawMessage `json:"json,omitempty"`
	Error string          `json:"error,omitempty"`
}

// read is the one call through which Helm's renderer and kubectl's decoder turn YAML into JSON. Go's YAML library
// panics on some documents; a Helm that dies is a refusal too.
func read(document []byte) (r reading) {
	defer func() {
		if p := recover(); p != nil {
			r = reading{Error: "panic in Go's YAML library"}
		}
	}()
	value, err := yaml.YAMLToJSON(document)
	if err != nil {
		return reading{Error: err.Error()}
	}
	return reading{JSON: value}
}

// readDocuments reads NUL-ended documents and writes a line for each, as they come, so that a caller can converse.
func readDocuments(in io.Reader, out io.Writer) error {
	documents := bufio.NewReader(in)
	lines := bufio.NewWriter(out)
	encoder := json.NewEncoder(lines)
	for {
		document, err := documents.ReadBytes(0)
		if errors.Is(err, io.EOF) && len(document) == 0 {
			return lines.Flush()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := encoder.Encode(read(bytes.TrimSuffix(document, []byte{0}))); err != nil {
			return err
		}
		if documents.Buffered() == 0 {
			if err := lines.Flush(); err != nil {
				return err
			}
		}
	}
}

func readFiles(files []string, out io.Writer) error {
	encoder := json.NewEncoder(out)
	for _, file := range files {
		document, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := encoder.Encode(read(document)); err != nil {
			return err
		}
	}
	return nil
}
