//go:build tools

// Package tools pins Jaeger's command, which can only be built from a module of one's own: upstream has a replacement.
package tools

import _ "github.com/jaegertracing/jaeger/cmd/jaeger"
