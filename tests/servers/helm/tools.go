//go:build tools

// Package tools pins the command.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
