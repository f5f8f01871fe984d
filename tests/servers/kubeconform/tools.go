//go:build tools

// Package tools pins the command.
package tools

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
