# METADATA
# title: May this release get traffic?
# description: |
#   Judges what `spanline deploy gate` prints. Fails closed: `allow` needs a whole document, runs that were all read, a passed
#   evaluation of each required name, no failed one, no open version conflict, and no gap that is not accepted in the limits.
# scope: package
package spanline.release

import data.spanline.gate

default allow := false

allow if {
	understood
	measured
	count(deny) == 0
}

# What `data.release_limits` (limits.yaml) does not say.
default_limits := {
	"min_runs": 1,
	"max_failed_share": 0.02,
	"max_guardrail_failed_share": 0.02,
	"max_failed_evaluation_share": 0,
	"allow_dirty_code": false,
	"required_evaluations": [],
	"accepted_gaps": [],
}

limits := object.union(default_limits, data.release_limits) if is_object(data.release_limits)

else := {"release_limits is no object": false} if data.release_limits

else := default_limits

understood if json.match_schema(input, gate.schema)[0]

measured if json.match_schema(limits, gate.limits)[0]

deny contains "the input is not what `spanline deploy gate` prints" if not understood

deny contains "release_limits has an unknown name or a wrong value" if not measured

# ---- evidence ------------------------------------------------------------------------------------------------------

deny contains msg if {
	input.runs.count < limits.min_runs
	msg := sprintf("%d of at least %d runs of release %s are in the ledger", [input.runs.count, limits.min_runs, input.release])
}

deny contains "not all runs were read: raise --limit or narrow --since" if not input.complete

deny contains msg if {
	count(input.unread) > 0
	msg := sprintf("%d runs could not be read, such as %s", [count(input.unread), input.unread[0]])
}

deny contains msg if {
	wanted := input.imageDigest
	not wanted in images
	msg := sprintf("no run of image %s: what was tried is not what is to be released", [wanted])
}

deny contains msg if {
	count(images) > 1
	msg := sprintf("release %s is %d images: %s", [input.release, count(images), concat(", ", images)])
}

deny contains msg if {
	count(revisions) > 1
	msg := sprintf("release %s is %d revisions: %s", [input.release, count(revisions), concat(", ", revisions)])
}

deny contains "the code had changes that no commit has" if {
	some build in input.builds
	build.codeDirty
	not limits.allow_dirty_code
}

deny contains msg if {
	input.runs.failed > limits.max_failed_share * input.runs.count
	msg := sprintf("%d of %d runs failed", [input.runs.failed, input.runs.count])
}

images contains build.imageDigest if some build in input.builds

revisions contains build.codeRevision if some build in input.builds

# ---- evaluations ---------------------------------------------------------------------------------------------------

deny contains "no evaluation has passed" if count(passed) == 0

deny contains msg if {
	some name in limits.required_evaluations
	not name in passed
	msg := sprintf("evaluation %s has not passed", [name])
}

deny contains msg if {
	some name in {evaluation.name | some evaluation in input.evaluations}
	given := [evaluation | some evaluation in input.evaluations; evaluation.name == name]
	red := [evaluation.runId | some evaluation in given; evaluation.passed == false]
	count(red) > limits.max_failed_evaluation_share * count(given)
	msg := sprintf("evaluation %s failed on %d of %d, such as run %s", [name, count(red), count(given), red[0]])
}

# A score without a verdict is no green light: whoever evaluates says what passes.
deny contains msg if {
	some evaluation in input.evaluations
	not "passed" in object.keys(evaluation)
	msg := sprintf("evaluation %s has no verdict: report it with passed or failed", [evaluation.name])
}

passed contains evaluation.name if {
	some evaluation in input.evaluations
	evaluation.passed
}

# ---- lineage -------------------------------------------------------------------------------------------------------

deny contains msg if {
	some conflict in input.conflicts
	not conflict.acknowledged
	label := sprintf("%s:%s@%s", [conflict.kind, conflict.name, conflict.version])
	msg := sprintf("%s is two things: %s, before %s (run %s)", [label, conflict.digest, conflict.expectedDigest, conflict.runId])
}

deny contains msg if {
	some gap in input.gaps
	not gap.missing in limits.accepted_gaps
	msg := sprintf("%s is not known of %d runs, such as %s", [gap.missing, gap.runs, gap.runId])
}

# ---- guardrails ----------------------------------------------------------------------------------------------------

deny contains msg if {
	some name, counts in input.guardrails
	red := counts.fail + counts.error
	judged := counts.pass + red
	red > limits.max_guardrail_failed_share * judged
	msg := sprintf("guardrail %s: %d of %d failed", [name, red, judged])
}
