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

# A misspelt limit would leave the default in force, and a wrong type would make its rule silent.
limits := {
	"type": "object",
	"additionalProperties": false,
	"required": ["min_runs", "max_failed_share", "max_guardrail_failed_share", "max_failed_evaluation_share", "allow_dirty_code", "required_evaluations", "accepted_gaps"],
	"properties": {
		"min_runs": whole,
		"max_failed_share": share,
		"max_guardrail_failed_share": share,
		"max_failed_evaluation_share": share,
		"allow_dirty_code": {"type": "boolean"},
		"required_evaluations": {"type": "array", "items": words},
		"accepted_gaps": {"type": "array", "items": words},
	},
}

share := {"type": "number", "minimum": 0, "maximum": 1}

whole := {"type": "integer", "minimum": 0}

words := {"type": "string", "minLength": 1}
