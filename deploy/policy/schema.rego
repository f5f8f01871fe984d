# METADATA
# title: What `spanline deploy gate` prints
# description: A policy over a document that lacks a key is silent, and silence would be consent; so the document is checked first.
package spanline.gate

schema := {
	"type": "object",
	"required": ["schema", "generatedAt", "service", "release", "complete", "unread", "runs", "builds", "evaluations", "guardrails", "conflicts", "gaps"],
	"properties": {
		"schema": {"const": "https://spanline.dev/schemas/gate/1"},
		"generatedAt": {"type": "string"},
		"service": {"type": "string"},
		"release": {"type": "string", "minLength": 1},
		"imageDigest": {"type": "string"},
		"complete": {"type": "boolean"},
		"unread": {"type": "array", "items": {"type": "string"}},
		"runs": {
			"type": "object",
			"required": ["count", "failed", "aborted"],
			"properties": {"count": whole, "failed": whole, "aborted": whole},
		},
		"builds": {"type": "array", "items": {
			"type": "object",
			"required": ["runs"],
			"properties": {"runs": whole, "imageDigest": words, "codeRevision": words, "codeDirty": {"type": "boolean"}},
		}},
		"evaluations": {"type": "array", "items": {
			"type": "object",
			"required": ["name", "runId"],
			"properties": {"name": words, "runId": words, "passed": {"type": "boolean"}, "score": {"type": "number"}},
		}},
		"guardrails": {"type": "object", "additionalProperties": {
			"type": "object",
			"required": ["pass", "fail", "error", "skip"],
			"properties": {"pass": whole, "fail": whole, "error": whole, "skip": whole},
		}},
		"conflicts": {"type": "array", "items": {
			"type": "object",
			"required": ["kind", "name", "version", "digest", "expectedDigest", "acknowledged", "runId", "runs"],
			"properties": {
				"kind": words, "name": words, "version": {"type": "string"}, "digest": words, "expectedDigest": words,
				"acknowledged": {"type": "boolean"}, "runId": words, "runs": whole,
			},
		}},
		"gaps": {"type": "array", "items": {
			"type": "object",
			"required": ["missing", "how", "runs", "runId"],
			"properties": {"missing": words, "how": {"type": "string"}, "runs": whole, "runId": words},
		}},
	},
}

whole := {"type": "integer", "minimum": 0}

words := {"type": "string", "minLength": 1}
