package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// reading is what Helm and kubectl read of a text: the values in it, or why they refuse it.
type reading struct {
	JSON  []json.RawMessage `json:"json"`
	Error string            `json:"error,omitempty"`
}

// buffer is the size of the resource builder's own, in which it looks for a brace.
const buffer = 4096

// read goes the way of the resource builder (k8s.io/cli-runtime, StreamVisitor), by which Helm makes the objects of a
// stored manifest and kubectl those of a file: not straight to the YAML library, which sees each line with its end only
// here. Go's YAML library panics on some texts; a Helm that dies is a refusal too.
func read(text []byte) (r reading) {
	defer func() {
		if p := recover(); p != nil {
			r = reading{Error: "panic in Go's YAML library"}
		}
	}()
	values := []json.RawMessage{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), buffer)
	for {
		raw := runtime.RawExtension{}
		if err := decoder.Decode(&raw); err != nil {
			if errors.Is(err, io.EOF) {
				return reading{JSON: values}
			}
			return reading{Error: err.Error()}
		}
		raw.Raw = bytes.TrimSpace(raw.Raw)
		if len(raw.Raw) == 0 || bytes.Equal(raw.Raw, []byte("null")) {
			continue
		}
		value, err := written(raw.Raw)
		if err != nil {
			return reading{Error: err.Error()}
		}
		values = append(values, value)
	}
}

// written is a value as it goes to the API server: an object that is no known type is decoded once, which makes a whole
// number of 1e3.
func written(raw []byte) ([]byte, error) {
	var value any
	if err := utiljson.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// readDocuments reads NUL-ended texts and writes a line for each, as they come, so that a caller can converse.
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
