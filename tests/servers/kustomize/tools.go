//go:build tools

// Package tools pins the command.
package tools

import _ "sigs.k8s.io/kustomize/kustomize/v5"
