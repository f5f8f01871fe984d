//go:build tools

// Package tools pins the command opa.
package tools

import _ "github.com/open-policy-agent/opa"
