package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/kubernetes/typed/core/v1"
	"sigs.k8s.io/yaml"
)

// oneSecret is a cluster that holds a single Secret. Helm's storage driver asks nothing else of it.
type oneSecret struct {
	client.SecretInterface
	secret corev1.Secret
}

func (s *oneSecret) Get(context.Context, string, metav1.GetOptions) (*corev1.Secret, error) {
	return &s.secret, nil
}

// open gives Helm's storage driver over the Secret in a file, YAML or JSON, and the key under which it is stored.
func open(file string) (*driver.Secrets, string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	cluster := &oneSecret{}
	if err := yaml.Unmarshal(text, &cluster.secret); err != nil {
		return nil, "", fmt.Errorf("%s is not a Secret: %w", file, err)
	}
	return driver.NewSecrets(cluster), cluster.secret.Name, nil
}

func bench(file string, n int, out io.Writer) error {
	storage, key, err := open(file)
	if err != nil {
		return err
	}
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		if _, err := storage.Get(key); err != nil {
			return err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return json.NewEncoder(out).Encode(map[string]int64{
		"n": int64(n), "min_ns": times[0].Nanoseconds(), "median_ns": times[n/2].Nanoseconds(),
	})
}

// hook is what is compared of one hook: the fields that Helm stores, and the objects of its manifest as the API server would
// get them.
type hook struct {
	Name           string                        `json:"name"`
	Kind           string                        `json:"kind"`
	Path           string                        `json:"path"`
	Events         []release.HookEvent           `json:"events"`
	Weight         int                           `json:"weight"`
	DeletePolicies []release.HookDeletePolicy    `json:"deletePolicies"`
	OutputLog      []release.HookOutputLogPolicy `json:"outputLogPolicies"`
	Objects        []json.RawMessage             `json:"objects"`
	Error          string                        `json:"error,omitempty"`
}

func hooks(file string, out io.Writer) error {
	storage, key, err := open(file)
	if err != nil {
		return err
	}
	stored, err := storage.Get(key)
	if err != nil {
		return err
	}
	record, ok := stored.(*release.Release)
	if !ok {
		return fmt.Errorf("%s holds a %T, not a release of version 1", file, stored)
	}
	list := make([]hook, 0, len(record.Hooks))
	for _, h := range record.Hooks {
		manifest := read([]byte(h.Manifest))
		list = append(list, hook{
			Name: h.Name, Kind: h.Kind, Path: h.Path, Weight: h.Weight,
			Events:         notNull(h.Events),
			DeletePolicies: notNull(h.DeletePolicies),
			OutputLog:      notNull(h.OutputLogPolicies),
			Objects:        manifest.JSON,
			Error:          manifest.Error,
		})
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(list)
}

func notNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
